//! Books: what the fake knows. Objects as the API returns them, and the transactions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{gate::Caller, reply::Refusal};

/// The sorts of objects. Ids are unique among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Invoice,
    VirtualAccount,
    VirtualAccountPayment,
    FixedPaymentCode,
    FixedPaymentCodePayment,
    PaymentCode,
    PaymentCodePayment,
    QrCode,
    Charge,
    ChargeRefund,
    PaymentRequest,
    Payment,
    Payout,
    Disbursement,
    Refund,
    Report,
    Dispute,
}

impl Family {
    /// What Xendit calls an unknown id.
    pub(super) const fn not_found(self) -> &'static str {
        match self {
            Self::Invoice => "INVOICE_NOT_FOUND_ERROR",
            Self::VirtualAccount | Self::VirtualAccountPayment => "CALLBACK_VIRTUAL_ACCOUNT_NOT_FOUND_ERROR",
            Self::Disbursement => "DIRECT_DISBURSEMENT_NOT_FOUND_ERROR",
            _ => "DATA_NOT_FOUND",
        }
    }
}

#[derive(Clone, Debug)]
struct Object {
    family: Family,
    account: String,
    now: Value,
    /// Before its last change.
    before: Option<Value>,
}

/// All that the fake knows.
#[derive(Debug, Default)]
pub(super) struct Books {
    objects: BTreeMap<String, Object>,
    /// The ids in the order of creation.
    order: Vec<String>,
    /// The transactions in the order of creation, each with its account.
    transactions: Vec<Value>,
    callback_urls: BTreeMap<(String, String), String>,
    /// The answers to requests with an idempotency key, with the requests.
    answered: BTreeMap<(String, String), (Value, String)>,
}

/// A movement of money.
pub(super) struct Movement<'a> {
    pub(super) product_id: String,
    pub(super) reference: &'a Value,
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) category: &'static str,
    pub(super) channel: &'a Value,
    pub(super) currency: &'a Value,
    pub(super) amount: &'a Value,
    pub(super) is_money_in: bool,
    pub(super) product_data: Value,
}

impl Books {
    /// Adds an object.
    pub(super) fn add(&mut self, family: Family, account: &str, id: &str, object: Value) {
        let object = Object { family, account: account.to_owned(), now: object, before: None };
        self.objects.insert(id.to_owned(), object);
        self.order.push(id.to_owned());
    }

    /// An object as the caller sees it. Another account's does not exist for it.
    pub(super) fn get(&self, caller: &Caller, family: Family, id: &str) -> Result<&Value, Refusal> {
        let object = self.objects.get(id).filter(|object| object.family == family && object.account == caller.account);
        let object = object.ok_or_else(|| Refusal::not_found(family.not_found()))?;
        Ok(object.before.as_ref().filter(|_| caller.is_stale).unwrap_or(&object.now))
    }

    /// The objects of an account, newest first.
    pub(super) fn list(&self, account: &str, family: Family) -> impl Iterator<Item = &Value> {
        let objects = self.order.iter().rev().filter_map(|id| self.objects.get(id));
        let account = account.to_owned();
        objects.filter(move |object| object.family == family && object.account == account).map(|object| &object.now)
    }

    /// Changes an object, sets its `updated` if it is another one then, and returns it.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let Some(object) = self.objects.get_mut(id) else { return Value::Null };
        let before = object.now.clone();
        if let Value::Object(fields) = &mut object.now {
            change(fields);
        }
        if object.now == before {
            return before;
        }
        object.before = Some(before);
        if let Value::Object(fields) = &mut object.now {
            for key in ["updated", "updated_at"] {
                if let Some(updated) = fields.get_mut(key) {
                    *updated = now();
                }
            }
        }
        object.now.clone()
    }

    /// An object, by its id alone.
    pub(super) fn find(&self, id: &str) -> Option<(Family, &Value)> {
        self.objects.get(id).map(|object| (object.family, &object.now))
    }

    /// The account of an object.
    pub(super) fn owner(&self, id: &str) -> String {
        self.objects.get(id).map(|object| object.account.clone()).unwrap_or_default()
    }

    /// Notes a movement of money.
    pub(super) fn move_money(&mut self, account: &str, movement: &Movement<'_>) {
        let at = now();
        self.transactions.push(json!({
            "id": format!("txn_{}", Uuid::new_v4()),
            "product_id": movement.product_id,
            "reference_id": movement.reference,
            "type": movement.kind,
            "status": movement.status,
            "channel_category": movement.category,
            "channel_code": movement.channel,
            "account_identifier": null,
            "currency": movement.currency,
            "amount": movement.amount,
            "net_amount": movement.amount,
            "net_amount_currency": movement.currency,
            "cashflow": if movement.is_money_in { "MONEY_IN" } else { "MONEY_OUT" },
            "settlement_status": if movement.is_money_in { json!("PENDING") } else { Value::Null },
            "estimated_settlement_time": null,
            "business_id": account,
            "fee": { "xendit_fee": 0, "value_added_tax": 0, "xendit_withholding_tax": 0,
                "third_party_withholding_tax": 0, "status": "PENDING" },
            "product_data": movement.product_data,
            "created": at,
            "updated": at,
        }));
    }

    /// Changes the transactions of a product.
    pub(super) fn change_movement(&mut self, product_id: &str, change: impl Fn(&mut Map<String, Value>)) {
        for row in self.transactions.iter_mut().filter(|row| row["product_id"] == product_id) {
            if let Value::Object(row) = row {
                change(row);
                row.insert("updated".to_owned(), now());
            }
        }
    }

    /// The transactions of an account, newest first.
    pub(super) fn transactions(&self, account: &str) -> impl Iterator<Item = &Value> {
        let account = account.to_owned();
        self.transactions.iter().rev().filter(move |row| row["business_id"] == account.as_str())
    }

    /// The transactions of all accounts, oldest first.
    pub(super) fn all_transactions(&self) -> &[Value] {
        &self.transactions
    }

    pub(super) fn set_callback_url(&mut self, account: &str, callback_type: &str, url: &str) {
        self.callback_urls.insert((account.to_owned(), callback_type.to_owned()), url.to_owned());
    }

    pub(super) fn callback_url(&self, account: &str, callback_type: &str) -> Option<String> {
        self.callback_urls.get(&(account.to_owned(), callback_type.to_owned())).cloned()
    }

    /// The id of what an earlier request with this key created. An error: that request was another one.
    pub(super) fn repeated(&self, account: &str, key: &str, request: &Value) -> Result<Option<&str>, Refusal> {
        match self.answered.get(&(account.to_owned(), key.to_owned())) {
            None => Ok(None),
            Some((first, id)) if first == request => Ok(Some(id)),
            Some(_) => Err(Refusal::new(
                axum::http::StatusCode::CONFLICT,
                "DUPLICATE_ERROR",
                "The idempotency key was used with another body",
            )),
        }
    }

    pub(super) fn remember(&mut self, account: &str, key: &str, request: Value, id: &str) {
        self.answered.insert((account.to_owned(), key.to_owned()), (request, id.to_owned()));
    }
}

/// The time in Xendit's form.
pub(super) fn now() -> Value {
    at(Timestamp::now())
}

pub(super) fn at(time: Timestamp) -> Value {
    format!("{time:.3}").into()
}

/// An id of 24 hexadecimal digits.
pub(super) fn hex_id() -> String {
    Uuid::new_v4().simple().to_string().chars().take(24).collect()
}

/// An id with a prefix.
pub(super) fn id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4())
}

/// Digits, such as those of a virtual account's number.
pub(super) fn digits(count: usize) -> String {
    std::iter::repeat_with(|| char::from(b'0' + fastrand::u8(0..10))).take(count).collect()
}
