//! Dynamo: stands in for DynamoDB. It keeps items, checks the conditions of writes, and counts the units that AWS bills.
//!
//! Units as AWS's developer guide defines them:
//!
//! - a write: one for each KB, or part of one, of the larger of the item before and after; one whose condition fails is
//!   billed by the larger of the stored item and the one that was sent;
//! - an index: one for each KB of an entry that is added, removed or replaced; a replaced one counts twice;
//! - a read: one for each 4 KB of the item, half of that if it is eventually consistent. An item that does not exist is
//!   billed as one of no size.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::item;

pub type Item = Map<String, Value>;

/// The ledger's two indexes in template.yaml: the attributes of an entry. Both are projected with keys only, so an entry
/// holds its own keys and the table's. An item without one of them has no entry.
const INDEXES: [&[&str]; 2] = [&["reference", "key"], &["open", "since", "key"]];

/// What AWS charges for storage on top of an item's size, and of an index entry's.
const STORAGE_OVERHEAD: u64 = 100;

/// What AWS bills for requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    pub written: f64,
    pub read: f64,
}

/// The answer to a request.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub units: Units,
}

/// A table.
#[derive(Default)]
pub struct Dynamo {
    items: HashMap<String, Item>,
}

impl Dynamo {
    /// Deletes all items.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// What AWS bills as storage for all items and their index entries.
    pub fn stored_bytes(&self) -> u64 {
        let of = |item: &Item| {
            let entries = INDEXES.iter().filter_map(|index| entry(item, index));
            item::bytes(item) + STORAGE_OVERHEAD + entries.map(|it| item::bytes(&it) + STORAGE_OVERHEAD).sum::<u64>()
        };
        self.items.values().map(of).sum()
    }

    /// Answers an operation on items. `None`: it is not one.
    pub fn answer(&mut self, operation: &str, request: &Value) -> Option<Answer> {
        match operation {
            "GetItem" => Some(self.get(request)),
            "PutItem" => Some(self.put(request)),
            "UpdateItem" => Some(self.update(request)),
            _ => None,
        }
    }

    fn get(&self, request: &Value) -> Answer {
        let found = self.items.get(&key(&request["Key"]));
        let blocks = blocks(found.map_or(0, item::bytes), 4_096);
        let read = if request["ConsistentRead"] == true { blocks } else { blocks / 2.0 };
        let body = found.map_or(json!({}), |item| json!({ "Item": item }));
        Answer { status: 200, body, units: Units { read, written: 0.0 } }
    }

    /// `PutItem`: on the condition that there is no item, or that its version is the given one.
    fn put(&mut self, request: &Value) -> Answer {
        let key = key(&request["Item"]);
        let before = self.items.get(&key);
        let after = request["Item"].as_object().cloned().unwrap_or_default();
        let condition = request["ConditionExpression"].as_str().unwrap_or_default();
        let version = &request["ExpressionAttributeValues"][":v"];
        let holds = match before {
            None => !condition.starts_with("#v"),
            Some(item) => condition.is_empty() || (condition.starts_with("#v") && item.get("version") == Some(version)),
        };
        if !holds {
            return refused(before, &after, request);
        }
        let units = write(before, &after);
        self.items.insert(key, after);
        Answer { status: 200, body: json!({}), units }
    }

    /// `UpdateItem`: the clauses `SET a = :b`, `REMOVE a.b` and `ADD a :b`, with placeholders for all names.
    fn update(&mut self, request: &Value) -> Answer {
        let key = key(&request["Key"]);
        let before = self.items.get(&key);
        let mut after = before.or(request["Key"].as_object()).cloned().unwrap_or_default();
        let condition = request["ConditionExpression"].as_str().unwrap_or_default();
        if condition.starts_with("attribute_exists") && before.is_none() {
            return refused(before, &after, request);
        }
        let name = |placeholder: &str| request["ExpressionAttributeNames"][placeholder].as_str().unwrap_or_default();
        let mut clause = "";
        let expression = request["UpdateExpression"].as_str().unwrap_or_default().replace(['=', ','], " ");
        let mut words = expression.split_whitespace();
        while let Some(word) = words.next() {
            match (clause, word) {
                (_, "SET" | "REMOVE" | "ADD") => clause = word,
                ("REMOVE", path) => {
                    if let Some((map, entry)) = path.split_once('.')
                        && let Some(map) = after.get_mut(name(map)).and_then(|map| map["M"].as_object_mut())
                    {
                        map.remove(name(entry));
                    }
                }
                (clause, path) => {
                    let value = &request["ExpressionAttributeValues"][words.next().unwrap_or_default()];
                    let number = |value: &Value| value["N"].as_str().and_then(|digits| digits.parse::<u64>().ok());
                    let value = match (clause, after.get(name(path)).and_then(number), number(value)) {
                        ("ADD", Some(before), Some(more)) => json!({ "N": (before + more).to_string() }),
                        _ => value.clone(),
                    };
                    after.insert(name(path).to_owned(), value);
                }
            }
        }
        let units = write(before, &after);
        self.items.insert(key, after);
        Answer { status: 200, body: json!({}), units }
    }
}

/// A write whose condition failed.
fn refused(before: Option<&Item>, sent: &Item, request: &Value) -> Answer {
    let mut body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
    });
    if let Some(item) = before.filter(|_| request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD") {
        body["Item"] = json!(item);
    }
    let written = blocks(before.map_or(0, item::bytes).max(item::bytes(sent)), 1_024);
    Answer { status: 400, body, units: Units { written, read: 0.0 } }
}

/// The units of a write of one item and of its index entries.
fn write(before: Option<&Item>, after: &Item) -> Units {
    let item = blocks(before.map_or(0, item::bytes).max(item::bytes(after)), 1_024);
    let indexes = INDEXES.iter().map(|index| {
        let (before, after) = (before.and_then(|item| entry(item, index)), entry(after, index));
        if before == after {
            return 0.0;
        }
        [before, after].iter().flatten().map(|entry| blocks(item::bytes(entry), 1_024)).sum()
    });
    Units { written: item + indexes.sum::<f64>(), read: 0.0 }
}

/// An item's entry in an index.
fn entry(item: &Item, index: &[&str]) -> Option<Item> {
    index.iter().map(|&name| Some((name.to_owned(), item.get(name)?.clone()))).collect()
}

/// How many blocks of a size there are in so many bytes: at least one.
#[expect(clippy::cast_precision_loss, reason = "an item has at most 400 KB")]
fn blocks(bytes: u64, size: u64) -> f64 {
    bytes.div_ceil(size).max(1) as f64
}

/// The value of a table's only key: ours is called `key`, Powertools' `id`.
fn key(item: &Value) -> String {
    ["key", "id"].iter().find_map(|name| item[name]["S"].as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(more: Value) -> Value {
        let mut item = json!({ "key": { "S": "k" }, "version": { "N": "1" }, "outbox": { "M": { "e": { "S": "" } } } });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    }

    fn put(table: &mut Dynamo, item: &Value, condition: &str) -> (u16, f64) {
        let request = json!({
            "Item": item,
            "ConditionExpression": condition,
            "ExpressionAttributeValues": { ":v": { "N": "1" } },
        });
        let answer = table.answer("PutItem", &request).unwrap();
        (answer.status, answer.units.written)
    }

    const NEW: &str = "attribute_not_exists(#k)";

    #[test]
    fn a_write_is_billed_by_the_larger_item() {
        let large = |bytes: usize| item(json!({ "x": { "S": "x".repeat(bytes) } }));
        let mut table = Dynamo::default();
        assert_eq!(put(&mut table, &large(1_500), NEW), (200, 2.0));
        assert_eq!(put(&mut table, &large(3_000), NEW), (400, 3.0));
        assert_eq!(put(&mut table, &item(json!({})), NEW), (400, 2.0));
        assert_eq!(put(&mut table, &item(json!({})), "#v = :v"), (200, 2.0));
        assert_eq!(put(&mut table, &item(json!({})), "#v = :v"), (200, 1.0));
    }

    #[test]
    fn an_index_is_billed_only_when_its_entry_changes() {
        let mut table = Dynamo::default();
        let open = |since: &str| {
            item(json!({ "reference": { "S": "r" }, "open": { "S": "payout" }, "since": { "S": since } }))
        };
        assert_eq!(put(&mut table, &open("1"), NEW), (200, 3.0));
        assert_eq!(put(&mut table, &open("1"), "#v = :v"), (200, 1.0));
        assert_eq!(put(&mut table, &open("2"), "#v = :v"), (200, 3.0));
        assert_eq!(put(&mut table, &item(json!({ "reference": { "S": "r" } })), "#v = :v"), (200, 2.0));
    }

    #[test]
    fn an_update_takes_events_out_of_the_outbox() {
        let mut table = Dynamo::default();
        let clear = json!({
            "Key": { "key": { "S": "k" } },
            "UpdateExpression": "REMOVE #o.#e0 ADD #v :one",
            "ConditionExpression": "attribute_exists(#k)",
            "ExpressionAttributeNames": { "#k": "key", "#v": "version", "#o": "outbox", "#e0": "e" },
            "ExpressionAttributeValues": { ":one": { "N": "1" } },
        });
        assert_eq!(table.answer("UpdateItem", &clear).unwrap().status, 400);
        put(&mut table, &item(json!({})), NEW);
        assert_eq!(table.answer("UpdateItem", &clear).unwrap().units.written, 1.0);
        let get = table.answer("GetItem", &json!({ "Key": { "key": { "S": "k" } } })).unwrap();
        assert_eq!(get.units, Units { read: 0.5, written: 0.0 });
        assert_eq!(get.body["Item"]["version"], json!({ "N": "2" }));
        assert_eq!(get.body["Item"]["outbox"], json!({ "M": {} }));
        let missing = table.answer("GetItem", &json!({ "Key": { "key": { "S": "other" } } })).unwrap();
        assert_eq!((missing.body, missing.units.read), (json!({}), 0.5));
    }

    #[test]
    fn storage_includes_the_index_entries() {
        let mut table = Dynamo::default();
        put(&mut table, &json!({ "key": { "S": "k" }, "reference": { "S": "r" } }), NEW);
        assert_eq!(table.stored_bytes(), 2 * (3 + 1 + 9 + 1 + 100));
    }
}
