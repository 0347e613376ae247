//! JSON: a body as a tree of its own text, for the pages that show it, mask it and compare it.
//!
//! **Invariant:** every node is a part of the text as it was written: digits, escapes, order and repeated keys included.

use std::{collections::HashMap, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A value that is nested deeper than this stays one piece of text. Xendit's bodies are five deep.
const MAX_DEPTH: usize = 40;

/// A value in a text.
#[derive(Debug)]
pub(super) struct Json<'a> {
    /// The value as it was written.
    pub(super) text: &'a str,
    pub(super) inside: Inside<'a>,
}

/// What a value holds.
#[derive(Debug)]
pub(super) enum Inside<'a> {
    /// Nothing: a string, a number, a boolean or null; or it is too deep.
    Nothing,
    List(Vec<Json<'a>>),
    Object(Vec<(String, Json<'a>)>),
}

/// A value without others inside, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaf<'a> {
    /// Such as `data.captures[0].capture_id`.
    pub(super) path: String,
    pub(super) text: &'a str,
}

/// A place at which two values differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) path: String,
    /// `None`: there was no value.
    pub(super) before: Option<String>,
    /// `None`: there is no value any more.
    pub(super) after: Option<String>,
}

impl<'a> Json<'a> {
    /// `None`: the text is not JSON.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        Some(Self::of(serde_json::from_str::<&RawValue>(text).ok()?, MAX_DEPTH))
    }

    fn of(raw: &'a RawValue, depth: usize) -> Self {
        let text = raw.get();
        let inside = depth.checked_sub(1).and_then(|depth| match text.as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Some(Inside::List(items.into_iter().map(|item| Self::of(item, depth)).collect()))
            }
            Some(b'{') => {
                let Entries(entries) = serde_json::from_str(text).ok()?;
                Some(Inside::Object(entries.into_iter().map(|(key, value)| (key, Self::of(value, depth))).collect()))
            }
            _ => None,
        });
        Self { text, inside: inside.unwrap_or(Inside::Nothing) }
    }

    /// Whether there are other values in this one.
    pub(super) fn has_inside(&self) -> bool {
        match &self.inside {
            Inside::Nothing => false,
            Inside::List(items) => !items.is_empty(),
            Inside::Object(entries) => !entries.is_empty(),
        }
    }

    /// Where in a text this part of it is.
    pub(super) fn range_in(&self, text: &str) -> Range<usize> {
        let start = (self.text.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        start..start + self.text.len()
    }

    /// The values without others inside, in the order in which they were written.
    pub(super) fn leaves(&self) -> Vec<Leaf<'a>> {
        let mut leaves = Vec::new();
        self.visit(String::new(), &mut |path, node| leaves.push(Leaf { path, text: node.text }));
        leaves
    }

    /// Calls `see` with each value that has no others inside, and with its path.
    pub(super) fn visit(&self, path: String, see: &mut impl FnMut(String, &Self)) {
        match &self.inside {
            Inside::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    item.visit(format!("{path}[{index}]"), see);
                }
            }
            Inside::Object(entries) if !entries.is_empty() => {
                for (key, value) in named(entries) {
                    value.visit(step(&path, &key), see);
                }
            }
            _ => see(path, self),
        }
    }

    /// The places at which another value differs, in this value's order; then what only the other one holds.
    pub(super) fn differences(&self, other: &Self) -> Vec<Difference> {
        let (ours, theirs) = (self.leaves(), other.leaves());
        let values: HashMap<_, _> = theirs.iter().map(|leaf| (leaf.path.as_str(), leaf.text)).collect();
        let known: HashMap<_, _> = ours.iter().map(|leaf| (leaf.path.as_str(), leaf.text)).collect();
        let changed = ours.iter().filter_map(|leaf| {
            let after = values.get(leaf.path.as_str()).copied();
            let before = Some(leaf.text.to_owned());
            (after != Some(leaf.text)).then(|| Difference {
                path: leaf.path.clone(),
                before,
                after: after.map(str::to_owned),
            })
        });
        let added = theirs.iter().filter(|leaf| !known.contains_key(leaf.path.as_str()));
        let added =
            added.map(|leaf| Difference { path: leaf.path.clone(), before: None, after: Some(leaf.text.to_owned()) });
        changed.chain(added).collect()
    }
}

/// An object's entries, where a repeated key is numbered: `amount`, `amount#2`.
pub(super) fn named<'j, 'a>(entries: &'j [(String, Json<'a>)]) -> Vec<(String, &'j Json<'a>)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let name = |(key, value): &'j (String, Json<'a>)| {
        let count = counts.entry(key).or_default();
        *count += 1;
        (if *count == 1 { key.clone() } else { format!("{key}#{count}") }, value)
    };
    entries.iter().map(name).collect()
}

/// The path of a key in the object at a path.
pub(super) fn step(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// An object's entries in order, repeated keys included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<'de>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Entries(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(text: &str) -> Vec<(String, String)> {
        Json::parse(text).unwrap().leaves().into_iter().map(|leaf| (leaf.path, leaf.text.to_owned())).collect()
    }

    #[test]
    fn every_value_keeps_the_text_as_it_was_written() {
        let found = leaves(r#"{"a": 10000.10, "b": {"c": [1e3, "\u00e9", {}]}, "a": null}"#);
        let found: Vec<_> = found.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(
            found,
            [("a", "10000.10"), ("b.c[0]", "1e3"), ("b.c[1]", r#""\u00e9""#), ("b.c[2]", "{}"), ("a#2", "null")]
        );
    }

    #[test]
    fn a_node_knows_where_it_is_in_the_text() {
        let text = r#"{"a": {"b" : 1.50}}"#;
        let json = Json::parse(text).unwrap();
        let Inside::Object(entries) = &json.inside else { panic!("{json:?}") };
        assert_eq!(&text[entries[0].1.range_in(text)], r#"{"b" : 1.50}"#);
        assert_eq!(json.range_in(text), 0..text.len());
    }

    #[test]
    fn a_value_that_is_too_deep_stays_one_piece_of_text() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let Some(json) = Json::parse(&deep) else { return };
        assert_eq!(json.leaves().len(), 1);
    }

    #[test]
    fn differences_are_listed_field_by_field() {
        let (one, two) = (r#"{"a":1,"b":{"c":2,"d":[1,2]}}"#, r#"{"a":1,"b":{"c":2.0,"d":[1]},"e":null}"#);
        let (one, two) = (Json::parse(one).unwrap(), Json::parse(two).unwrap());
        let shown: Vec<_> = one.differences(&two).into_iter().map(|it| (it.path, it.before, it.after)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            shown,
            [
                ("b.c".to_owned(), text("2"), text("2.0")),
                ("b.d[1]".to_owned(), text("2"), None),
                ("e".to_owned(), None, text("null")),
            ]
        );
        assert_eq!(one.differences(&one), []);
    }
}
