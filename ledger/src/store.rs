//! Store: the port to the ledger's storage.

use std::future::Future;

use crate::{item::Item, key::Key};

/// Where items are kept, every write under a condition.
pub trait Ledger {
    /// Reads an item, eventually consistent. A conditional write detects a stale read.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Item>, StoreError>> + Send;

    /// Stores an item if there is none under its key.
    fn insert(&self, item: &Item) -> impl Future<Output = Result<Write, StoreError>> + Send;

    /// Stores an item if the one under its key still has the version.
    fn replace(&self, item: &Item, version: u64) -> impl Future<Output = Result<Write, StoreError>> + Send;

    /// Removes published events from the item's outbox, and bumps the version, so that a writer that read the uncleared outbox
    /// merges again.
    fn clear(&self, key: &Key, events: &[String]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stored.
    Stored,
    /// Not stored: this item exists, or has another version.
    Found(Box<Item>),
    /// Not stored: the item was deleted in between.
    Gone,
}

/// The operation failed, or its result is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Retry later.
    #[error("the call to the ledger failed: {0}")]
    Transient(String),
    /// A retry cannot help: park the message.
    #[error("the ledger refuses the item: {0}")]
    Permanent(String),
    /// Written by a newer deployment: retry until that is back.
    #[error("the item was written by a newer processor; deploy the newer version again")]
    Newer,
}
