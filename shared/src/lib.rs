//! The types that the functions and the CLI share, in the order in which a webhook passes through them.
//!
//! `Topic` and `Envelope` carry a webhook over the queue as it came; a `Webhook` is its body, recognised; an `Observation`
//! is what it says about one payment, payout, refund and so on; `Money` is exact; a `DomainEvent` is what is published.
//!
//! **Invariant:** no I/O, no async, no AWS SDK, no clock and no environment in here. Time and ids come in as arguments.

mod channel;
mod object;
mod product;
mod products;
mod resource;

pub mod api_object;
pub mod canary;
pub mod domain_event;
pub mod envelope;
pub mod lifecycle;
pub mod loggable;
pub mod money;
pub mod observation;
pub mod outcome;
pub mod stack;
pub mod topic;
pub mod webhook;
