//! The processor: understands webhooks, keeps what they say exactly once, publishes what changed.
//!
//! In reading order: `batch` takes messages off the queue, each on its own; `ledger` merges what an event says into
//! what is known, by `ledger::state`; `business` decides what a change means for the merchant; `domain_event` is how
//! that is written; `bus` is where it goes. `inbox` fetches what one message could not hold; `source` hands messages back or
//! parks them.
//!
//! **Invariant:** effects are behind four ports (`Inbox`, `Ledger`, `Bus`, `Source`). Everything between them is pure; the
//! time comes in as an argument.

pub mod batch;
pub mod bus;
pub mod business;
pub mod config;
pub mod domain_event;
pub mod inbox;
pub mod ledger;
pub mod source;
