//! The ledger in DynamoDB: one item for each subject, every write under a condition; and the reads by index.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use runtime::aws::{CallError, call_error};
use shared::{
    lifecycle::Kind,
    stack::{INDEX_BY_REFERENCE, INDEX_OPEN},
};

use crate::{
    item::{FORMAT, Item, in_index},
    key::Key,
    store::{Ledger, StoreError, Write},
};

/// How many items of an index are read at a time.
const READS_AT_A_TIME: usize = 10;

type Attributes = HashMap<String, AttributeValue>;

/// A DynamoDB table with the string key `key`.
#[derive(Clone, Debug)]
pub struct DynamoLedger {
    client: Client,
    table: String,
}

/// What must be true of the table for a write to happen.
enum Condition {
    NoItem,
    Version(u64),
}

impl DynamoLedger {
    /// A ledger in the named table.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// All subjects with one of the merchant's references.
    pub async fn by_reference(&self, reference: &str) -> Result<Vec<Item>, StoreError> {
        let found = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_BY_REFERENCE)
            .key_condition_expression("#r = :r")
            .expression_attribute_names("#r", "reference")
            .expression_attribute_values(":r", AttributeValue::S(reference.to_owned()))
            .into_paginator()
            .items()
            .send();
        self.items(found.collect::<Result<Vec<_>, _>>().await.map_err(|error| store_error(&error))?).await
    }

    /// The open subjects of a kind that were first seen before a moment.
    pub async fn open_since_before(&self, kind: Kind, moment: Timestamp) -> Result<Vec<Item>, StoreError> {
        let found = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_OPEN)
            .key_condition_expression("#o = :o AND #s < :s")
            .expression_attribute_names("#o", "open")
            .expression_attribute_names("#s", "since")
            .expression_attribute_values(":o", AttributeValue::S(kind.as_str().to_owned()))
            .expression_attribute_values(":s", AttributeValue::S(in_index(moment)))
            .into_paginator()
            .items()
            .send();
        self.items(found.collect::<Result<Vec<_>, _>>().await.map_err(|error| store_error(&error))?).await
    }

    /// The items that an index has listed.
    async fn items(&self, found: Vec<Attributes>) -> Result<Vec<Item>, StoreError> {
        let keys = found.iter().filter_map(|entry| entry.get("key")?.as_s().ok()).cloned().map(Key::from);
        let reads = keys.collect::<Vec<_>>().into_iter().map(async |key| self.get(&key).await);
        let items: Vec<_> = stream::iter(reads).buffered(READS_AT_A_TIME).try_collect().await?;
        Ok(items.into_iter().flatten().collect())
    }

    async fn put(&self, item: &Item, condition: Condition) -> Result<Write, StoreError> {
        let attributes = serde_dynamo::aws_sdk_dynamodb_1::to_item(item)
            .map_err(|_| StoreError::Permanent("the item has no DynamoDB form".to_owned()))?;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(attributes))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match condition {
            Condition::NoItem => {
                put.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", "key")
            }
            Condition::Version(version) => put
                .condition_expression("#v = :v")
                .expression_attribute_names("#v", "version")
                .expression_attribute_values(":v", AttributeValue::N(version.to_string())),
        };
        match put.send().await {
            Ok(_) => Ok(Write::Stored),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(found)) => match found.item.clone() {
                    Some(attributes) => read(attributes).map(|item| Write::Found(Box::new(item))),
                    None => Ok(Write::Gone),
                },
                _ => Err(store_error(&error)),
            },
        }
    }
}

impl Ledger for DynamoLedger {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).key("key", string_attribute(key));
        let answer = get.send().await.map_err(|error| store_error(&error))?;
        answer.item.map(read).transpose()
    }

    async fn insert(&self, item: &Item) -> Result<Write, StoreError> {
        self.put(item, Condition::NoItem).await
    }

    async fn replace(&self, item: &Item, version: u64) -> Result<Write, StoreError> {
        self.put(item, Condition::Version(version)).await
    }

    async fn clear(&self, key: &Key, events: &[String]) -> Result<(), StoreError> {
        let paths: Vec<_> = (0..events.len()).map(|index| format!("#o.#e{index}")).collect();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", string_attribute(key))
            .update_expression(format!("REMOVE {} ADD #v :one", paths.join(", ")))
            .condition_expression("attribute_exists(#k)")
            .expression_attribute_names("#k", "key")
            .expression_attribute_names("#v", "version")
            .expression_attribute_names("#o", "outbox")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        for (index, id) in events.iter().enumerate() {
            update = update.expression_attribute_names(format!("#e{index}"), id);
        }
        match update.send().await {
            Ok(_) => Ok(()),
            // The item was deleted: there is no outbox left to clear.
            Err(SdkError::ServiceError(refusal))
                if matches!(refusal.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(())
            }
            Err(error) => Err(store_error(&error)),
        }
    }
}

fn string_attribute(key: &Key) -> AttributeValue {
    AttributeValue::S(key.as_str().to_owned())
}

/// Parses an item, unless a newer deployment wrote it.
fn read(attributes: Attributes) -> Result<Item, StoreError> {
    let format = attributes.get("format").and_then(|format| format.as_n().ok()?.parse::<u32>().ok());
    if format.is_some_and(|format| format > FORMAT) {
        return Err(StoreError::Newer);
    }
    serde_dynamo::aws_sdk_dynamodb_1::from_item(attributes)
        .map_err(|_| StoreError::Permanent("the stored item cannot be parsed".to_owned()))
}

/// Permanent only where DynamoDB would refuse the same request again.
fn store_error<E: ProvideErrorMetadata>(error: &SdkError<E>) -> StoreError {
    match call_error(error) {
        CallError::Refused(code) if code == "ValidationException" => StoreError::Permanent(code),
        error => StoreError::Transient(error.to_string()),
    }
}
