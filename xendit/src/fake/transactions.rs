//! Transactions: each successful payment and each payout, in one list, newest first.
//!
//! Documented at docs.xendit.co/apidocs/list-transactions and get-transaction. The ids of products are those of recorded
//! traffic.

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    routing::get,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::money::Amount;

use super::{
    Shared,
    gate::Caller,
    reply::{Answer, Refusal, amount, ok},
};

/// The filters of the page. Any other parameter is refused.
const FILTERS: [&str; 8] = [
    "types",
    "statuses",
    "channel_categories",
    "reference_id",
    "product_id",
    "account_identifier",
    "currency",
    "amount",
];
const TIMES: [&str; 4] = ["created[gte]", "created[lte]", "updated[gte]", "updated[lte]"];
const PAGING: [&str; 3] = ["limit", "after_id", "before_id"];

/// Not documented. The same as in Xendit's other lists.
const MAX_ROWS: usize = 100;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/transactions", get(list)).route("/transactions/{id}", get(read))
}

async fn list(State(xendit): State<Shared>, caller: Caller, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let known = |name: &str| FILTERS.contains(&name) || TIMES.contains(&name) || PAGING.contains(&name);
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !known(name)) {
        return Err(Refusal::invalid(format!("{name} is not allowed")));
    }
    let one = |name: &str| pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let limit = one("limit").map_or(Ok(10), str::parse::<usize>);
    let limit = limit.ok().filter(|limit| (1..=MAX_ROWS).contains(limit)).ok_or_else(|| Refusal::invalid("limit"))?;
    let mut bounds = Vec::new();
    for name in TIMES {
        let Some(text) = one(name) else { continue };
        let time: Timestamp = text.parse().map_err(|_| Refusal::invalid(name))?;
        bounds.push((name, time));
    }
    let is_asked_for = |row: &&Value| {
        FILTERS.iter().all(|filter| {
            let field = match *filter {
                "types" => "type",
                "statuses" => "status",
                "channel_categories" => "channel_category",
                other => other,
            };
            let mut values = pairs.iter().filter(|(name, _)| name == filter).peekable();
            let is = |value: &str| match field {
                "amount" => value.parse::<Amount>().ok() == amount(&row["amount"]),
                _ => row[field] == value,
            };
            values.peek().is_none() || values.any(|(_, value)| is(value))
        }) && bounds.iter().all(|(name, bound)| {
            let (field, is_lower) = (name.split('[').next().unwrap_or_default(), name.ends_with("[gte]"));
            let at = row[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            at.is_some_and(|at| if is_lower { at >= *bound } else { at <= *bound })
        })
    };
    let books = xendit.books();
    let rows: Vec<_> = books.transactions(&caller.account).filter(is_asked_for).collect();
    let position = |id: Option<&str>| id.and_then(|id| rows.iter().position(|row| row["id"] == id));
    let page: Vec<_> = match (position(one("after_id")), position(one("before_id"))) {
        (Some(after), _) => rows.iter().skip(after + 1).take(limit).collect(),
        (None, Some(before)) => rows.iter().take(before).skip(before.saturating_sub(limit)).collect(),
        (None, None) => rows.iter().take(limit).collect(),
    };
    let last = page.last().map(|row| row["id"].clone()).unwrap_or_default();
    let has_more = !page.is_empty() && rows.last().is_some_and(|row| row["id"] != last);
    let links: Vec<_> = has_more
        .then(|| {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.extend_pairs(pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "after_id" | "before_id")));
            next.append_pair("after_id", last.as_str().unwrap_or_default());
            json!({ "href": format!("/transactions?{}", next.finish()), "rel": "next", "method": "GET" })
        })
        .into_iter()
        .collect();
    ok(json!({ "data": page, "has_more": has_more, "links": links }))
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    let books = xendit.books();
    let row = books.transactions(&caller.account).find(|row| row["id"] == id.as_str());
    ok(row.cloned().ok_or_else(|| Refusal::not_found("DATA_NOT_FOUND"))?)
}
