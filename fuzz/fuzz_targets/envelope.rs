//! Any body in an envelope on the queue. The check is in `tests/src/fuzzing/envelope.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::ENVELOPE;

fuzz_target!(init: ENVELOPE.write_inputs(), |bytes: &[u8]| (ENVELOPE.check)(bytes));
