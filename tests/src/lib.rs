//! What the tests share: both functions over ports in memory, a manual clock, and a small language for stories. A story
//! posts webhooks, pumps the queue, and looks at the result.
//!
//! In reading order:
//!
//! - `aws` is AWS as plain data, for the stories and for `sim`;
//! - `story` is the language, `memory` the ports in memory, and `faults` how they fail;
//! - `fixture` reads the files in `events/`;
//! - `server` runs an emulated AWS for the adapters, `cloud` creates the template's resources in it, and `stub` is a server
//!   that misbehaves or proxies;
//! - `process` starts the real binaries, and `runtime_api` invokes them as Lambda does;
//! - `calls` names the calls to AWS that reach a stub as IAM does;
//! - `xendit` generates webhooks, and says what the ledger must hold after them;
//! - `sim` simulates everything with injected faults, and `chaos` kills and freezes the real binaries;
//! - `fuzzing` checks what must hold for any bytes.
//!
//! **Invariant:** the tests assert, not this library, except for the judge of `sim`, the verdict of `chaos`, and the checks
//! of `fuzzing`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: an unexpected value must fail the test"
)]

pub mod aws;
pub mod calls;
pub mod chaos;
pub mod cloud;
pub mod faults;
pub mod fixture;
pub mod fuzzing;
pub mod memory;
pub mod process;
pub mod runtime_api;
pub mod server;
pub mod sim;
pub mod story;
pub mod stub;
mod xendit;
