//! Progress: shows the current step and its duration on standard error. Standard output is for results.

use std::{future::Future, io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

pub(super) struct Progress {
    terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// Shows a step while it runs: a spinner on a terminal, one plain line elsewhere.
    pub(super) async fn step<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        if !self.terminal {
            anstream::eprintln!("{what} …");
            return work.await;
        }
        let line = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} … {elapsed}") {
            line.set_style(style);
        }
        line.enable_steady_tick(Duration::from_millis(100));
        let result = work.await;
        line.finish_and_clear();
        result
    }
}
