//! Body: the JSON object of a webhook with its top-level keys read, and the tolerant fields of the objects in it.
//!
//! Xendit sends one field as present, null or absent from one day to the next, and numbers as strings. A field that
//! is not acted on can therefore never be an error: it is absent, holds a value, or is odd, and odd is counted.
//!
//! **Invariant:** no value of a body is ever part of an error or a drift. Numbers are read from their digits.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    money::Amount,
    observation::{Drift, Unknown},
};

/// The longest id, reference or status that is kept: DynamoDB's limit for a key is 2,048 bytes for all its parts.
const MAX_TEXT_BYTES: usize = 512;

/// The bytes are not one JSON object in UTF-8. Trying again cannot help.
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
#[derive(Debug)]
pub(super) struct Body<'a> {
    text: &'a str,
    keys: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Body<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotText)?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text).trim_ascii();
        match serde_json::from_str::<Keys<'_>>(text) {
            Ok(Keys(keys)) => Ok(Self { text, keys }),
            Err(error) if error.is_data() => Err(Unreadable::NotAnObject),
            Err(_) => Err(Unreadable::NotJson),
        }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn has_all(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.has(key))
    }

    pub(super) fn has_list(&self, key: &str) -> bool {
        self.get(key).is_some_and(|raw| raw.get().starts_with('['))
    }

    pub(super) fn text_starts_with(&self, key: &str, prefix: &str) -> bool {
        matches!(self.field::<Text>(key), Field::Value(text) if text.as_str().starts_with(prefix))
    }

    /// Whether a key stands at the top more than once.
    pub(super) fn is_ambiguous(&self) -> bool {
        let mut names: Vec<_> = self.keys.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }

    pub(super) fn field<T: DeserializeOwned>(&self, key: &str) -> Field<T> {
        self.get(key).map_or(Field::Absent, Field::read)
    }

    /// The whole object as a struct.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Result<T, Unknown> {
        // Every field of every struct is a `Field`, so that nothing but a repeated key can fail.
        serde_json::from_str(self.text).map_err(|_| Unknown::Ambiguous)
    }

    /// The object at the end of a path of keys, if every key on it holds one.
    pub(super) fn object_under(&self, path: &[&str]) -> Result<Option<Self>, Unknown> {
        let Some((key, rest)) = path.split_first() else { return Ok(None) };
        let Some(object) = self.get(key).and_then(|raw| Self::read(raw.get().as_bytes()).ok()) else { return Ok(None) };
        if object.is_ambiguous() {
            return Err(Unknown::Ambiguous);
        }
        if rest.is_empty() { Ok(Some(object)) } else { object.object_under(rest) }
    }

    /// The event's name if it looks like one, for logs and for the ledger.
    pub(super) fn event_name(&self) -> &str {
        let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
        self.get("event")
            .and_then(|raw| raw.get().strip_prefix('"')?.strip_suffix('"'))
            .filter(|name| (1..=64).contains(&name.len()) && name.chars().all(name_like))
            .unwrap_or("unnamed")
    }

    /// What identifies a body that nothing is known of: the same for each delivery of it, with or without
    /// `webhook-id`, at whatever time.
    pub(super) fn fingerprint(&self) -> String {
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
        first_half(hasher)
    }

    /// The value of a key that is there and not null.
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.keys.iter().find(|(name, _)| name == key).map(|(_, raw)| *raw).filter(|raw| !is_null(raw))
    }
}

/// What tells one JSON value from another that is written differently.
pub(super) fn fingerprint(raw: &RawValue) -> String {
    first_half(Sha256::new_with_prefix(raw.get()))
}

fn first_half(hasher: Sha256) -> String {
    hasher.finalize().iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn is_null(raw: &RawValue) -> bool {
    // Some of Xendit's older bodies hold the string "null".
    matches!(raw.get(), "null" | "\"null\"")
}

/// Reads an object's keys in their order, repeated ones included, and leaves the values as they are.
struct Keys<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key borrowed from the text where it holds no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Keys<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
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

        deserializer.deserialize_map(Object)
    }
}

/// What a field held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// Nothing: no such key, or null.
    #[default]
    Absent,
    /// A value of the type it has always had.
    Value(T),
    /// Something else, described without its value.
    Odd(&'static str),
}

impl<T> Field<T> {
    /// The value, if there is one. An odd one is added to `drift` under the field's path.
    pub(super) fn seen(&self, path: &'static str, drift: &mut Vec<Drift>) -> Option<&T> {
        match self {
            Self::Absent => None,
            Self::Value(value) => Some(value),
            Self::Odd(found) => {
                drift.push(Drift { field: path, found });
                None
            }
        }
    }

    /// The value, if there is one.
    pub(super) fn into_value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Odd(_) => None,
        }
    }
}

impl<T: DeserializeOwned> Field<T> {
    fn read(raw: &RawValue) -> Self {
        if is_null(raw) {
            return Self::Absent;
        }
        serde_json::from_str(raw.get()).map_or_else(|_| Self::Odd(describe(raw)), Self::Value)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::read)
    }
}

fn describe(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string of another form",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        _ => "a number of another form",
    }
}

impl Field<Text> {
    /// The text as the id of the thing, which every event must have.
    pub(super) fn id(&self, path: &'static str, drift: &mut Vec<Drift>) -> Result<String, Unknown> {
        self.text(path, drift).ok_or(Unknown::Missing(path))
    }

    /// The same, from another key where this one is missing. One that is odd is not missing.
    pub(super) fn id_or(
        &self,
        path: &'static str,
        other: &Self,
        other_path: &'static str,
        drift: &mut Vec<Drift>,
    ) -> Result<String, Unknown> {
        if matches!(self, Self::Absent) {
            other.id(other_path, drift).map_err(|_| Unknown::Missing(path))
        } else {
            self.id(path, drift)
        }
    }

    /// The text, if it says anything.
    pub(super) fn text(&self, path: &'static str, drift: &mut Vec<Drift>) -> Option<String> {
        self.seen(path, drift).map(|text| text.0.clone()).filter(|text| !text.is_empty())
    }
}

impl Field<Timestamp> {
    pub(super) fn time(&self, path: &'static str, drift: &mut Vec<Drift>) -> Option<Timestamp> {
        self.seen(path, drift).copied()
    }
}

/// Text of at most 512 bytes. A number is read as its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(String);

impl Text {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar(deserializer)?;
        if text.len() > MAX_TEXT_BYTES {
            return Err(serde::de::Error::custom("too long"));
        }
        Ok(Self(text))
    }
}

/// An amount, from a number or from a string of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits(pub(super) Amount);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A whole number from 0, from a number or from a string of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

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
