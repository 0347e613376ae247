//! Any event of Lambda for the processor. The check is in `tests/src/fuzzing/batch.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::BATCH;

fuzz_target!(init: BATCH.write_inputs(), |bytes: &[u8]| (BATCH.check)(bytes));
