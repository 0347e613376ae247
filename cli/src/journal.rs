//! Journal: a file beside a plan, with one line for each step taken. After a kill at any point, the same command reads it and
//! goes on.
//!
//! **Invariant:** only one process has a journal open. A written step is on the disk before the next one begins.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was done with a message, or is about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Sending,
    Sent,
    /// It is gone from where it was.
    Removed,
    /// Nothing was to be done any more.
    NotNeeded,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Step { at: Timestamp, step: Step, id: String },
    Run(Run),
}

/// The plan is run, or run again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    at: Timestamp,
    reason: Option<String>,
}

/// The steps for each message of a plan.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// The last step of each.
    steps: BTreeMap<String, Step>,
    /// How often each was about to be sent.
    sendings: BTreeMap<String, usize>,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("this plan is being run by another process"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // A kill may have cut the last line short. Its step was not taken yet, or is taken again.
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        text.truncate(end);
        let end = u64::try_from(end)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        let mut journal = Self { file, steps: BTreeMap::new(), sendings: BTreeMap::new() };
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = serde_json::from_slice(line);
            if let Line::Step { step, id, .. } =
                line.with_context(|| format!("{} is damaged; make a new plan", path.display()))?
            {
                journal.note(id, step);
            }
        }
        Ok(journal)
    }

    /// Whether no step was taken yet.
    pub(crate) fn is_new(&self) -> bool {
        self.steps.is_empty()
    }

    /// Writes down that the plan is run now, and why.
    pub(crate) fn begin(&mut self, reason: Option<&str>) -> Result<()> {
        self.append(&Line::Run(Run { at: Timestamp::now(), reason: reason.map(str::to_owned) }))
    }

    /// Writes a step down.
    pub(crate) fn write(&mut self, id: &str, step: Step) -> Result<()> {
        self.append(&Line::Step { at: Timestamp::now(), step, id: id.to_owned() })?;
        self.note(id.to_owned(), step);
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let line = format!("{}\n", serde_json::to_string(line)?);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.context("cannot write the journal of the plan")
    }

    fn note(&mut self, id: String, step: Step) {
        if step == Step::Sending {
            *self.sendings.entry(id.clone()).or_default() += 1;
        }
        self.steps.insert(id, step);
    }

    /// The last step for a message.
    pub(crate) fn step(&self, id: &str) -> Option<Step> {
        self.steps.get(id).copied()
    }

    /// How many may have been sent twice, because a run was interrupted between sending and writing that down.
    pub(crate) fn perhaps_sent_twice(&self) -> usize {
        self.sendings.values().filter(|count| **count > 1).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_where_it_was_cut_off() {
        let path = std::env::temp_dir().join(format!("xendit-hooks-journal-{}", std::process::id()));
        let mut journal = Journal::open(&path).unwrap();
        journal.begin(Some("why")).unwrap();
        assert!(journal.is_new());
        for (id, step) in [("a", Step::Sending), ("a", Step::Sent), ("a", Step::Removed), ("b", Step::Sending)] {
            journal.write(id, step).unwrap();
        }
        let other = Journal::open(&path).unwrap_err().to_string();
        assert!(other.contains("this plan is being run by another process"), "{other}");
        journal.file.write_all(br#"{"at":"2026-01-02T03:04:05Z","step":"se"#).unwrap();
        drop(journal);

        let mut journal = Journal::open(&path).unwrap();
        assert_eq!((journal.step("a"), journal.step("b")), (Some(Step::Removed), Some(Step::Sending)));
        assert_eq!((journal.step("c"), journal.perhaps_sent_twice(), journal.is_new()), (None, 0, false));
        journal.write("b", Step::Sending).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().perhaps_sent_twice(), 1);
        std::fs::remove_file(path).unwrap();
    }
}
