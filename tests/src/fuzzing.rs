//! Fuzzing: what must hold at each door, whatever comes through it. `fuzz/` looks for bytes for which it does not hold,
//! led by coverage; `tests/fuzzing.rs` goes over the seeds, what was once found, and mutations of both, in each run.
//!
//! One file for each target. Its `check` panics when something does not hold, and its `seeds`, made from `events/`, are
//! what a search starts from.

mod batch;
mod envelope;
mod notification;
mod token;
mod webhook;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What stands between two parts of an input: a character that JSON text cannot hold.
const SEPARATOR: u8 = 0x1E;

/// A door, and what must hold for whatever comes through it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: the file in `fuzz/fuzz_targets/`, the folders of its inputs.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub check: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// A request at the receiver.
pub const TOKEN: Target = Target { name: "token", check: token::check, seeds: token::seeds };
/// A body on its way through the queue.
pub const ENVELOPE: Target = Target { name: "envelope", check: envelope::check, seeds: envelope::seeds };
/// A body, and what the processor makes of it.
pub const WEBHOOK: Target = Target { name: "webhook", check: webhook::check, seeds: webhook::seeds };
/// What Lambda hands to the processor.
pub const BATCH: Target = Target { name: "batch", check: batch::check, seeds: batch::seeds };
/// A message that may be S3's.
pub const NOTIFICATION: Target =
    Target { name: "notification", check: notification::check, seeds: notification::seeds };

/// All of them.
pub const TARGETS: [Target; 5] = [TOKEN, ENVELOPE, WEBHOOK, BATCH, NOTIFICATION];

impl Target {
    /// Where to begin: the seeds, and what searches have found in the past.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let mut inputs = (self.seeds)();
        // A target that has never found anything has no folder.
        if let Ok(files) = fs::read_dir(folder("regressions").join(self.name)) {
            let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            paths.sort();
            inputs.extend(paths.iter().map(|path| fs::read(path).unwrap()));
        }
        inputs
    }

    /// Writes them where a search looks. Done before each, so that they are never older than `events/`.
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
