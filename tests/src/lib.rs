//! What the whole-flow tests are told in: the two real functions over ports in memory, a clock that is turned by hand,
//! and a small language of stories. A story posts bodies, pumps the queue, and looks at what happened.
//!
//! In reading order: `story` is the language; `memory` are the ports, which do what AWS documents; `trouble` is what
//! can happen to them; `fixture` are the bodies in `events/`; `server` is AWS on this machine, for the adapters, `cloud`
//! all that the template makes of it, `stub` what stands between; `process` are the real binaries, `runtime_api` what runs
//! them; `xendit` is what may be told, and what must be known in the end; `sim` is a world in which everything happens that
//! can; `chaos` kills and freezes the real binaries; `fuzzing` is what must hold for any bytes.
//!
//! **Invariant:** nothing in here but the judges of `sim` and `chaos`, and `fuzzing`'s checks, decides what is right. That is
//! said in the tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is all test code: a surprise has to end the test"
)]

pub mod chaos;
pub mod cloud;
pub mod fixture;
pub mod fuzzing;
pub mod memory;
pub mod process;
pub mod runtime_api;
pub mod server;
pub mod sim;
pub mod story;
pub mod stub;
pub mod trouble;
mod xendit;
