//! The receiver: proves that a webhook is Xendit's, stores it durably, answers.
//!
//! `handler.rs` is the control flow; `api_gateway.rs` is what API Gateway hands over, `verify.rs` and `queue.rs` are the two steps, and
//! `inbox.rs` is the second store.
//!
//! **Invariant:** nothing in here reads the body. A webhook of a kind that nobody has seen needs no new receiver.

pub mod api_gateway;
pub mod config;
pub mod handler;
pub mod inbox;
pub mod queue;
pub mod verify;
