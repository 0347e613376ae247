//! Any request to the receiver. The check is in `tests/src/fuzzing/token.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::TOKEN;

fuzz_target!(init: TOKEN.write_inputs(), |bytes: &[u8]| (TOKEN.check)(bytes));
