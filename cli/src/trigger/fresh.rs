//! Fresh: gives bundled webhooks new ids, new references and present times, so that each is about something new.
//!
//! An id is replaced everywhere it occurs, also inside longer strings such as URLs, and in all webhooks of a story. All
//! times move by the same distance, so that the newest of what has happened is about now.
//!
//! **Invariant:** only strings change. Numbers keep their digits, and what names an account or a customer stays.

use std::{collections::BTreeSet, iter};

use jiff::{SignedDuration, Timestamp, civil::DateTime};
use shared::webhook::Webhook;
use uuid::Uuid;

/// Keys whose values name the account, which all samples share.
const ACCOUNT_KEYS: [&str; 6] =
    ["business_id", "destination_account_id", "master_acc_business_id", "owner_id", "source_account_id", "user_id"];

/// Keys whose values look like ids, and stay the same from one payment to the next: people, goods and rules.
const STANDING_KEYS: [&str; 6] =
    ["approver_id", "customer_id", "product_id", "recipient_customer_id", "sender_customer_id", "split_rule_id"];

/// Keys whose values are ids. So are those whose keys end in `_id` or `_reference`.
const ID_KEYS: [&str; 3] = ["id", "idempotency_key", "reference"];

/// Keys of times at which something is going to happen.
const PLANNED_KEYS: [&str; 8] = [
    "anchor_date",
    "due_date",
    "estimated_arrival_time",
    "expiration_date",
    "expiration_timestamp",
    "expires_at",
    "next_retry_timestamp",
    "scheduled_timestamp",
];

/// The shortest run of digits or hexadecimal digits that is taken to be random in an id.
const MIN_RANDOM_CHARS: usize = 8;

/// The shortest id that is replaced where it is a part of a string, or a string under another key.
const MIN_UNMISTAKABLE_CHARS: usize = 8;

/// The new ids and the distance by which times move.
pub(super) struct Fresh {
    /// The new id for each old one, the longest old one first.
    ids: Vec<(String, String)>,
    later_by: SignedDuration,
}

impl Fresh {
    /// For webhooks that belong together. A body that is not JSON has no part in it.
    pub(super) fn of<'a>(bodies: impl IntoIterator<Item = &'a str>, now: Timestamp) -> Self {
        let (mut ids, mut accounts, mut newest) = (BTreeSet::new(), BTreeSet::new(), None);
        for body in bodies {
            rewrite(body, |key, text| {
                if ACCOUNT_KEYS.contains(&key) {
                    accounts.insert(text.to_owned());
                } else if is_id_key(key) {
                    ids.insert(text.to_owned());
                }
                if !PLANNED_KEYS.contains(&key) {
                    newest = newest.max(text.parse::<Timestamp>().ok());
                }
                None
            });
            let Ok(webhook) = Webhook::parse(body.as_bytes(), None) else { continue };
            let seen = webhook.observe();
            if seen.unknown.is_some() {
                continue;
            }
            // A webhook about a sub-account is about an account, which is to be a new one.
            accounts.remove(&seen.id);
            ids.extend(iter::once(seen.id).chain(seen.scope).chain(seen.reference).chain(seen.captures.into_keys()));
        }
        let is_replaced = |id: &String| !id.is_empty() && !accounts.contains(id);
        let mut ids: Vec<_> = ids.into_iter().filter(is_replaced).map(|old| (old.clone(), alike(&old))).collect();
        ids.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        // Whole seconds, so that fractions stay, and rounded down, so that no time is in the future.
        let distance = newest.map(|newest| now.duration_since(newest).as_millis().div_euclid(1000));
        let seconds = distance.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or_default();
        Self { ids, later_by: SignedDuration::from_secs(seconds) }
    }

    /// The webhook with the new ids and times.
    pub(super) fn apply(&self, body: &str) -> String {
        rewrite(body, |key, text| self.moved(text).or_else(|| self.renamed(key, text)))
    }

    /// The later time, in the same form. `None`: the text is not a time.
    fn moved(&self, text: &str) -> Option<String> {
        text.parse::<Timestamp>().ok()?;
        // The fraction and the offset stay.
        let (seconds, rest) = text.split_at_checked("2026-01-02T03:04:05".len())?;
        let later = seconds.parse::<DateTime>().ok()?.checked_add(self.later_by).ok()?;
        Some(format!("{}{rest}", later.strftime("%Y-%m-%dT%H:%M:%S")))
    }

    /// The text with all old ids in it replaced. `None`: there are none.
    fn renamed(&self, key: &str, text: &str) -> Option<String> {
        if is_id_key(key)
            && let Some((_, new)) = self.ids.iter().find(|(old, _)| old == text)
        {
            return Some(new.clone());
        }
        let (mut renamed, mut rest, mut before) = (String::new(), text, None);
        while let Some(next) = rest.chars().next() {
            let is_whole = |old: &str, after: &str| {
                let is_apart = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric());
                old.len() >= MIN_UNMISTAKABLE_CHARS && is_apart(before) && is_apart(after.chars().next())
            };
            let found = self.ids.iter().find_map(|(old, new)| {
                let after = rest.strip_prefix(old.as_str()).filter(|after| is_whole(old, after))?;
                Some((new.as_str(), old.chars().next_back(), after))
            });
            let (copied, last, after) = found.unwrap_or_else(|| {
                let (copied, after) = rest.split_at(next.len_utf8());
                (copied, Some(next), after)
            });
            renamed.push_str(copied);
            (before, rest) = (last, after);
        }
        (renamed != text).then_some(renamed)
    }
}

fn is_id_key(key: &str) -> bool {
    let is_id = ID_KEYS.contains(&key) || key.ends_with("_id") || key.ends_with("_reference");
    is_id && !ACCOUNT_KEYS.contains(&key) && !STANDING_KEYS.contains(&key)
}

/// A new id of the same form: its random parts are others, its prefix and its length stay. Where none of it looks random,
/// something random is added.
fn alike(old: &str) -> String {
    let mut random = iter::repeat_with(|| Uuid::new_v4().into_bytes()).flatten();
    let mut one_of = |digits: &[u8]| {
        let byte = usize::from(random.next().unwrap_or_default());
        digits.iter().copied().cycle().nth(byte % 16).map_or('0', char::from)
    };
    let mut new = String::new();
    for part in old.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let run = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        match alphabet(run) {
            Some(digits) => new.extend(run.chars().map(|_| one_of(digits)).chain(part.chars().skip(run.len()))),
            None => new.push_str(part),
        }
    }
    if new == old {
        let digits = if old.bytes().all(|byte| byte.is_ascii_digit()) { DIGITS } else { LOWER };
        new.extend((digits == LOWER).then_some('-'));
        new.extend(iter::repeat_with(|| one_of(digits)).take(MIN_RANDOM_CHARS));
    }
    new
}

const DIGITS: &[u8] = b"1234567890";
const LOWER: &[u8] = b"0123456789abcdef";
const UPPER: &[u8] = b"0123456789ABCDEF";

/// The digits of which a random run is made. `None`: it does not look random.
fn alphabet(run: &str) -> Option<&'static [u8]> {
    let consists_of = |digits: &[u8]| run.bytes().all(|byte| digits.contains(&byte));
    let is_random = run.len() >= MIN_RANDOM_CHARS && run.contains(|c: char| c.is_ascii_digit());
    [DIGITS, LOWER, UPPER].into_iter().find(|digits| is_random && consists_of(digits))
}

/// Replaces strings in a JSON text: `replace` gets the key and the value, and returns another value or none. All else stays as
/// it is written.
fn rewrite(json: &str, mut replace: impl FnMut(&str, &str) -> Option<String>) -> String {
    let (mut rewritten, mut key, mut rest) = (String::new(), String::new(), json);
    while let Some(start) = rest.find('"') {
        let (before, literal) = rest.split_at(start);
        let mut strings = serde_json::Deserializer::from_str(literal).into_iter::<String>();
        let Some(Ok(text)) = strings.next() else { break };
        let (raw, after) = literal.split_at(strings.byte_offset());
        rewritten.push_str(before);
        if after.trim_start().starts_with(':') {
            rewritten.push_str(raw);
            key = text;
        } else {
            let new = replace(&key, &text).map(|new| serde_json::Value::from(new).to_string());
            rewritten.push_str(new.as_deref().unwrap_or(raw));
        }
        rest = after;
    }
    rewritten + rest
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::samples;

    const NOW: &str = "2026-11-24T13:00:00.5Z";

    fn freshened(body: &str) -> Value {
        let now = NOW.parse().unwrap();
        serde_json::from_str(&Fresh::of([body], now).apply(body)).unwrap()
    }

    /// The form of an id: `9` for a random digit or hexadecimal digit.
    fn form(id: &str) -> String {
        let parts = id.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        let form = |part: &str| {
            let run = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            if alphabet(run).is_some() {
                part.replace(|c: char| c.is_ascii_alphanumeric(), "9")
            } else {
                part.to_owned()
            }
        };
        parts.map(form).collect()
    }

    #[test]
    fn a_new_id_has_the_form_of_the_old_one() {
        for old in [
            "6748105a77f16ebe0cc583a7",
            "pr-1102feb0-bb79-47ae-9d1e-e69394d3949c",
            "99013716-9354-439E-9FEA-E61A06E87EA3",
            "1487156512722",
            "fixed-va-1487156410",
        ] {
            let new = alike(old);
            assert_ne!(new, old);
            assert_eq!(form(&new), form(old), "{old} became {new}");
            assert_ne!(alike(old), new, "ids are random");
        }
        let uuid = alike("99013716-9354-439e-9fea-e61a06e87ea3").parse::<Uuid>().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
    }

    #[test]
    fn something_random_is_added_to_an_id_without_random_parts() {
        let new = alike("payment-link-example");
        assert!(new.starts_with("payment-link-example-") && new.len() == "payment-link-example-".len() + 8, "{new}");
        let new = alike("1234");
        assert!(new.starts_with("1234") && new.len() == 12 && new.bytes().all(|byte| byte.is_ascii_digit()), "{new}");
    }

    #[test]
    fn an_id_is_replaced_everywhere_also_inside_longer_strings() {
        let body = freshened(
            r#"{"event":"x","id":"inv-12345678","data":{"invoice_id":"inv-12345678","note":"inv-12345678!",
                "url":"https://shop.test/pay/inv-12345678?again=inv-12345678","other":"inv-123456789"}}"#,
        );
        let id = body["id"].as_str().unwrap();
        assert_ne!(id, "inv-12345678");
        assert_eq!(body["data"]["invoice_id"], id);
        assert_eq!(body["data"]["note"], format!("{id}!"));
        assert_eq!(body["data"]["url"], format!("https://shop.test/pay/{id}?again={id}"));
        assert_eq!(body["data"]["other"], "inv-123456789", "a longer id is another one");
    }

    #[test]
    fn a_short_id_is_replaced_under_keys_of_ids_only() {
        let body = freshened(r#"{"event":"x","id":"7","payment_id":"7","quantity":"7","url":"https://shop.test/7"}"#);
        assert_eq!(body["id"], body["payment_id"]);
        assert_ne!(body["id"], "7");
        assert_eq!((&body["quantity"], &body["url"]), (&"7".into(), &"https://shop.test/7".into()));
    }

    #[test]
    fn accounts_customers_and_the_digits_of_money_stay() {
        let body = r#"{"event":"x","business_id":"62440e322008e87fb29c1fd0","customer_id":"cust-12345678",
            "amount": 10000.10,"list":[1.50, 2e3],"owner":"62440e322008e87fb29c1fd0","id":"62440e322008e87fb29c1fd0"}"#;
        assert_eq!(Fresh::of([body], NOW.parse().unwrap()).apply(body), body);
    }

    #[test]
    fn the_newest_time_is_now_and_the_others_keep_their_distance_and_their_form() {
        let body = freshened(
            r#"{"event":"x","created":"2024-11-28T06:40:26.508Z","paid_at":"2024-11-28T06:41:26.123456Z",
                "updated":"2024-11-28T14:41:26+0800","expires_at":"2048-01-01T00:00:00Z","day":"2024-11-28",
                "api_version":"2022-10-01"}"#,
        );
        assert_eq!(body["paid_at"], "2026-11-24T13:00:00.123456Z");
        assert_eq!(body["created"], "2026-11-24T12:59:00.508Z");
        assert_eq!(body["updated"], "2026-11-24T21:00:00+0800");
        assert!(body["expires_at"].as_str().unwrap().starts_with("2049-12-"), "{body}");
        assert_eq!((&body["day"], &body["api_version"]), (&"2024-11-28".into(), &"2022-10-01".into()));
    }

    #[test]
    fn webhooks_that_belong_together_get_the_same_new_ids() {
        let (one, two) = (r#"{"event":"x","id":"inv-12345678"}"#, r#"{"event":"y","invoice_id":"inv-12345678"}"#);
        let fresh = Fresh::of([one, two], NOW.parse().unwrap());
        let [one, two] = [one, two].map(|body| serde_json::from_str::<Value>(&fresh.apply(body)).unwrap());
        assert_eq!(one["id"], two["invoice_id"]);
    }

    #[test]
    fn every_sample_is_about_something_new_and_says_the_same_of_it() {
        let now: Timestamp = NOW.parse().unwrap();
        for sample in samples::all() {
            let new = Fresh::of([sample.body], now).apply(sample.body);
            let [old, new] = [sample.body, &new].map(|body| Webhook::parse(body.as_bytes(), None).unwrap().observe());
            assert_ne!(old.id, new.id, "{}", sample.name);
            assert!(old.reference.is_none() || old.reference != new.reference, "{}", sample.name);
            assert!(old.captures.keys().all(|id| !new.captures.contains_key(id)), "{}", sample.name);
            assert!(old.account == new.account || old.account.as_ref() == Some(&old.id), "{}", sample.name);
            let said = |seen: &shared::observation::Observation| {
                let captured: Vec<_> = seen.captures.values().cloned().collect();
                (seen.stage, seen.paid.clone(), seen.requested.clone(), captured, seen.status.clone())
            };
            assert_eq!(said(&old), said(&new), "{}", sample.name);
            assert!(new.occurred_at <= Some(now), "{}: {:?}", sample.name, new.occurred_at);
        }
    }
}
