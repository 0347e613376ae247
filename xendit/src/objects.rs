//! Objects: what Xendit's API returns about the subject of a webhook. One table: for which webhooks, from where, and how the
//! answer is compared with the webhook.
//!
//! **Invariant:** ids come from the named fields of a webhook's object, never from a URL in its body.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use shared::{
    api_object::{observe, observe_transaction},
    observation::Observation,
    webhook::Webhook,
};

use crate::{
    client::{Call, Client},
    error::{Answered, Error},
};

/// What stays as it is in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The version of the payments API.
pub(crate) const PAYMENTS_VERSION: &str = "2024-11-11";

/// Where the API returns the subject of some webhooks.
#[derive(Debug)]
struct Endpoint {
    /// The webhooks, by their names in the catalogue.
    events: &'static [&'static str],
    /// The path. A name in braces is a field of the webhook's object.
    path: &'static str,
    version: Option<&'static str>,
    returns: Returns,
}

/// What an endpoint returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    /// The subject.
    Subject,
    /// The object with this field's value as its id, which states the same as the subject.
    Instead(&'static str),
    /// A list with the subject in it.
    Rows,
    /// The transactions of the subject, by its id without this prefix.
    Transactions(&'static str),
}

impl Endpoint {
    const fn new(events: &'static [&'static str], path: &'static str) -> Self {
        Self { events, path, version: None, returns: Returns::Subject }
    }

    const fn version(self, version: &'static str) -> Self {
        Self { version: Some(version), ..self }
    }

    const fn returns(self, returns: Returns) -> Self {
        Self { returns, ..self }
    }
}

/// All endpoints.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(&["invoice"], "/v2/invoices/{id}"),
    Endpoint::new(&["fva_paid"], "/callback_virtual_account_payments/payment_id={payment_id}"),
    Endpoint::new(&["ro_fpc_paid"], "/fixed_payment_code/{fixed_payment_code_id}/payments").returns(Returns::Rows),
    Endpoint::new(&["payment_code.payment"], "/payment_codes/{payment_code_id}/payments").returns(Returns::Rows),
    Endpoint::new(&["ewallet.capture", "ewallet.void"], "/ewallets/charges/{id}"),
    Endpoint::new(&["ewallet.refund"], "/ewallets/charges/{charge_id}/refunds/{id}"),
    // The payment of a QR code cannot be read, but its transaction can.
    Endpoint::new(&["qr.payment"], "/transactions?product_id={id}").returns(Returns::Transactions("qrpy_")),
    Endpoint::new(&["direct_debit.payment"], "/direct_debits/{id}/"),
    Endpoint::new(&["paylater.payment"], "/paylater/charges/{id}"),
    // A payment cannot be read, but the request that it pays can. Money without a request has neither.
    Endpoint::new(
        &["payment.succeeded", "payment.failed", "payment.pending", "payment.awaiting_capture"],
        "/payment_requests/{payment_request_id}",
    )
    .returns(Returns::Instead("payment_request_id")),
    Endpoint::new(&["capture.succeeded", "capture.failed"], "/payment_requests/{payment_request_id}/captures")
        .returns(Returns::Rows),
    Endpoint::new(
        &["payment_method.activated", "payment_method.expired", "payment_method.failed"],
        "/v2/payment_methods/{id}",
    ),
    // Never the request: it stays expired when money comes late.
    Endpoint::new(
        &["payment.capture", "payment.authorization", "payment.failure", "payment.expiry"],
        "/v3/payments/{payment_id}",
    )
    .version(PAYMENTS_VERSION),
    Endpoint::new(&["payment_request.expiry", "payment_request.expired"], "/v3/payment_requests/{payment_request_id}")
        .version(PAYMENTS_VERSION),
    Endpoint::new(
        &["payment_token.activation", "payment_token.activated", "payment_token.failure", "payment_token.expiry"],
        "/v3/payment_tokens/{payment_token_id}",
    )
    .version(PAYMENTS_VERSION),
    Endpoint::new(&["payment_session.completed", "payment_session.expired"], "/sessions/{payment_session_id}"),
    Endpoint::new(&["refund.succeeded", "refund.failed"], "/refunds/{id}"),
    Endpoint::new(&["recurring.plan.activated", "recurring.plan.inactivated"], "/recurring/plans/{id}")
        .version("2026-01-01"),
    Endpoint::new(
        &[
            "recurring.cycle.created",
            "recurring.cycle.retrying",
            "recurring.cycle.succeeded",
            "recurring.cycle.failed",
            "recurring.cycle.force_attempt_failed",
        ],
        "/recurring/plans/{plan_id}/cycles/{id}",
    )
    .version("2026-01-01"),
    Endpoint::new(&["disbursement", "ph_disbursement"], "/disbursements/{id}"),
    Endpoint::new(
        &["payout.succeeded", "payout.failed", "payout.reversed", "payout.expired", "payout.refunded"],
        "/v2/payouts/{id}",
    ),
    Endpoint::new(&["payout_link"], "/payouts/{id}"),
    Endpoint::new(
        &[
            "v3_payout.succeeded",
            "v3_payout.failed",
            "v3_payout.reversed",
            "v3_payout.rejected",
            "v3_payout.pending_compliance",
        ],
        "/v3/payouts/{payout_id}",
    )
    .version("2025-09-01"),
    Endpoint::new(
        &[
            "remittance_payout.pending_compliance_assessment",
            "remittance_payout.compliance_rejected",
            "remittance_payout.ready",
            "remittance_payout.locked",
            "remittance_payout.failed",
            "remittance_payout.expired",
            "remittance_payout.succeeded",
            "remittance_payout.reversed",
        ],
        "/remittance_payouts/{id}",
    ),
    Endpoint::new(&["report"], "/reports/{id}"),
    Endpoint::new(
        &[
            "dispute.action_required",
            "dispute.due_date_approaching",
            "dispute.under_review",
            "dispute.won",
            "dispute.lost",
        ],
        "/v1/disputes/{id}",
    ),
    Endpoint::new(&["bill_payment.succeeded", "bill_payment.failed"], "/bill-payments/v1/payment/{payment_id}"),
    Endpoint::new(&["bill_payments.succeeded", "bill_payments.failed"], "/bill-payments/v1/payment/{id}"),
];

/// Where the API returns the subject of one webhook.
#[derive(Debug)]
pub struct ObjectRef {
    endpoint: &'static Endpoint,
    path: String,
    event: String,
    /// The id in the answer.
    asked: String,
    subject: String,
    scope: Option<String>,
    captures: BTreeSet<String>,
}

impl ObjectRef {
    /// Where the subject of a webhook is. `None`: the API does not return it, or the webhook lacks an id that it asks for.
    pub fn of(webhook: &Webhook<'_>) -> Option<Self> {
        let seen = webhook.observe();
        let event = webhook.entry()?.event;
        let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.events.contains(&event))?;
        let mut path = String::new();
        let mut rest = endpoint.path;
        while let Some((before, after)) = rest.split_once('{') {
            let (field, after) = after.split_once('}')?;
            let value = webhook.text_at(field).filter(|value| !matches!(value.as_str(), "." | ".."))?;
            let value = match endpoint.returns {
                Returns::Transactions(prefix) => value.strip_prefix(prefix).unwrap_or(&value).to_owned(),
                Returns::Subject | Returns::Instead(_) | Returns::Rows => value,
            };
            path.extend([before, &segment(&value)]);
            rest = after;
        }
        path.push_str(rest);
        let asked = match endpoint.returns {
            Returns::Subject | Returns::Rows => seen.id.clone(),
            Returns::Instead(field) => webhook.text_at(field)?,
            Returns::Transactions(prefix) => seen.id.strip_prefix(prefix).unwrap_or(&seen.id).to_owned(),
        };
        Some(Self {
            endpoint,
            path,
            event: event.to_owned(),
            asked,
            subject: seen.id,
            scope: seen.scope,
            captures: seen.captures.into_keys().collect(),
        })
    }

    /// Where a subject is, by its id and the name of a webhook about it. `None`: the API does not return it by its id alone.
    pub fn by_id(event: &str, id: &str, scope: Option<&str>) -> Option<Self> {
        let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.events.contains(&event))?;
        let asked = match endpoint.returns {
            Returns::Subject => id,
            Returns::Transactions(prefix) => id.strip_prefix(prefix).unwrap_or(id),
            Returns::Instead(_) | Returns::Rows => return None,
        };
        let (before, after) = endpoint.path.split_once('{')?;
        let (_, after) = after.split_once('}').filter(|(_, after)| !after.contains('{'))?;
        if matches!(id, "." | "..") {
            return None;
        }
        Some(Self {
            endpoint,
            path: format!("{before}{}{after}", segment(asked)),
            event: event.to_owned(),
            asked: asked.to_owned(),
            subject: id.to_owned(),
            scope: scope.map(str::to_owned),
            captures: BTreeSet::new(),
        })
    }

    /// What the answer says about the subject.
    fn read(&self, answer: &[u8]) -> Result<Observation, Error> {
        let seen = match self.endpoint.returns {
            Returns::Subject | Returns::Instead(_) => observe(answer, &self.event)?,
            Returns::Rows => self.find(answer, observe)?,
            Returns::Transactions(_) => self.find(answer, observe_transaction)?,
        };
        if seen.id != self.asked {
            return Err(Error::Contradicts("the id"));
        }
        if self.scope.is_some() && seen.scope != self.scope {
            return Err(Error::Contradicts("what the id belongs to"));
        }
        let mut seen = seen;
        seen.id.clone_from(&self.subject);
        Ok(seen)
    }

    /// The row of the subject. Other rows need not be readable.
    fn find<E>(&self, answer: &[u8], read: fn(&[u8], &str) -> Result<Observation, E>) -> Result<Observation, Error> {
        let rows = rows(answer)?;
        let rows = rows.iter().filter_map(|row| read(row.get().as_bytes(), &self.event).ok());
        let is_subject = |seen: &Observation| {
            seen.id == self.asked && self.captures.iter().all(|capture| seen.captures.contains_key(capture))
        };
        let not_found = Answered { status: 200, code: None, request_id: None };
        rows.into_iter().find(is_subject).ok_or(Error::NotFound(not_found))
    }
}

impl Client {
    /// Reads the subject of a webhook. The observation is of the webhook's subject, in the stage that the API says.
    pub async fn read(&self, object: &ObjectRef) -> Result<Observation, Error> {
        let call = Call::get(object.endpoint.path, object.path.clone(), object.endpoint.version);
        object.read(&self.call(&call).await?)
    }
}

/// A value as one segment of a path.
pub(crate) fn segment(value: &str) -> String {
    utf8_percent_encode(value, SEGMENT).to_string()
}

/// The rows of a list: an array, or an object with one under `data`.
pub(crate) fn rows(answer: &[u8]) -> Result<Vec<&RawValue>, Error> {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }

    let is_array = answer.trim_ascii_start().first() == Some(&b'[');
    let rows = if is_array {
        serde_json::from_slice(answer)
    } else {
        serde_json::from_slice::<Page<'_>>(answer).map(|page| page.data)
    };
    rows.map_err(|_| Error::unreadable("it is not a list"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shared::webhook::catalogue;

    use super::*;

    /// The webhooks whose subjects the API does not return in a form that says the same.
    const NOT_READABLE: &[&str] = &[
        // The account's object has no time, so that the answer may be older than the webhook.
        "fva_status",
        // Retired.
        "ewallet_2019",
        "ewallet.payment",
        "cardless_credit",
        // The lists by customer and by token do not hold what the webhook says.
        "payment_method.expiry.expiring",
        "payment_method.expiry.expired",
        "linked_account_token.successful",
        // No endpoint is known.
        "credit_card.authentication",
        "credit_card.tokenization",
        "payment.verified",
        "batch_disbursement",
        "split.payment",
        // The account's status belongs to another lifecycle, and the answers hold much personal data.
        "account.registered",
        "account.created",
        "account.activated",
        "account.suspected",
        "account.suspended",
        "account.cleared",
        "account.verification",
        "account_holder.kyc.status",
        "account_holder.capabilities.status",
    ];

    #[test]
    fn every_known_webhook_is_readable_or_listed_as_not_readable() {
        for entry in catalogue() {
            let endpoints = ENDPOINTS.iter().filter(|endpoint| endpoint.events.contains(&entry.event)).count();
            let listed = usize::from(NOT_READABLE.contains(&entry.event));
            assert_eq!(endpoints + listed, 1, "{}", entry.event);
        }
        let named = ENDPOINTS.iter().flat_map(|endpoint| endpoint.events).chain(NOT_READABLE);
        for name in named {
            assert!(catalogue().any(|entry| entry.event == *name), "{name} is no webhook");
        }
    }

    #[test]
    fn every_bundled_webhook_of_a_readable_kind_names_its_object() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/webhooks");
        let mut named = 0;
        for file in fs::read_dir(folder).unwrap() {
            let body = fs::read(file.unwrap().path()).unwrap();
            let webhook = Webhook::parse(&body, None).unwrap();
            let Some(entry) = webhook.entry() else { continue };
            let object = ObjectRef::of(&webhook);
            assert_eq!(object.is_none(), NOT_READABLE.contains(&entry.event), "{}", entry.event);
            named += usize::from(object.is_some());
        }
        assert!(named > 60, "{named}");
    }

    fn object(webhook: &str) -> ObjectRef {
        ObjectRef::of(&Webhook::parse(webhook.as_bytes(), None).unwrap()).unwrap()
    }

    const CAPTURED: &str = r#"{"event":"payment.capture","data":{"payment_id":"py-1","status":"SUCCEEDED",
        "currency":"PHP","captures":[{"capture_id":"c-1","capture_amount":10}]}}"#;

    #[test]
    fn a_subject_is_found_by_its_id_where_the_api_asks_for_nothing_else() {
        let path = |event| ObjectRef::by_id(event, "qrpy_1/2", None).map(|object| object.path);
        assert_eq!(path("invoice").unwrap(), "/v2/invoices/qrpy_1%2F2");
        assert_eq!(path("direct_debit.payment").unwrap(), "/direct_debits/qrpy_1%2F2/");
        assert_eq!(path("qr.payment").unwrap(), "/transactions?product_id=1%2F2");
        for event in ["ewallet.refund", "payment.succeeded", "ro_fpc_paid", "split.payment", "gift_card"] {
            assert_eq!(path(event), None, "{event}");
        }
        assert!(ObjectRef::by_id("invoice", "..", None).is_none());
    }

    #[test]
    fn an_id_cannot_leave_its_part_of_the_path() {
        let hostile = CAPTURED.replace("py-1", "../v2/x?y#z é");
        assert_eq!(object(&hostile).path, "/v3/payments/..%2Fv2%2Fx%3Fy%23z%20%C3%A9");
        let parent = CAPTURED.replace("py-1", "..");
        assert!(ObjectRef::of(&Webhook::parse(parent.as_bytes(), None).unwrap()).is_none());
    }

    #[test]
    fn an_answer_about_another_object_contradicts() {
        let answer = br#"{"payment_id":"py-2","status":"SUCCEEDED"}"#;
        assert_eq!(object(CAPTURED).read(answer), Err(Error::Contradicts("the id")));
        let paid = r#"{"callback_virtual_account_id":"va-1","payment_id":"1","amount":5,"currency":"IDR"}"#;
        let other = paid.replace("va-1", "va-2");
        assert_eq!(object(paid).read(other.as_bytes()), Err(Error::Contradicts("what the id belongs to")));
        assert!(object(paid).read(paid.as_bytes()).is_ok());
    }

    #[test]
    fn a_payment_is_confirmed_by_the_request_that_it_pays() {
        let webhook = r#"{"event":"payment.succeeded","data":{"id":"ewc_1","payment_request_id":"pr-1","amount":5,
            "currency":"IDR","status":"SUCCEEDED"}}"#;
        let object = object(webhook);
        assert_eq!(object.path, "/payment_requests/pr-1");
        let answer = br#"{"id":"pr-1","status":"SUCCEEDED","amount":5,"currency":"IDR"}"#;
        let seen = object.read(answer).unwrap();
        assert_eq!((seen.id.as_str(), seen.paid.unwrap().to_string()), ("ewc_1", "IDR 5".to_owned()));
        let of_another = br#"{"id":"pr-2","status":"SUCCEEDED","amount":5,"currency":"IDR"}"#;
        assert_eq!(object.read(of_another), Err(Error::Contradicts("the id")));
    }

    #[test]
    fn a_row_is_found_in_either_form_of_a_list() {
        let webhook = r#"{"fixed_payment_code_id":"fpc-1","fixed_payment_code_payment_id":"p-1","amount":5,
            "status":"COMPLETED"}"#;
        let object = object(webhook);
        let row = |id: &str| format!(r#"{{"fixed_payment_code_payment_id":"{id}","amount":5,"status":"COMPLETED"}}"#);
        let list = format!("[{},7,{}]", row("p-0"), row("p-1"));
        for answer in [list.clone(), format!(r#"{{"data":{list},"has_more":false}}"#)] {
            assert_eq!(object.read(answer.as_bytes()).unwrap().id, "p-1");
        }
        assert!(matches!(object.read(b"[]"), Err(Error::NotFound(_))));
        assert!(matches!(object.read(b"{}"), Err(Error::Unreadable(_))));
    }

    #[test]
    fn one_of_two_captures_is_found_by_its_own_id() {
        let capture = |id: &str, amount: u32| {
            format!(
                r#"{{"id":"{id}","payment_id":"ewc_1","payment_request_id":"pr-1","captured_amount":{amount},
                "currency":"IDR","status":"SUCCEEDED"}}"#
            )
        };
        let object = object(&format!(r#"{{"event":"capture.succeeded","data":{}}}"#, capture("c-2", 6)));
        let seen = object.read(format!("[{},{}]", capture("c-1", 4), capture("c-2", 6)).as_bytes()).unwrap();
        assert_eq!(seen.captures.into_keys().collect::<Vec<_>>(), ["c-2"]);
    }

    #[test]
    fn the_payment_of_a_qr_code_is_confirmed_by_its_transaction() {
        let webhook =
            r#"{"event":"qr.payment","data":{"id":"qrpy_1-2","amount":5,"currency":"IDR","status":"SUCCEEDED"}}"#;
        let object = object(webhook);
        assert_eq!(object.path, "/transactions?product_id=1-2");
        let row = br#"{"data":[{"id":"txn_1","product_id":"1-2","status":"SUCCESS","amount":5,"currency":"IDR"}]}"#;
        let seen = object.read(row).unwrap();
        assert_eq!((seen.id.as_str(), seen.stage.as_str()), ("qrpy_1-2", "payment.succeeded"));
    }
}
