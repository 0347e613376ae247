//! What must hold for every known body: a field that is not needed may be missing, null, new, or a string instead of a
//! number; and no damage to a body changes the money that it states.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bodies;

use bodies::bodies;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::{
    lifecycle::{InvoicePhase, Kind, Order, PaymentPhase, Stage},
    observation::Observation,
    webhook::Webhook,
};

/// The keys without which a webhook is not recognised, or does not say what happened to what.
const IDENTIFYING: &[&str] = &[
    "event",
    "data",
    "id",
    "payment_id",
    "fixed_payment_code_payment_id",
    "transaction_id",
    "payment_request_id",
    "payment_token_id",
    "payment_session_id",
    "payout_id",
    "user_id",
    "external_id",
    "ewallet_type",
    "callback_authentication_token",
    "callback_virtual_account_id",
    "cardless_credit_type",
    "is_closed",
    "account_number",
    "merchant_name",
    "expiration_timestamp",
    "qr_code",
    "capabilities",
    "kyc",
    "status",
    "payment_status",
    "transaction_status",
];

/// The keys that say which of two webhooks is newer, where times decide that.
const TIMES: &[&str] = &["updated", "updated_at", "timestamp", "created"];

#[test]
fn a_field_that_does_not_identify_the_fact_may_be_missing_or_null() {
    for (file, original, before) in known() {
        for path in paths(&original) {
            let mut missing = original.clone();
            remove(&mut missing, &path);
            let mut null = original.clone();
            *at(&mut null, &path) = Value::Null;
            for (body, how) in [(missing, "missing"), (null, "null")] {
                let after = observe(&body.to_string());
                if (after.stage, &after.id) == (before.stage, &before.id) {
                    continue;
                }
                let name = path.iter().rev().find_map(Step::key).unwrap_or_default();
                let decides = before.kind().order() == Order::ByTime && TIMES.contains(&name);
                assert!(decides || IDENTIFYING.contains(&name), "{file}: {path:?} {how}");
                assert!(after.kind() == Kind::Unknown, "{file}: {path:?} {how}");
            }
        }
    }
}

#[test]
fn a_number_may_be_a_string_of_its_digits() {
    for (file, original, before) in known() {
        for path in paths(&original) {
            let mut body = original.clone();
            let value = at(&mut body, &path);
            // The list of capabilities is told apart by how it is written.
            if value.is_number() && before.kind() != Kind::Capabilities {
                *value = Value::String(value.to_string());
                assert_eq!(observe(&body.to_string()), before, "{file}: {path:?}");
            }
        }
    }
}

#[test]
fn an_unknown_field_may_stand_anywhere() {
    for (file, original, before) in known() {
        for path in paths(&original).into_iter().chain([Vec::new()]) {
            let mut body = original.clone();
            if let Value::Object(object) = at(&mut body, &path) {
                object.insert("a_field_of_tomorrow".to_owned(), json!({"data": {"id": 1}, "status": [null]}));
                let mut after = observe(&body.to_string());
                if before.kind() == Kind::Capabilities {
                    after.mark.clone_from(&before.mark);
                }
                assert_eq!(after, before, "{file}: {path:?}");
            }
        }
    }
}

#[test]
fn a_body_that_is_cut_short_is_unreadable() {
    for (file, body) in bodies() {
        for end in 0..body.trim_ascii_end().len() {
            assert!(Webhook::parse(&body[..end], None).is_err(), "{file}: {end}");
        }
    }
}

#[test]
fn a_value_of_another_type_never_makes_other_money() {
    for (file, original, before) in known() {
        for path in paths(&original) {
            for other in [json!(null), json!(true), json!(7), json!("not what it was"), json!([]), json!({})] {
                let mut body = original.clone();
                let value = at(&mut body, &path);
                // A number in an id's place is read as its digits, and is another id.
                let same_type = std::mem::discriminant(value) == std::mem::discriminant(&other);
                if same_type || (value.is_string() && other.is_number()) {
                    continue;
                }
                *value = other;
                let after = observe(&body.to_string());
                assert_no_other_money(&before, &after, &format!("{file}: {path:?}"));
            }
        }
    }
}

#[test]
fn a_value_that_is_nested_ten_thousand_deep_never_makes_other_money() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    for (file, original, before) in known() {
        for path in paths(&original).into_iter().filter(|path| path.len() <= 2) {
            let mut body = original.clone();
            *at(&mut body, &path) = json!("@");
            let after = observe(&body.to_string().replace(r#""@""#, &deep));
            assert_no_other_money(&before, &after, &format!("{file}: {path:?}"));
        }
        let mut body = original;
        body["a_field_of_tomorrow"] = json!("@");
        assert_eq!(observe(&body.to_string().replace(r#""@""#, &deep)), before, "{file}");
    }
}

#[test]
fn a_key_that_stands_in_a_body_twice_never_makes_other_money() {
    for (file, original, before) in known() {
        for path in paths(&original) {
            let Some((Step::Key(key), parents)) = path.split_last() else { continue };
            for other in [json!("x"), json!(7), json!("SUCCEEDED"), json!({"id": "x"})] {
                // Keys are written in the order of their bytes: one of these comes before the key, one behind.
                for again in [format!("@{key}"), format!("~{key}")] {
                    let mut body = original.clone();
                    at(&mut body, parents)[&again] = other.clone();
                    let body = body.to_string().replace(&format!(r#""{again}""#), &format!(r#""{key}""#));
                    assert_no_other_money(&before, &observe(&body), &format!("{file}: {path:?}"));
                }
            }
        }
    }
}

#[test]
fn an_amount_survives_digit_for_digit() {
    for (file, original, before) in known() {
        // Their amounts are whole numbers of minor units, and tested where that is dealt with.
        let in_major_units = !before.event.starts_with("v3_payout.");
        let has_money = before.paid.is_some() || before.requested.is_some() || !before.captures.is_empty();
        if !has_money || !in_major_units {
            continue;
        }
        for digits in ["10000.01", "1000.10", "0.1", "12345678901234567890"] {
            let mut survived = 0;
            for path in paths(&original) {
                let mut body = original.clone();
                let value = at(&mut body, &path);
                if amounts(&before).iter().all(|amount| *amount != value.to_string().trim_matches('"')) {
                    continue;
                }
                *value = json!("@");
                let text = body.to_string();
                for written in [digits.to_owned(), format!(r#""{digits}""#)] {
                    let after = observe(&text.replace(r#""@""#, &written));
                    assert_eq!((after.stage, &after.id), (before.stage, &before.id), "{file}: {path:?}");
                    survived += usize::from(amounts(&after).iter().any(|amount| amount == digits));
                }
            }
            assert!(survived >= 2, "{file}: {digits}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(webhook) = Webhook::parse(&bytes, None) {
            webhook.observe();
        }
    }

    #[test]
    fn no_byte_out_of_place_makes_reading_panic(which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let bodies: Vec<_> = bodies().into_values().collect();
        let mut body = which.get(&bodies).clone();
        let place = place.index(body.len());
        body[place] = byte;
        if let Ok(webhook) = Webhook::parse(&body, None) {
            webhook.observe();
        }
    }
}

/// Every body as a value, with what it is observed as.
fn known() -> impl Iterator<Item = (String, Value, Observation)> {
    bodies().into_iter().map(|(file, body)| {
        let value: Value = serde_json::from_slice(&body).unwrap();
        let before = observe(&value.to_string());
        (file, value, before)
    })
}

fn observe(body: &str) -> Observation {
    Webhook::parse(body.as_bytes(), None).unwrap().observe()
}

fn is_money_in(observation: &Observation) -> bool {
    matches!(
        observation.stage,
        Stage::Payment(PaymentPhase::Succeeded) | Stage::Invoice(InvoicePhase::Paid | InvoicePhase::Settled)
    )
}

/// What a damaged body is taken for: the same money as before, or none.
fn assert_no_other_money(before: &Observation, after: &Observation, what: &str) {
    if !is_money_in(after) {
        return;
    }
    assert_eq!((after.stage, &after.id), (before.stage, &before.id), "{what}");
    assert!(after.paid.is_none() || after.paid == before.paid, "{what}");
    assert!(after.captures.iter().all(|(id, money)| before.captures.get(id) == Some(money)), "{what}");
    assert!(
        after.captures.is_empty() || after.captures == before.captures || !after.unread_captures.is_empty(),
        "{what}"
    );
}

fn amounts(observation: &Observation) -> Vec<String> {
    let money = observation.paid.iter().chain(&observation.requested).chain(observation.captures.values());
    money.map(|money| money.amount.to_string()).collect()
}

/// One step on the way to a value in a body.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// The ways to all values in a body.
fn paths(value: &Value) -> Vec<Vec<Step>> {
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, child)| (Step::Key(key.clone()), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, child)| (Step::Index(i), child)).collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (step, child) in children {
        found.push(vec![step.clone()]);
        found.extend(paths(child).into_iter().map(|rest| [vec![step.clone()], rest].concat()));
    }
    found
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key],
        Step::Index(index) => &mut value[index],
    })
}

fn remove(value: &mut Value, path: &[Step]) {
    match path.split_last() {
        Some((Step::Key(key), parents)) => {
            at(value, parents).as_object_mut().unwrap().remove(key);
        }
        Some((Step::Index(index), parents)) => {
            at(value, parents).as_array_mut().unwrap().remove(*index);
        }
        None => {}
    }
}
