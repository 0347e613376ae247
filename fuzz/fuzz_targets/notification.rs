//! Any message that may be a notification of S3. The check is in `tests/src/fuzzing/notification.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::NOTIFICATION;

fuzz_target!(init: NOTIFICATION.write_inputs(), |bytes: &[u8]| (NOTIFICATION.check)(bytes));
