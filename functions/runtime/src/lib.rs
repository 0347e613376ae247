//! What both functions' processes need before their first event, and nothing of what they do with one:
//! configuration that names what is wrong, JSON logs, a connection to AWS that starts fast.
//!
//! **Invariant:** nothing in here knows webhooks. Only the two `main.rs` and `config.rs` use it.

pub mod aws;
mod https;
pub mod logs;
pub mod process;
pub mod settings;
