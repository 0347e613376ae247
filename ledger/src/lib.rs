//! The ledger: what is known about every payment, payout, refund and so on, and what to publish about it.
//!
//! In reading order: an `Update` is an observation with its delivery; a `State` merges observations, and `announce` says what to
//! publish about a change; an `Item` is a state with its outbox and history, as it is stored; `record` is the
//! write protocol; `detail` builds the events; `store` and `bus` are the ports, `dynamo` and `event_bridge` their adapters.
//!
//! **Invariant:** no Lambda, no queue and no clock in here. Everything between the ports is pure.

pub mod announce;
pub mod bus;
pub mod detail;
pub mod dynamo;
pub mod event_bridge;
#[cfg(test)]
mod fixture;
pub mod item;
pub mod key;
pub mod record;
pub mod state;
pub mod stated;
pub mod store;
pub mod update;
