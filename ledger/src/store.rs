//! Store: the port to where items are kept.

use std::future::Future;

use crate::{item::Item, key::Key};

/// Where items are kept, every write under a condition.
pub trait Ledger {
    /// Reads an item, perhaps not its latest version. A write that follows says so.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Item>, StoreError>> + Send;

    /// Stores an item if there is none under its key.
    fn insert(&self, item: &Item) -> impl Future<Output = Result<Write, StoreError>> + Send;

    /// Stores an item if the one under its key still has the version.
    fn replace(&self, item: &Item, version: u64) -> impl Future<Output = Result<Write, StoreError>> + Send;

    /// Takes published events out of the item's outbox, and bumps the version, so that a writer that read the uncleared
    /// outbox merges again.
    fn clear(&self, key: &Key, events: &[String]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stored.
    Stored,
    /// Not stored: this is what is there.
    Found(Box<Item>),
    /// Not stored, and there is nothing: the item was deleted in between.
    Gone,
}

/// The store did not do what was asked, or is not known to have done it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Retry later.
    #[error("the ledger did not answer: {0}")]
    Passing(String),
    /// Retrying cannot help: park the message.
    #[error("the ledger refuses the item: {0}")]
    Permanent(String),
    /// What is there was written by a newer deployment. Retry until that is back.
    #[error("the item was written by a newer version; deploy the processor again")]
    Newer,
}
