//! Fuzzing: the fuzz targets. `fuzz/` searches for failing inputs by coverage; `tests/fuzzing.rs` runs the seeds, the
//! regressions, and some mutations of both with the ordinary tests.
//!
//! Each file is a target. Its `check` panics on a failing input. Its `seeds`, made from `events/`, are where a search
//! starts.

mod batch;
mod envelope;
mod notification;
mod token;
mod webhook;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Separates the parts of an input. JSON text cannot contain this character.
const SEPARATOR: u8 = 0x1E;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its file in `fuzz/fuzz_targets/` and of the folders of its inputs.
    pub name: &'static str,
    /// Panics on a failing input.
    pub check: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// Requests to the receiver.
pub const TOKEN: Target = Target { name: "token", check: token::check, seeds: token::seeds };
/// Bodies in envelopes on the queue.
pub const ENVELOPE: Target = Target { name: "envelope", check: envelope::check, seeds: envelope::seeds };
/// Bodies as the processor understands them.
pub const WEBHOOK: Target = Target { name: "webhook", check: webhook::check, seeds: webhook::seeds };
/// Lambda's events for the processor.
pub const BATCH: Target = Target { name: "batch", check: batch::check, seeds: batch::seeds };
/// Messages that may be notifications of S3.
pub const NOTIFICATION: Target =
    Target { name: "notification", check: notification::check, seeds: notification::seeds };

/// All targets.
pub const TARGETS: [Target; 5] = [TOKEN, ENVELOPE, WEBHOOK, BATCH, NOTIFICATION];

impl Target {
    /// The seeds and the regressions.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let mut inputs = (self.seeds)();
        // A target without regressions has no folder.
        if let Ok(files) = fs::read_dir(folder("regressions").join(self.name)) {
            let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            paths.sort();
            inputs.extend(paths.iter().map(|path| fs::read(path).unwrap()));
        }
        inputs
    }

    /// Writes the inputs to the corpus. Each search does this first, so that they are never older than `events/`.
    pub fn write_inputs(&self) {
        let corpus = folder("corpus").join(self.name);
        fs::create_dir_all(&corpus).unwrap();
        for (index, input) in self.inputs().iter().enumerate() {
            fs::write(corpus.join(format!("input-{index}")), input).unwrap();
        }
    }
}

/// A folder in `fuzz/`.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}
