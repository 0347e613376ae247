//! Any body, as the processor understands it. The check is in `tests/src/fuzzing/webhook.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::WEBHOOK;

fuzz_target!(init: WEBHOOK.write_inputs(), |bytes: &[u8]| (WEBHOOK.check)(bytes));
