//! What both functions need before their first event: settings, JSON logs, a connection to AWS that starts fast; and what the
//! adapters share, the classification of failed calls.
//!
//! **Invariant:** nothing in here knows webhooks.

pub mod aws;
mod https;
pub mod logs;
pub mod process;
pub mod settings;
