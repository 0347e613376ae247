//! Change: sets a value in a body, as `--set PATH=VALUE` says.
//!
//! **Invariant:** all other values keep their text, so that amounts keep their digits.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, value::RawValue};

use crate::samples;

/// A value to set in a body, with the object keys and list indexes that lead to it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    path: Vec<String>,
    value: Box<RawValue>,
}

impl FromStr for Change {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (path, value) = text.split_once('=').context("it has no `=`; write PATH=VALUE")?;
        ensure!(!path.is_empty(), "the path is empty; write PATH=VALUE");
        Self::new(path, value)
    }
}

impl Change {
    /// A value that is JSON keeps its exact digits. Any other value becomes a JSON string.
    pub(super) fn new(path: &str, value: &str) -> Result<Self> {
        let value = match serde_json::from_str(value) {
            Ok(json) => json,
            Err(_) => RawValue::from_string(serde_json::to_string(value)?)?,
        };
        Ok(Self { path: path.split('.').map(str::to_owned).collect(), value })
    }

    /// Sets the value of another body at the same path.
    pub(super) fn like(path: &str, other: &str) -> Result<Self> {
        let mut found = RawValue::from_string(other.to_owned())?;
        for step in path.split('.') {
            let object: BTreeMap<String, Box<RawValue>> = serde_json::from_str(found.get())?;
            found = object.get(step).with_context(|| format!("there is no `{path}`"))?.clone();
        }
        Ok(Self { path: path.split('.').map(str::to_owned).collect(), value: found })
    }

    pub(super) fn apply(&self, body: &str) -> Result<String> {
        let changed = set(body, &self.path, &self.value);
        Ok(changed.with_context(|| format!("cannot set {}", self.path.join(".")))?.get().to_owned())
    }

    /// What to say if the body has nothing at the path: a mistyped path would add a value that nobody reads.
    pub(super) fn warning(&self, body: &str) -> Option<String> {
        let body: Value = serde_json::from_str(body).ok()?;
        let pointer: String = self.path.iter().flat_map(|step| ["/", step]).collect();
        if body.pointer(&pointer).is_some() {
            return None;
        }
        let (path, known) = (self.path.join("."), paths(&body));
        let has_same_key = |known: &&String| known.rsplit('.').next() == self.path.last().map(String::as_str);
        let meant = known.iter().find(has_same_key).map(String::as_str);
        let meant = meant.or_else(|| samples::closest(&path, known.iter().map(String::as_str)));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        Some(format!("the webhook had no `{path}`, and has it now{meant}"))
    }
}

/// The paths of all values.
fn paths(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let with_children = |(step, value): (String, &Value)| {
        let below: Vec<_> = paths(value).into_iter().map(|path| format!("{step}.{path}")).collect();
        std::iter::once(step).chain(below)
    };
    children.into_iter().flat_map(with_children).collect()
}

/// Sets a value. Rebuilds only the objects and lists on the path, and keeps the text of all other values.
fn set(json: &str, path: &[String], value: &RawValue) -> Result<Box<RawValue>> {
    let Some((step, rest)) = path.split_first() else { return Ok(value.to_owned()) };
    let rebuilt = if json.trim_start().starts_with('[') {
        let mut list: Vec<Box<RawValue>> = serde_json::from_str(json)?;
        let index: usize = step.parse().with_context(|| format!("`{step}` is not a list index"))?;
        let old = list.get_mut(index).with_context(|| format!("the list has no index {index}"))?;
        *old = set(old.get(), rest, value)?;
        serde_json::to_string(&list)?
    } else {
        let mut object: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(json).with_context(|| format!("the parent of `{step}` is not an object"))?;
        let old = object.get(step).map_or("{}", |old| old.get());
        let new = set(old, rest, value)?;
        object.insert(step.clone(), new);
        serde_json::to_string(&object)?
    };
    Ok(RawValue::from_string(rebuilt)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(body: &str, change: &str) -> String {
        change.parse::<Change>().unwrap().apply(body).unwrap()
    }

    #[test]
    fn a_value_is_set_at_its_path_and_all_other_digits_stay() {
        let body = r#"{"data":{"amount":10000.10,"list":[{"a":1.50},2]}}"#;
        assert_eq!(changed(body, "data.amount=0.30"), r#"{"data":{"amount":0.30,"list":[{"a":1.50},2]}}"#);
        assert_eq!(changed(body, "data.list.0.a=x"), r#"{"data":{"amount":10000.10,"list":[{"a":"x"},2]}}"#);
        assert_eq!(changed("{}", "a.b=null"), r#"{"a":{"b":null}}"#);
    }

    #[test]
    fn a_path_that_cannot_be_set_is_an_error() {
        for change in ["list.7=1", "list.x=1", "number.x=1"] {
            let change: Change = change.parse().unwrap();
            assert!(change.apply(r#"{"list":[],"number":1}"#).is_err(), "{change:?}");
        }
        for text in ["no-equals-sign", "=1"] {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_copied_from_another_body_with_its_digits() {
        let change = Change::like("data.amount", r#"{"data":{"amount":10000.10}}"#).unwrap();
        assert_eq!(change.apply(r#"{"data":{"amount":1}}"#).unwrap(), r#"{"data":{"amount":10000.10}}"#);
        assert!(Change::like("data.amount", r#"{"data":{}}"#).is_err());
    }

    #[test]
    fn a_path_that_the_body_has_not_is_a_warning_with_the_path_that_was_meant() {
        let body = r#"{"external_id":"a","data":{"reference_id":"b","list":[{"amount":1}]}}"#;
        let warning = |change: &str| change.parse::<Change>().unwrap().warning(body);
        assert_eq!(warning("external_id=x").or(warning("data.list.0.amount=2")), None);
        for (path, meant) in [
            ("external_idd", "; did you mean `external_id`?"),
            ("reference_id", "; did you mean `data.reference_id`?"),
            ("data.list.0.amuont", "; did you mean `data.list.0.amount`?"),
            ("metadata", ""),
        ] {
            let expected = format!("the webhook had no `{path}`, and has it now{meant}");
            assert_eq!(warning(&format!("{path}=x")), Some(expected));
        }
    }
}
