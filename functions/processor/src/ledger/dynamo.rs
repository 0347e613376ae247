//! The ledger in DynamoDB: one item for each subject, every write under a condition.

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};

use super::{Ledger, LedgerTrouble, Write, item::Item};
use crate::domain_event::DomainEvent;

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
    /// The table of a name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    async fn put(&self, item: &Item, condition: Condition) -> Result<Write, LedgerTrouble> {
        let attributes = serde_dynamo::aws_sdk_dynamodb_1::to_item(item)
            .map_err(|_| LedgerTrouble::Permanent("the item has no DynamoDB form".to_owned()))?;
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
        let result = put.send().await;
        match result {
            Ok(_) => Ok(Write::Stored),
            Err(SdkError::ServiceError(refusal)) => match refusal.into_err() {
                PutItemError::ConditionalCheckFailedException(mut found) => match found.item.take() {
                    Some(attributes) => serde_dynamo::aws_sdk_dynamodb_1::from_item(attributes)
                        .map(|item| Write::Found(Box::new(item)))
                        .map_err(|_| LedgerTrouble::Permanent("the item there is of another form".to_owned())),
                    None => Ok(Write::Gone),
                },
                refusal => Err(refused(refusal.code())),
            },
            Err(error) => Err(unanswered(&error)),
        }
    }
}

impl Ledger for DynamoLedger {
    async fn insert(&self, item: &Item) -> Result<Write, LedgerTrouble> {
        self.put(item, Condition::NoItem).await
    }

    async fn replace(&self, item: &Item, version: u64) -> Result<Write, LedgerTrouble> {
        self.put(item, Condition::Version(version)).await
    }

    async fn clear(&self, key: &str, events: &[&DomainEvent]) -> Result<(), LedgerTrouble> {
        let paths: Vec<_> = (0..events.len()).map(|index| format!("#o.#e{index}")).collect();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", AttributeValue::S(key.to_owned()))
            // Counting up makes whoever merged with the full outbox lose its race, and merge again.
            .update_expression(format!("REMOVE {} ADD #v :one", paths.join(", ")))
            .condition_expression("attribute_exists(#k)")
            .expression_attribute_names("#k", "key")
            .expression_attribute_names("#v", "version")
            .expression_attribute_names("#o", "outbox")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        for (index, event) in events.iter().enumerate() {
            update = update.expression_attribute_names(format!("#e{index}"), &event.id);
        }
        match update.send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(refusal)) => match refusal.into_err() {
                // Somebody deleted the item: there is no outbox left to clear.
                UpdateItemError::ConditionalCheckFailedException(_) => Ok(()),
                refusal => Err(refused(refusal.code())),
            },
            Err(error) => Err(unanswered(&error)),
        }
    }
}

/// What DynamoDB says no to. Only a request that it will never take is hopeless; it is the caller's, not the time's.
fn refused(code: Option<&str>) -> LedgerTrouble {
    match code {
        Some(code @ ("ValidationException" | "ItemCollectionSizeLimitExceededException")) => {
            LedgerTrouble::Permanent(code.to_owned())
        }
        code => LedgerTrouble::Transient(code.unwrap_or("no error code").to_owned()),
    }
}

/// No answer: the write may have happened. An SDK error printed whole may quote the request, so only its kind is kept.
fn unanswered<E>(error: &SdkError<E>) -> LedgerTrouble {
    LedgerTrouble::Transient(match error {
        SdkError::TimeoutError(_) => "timeout".to_owned(),
        _ => "no connection".to_owned(),
    })
}
