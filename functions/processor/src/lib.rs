//! The processor: takes webhooks off the queue, understands them, and records them in the ledger.
//!
//! In reading order: `batch` is the control flow; `message` is what SQS hands over and what it gets back; `inbox` fetches what one
//! message could not hold; `source` delays messages, or moves them to the dead-letter queue; `failure` says which.
//!
//! **Invariant:** effects are behind ports: `Inbox` and `Source` here, `Ledger` and `Bus` in the ledger. The time comes in
//! as an argument.

pub mod batch;
pub mod config;
pub mod failure;
pub mod inbox;
pub mod message;
pub mod source;
