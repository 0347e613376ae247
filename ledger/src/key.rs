//! Key: what identifies a subject in the ledger: `environment#kind#id`, or `environment#kind#scope#id` where ids are
//! not globally unique.
//!
//! **Invariant:** a key holds only what every webhook and every API object about the subject holds. The account is not in
//! it: Xendit leaves it out of some webhooks and not of others.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use shared::{envelope::Environment, observation::Observation};

/// Escaped in an id: the separator and the escape character.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'#').add(b'%');

/// The key of one subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// The key of an observation's subject.
    pub fn of(environment: Environment, seen: &Observation) -> Self {
        let (kind, id) = (seen.kind(), escape(&seen.id));
        Self(match seen.scope.as_deref().map(escape) {
            None => format!("{environment}#{kind}#{id}"),
            Some(scope) => format!("{environment}#{kind}#{scope}#{id}"),
        })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<String> for Key {
    /// A key read back from the table.
    fn from(text: String) -> Self {
        Self(text)
    }
}

fn escape(part: &str) -> Cow<'_, str> {
    utf8_percent_encode(part, ESCAPED).into()
}

#[cfg(test)]
mod tests {
    use shared::webhook::Webhook;

    use super::*;

    fn key(body: &str) -> String {
        let seen = Webhook::parse(body.as_bytes(), None).unwrap().observe();
        Key::of(Environment::Test, &seen).to_string()
    }

    #[test]
    fn the_account_is_not_in_a_key() {
        let payout = |business: &str| {
            key(&format!(r#"{{"event":"payout.succeeded","business_id":{business},"data":{{"id":"disb-1"}}}}"#))
        };
        assert_eq!(payout(r#""acc-1""#), "test#payout#disb-1");
        assert_eq!(payout("null"), payout(r#""acc-1""#));
    }

    #[test]
    fn the_parts_of_a_key_cannot_run_into_each_other() {
        let paid = |account: &str, id: &str| {
            key(&format!(r#"{{"callback_virtual_account_id":"{account}","payment_id":"{id}","amount":1}}"#))
        };
        assert_eq!(paid("va", "1"), "test#payment#va#1");
        assert_ne!(paid("a", "x#payment#y"), paid("a#payment#x", "y"));
        assert_ne!(paid("a%23b", "1"), paid("a#b", "1"));
        let unscoped = key(r#"{"event":"payment.capture","data":{"payment_id":"va#1"}}"#);
        assert_ne!(unscoped, paid("va", "1"));
    }
}
