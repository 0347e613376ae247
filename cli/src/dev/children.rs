//! Children: the processes of the local stack, their logs, and how they stop.
//!
//! **Invariant:** every child that was started is stopped. A child that exits on its own stops the stack with an error.

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

/// How long a server may take to accept its first connection. Cold disks and busy laptops are slow.
const START_LIMIT: Duration = Duration::from_mins(1);

pub(super) struct Children {
    running: Vec<(String, Child)>,
    /// The folder of their logs.
    pub(super) logs: PathBuf,
}

impl Children {
    pub(super) fn new(project: &Project) -> Result<Self> {
        let name = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S"), std::process::id());
        let logs = project.runs().join(name);
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self { running: Vec::new(), logs })
    }

    /// Starts a process and writes its output to a log file.
    pub(super) fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = self.log(name);
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
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
            () = tokio::time::sleep(START_LIMIT) => {
                Err(anyhow!("{name} does not accept connections; its log is {}", self.log(name).display()))
            }
        }
    }

    /// Waits until a child exits on its own, and returns the error to show.
    pub(super) async fn exited(&mut self) -> Error {
        let waits = self.running.iter_mut().map(|(name, child)| {
            Box::pin(async move {
                let status = child.wait().await.ok();
                (name.clone(), status)
            })
        });
        let ((name, status), ..) = futures_util::future::select_all(waits).await;
        anyhow!("{name} stopped unexpectedly{}; its log is {}", describe(status), self.log(&name).display())
    }

    /// Stops all children and waits until they are gone.
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

/// A port that is free now.
pub(super) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}
