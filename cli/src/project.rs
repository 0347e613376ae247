//! Project: where this repository is, for the commands that need its template, tools or bundled webhooks.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A checkout of Xendit Hooks.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    root: PathBuf,
}

/// How to reach a local stack that is running. `dev` leaves it behind for `trigger`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Project {
    /// The checkout around the current directory.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current directory")?;
        let root =
            here.ancestors().find(|folder| folder.join("template.yaml").is_file() && folder.join("events").is_dir());
        let root = root.context("this is not inside a checkout of Xendit Hooks; change to one and try again")?;
        Ok(Self { root: root.to_owned() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A program that `make setup` installs.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.root.join(".venv/bin").join(name)
    }

    /// Where runs leave their logs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.root.join(".run")
    }

    /// The bundled webhooks, in the order of their names.
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

    /// The local stack that was started last, if it is still there.
    pub(crate) fn running(&self) -> Option<Running> {
        serde_json::from_slice(&std::fs::read(self.running_file()).ok()?).ok()
    }
}
