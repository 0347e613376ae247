//! Anything that Lambda may hand to the processor. See `tests/src/fuzzing/batch.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::BATCH;

fuzz_target!(init: BATCH.write_inputs(), |bytes: &[u8]| (BATCH.check)(bytes));
