//! Item: the size of an item as DynamoDB bills it. Attribute names count, JSON's punctuation does not.
//!
//! From AWS's page on item sizes and formats: text has its UTF-8 bytes, a number half its digits and one, a map or list
//! three and one for each entry.

use serde_json::{Map, Value};

/// The size of an item in bytes.
pub fn bytes(item: &Map<String, Value>) -> u64 {
    item.iter().map(|(name, value)| name.len() as u64 + of_value(value)).sum()
}

fn of_value(value: &Value) -> u64 {
    let Some((kind, value)) = value.as_object().and_then(|typed| typed.iter().next()) else { return 0 };
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len() as u64,
        ("N", Value::String(digits)) => digits.len().div_ceil(2) as u64 + 1,
        ("M", Value::Object(map)) => 3 + map.len() as u64 + bytes(map),
        ("L", Value::Array(list)) => 3 + list.iter().map(|value| 1 + of_value(value)).sum::<u64>(),
        // NULL and BOOL. Nothing here writes the others.
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_is_as_large_as_aws_says() {
        let item = json!({ "key": { "S": "é" }, "n": { "N": "123" }, "m": { "M": { "a": { "BOOL": true } } } });
        assert_eq!(bytes(item.as_object().unwrap()), 5 + 4 + 1 + (3 + 1 + 2));
        let list = json!({ "l": { "L": [{ "NULL": true }, { "S": "ab" }] } });
        assert_eq!(bytes(list.as_object().unwrap()), 1 + 3 + 2 + 3);
    }
}
