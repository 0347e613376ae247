//! Children: starts the processes of the local stack, writes their logs, and stops them.
//!
//! **Invariant:** `dev` leaves no process behind, not even when it is killed: each process ends by itself once `dev` is gone.
//! The functions lose their runtime API, and the emulated AWS its standard input. If a process exits on its own, `dev` stops
//! with an error.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context as _, Error, Result, anyhow};
use jiff::Timestamp;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{
    fake_xendit,
    project::Project,
    stack::{is_locked, write_locked},
    token,
};

/// How many runs keep their logs.
const KEPT_RUNS: usize = 10;

/// The file in the folder of a run that is locked as long as it runs.
const LOCK: &str = "running";

pub(super) struct Children {
    running: Vec<Running>,
    /// The folder with one log file per process.
    pub(super) logs: PathBuf,
    _lock: File,
}

struct Running {
    name: String,
    child: Child,
    /// Open as long as `dev` runs.
    _stdin: Option<ChildStdin>,
}

impl Children {
    pub(super) fn new(project: &Project) -> Result<Self> {
        let name = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S"), std::process::id());
        let logs = project.runs().join(name);
        let created = fs::create_dir_all(&logs).and_then(|()| write_locked(&logs.join(LOCK), b""));
        let lock = created.with_context(|| format!("cannot create the log folder {}", logs.display()))?;
        prune(&project.runs(), KEPT_RUNS);
        Ok(Self { running: Vec::new(), logs, _lock: lock })
    }

    /// Starts a process whose standard input stays open as long as `dev` runs, and writes its output to a log file.
    pub(super) fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = self.create_log(name)?;
        self.spawn(name, command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log))?;
        Ok(())
    }

    /// Starts a process whose standard input stays open as long as `dev` runs, and whose standard output is returned.
    pub(super) fn start_with_output(&mut self, name: &str, command: &mut Command) -> Result<ChildStdout> {
        let log = self.create_log(name)?;
        let child = self.spawn(name, command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log))?;
        child.stdout.take().with_context(|| format!("{name} has no output"))
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> Result<&mut Child> {
        // In a group of its own, so that Ctrl-C in the terminal reaches `dev` only, which then stops it.
        let mut child = command
            .process_group(0)
            .env_remove(token::VARIABLE)
            .env_remove(fake_xendit::KEY_VARIABLE)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}; delete .venv and try again"))?;
        // Waiting for a child would close its standard input.
        let stdin = child.stdin.take();
        let running = self.running.push_mut(Running { name: name.to_owned(), child, _stdin: stdin });
        Ok(&mut running.child)
    }

    /// Waits until a process exits on its own, and returns the error to show.
    pub(super) async fn exited(&mut self) -> Error {
        let waits = self.running.iter_mut().map(|Running { name, child, .. }| {
            Box::pin(async move {
                let status = child.wait().await.ok();
                (name.clone(), status)
            })
        });
        let ((name, status), ..) = futures_util::future::select_all(waits).await;
        anyhow!("{name} stopped unexpectedly{}; see its log {}", describe(status), self.log(&name).display())
    }

    /// Stops all processes and waits until they have exited.
    pub(super) async fn stop(&mut self) {
        for running in &mut self.running {
            let _ = running.child.kill().await;
        }
    }

    /// The last line of a process's log, where Python says what is wrong.
    pub(super) fn last_line(&self, name: &str) -> String {
        let log = fs::read_to_string(self.log(name)).unwrap_or_default();
        log.lines().last().unwrap_or("its log is empty").to_owned()
    }

    fn create_log(&self, name: &str) -> Result<File> {
        let path = self.log(name);
        // Others write to it, too.
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot create the log {}", path.display()))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

/// Removes the logs of older runs. Those of a run that goes on are kept.
fn prune(runs: &Path, kept: usize) {
    let entries = fs::read_dir(runs).into_iter().flatten();
    // The names of runs begin with their time.
    let is_run = |name: &OsStr| name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
    let mut folders: Vec<_> =
        entries.filter_map(Result::ok).filter(|it| is_run(&it.file_name())).map(|it| it.path()).collect();
    folders.sort_unstable();
    folders.truncate(folders.len().saturating_sub(kept));
    for folder in folders.iter().filter(|folder| !is_locked(&folder.join(LOCK))) {
        let _ = fs::remove_dir_all(folder);
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_of_old_runs_are_removed_but_not_those_of_one_that_goes_on() {
        let runs = std::env::temp_dir().join(format!("xendit-hooks-runs-{}", std::process::id()));
        for name in ["20260101T000000-1", "20260102T000000-2", "20260103T000000-3", "20260104T000000-4", "chaos-5"] {
            fs::create_dir_all(runs.join(name)).unwrap();
        }
        let _running = write_locked(&runs.join("20260101T000000-1").join(LOCK), b"").unwrap();
        drop(write_locked(&runs.join("20260102T000000-2").join(LOCK), b"").unwrap());
        prune(&runs, 1);
        let mut left: Vec<_> = fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["20260101T000000-1", "20260104T000000-4", "chaos-5"]);
        fs::remove_dir_all(&runs).unwrap();
    }
}
