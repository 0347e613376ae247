//! Children: starts the processes of the local stack, writes their logs, and stops them.
//!
//! **Invariant:** `dev` leaves no process behind, not even when it is killed: each process ends by itself once `dev` is gone.
//! The functions lose their runtime API, and the emulated AWS its standard input. If a process exits on its own, `dev` stops
//! with an error.

use std::{
    fs::File,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context as _, Error, Result, anyhow};
use jiff::Timestamp;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{project::Project, token};

pub(super) struct Children {
    running: Vec<Running>,
    /// The folder with one log file per process.
    pub(super) logs: PathBuf,
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
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create the log folder {}", logs.display()))?;
        Ok(Self { running: Vec::new(), logs })
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
        let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
        log.lines().last().unwrap_or("its log is empty").to_owned()
    }

    fn create_log(&self, name: &str) -> Result<File> {
        let path = self.log(name);
        File::create(&path).with_context(|| format!("cannot create the log {}", path.display()))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}
