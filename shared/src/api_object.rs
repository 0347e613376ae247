//! API object: reads an object that Xendit's API returned, by the table of the product whose webhooks are about it.
//!
//! Such an object names no event, so its status decides the stage. Objects without a status exist only once the money has
//! come. A status that no webhook reports, such as `ACCEPTING_PAYMENTS`, is unknown.

use jiff::Timestamp;

use crate::{
    lifecycle::{
        Order,
        PaymentPhase::{Failed, Pending, Succeeded, Voided},
        Stage::{self, Payment},
    },
    object::{Fields, Object, Unreadable},
    observation::{Observation, Unknown},
    product::{Event, Form, Product, StageFrom},
    products,
    resource::{COMMON, Resource, Role},
};

/// The object says nothing about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotObserved {
    /// It is not a JSON object.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It lacks what identifies the fact, or its status is unknown.
    #[error("{0}")]
    Unknown(Unknown),
}

impl From<Unknown> for NotObserved {
    fn from(reason: Unknown) -> Self {
        Self::Unknown(reason)
    }
}

/// Reads an object of the product that sends the webhook `event`, a name of the catalogue.
///
/// The observation names the webhook that reports the object's stage: the object of an authorized payment that has been
/// captured since is read as `payment.capture`.
pub fn observe(bytes: &[u8], event: &str) -> Result<Observation, NotObserved> {
    let body = read(bytes)?;
    let named = |product: &'static Product| Some((product, product.events.iter().find(|known| known.name == event)?));
    let (product, event) = products::ALL.iter().find_map(|product| named(product)).ok_or(Unknown::Event)?;
    let inside = match product.form {
        Form::Under(_) => product.object(&body).ok().flatten(),
        Form::Unnamed | Form::Flat | Form::FlatWith(_) | Form::Enveloped => None,
    };
    let mut fields = Fields::of(inside.as_ref().unwrap_or(&body), Timestamp::MAX);
    let stage = stage(product.resource, event, &mut fields)?;
    let reports = product.events.iter().find(|event| event.may_report(stage)).unwrap_or(event);
    finish(product.resource, reports.name, stage, fields)
}

/// Reads a row of `GET /transactions` as the payment that it is about. `event` is the webhook that reports the payment.
///
/// The id is the row's `product_id`, which lacks the prefix of some payments' ids.
pub fn observe_transaction(bytes: &[u8], event: &str) -> Result<Observation, NotObserved> {
    let body = read(bytes)?;
    let mut fields = Fields::of(&body, Timestamp::MAX);
    let stage = TRANSACTIONS.stage(&mut fields)?.ok_or(Unknown::Missing("status"))?;
    finish(&TRANSACTIONS, event, stage, fields)
}

/// A transaction of a payment.
const TRANSACTIONS: Resource = Resource {
    id: &["product_id"],
    statuses: &[
        ("PENDING", Payment(Pending)),
        ("FAILED", Payment(Failed)),
        ("SUCCESS", Payment(Succeeded)),
        ("VOIDED", Payment(Voided)),
    ],
    // `updated` moves when the money is settled.
    times: &["created"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

fn read(bytes: &[u8]) -> Result<Object<'_>, NotObserved> {
    let body = Object::read(bytes)?;
    if body.is_ambiguous() { Err(Unknown::Ambiguous.into()) } else { Ok(body) }
}

fn stage(resource: &Resource, event: &Event, fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
    if let StageFrom::Rule(_, rule) = event.stage_from
        && let Ok(stage) = rule(fields)
    {
        return Ok(stage);
    }
    match event.stage_from {
        StageFrom::NameOnly(stage) if resource.statuses.is_empty() => Ok(stage),
        _ => resource.stage(fields)?.ok_or(Unknown::Missing(resource.status_field())),
    }
}

fn finish(
    resource: &Resource,
    event: &str,
    stage: Stage,
    mut fields: Fields<'_, '_>,
) -> Result<Observation, NotObserved> {
    let mut seen = resource.observe(&mut fields, event, stage)?;
    if seen.kind().order() == Order::ByTime && seen.occurred_at.is_none() {
        return Err(Unknown::Missing("updated").into());
    }
    seen.drift = fields.into_drift();
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(body: &str, event: &str) -> Observation {
        observe(body.as_bytes(), event).unwrap()
    }

    #[test]
    fn an_invoice_is_read_as_its_webhook_is() {
        let body = r#"{"id":"i-1","external_id":"order-1","user_id":"acc","status":"SETTLED","merchant_name":"M",
            "amount":1000,"paid_amount":1000.50,"currency":"PHP","paid_at":"2026-01-02T03:04:05Z"}"#;
        let webhook = crate::webhook::Webhook::parse(body.as_bytes(), None).unwrap().observe();
        assert_eq!(seen(body, "invoice"), webhook);
        assert_eq!(webhook.paid.unwrap().to_string(), "PHP 1000.50");
    }

    #[test]
    fn an_object_is_named_after_the_webhook_that_reports_its_stage() {
        let body = r#"{"payment_id":"py-1","status":"SUCCEEDED","currency":"PHP","request_amount":10,
            "captures":[{"capture_id":"cap-1","capture_amount":10}]}"#;
        let payment = seen(body, "payment.authorization");
        assert_eq!((payment.event.as_str(), payment.stage), ("payment.capture", Payment(Succeeded)));
        assert_eq!(payment.captures["cap-1"].to_string(), "PHP 10");
    }

    #[test]
    fn a_payment_into_a_virtual_account_has_come_because_it_exists() {
        let body = r#"{"payment_id":"1","callback_virtual_account_id":"va","amount":5,"currency":"IDR","status":"?"}"#;
        assert_eq!(seen(body, "fva_paid").stage, Payment(Succeeded));
    }

    #[test]
    fn a_wallet_charge_is_voided_only_if_it_says_so() {
        let charge = |void: &str| format!(r#"{{"id":"ewc_1","status":"SUCCEEDED","void_status":{void}}}"#);
        assert_eq!(seen(&charge("\"SUCCEEDED\""), "ewallet.void").stage, Payment(Voided));
        assert_eq!(seen(&charge("\"PENDING\""), "ewallet.void").stage, Payment(Succeeded));
        assert_eq!(seen(&charge("null"), "ewallet.void").stage, Payment(Succeeded));
    }

    #[test]
    fn a_bill_payments_properties_are_read() {
        let body = r#"{"data":{"id":"trx-1","properties":{"status":"SUCCEEDED","total_amount":7}}}"#;
        assert_eq!(seen(body, "bill_payments.succeeded").paid.unwrap().to_string(), "IDR 7");
    }

    #[test]
    fn a_transaction_is_read_as_its_payment() {
        let body = br#"{"id":"txn_1","product_id":"1-2","status":"SUCCESS","currency":"IDR","amount":1500,
            "reference_id":"order-1","created":"2026-01-01T00:00:00Z","updated":"2026-01-04T00:00:00Z"}"#;
        let payment = observe_transaction(body, "qr.payment").unwrap();
        assert_eq!((payment.id.as_str(), payment.stage), ("1-2", Payment(Succeeded)));
        assert_eq!(payment.paid.unwrap().to_string(), "IDR 1500");
        assert_eq!(payment.occurred_at, Some("2026-01-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_says_nothing_about_a_subject_is_refused_with_the_reason() {
        let refused = |body: &str, event| observe(body.as_bytes(), event).unwrap_err();
        assert_eq!(refused("<html>", "invoice"), Unreadable::NotJson.into());
        assert_eq!(refused(r#"{"status":"PAID"}"#, "invoice"), Unknown::Missing("id").into());
        assert_eq!(refused(r#"{"id":"1"}"#, "invoice"), Unknown::Missing("status").into());
        assert_eq!(refused(r#"{"id":"1","id":"2","status":"PAID"}"#, "invoice"), Unknown::Ambiguous.into());
        assert_eq!(refused(r#"{"id":"1","status":"PAID"}"#, "gift_card"), Unknown::Event.into());
        let open = r#"{"payment_request_id":"pr-1","status":"ACCEPTING_PAYMENTS"}"#;
        assert_eq!(refused(open, "payment_request.expiry"), Unknown::Value("status").into());
        let account = r#"{"id":"va","status":"ACTIVE"}"#;
        assert_eq!(refused(account, "fva_status"), Unknown::Missing("updated").into());
    }
}
