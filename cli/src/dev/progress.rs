//! Progress: shows what `dev` is doing while it starts, on standard error. Standard output is for results.

use std::{future::Future, io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

pub(super) struct Progress {
    is_terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal() }
    }

    /// Shows a step while it runs: with a spinner on a terminal, as one plain line elsewhere.
    pub(super) async fn step<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        if !self.is_terminal {
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
