//! Object: a JSON object with its top-level keys parsed, and tolerant readers for its fields.
//!
//! Xendit may send one field present, null or absent, and numbers as strings. So an optional field never causes an error:
//! it is absent, valid, or malformed, and a malformed one is reported as drift.
//!
//! **Invariant:** no value of a body is part of an error or a drift. Numbers are read from their digits.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    money::{Amount, Currency},
    observation::{Drift, Unknown},
};

/// The longest reference or status that is kept.
const MAX_TEXT_BYTES: usize = 512;

/// The longest id. Two of them, escaped, fit into a DynamoDB key of 2,048 bytes.
const MAX_ID_BYTES: usize = 255;

/// The bytes are not one JSON object in UTF-8. A retry cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8.
    #[error("the body is not UTF-8 text")]
    NotText,
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but not an object.
    #[error("the body is JSON, but not an object")]
    NotAnObject,
}

/// A JSON object with its top-level keys.
#[derive(Clone, Debug)]
pub(crate) struct Object<'a> {
    text: &'a str,
    keys: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads the bytes of a body. A byte order mark before the object is skipped.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotText)?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text).trim_ascii();
        match serde_json::from_str::<Keys<'_>>(text) {
            Ok(Keys(keys)) => Ok(Self { text, keys }),
            Err(error) if error.is_data() => Err(Unreadable::NotAnObject),
            Err(_) => Err(Unreadable::NotJson),
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Whether a key holds a value other than null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn has_all(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.has(key))
    }

    pub(crate) fn has_list(&self, key: &str) -> bool {
        self.get(key).is_some_and(|raw| raw.get().starts_with('['))
    }

    pub(crate) fn has_object(&self, key: &str) -> bool {
        self.get(key).is_some_and(|raw| raw.get().starts_with('{'))
    }

    pub(crate) fn text_starts_with(&self, key: &str, prefix: &str) -> bool {
        matches!(self.field::<Text>(key), Field::Value(Text(text)) if text.starts_with(prefix))
    }

    /// Whether a key occurs more than once, so that the object can be read in two ways.
    pub(crate) fn is_ambiguous(&self) -> bool {
        let mut names: Vec<_> = self.keys.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }

    /// The object at the end of a path of keys, if every key on it holds one.
    pub(crate) fn object_under(&self, path: &[&str]) -> Result<Option<Self>, Unknown> {
        let Some((key, rest)) = path.split_first() else { return Ok(None) };
        let Some(object) = self.get(key).and_then(|raw| Self::read(raw.get().as_bytes()).ok()) else { return Ok(None) };
        if object.is_ambiguous() {
            return Err(Unknown::Ambiguous);
        }
        if rest.is_empty() { Ok(Some(object)) } else { object.object_under(rest) }
    }

    /// This object, with another's keys taking precedence.
    #[must_use]
    pub(crate) fn overlaid_with(self, top: Self) -> Self {
        Self { text: self.text, keys: top.keys.into_iter().chain(self.keys).collect() }
    }

    /// What the body's `event` holds.
    pub(crate) fn event(&self) -> Field<String> {
        self.field("event").and_then(|Text(name)| Field::Value(name))
    }

    /// The event's name, or `unnamed` if it is long or unusual.
    pub(crate) fn event_name(&self) -> String {
        let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
        match self.event() {
            Field::Value(name) if (1..=64).contains(&name.len()) && name.chars().all(name_like) => name,
            _ => "unnamed".to_owned(),
        }
    }

    /// A digest that identifies an unrecognised body: the same for every delivery.
    pub(crate) fn fingerprint(&self) -> String {
        let mut keys: Vec<_> = self.keys.iter().map(|(name, raw)| (name.as_ref(), raw.get())).collect();
        // The newer products set the envelope's `created` anew for each attempt.
        keys.retain(|(name, _)| *name != "created");
        keys.sort_unstable();
        let mut hasher = Sha256::new();
        for (name, raw) in keys {
            hasher.update(name);
            hasher.update([0]);
            hasher.update(raw);
            hasher.update([0]);
        }
        hex_128(hasher)
    }

    fn field<T: DeserializeOwned>(&self, path: &str) -> Field<T> {
        self.look_up(path).and_then(Field::read)
    }

    /// The value at a path such as `amount.initial`.
    fn look_up(&self, path: &str) -> Field<&'a RawValue> {
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        match (self.get(key), rest) {
            (None, _) => Field::Absent,
            (Some(raw), None) => Field::Value(raw),
            (Some(raw), Some(rest)) => match Self::read(raw.get().as_bytes()) {
                Ok(object) if object.is_ambiguous() => Field::Malformed("an object with a duplicate key"),
                Ok(object) => object.look_up(rest),
                Err(_) => Field::Malformed(describe(raw)),
            },
        }
    }

    /// A key's value, unless absent or null.
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.keys.iter().find(|(name, _)| name == key).map(|(_, raw)| *raw).filter(|raw| !is_null(raw))
    }
}

/// The first 128 bits in hex.
fn hex_128(hasher: Sha256) -> String {
    hex::encode(hasher.finalize().get(..16).unwrap_or_default())
}

fn is_null(raw: &RawValue) -> bool {
    // Some of Xendit's older bodies hold the string "null".
    matches!(raw.get(), "null" | "\"null\"")
}

/// An object's entries in order, duplicates included, with raw values.
struct Keys<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key borrowed from the text where it holds no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Keys<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Keys<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Keys<'de>, M::Error> {
                let mut keys = Vec::new();
                while let Some((Key(name), raw)) = map.next_entry()? {
                    keys.push((name, raw));
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// Nothing: no such key, or null.
    Absent,
    /// A value of the expected type.
    Value(T),
    /// Something else, described without its value.
    Malformed(&'static str),
}

impl<T> Field<T> {
    fn and_then<U>(self, read: impl FnOnce(T) -> Field<U>) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Value(value) => read(value),
            Self::Malformed(found) => Field::Malformed(found),
        }
    }
}

impl<T: DeserializeOwned> Field<T> {
    fn read(raw: &RawValue) -> Self {
        serde_json::from_str(raw.get()).map_or_else(|_| Self::Malformed(describe(raw)), Self::Value)
    }
}

fn describe(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a malformed string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        _ => "a malformed number",
    }
}

/// Reads the fields of an object, and collects their drift.
#[derive(Debug)]
pub(crate) struct Fields<'o, 'a> {
    object: &'o Object<'a>,
    latest: Timestamp,
    drift: Vec<Drift>,
}

impl<'o, 'a> Fields<'o, 'a> {
    /// Reads an object. A time after `latest` is drift.
    pub(crate) fn of(object: &'o Object<'a>, latest: Timestamp) -> Self {
        Self { object, latest, drift: Vec::new() }
    }

    /// Reads another object of the same body.
    pub(crate) fn of_another<'p>(&self, object: &'p Object<'a>) -> Fields<'p, 'a> {
        Fields::of(object, self.latest)
    }

    /// The drift found, without duplicates.
    pub(crate) fn into_drift(mut self) -> Vec<Drift> {
        self.drift.sort_unstable();
        self.drift.dedup();
        self.drift
    }

    pub(crate) fn note(&mut self, field: &'static str, found: &'static str) {
        self.drift.push(Drift { field, found });
    }

    /// Adds the drift of another object of the body.
    pub(crate) fn add_drift(&mut self, drift: Vec<Drift>) {
        self.drift.extend(drift);
    }

    /// Whether a field is present and not null.
    pub(crate) fn has(&self, path: &str) -> bool {
        !matches!(self.object.look_up(path), Field::Absent)
    }

    /// A field's text, unless empty.
    pub(crate) fn text(&mut self, path: &'static str) -> Option<String> {
        self.value(path).map(|Text(text)| text).filter(|text| !text.is_empty())
    }

    /// The first of several fields with non-empty text.
    pub(crate) fn first_text(&mut self, paths: &[&'static str]) -> Option<String> {
        paths.iter().find_map(|path| self.text(path))
    }

    /// The id: the first of several fields that is present. If that one is malformed, the others are not tried.
    pub(crate) fn id(&mut self, paths: &[&'static str]) -> Result<String, Unknown> {
        let missing = Unknown::Missing(paths.first().copied().unwrap_or_default());
        let path = paths.iter().find(|path| self.has(path)).ok_or(missing)?;
        self.text(path).filter(|id| id.len() <= MAX_ID_BYTES).ok_or(missing)
    }

    /// A field's time, unless it is after the latest plausible one.
    pub(crate) fn time(&mut self, path: &'static str) -> Option<Timestamp> {
        let time = self.value(path)?;
        if time > self.latest {
            self.note(path, "a time well after the webhook's arrival");
        }
        Some(time).filter(|time| *time <= self.latest)
    }

    /// The first of several times that can be read.
    pub(crate) fn first_time(&mut self, paths: &[&'static str]) -> Option<Timestamp> {
        paths.iter().find_map(|path| self.time(path))
    }

    /// A non-negative integer of at most `max`; a larger one is implausible.
    pub(crate) fn count(&mut self, path: &'static str, max: u64) -> Option<u64> {
        let Count(count) = self.value(path)?;
        if count > max {
            self.note(path, "an implausibly large count");
        }
        Some(count).filter(|count| *count <= max)
    }

    /// An amount of money that is not negative.
    pub(crate) fn amount(&mut self, path: &'static str) -> Option<Amount> {
        let Digits(amount) = self.value(path)?;
        if amount.is_negative() {
            self.note(path, "a negative amount");
            return None;
        }
        Some(amount)
    }

    /// The currency of a field: `Absent` when none is named, which is not the same as one that cannot be read.
    pub(crate) fn currency(&mut self, path: &'static str) -> Field<Currency> {
        let field = self.object.field(path);
        if let Field::Malformed(found) = field {
            self.note(path, found);
        }
        field
    }

    /// The objects of a list. `None` if there is no list, or if it holds anything but objects.
    pub(crate) fn list(&mut self, path: &'static str) -> Option<Vec<Object<'a>>> {
        let Field::Value(raw) = self.object.look_up(path) else { return None };
        let items = serde_json::from_str::<Vec<&'a RawValue>>(raw.get());
        let objects = items.ok().and_then(|items| {
            let object = |item: &'a RawValue| Object::read(item.get().as_bytes()).ok();
            items.into_iter().map(|item| object(item).filter(|object| !object.is_ambiguous())).collect()
        });
        if objects.is_none() {
            self.note(path, "a malformed list");
        }
        objects
    }

    /// A digest of a field's raw value.
    pub(crate) fn fingerprint(&self, path: &'static str) -> Option<String> {
        match self.object.look_up(path) {
            Field::Value(raw) => Some(hex_128(Sha256::new_with_prefix(raw.get()))),
            Field::Absent | Field::Malformed(_) => None,
        }
    }

    fn value<T: DeserializeOwned>(&mut self, path: &'static str) -> Option<T> {
        match self.object.field(path) {
            Field::Absent => None,
            Field::Value(value) => Some(value),
            Field::Malformed(found) => {
                self.note(path, found);
                None
            }
        }
    }
}

/// Text of at most 512 bytes, without control characters. A number is read as its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar(deserializer)?;
        if text.len() > MAX_TEXT_BYTES || text.contains(char::is_control) {
            return Err(serde::de::Error::custom("too long, or with control characters"));
        }
        Ok(Self(text))
    }
}

/// An amount, from a number or from a string of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digits(Amount);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A non-negative integer, as a number or a string of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The text of a string, or the digits of a number.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    if raw.starts_with('"') {
        serde_json::from_str(raw).map_err(serde::de::Error::custom)
    } else if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        Ok(raw.to_owned())
    } else {
        Err(serde::de::Error::custom("neither a string nor a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object<'_> {
        Object::read(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_the_rest_is_kept_as_it_is() {
        assert_eq!(object("\u{FEFF} {\"a\": 1.50} \n").text(), "{\"a\": 1.50}");
    }

    #[test]
    fn a_body_that_is_not_an_object_is_refused_with_the_reason() {
        let error = |bytes: &[u8]| Object::read(bytes).unwrap_err();
        assert_eq!(error(b"\xff{}"), Unreadable::NotText);
        for json in ["[]", "7", "null", "\"{}\""] {
            assert_eq!(error(json.as_bytes()), Unreadable::NotAnObject, "{json}");
        }
        for json in ["", "{", "{} {}", "{\"a\":}"] {
            assert_eq!(error(json.as_bytes()), Unreadable::NotJson, "{json}");
        }
    }

    #[test]
    fn an_unusual_event_name_is_replaced() {
        let name = |event: &str| object(&format!(r#"{{"event":{event}}}"#)).event_name();
        let (longest, longer) = ("x".repeat(64), "x".repeat(65));
        for good in ["payment.capture", "a-b_c:D9", &longest] {
            assert_eq!(name(&format!("\"{good}\"")), good);
        }
        for bad in ["null", "{}", r#""""#, r#""a b""#, r#""a@b.c""#, &format!("\"{longer}\"")] {
            assert_eq!(name(bad), "unnamed", "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_depends_on_all_keys_but_the_time_of_the_attempt() {
        let print = |json: &str| object(json).fingerprint();
        let first = print(r#"{"a":1,"b":"x","created":"monday"}"#);
        assert_eq!(first.len(), 32);
        assert_eq!(first, print(r#"{"b":"x", "created":"tuesday","a":1}"#));
        for other in
            [r#"{"a":2,"b":"x"}"#, r#"{"a":1,"b":"y"}"#, r#"{"a":1,"c":"x"}"#, r#"{"a":1}"#, r#"{"created":1}"#]
        {
            assert_ne!(first, print(other), "{other}");
        }
        assert_ne!(print(r#"{"a":1,"b":2}"#), print(r#"{"a":2,"b":1}"#));
    }

    #[test]
    fn drift_holds_no_value() {
        for (value, expected) in [
            ("\"x\"", "a malformed string"),
            ("{}", "an object"),
            ("[]", "a list"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("1.5", "a malformed number"),
        ] {
            let json = format!(r#"{{"n":{value}}}"#);
            let object = object(&json);
            let mut fields = Fields::of(&object, Timestamp::MAX);
            assert_eq!(fields.count("n", 9), None);
            assert_eq!(fields.into_drift(), [Drift { field: "n", found: expected }]);
        }
    }

    #[test]
    fn text_that_is_too_long_or_holds_control_characters_is_drift() {
        for (text, expected) in [
            ("x".repeat(MAX_TEXT_BYTES), true),
            ("x".repeat(MAX_TEXT_BYTES + 1), false),
            ("a\\u0001".to_owned(), false),
            ("a\\n".to_owned(), false),
            ("é/#%".to_owned(), true),
        ] {
            let json = format!(r#"{{"id":"{text}"}}"#);
            let object = object(&json);
            let mut fields = Fields::of(&object, Timestamp::MAX);
            assert_eq!(fields.text("id").is_some(), expected, "{text}");
            assert_eq!(fields.into_drift().is_empty(), expected, "{text}");
        }
    }

    #[test]
    fn a_path_goes_through_objects_and_anything_else_is_drift() {
        let object = object(r#"{"a":{"b":{"c":7}},"list":[1],"twice":{"c":1,"c":2},"none":null,"said":"null"}"#);
        let mut fields = Fields::of(&object, Timestamp::MAX);
        assert_eq!(fields.text("a.b.c").as_deref(), Some("7"));
        assert_eq!(fields.first_text(&["a.x", "none.c", "said", "a.b.c"]).as_deref(), Some("7"));
        assert_eq!((fields.text("list.c"), fields.text("twice.c")), (None, None));
        let odd: Vec<_> = fields.into_drift().into_iter().map(|drift| drift.to_string()).collect();
        assert_eq!(odd, ["list.c: a list", "twice.c: an object with a duplicate key"]);
    }

    #[test]
    fn a_malformed_or_long_id_is_not_looked_for_elsewhere() {
        let object = object(r#"{"id":{},"other":"o","empty":""}"#);
        let mut fields = Fields::of(&object, Timestamp::MAX);
        assert_eq!(fields.id(&["absent", "other"]), Ok("o".to_owned()));
        assert_eq!(fields.id(&["id", "other"]), Err(Unknown::Missing("id")));
        assert_eq!(fields.id(&["empty"]), Err(Unknown::Missing("empty")));
        for (bytes, expected) in [(MAX_ID_BYTES, true), (MAX_ID_BYTES + 1, false)] {
            let json = format!(r#"{{"id":"{}"}}"#, "x".repeat(bytes));
            assert_eq!(Fields::of(&self::object(&json), Timestamp::MAX).id(&["id"]).is_ok(), expected, "{bytes}");
        }
    }

    #[test]
    fn a_time_after_the_latest_is_drift_and_the_next_one_is_read() {
        let object = object(r#"{"updated":"2026-01-02T03:00:01Z","created":"2026-01-02T03:00:00Z"}"#);
        let latest = "2026-01-02T03:00:00Z".parse().unwrap();
        let mut fields = Fields::of(&object, latest);
        assert_eq!(fields.first_time(&["updated", "created"]), Some(latest));
        let drift = fields.into_drift();
        assert_eq!(drift.iter().map(|drift| drift.field).collect::<Vec<_>>(), ["updated"]);
    }

    #[test]
    fn negative_amounts_and_implausible_counts_are_drift() {
        let object = object(r#"{"amount":-1,"zero":0,"count":18446744073709551615,"ten":"10"}"#);
        let mut fields = Fields::of(&object, Timestamp::MAX);
        assert!(fields.amount("zero").is_some());
        assert_eq!(fields.count("ten", 10), Some(10));
        assert_eq!(fields.drift, []);
        assert_eq!((fields.amount("amount"), fields.count("count", 10), fields.count("ten", 9)), (None, None, None));
        assert_eq!(fields.into_drift().len(), 3);
    }

    #[test]
    fn overlaid_keys_take_precedence() {
        let parent = object(r#"{"id":"outer","status":"A"}"#);
        let merged = parent.overlaid_with(object(r#"{"status":"B"}"#));
        let mut fields = Fields::of(&merged, Timestamp::MAX);
        assert_eq!((fields.text("id").as_deref(), fields.text("status").as_deref()), (Some("outer"), Some("B")));
    }
}
