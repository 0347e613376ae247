//! The nouns that both functions agree on, in the order in which a webhook meets them.
//!
//! `Topic` and `Envelope` carry a webhook over the queue as it came; `Event` is what its body is taken for;
//! an `Observation` is what one event says about one payment, payout, refund and so on; `Money` is exact.
//!
//! **Invariant:** no I/O, no async, no AWS, no clock and no environment in here. Time and ids come in as arguments.

pub mod envelope;
pub mod event;
pub mod lifecycle;
pub mod money;
pub mod observation;
pub mod topic;
