//! Update: an observation, its delivery, and the body if it may be published.

use std::{collections::BTreeSet, fmt};

use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use shared::{envelope::Delivery, observation::Observation, webhook::Webhook};

use crate::key::Key;

/// How far Xendit's clock may be ahead of ours. A time beyond that is not used.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(15);

/// The largest body that is put into an event: the bus takes 256 KB with everything that is in it.
const MAX_BODY_BYTES: usize = 96 * 1024;

/// A body that is nested deeper than this stays out of the event: parsers differ in how deep they go.
const MAX_BODY_DEPTH: u32 = 50;

/// The webhooks of 2019 carry the callback token in the body. It must not be published.
const TOKEN_KEY: &str = "callback_authentication_token";

/// What one message contributes.
#[derive(Clone, Debug)]
pub struct Update {
    /// What was observed.
    pub observation: Observation,
    /// The delivery that brought it.
    pub delivery: Delivery,
    /// The accounts that the delivery's token is bound to. `None`: it is accepted for every account.
    pub accounts: Option<BTreeSet<String>>,
    /// The body, if it may be in an event.
    pub(crate) body: Option<Box<RawValue>>,
}

impl Update {
    /// An update from a webhook.
    pub fn new(webhook: &Webhook<'_>, delivery: Delivery) -> Self {
        let latest = delivery.received_at.saturating_add(MAX_AHEAD).unwrap_or(Timestamp::MAX);
        let observation = webhook.observe_by(latest);
        Self { observation, delivery, accounts: None, body: publishable(webhook.text()) }
    }

    /// The same, from a token that is bound to these accounts.
    #[must_use]
    pub fn bound_to(self, accounts: Option<BTreeSet<String>>) -> Self {
        Self { accounts, ..self }
    }

    /// The key of the subject.
    pub fn key(&self) -> Key {
        Key::of(self.delivery.environment, &self.observation)
    }

    /// Whether the token is accepted for an account, or where none is named. A token that is bound to no account is accepted
    /// for nothing.
    pub(crate) fn is_accepted_for(&self, account: Option<&String>) -> bool {
        let Some(accounts) = &self.accounts else { return true };
        account.map_or(!accounts.is_empty(), |account| accounts.contains(account))
    }
}

/// The body, if EventBridge and its consumers can take it, and if it holds no token.
fn publishable(text: &str) -> Option<Box<RawValue>> {
    if text.len() > MAX_BODY_BYTES || text.contains(TOKEN_KEY) {
        return None;
    }
    serde_json::from_str::<Publishable>(text).ok()?;
    serde_json::from_str(text).ok()
}

/// JSON that EventBridge and its consumers accept: integers of at most 64 bits, not nested too deep.
struct Publishable;

impl<'de> Deserialize<'de> for Publishable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Inspect { depth: 0 }).map(|()| Self)
    }
}

/// Walks through a value.
#[derive(Clone, Copy)]
struct Inspect {
    depth: u32,
}

impl Inspect {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_BODY_DEPTH { Err(E::custom("nested too deep")) } else { Ok(Self { depth }) }
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Inspect {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inspect {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that EventBridge accepts")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    /// EventBridge refuses integers beyond signed 64 bits.
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        i64::try_from(number).map(drop).map_err(E::custom)
    }

    /// A fraction, or an integer beyond 64 bits; only the magnitude distinguishes them.
    #[expect(clippy::disallowed_types, reason = "only its magnitude is checked; no money is read")]
    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        const LIMIT: f64 = 9.2e18;
        if number.abs() <= LIMIT { Ok(()) } else { Err(E::custom("a number beyond 64 bits")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while entries.next_key::<IgnoredAny>()?.is_some() {
            entries.next_value_seed(inside)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_publishable(data: &str) -> bool {
        publishable(&format!(r#"{{"event":"moon.landed","data":{data}}}"#)).is_some()
    }

    #[test]
    fn a_body_that_the_bus_takes_is_published_as_it_came() {
        let text = r#"{"a": 1.50, "b":[true,null,"\u00e9"],"c":-9223372036854775808}"#;
        assert_eq!(publishable(text).unwrap().get(), text);
    }

    #[test]
    fn numbers_beyond_64_bits_stay_out() {
        for number in ["9223372036854775807", "-9223372036854775808", "0.1", "1e3", "12345678901234567.890"] {
            assert!(is_publishable(number), "{number}");
        }
        for number in
            ["9223372036854775808", "18446744073709551616", "-9223372036854775809000", "1e400", &"9".repeat(5_000)]
        {
            assert!(!is_publishable(number), "{number}");
            assert!(!is_publishable(&format!(r#"{{"deep":[{number}]}}"#)), "{number}");
        }
    }

    #[test]
    fn what_is_too_large_or_too_deep_or_no_text_stays_out() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let depth = MAX_BODY_DEPTH as usize - 1;
        assert!(is_publishable(&nested(depth)) && !is_publishable(&nested(depth + 1)));
        assert!(!is_publishable(&nested(100_000)));
        assert!(is_publishable(r#""[[[\"{{{""#));
        let sized = |bytes: usize| publishable(&format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8))).is_some();
        assert!(sized(MAX_BODY_BYTES) && !sized(MAX_BODY_BYTES + 1));
        assert!(!is_publishable(r#""\ud800""#), "half a character");
    }

    #[test]
    fn the_callback_token_stays_out() {
        assert!(!is_publishable(r#"{"callback_authentication_token":"secret"}"#));
    }

    fn update(body: &str) -> Update {
        let delivery = Delivery {
            id: "d-1".to_owned(),
            received_at: "2026-01-02T03:00:00Z".parse().unwrap(),
            environment: shared::envelope::Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        Update::new(&Webhook::parse(body.as_bytes(), None).unwrap(), delivery)
    }

    #[test]
    fn a_time_in_the_future_is_not_used() {
        let cycle = |updated: &str| {
            update(&format!(r#"{{"event":"recurring.cycle.created","data":{{"id":"c","updated":"{updated}"}}}}"#))
        };
        let plausible = cycle("2026-01-02T03:15:00Z").observation;
        assert!(plausible.occurred_at.is_some() && plausible.drift.is_empty());
        for ahead in ["2026-01-02T03:15:01Z", "2026-01-02T10:00:00Z", "9999-12-30T00:00:00Z"] {
            let seen = cycle(ahead).observation;
            assert_eq!((seen.occurred_at, seen.drift.len()), (None, 1), "{ahead}");
        }
    }

    #[test]
    fn a_bound_token_is_accepted_for_its_accounts_and_where_none_is_named() {
        let update = update("{}").bound_to(Some(["a".to_owned()].into()));
        assert!(update.is_accepted_for(Some(&"a".to_owned())) && update.is_accepted_for(None));
        assert!(!update.is_accepted_for(Some(&"b".to_owned())));
        let update = update.bound_to(Some([].into()));
        assert!(!update.is_accepted_for(Some(&"a".to_owned())) && !update.is_accepted_for(None));
    }
}
