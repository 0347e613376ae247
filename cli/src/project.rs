//! Project: finds the checkout of this repository, for the local stack, which needs its template and its tools.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// A checkout of Xendit Hooks.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// Finds the checkout that contains the current directory.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot find the current directory")?;
        let root =
            here.ancestors().find(|folder| folder.join("template.yaml").is_file() && folder.join("events").is_dir());
        let root =
            root.context("`dev` builds the functions from their source; run it in a checkout of Xendit Hooks")?;
        Ok(Self { root: root.to_owned() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Installs the tools that the local stack needs.
    pub(crate) async fn install_tools(&self) -> Result<()> {
        let output = Command::new("make")
            .args(["--silent", "tools"])
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run make; install it and try again")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`make tools` failed:\n{}", errors.trim());
        Ok(())
    }

    /// The path of an installed tool.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.root.join(".venv/bin").join(name)
    }

    /// The folder with the logs of all runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.root.join(".run")
    }
}
