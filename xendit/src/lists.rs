//! Lists: transactions, invoices and disputes of a period, page by page.
//!
//! **Invariant:** the next page is asked for at the same address with the same filters. Of a link in an answer, only the
//! cursor is used.

use std::collections::VecDeque;

use form_urlencoded::Serializer;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    api_object::observe,
    money::{Amount, Currency, Money},
    observation::Observation,
};

use crate::{
    client::{Call, Client},
    error::Error,
    objects::rows,
};

/// The number of rows of a page. The largest for invoices and disputes; for transactions none is documented.
const ROWS: usize = 100;

/// A period, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last moment.
    pub to: Timestamp,
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its own id.
    pub id: String,
    /// The payment, payout or refund: its id, of some products without the prefix.
    pub product_id: String,
    /// The merchant's reference.
    pub reference: Option<String>,
    /// Such as `PAYMENT`, `DISBURSEMENT`, `REFUND`.
    pub kind: String,
    /// `PENDING`, `SUCCESS`, `FAILED`, `VOIDED` or `REVERSED`.
    pub status: String,
    /// Such as `VIRTUAL_ACCOUNT`.
    pub category: Option<String>,
    /// The bank, wallet or outlet.
    pub channel: Option<String>,
    /// The amount without fees.
    pub money: Money,
    /// Whether the merchant gets the money.
    pub is_money_in: bool,
    /// The account's business id.
    pub account: Option<String>,
    /// The invoice that was paid, if it was one.
    pub invoice: Option<String>,
    /// When the money moved.
    pub created: Timestamp,
}

#[derive(Deserialize)]
struct Row<'a> {
    id: String,
    product_id: String,
    reference_id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    status: String,
    channel_category: Option<String>,
    channel_code: Option<String>,
    currency: Currency,
    #[serde(borrow)]
    amount: &'a RawValue,
    cashflow: String,
    business_id: Option<String>,
    product_data: Option<ProductData>,
    created: Timestamp,
}

#[derive(Deserialize)]
struct ProductData {
    payment_link_id: Option<String>,
}

impl Transaction {
    /// Reads a row. The reason of an error names no value.
    fn read(row: &RawValue) -> Result<Self, Error> {
        let row: Row<'_> =
            serde_json::from_str(row.get()).map_err(|_| Error::unreadable("a transaction of another form"))?;
        let amount: Amount =
            row.amount.get().trim_matches('"').parse().map_err(|_| Error::unreadable("a transaction's amount"))?;
        let is_money_in = match row.cashflow.as_str() {
            "MONEY_IN" => true,
            "MONEY_OUT" => false,
            _ => return Err(Error::unreadable("a transaction's cashflow")),
        };
        Ok(Self {
            id: row.id,
            product_id: row.product_id,
            reference: row.reference_id,
            kind: row.kind,
            status: row.status,
            category: row.channel_category,
            channel: row.channel_code,
            money: Money { amount, currency: row.currency },
            is_money_in,
            account: row.business_id,
            invoice: row.product_data.and_then(|data| data.payment_link_id),
            created: row.created,
        })
    }
}

/// Which invoices a period is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoicesBy {
    /// Those that were created in it.
    Created,
    /// Those that were paid in it.
    Paid,
    /// Those that expired in it.
    Expired,
}

/// The pages of a list, newest first.
#[derive(Debug)]
pub struct Pages<'c, T> {
    client: &'c Client,
    path: &'static str,
    filters: Vec<(&'static str, String)>,
    /// The parameter that takes the cursor.
    cursor: &'static str,
    /// The cursor of the next page. `None`: that was the last one.
    next: Option<String>,
    is_first: bool,
    read: fn(&RawValue) -> Result<T, Error>,
}

#[derive(Default, Deserialize)]
struct Page {
    has_more: Option<bool>,
    links: Option<Vec<Link>>,
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Link {
    href: Option<String>,
    rel: Option<String>,
}

#[derive(Deserialize)]
struct Pagination {
    next_cursor: Option<String>,
    has_more: bool,
}

#[derive(Deserialize)]
struct WithId {
    id: String,
}

impl Client {
    /// The transactions that were created in a period. Without the currency, Xendit lists only some of them.
    pub fn transactions(&self, currency: &Currency, created: Period) -> Pages<'_, Transaction> {
        let filters = vec![
            ("currency", currency.to_string()),
            ("created[gte]", created.from.to_string()),
            ("created[lte]", created.to.to_string()),
        ];
        Pages::new(self, "/transactions", filters, "after_id", Transaction::read)
    }

    /// The invoices of a period.
    pub fn invoices(&self, by: InvoicesBy, period: Period) -> Pages<'_, Observation> {
        // One of a pair alone has no effect.
        let (after, before) = match by {
            InvoicesBy::Created => ("created_after", "created_before"),
            InvoicesBy::Paid => ("paid_after", "paid_before"),
            InvoicesBy::Expired => ("expired_after", "expired_before"),
        };
        let filters = vec![(after, period.from.to_string()), (before, period.to.to_string())];
        Pages::new(self, "/v2/invoices", filters, "last_invoice_id", |row| {
            Ok(observe(row.get().as_bytes(), "invoice")?)
        })
    }

    /// The disputes that were created in a period.
    pub fn disputes(&self, created: Period) -> Pages<'_, Observation> {
        let filters = vec![("created_after", created.from.to_string()), ("created_before", created.to.to_string())];
        Pages::new(self, "/v1/disputes", filters, "cursor", |row| {
            Ok(observe(row.get().as_bytes(), "dispute.action_required")?)
        })
    }
}

impl<'c, T> Pages<'c, T> {
    fn new(
        client: &'c Client,
        path: &'static str,
        filters: Vec<(&'static str, String)>,
        cursor: &'static str,
        read: fn(&RawValue) -> Result<T, Error>,
    ) -> Self {
        Self { client, path, filters, cursor, next: None, is_first: true, read }
    }

    /// Continues after a row that an earlier run has read.
    #[must_use]
    pub fn after(self, id: String) -> Self {
        Self { next: Some(id), is_first: false, ..self }
    }

    /// The next page. `None`: there is none. After an error, the same page is asked for again.
    ///
    /// A row that cannot be read is an error in its place, so that it cannot be taken for one that does not exist.
    pub async fn next(&mut self) -> Result<Option<Vec<Result<T, Error>>>, Error> {
        if self.next.is_none() && !self.is_first {
            return Ok(None);
        }
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&self.filters).append_pair("limit", &ROWS.to_string());
        if let Some(cursor) = &self.next {
            query.append_pair(self.cursor, cursor);
        }
        let path = format!("{}?{}", self.path, query.finish());
        let answer = self.client.call(&Call::get(self.path, path, None)).await?;
        let rows = rows(&answer)?;
        let last = rows.last().and_then(|row| serde_json::from_str::<WithId>(row.get()).ok()).map(|row| row.id);
        let next = next_cursor(&answer, self.cursor, rows.len(), last);
        if next.is_some() && next == self.next {
            return Err(Error::unreadable("the list does not end"));
        }
        (self.next, self.is_first) = (next, false);
        Ok(Some(rows.into_iter().map(self.read).collect()))
    }

    /// All rows. It stops at the first error, because what follows would look complete.
    pub async fn all(mut self) -> Result<Vec<T>, Error> {
        let mut all = VecDeque::new();
        while let Some(page) = self.next().await? {
            for row in page {
                all.push_back(row?);
            }
        }
        Ok(all.into())
    }
}

/// The cursor of the next page, by whichever of Xendit's ways the answer says that there is one.
fn next_cursor(answer: &[u8], parameter: &str, rows: usize, last: Option<String>) -> Option<String> {
    // A bare array does not say: a short page is the last one.
    let Ok(page) = serde_json::from_slice::<Page>(answer) else { return last.filter(|_| rows == ROWS) };
    if let Some(pagination) = page.pagination {
        return pagination.next_cursor.filter(|_| pagination.has_more);
    }
    let links = page.links.unwrap_or_default();
    let next = links.iter().find(|link| link.rel.as_deref() == Some("next")).and_then(|link| link.href.as_deref());
    let query = next.and_then(|href| href.split_once('?')).map_or("", |(_, query)| query);
    let linked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == parameter);
    page.has_more.unwrap_or(next.is_some()).then(|| linked.map(|(_, cursor)| cursor.into_owned()).or(last))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(answer: &str, parameter: &str) -> Option<String> {
        let rows = rows(answer.as_bytes()).unwrap();
        let last = rows.last().map(|row| serde_json::from_str::<WithId>(row.get()).unwrap().id);
        next_cursor(answer.as_bytes(), parameter, rows.len(), last)
    }

    #[test]
    fn a_link_leads_to_the_next_page_or_else_the_last_row() {
        let link = r#"{"data":[{"id":"txn_1"}],"has_more":true,
            "links":[{"href":"https://elsewhere.test/transactions?currency=IDR&after_id=txn_9","rel":"next"}]}"#;
        assert_eq!(next(link, "after_id").unwrap(), "txn_9");
        assert_eq!(next(r#"{"data":[{"id":"txn_1"}],"has_more":true,"links":null}"#, "after_id").unwrap(), "txn_1");
        assert_eq!(next(r#"{"data":[{"id":"txn_1"}],"has_more":false,"links":[]}"#, "after_id"), None);
        assert_eq!(next(r#"{"data":[],"has_more":true}"#, "after_id"), None);
    }

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let page =
            |more| format!(r#"{{"data":[{{"id":"d-1"}}],"pagination":{{"next_cursor":"d-1","has_more":{more}}}}}"#);
        assert_eq!(next(&page(true), "cursor").unwrap(), "d-1");
        assert_eq!(next(&page(false), "cursor"), None);
    }

    #[test]
    fn a_full_page_of_a_bare_array_has_a_next_one() {
        let array = |rows| format!("[{}]", vec![r#"{"id":"i-1"}"#; rows].join(","));
        assert_eq!(next(&array(ROWS), "last_invoice_id").unwrap(), "i-1");
        assert_eq!(next(&array(ROWS - 1), "last_invoice_id"), None);
    }

    #[test]
    fn a_transaction_keeps_its_digits() {
        let row = r#"{"id":"txn_1","product_id":"py-1","type":"PAYMENT","status":"SUCCESS","currency":"PHP",
            "amount":1000.10,"cashflow":"MONEY_IN","created":"2026-01-02T03:04:05.678Z","fee":{"xendit_fee":1}}"#;
        let row: Box<RawValue> = serde_json::from_str(row).unwrap();
        assert_eq!(Transaction::read(&row).unwrap().money.to_string(), "PHP 1000.10");
    }

    #[test]
    fn an_amount_that_is_not_exact_is_refused() {
        for (field, value) in [("amount", "1e3"), ("cashflow", r#""SIDEWAYS""#), ("currency", r#""php""#)] {
            let mut row = serde_json::json!({"id":"t","product_id":"p","type":"PAYMENT","status":"SUCCESS",
                "currency":"PHP","amount":1,"cashflow":"MONEY_IN","created":"2026-01-02T03:04:05Z"});
            row[field] = "REPLACED".into();
            let row = row.to_string().replace(r#""REPLACED""#, value);
            let row: Box<RawValue> = serde_json::from_str(&row).unwrap();
            assert!(matches!(Transaction::read(&row), Err(Error::Unreadable(_))), "{field}");
        }
    }
}
