//! Xendit's REST API: a client that reads back what webhooks claim, and a fake server of the same API for tests and the
//! local stack.
//!
//! An object that was read becomes an `Observation`, by the same tables of `shared` that read webhooks.
//!
//! **Invariant:** the secret key is in no log, error, `Debug` output or URL. Neither is anything of an answer but its status,
//! its error code and its request id.

mod client;
mod error;
mod https;
mod key;

pub mod callback_urls;
#[cfg(feature = "fake")]
#[expect(clippy::indexing_slicing, reason = "of JSON: what is not there is null, and what is set is in an object")]
pub mod fake;
pub mod lists;
pub mod objects;
pub mod simulate;

pub use self::{
    client::{BadAddress, Client, Limits, XENDIT},
    error::{Answered, Error, Unavailable},
    key::{NotASecretKey, SecretKey},
};
