//! Project: finds the checkout of this repository, for the commands that need its template, its tools or the bundled webhooks.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// A checkout of Xendit Hooks.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    root: PathBuf,
}

/// How to reach the running local stack. `dev` writes it to a file, and `trigger` reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Project {
    /// Finds the checkout that contains the current directory.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot find the current directory")?;
        let root =
            here.ancestors().find(|folder| folder.join("template.yaml").is_file() && folder.join("events").is_dir());
        let root =
            root.context("the current directory is not in a checkout of Xendit Hooks; change into one and try again")?;
        Ok(Self { root: root.to_owned() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Installs the tools, as `make setup` does.
    pub(crate) async fn install_tools(&self) -> Result<()> {
        let output = Command::new("make")
            .args(["--silent", "setup"])
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run make; install it and try again")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`make setup` failed:\n{}", errors.trim());
        Ok(())
    }

    /// The path of a tool that `make setup` installed.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.root.join(".venv/bin").join(name)
    }

    /// The folder with the logs of all runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.root.join(".run")
    }

    /// The files of the bundled webhooks, sorted by name.
    pub(crate) fn webhooks(&self) -> Result<Vec<PathBuf>> {
        let folder = self.root.join("events/webhooks");
        let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort();
        Ok(files)
    }

    pub(crate) fn running_file(&self) -> PathBuf {
        self.runs().join("running.json")
    }

    /// The running local stack, if there is one.
    pub(crate) fn running(&self) -> Option<Running> {
        serde_json::from_slice(&std::fs::read(self.running_file()).ok()?).ok()
    }
}
