//! Children: starts the processes of the local stack, writes their logs, and stops them.
//!
//! **Invariant:** `dev` leaves no process behind. If a process exits on its own, `dev` stops with an error.

use std::{
    fs::File,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow};
use jiff::Timestamp;
use tokio::process::{Child, Command};

use crate::project::Project;

/// How long a server may take to accept its first connection. A cold disk or a busy laptop is slow.
const START_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) struct Children {
    running: Vec<(String, Child)>,
    /// The folder with one log file per process.
    pub(super) logs: PathBuf,
}

impl Children {
    pub(super) fn new(project: &Project) -> Result<Self> {
        let name = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S"), std::process::id());
        let logs = project.runs().join(name);
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create the log folder {}", logs.display()))?;
        Ok(Self { running: Vec::new(), logs })
    }

    /// Starts a process and writes its output to a log file.
    pub(super) fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let path = self.log(name);
        let log = File::create(&path).with_context(|| format!("cannot create the log {}", path.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}; delete .venv and try again"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Waits until a server accepts connections.
    pub(super) async fn wait_for(&mut self, port: u16, name: &str) -> Result<()> {
        let connected = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = connected => Ok(()),
            exited = self.exited() => Err(exited),
            () = tokio::time::sleep(START_TIMEOUT) => {
                Err(anyhow!("{name} accepted no connection in time; see its log {}", self.log(name).display()))
            }
        }
    }

    /// Waits until a process exits on its own, and returns the error to show.
    pub(super) async fn exited(&mut self) -> Error {
        let waits = self.running.iter_mut().map(|(name, child)| {
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
        for (_, child) in &mut self.running {
            let _ = child.kill().await;
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}

/// A port that is free at the moment.
pub(super) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}
