//! Progress: shows what `dev` is doing while it starts, on standard error. Standard output is for results.
//!
//! **Invariant:** it is never silent for more than a few seconds.

use std::{
    future::Future,
    io::IsTerminal as _,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::{Instant, interval};

/// How often a terminal is updated, and how often another output gets a line.
const ON_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(4);

/// The steps, of which several may run at once.
pub(super) struct Progress {
    lines: MultiProgress,
    is_terminal: bool,
}

/// How far a step is, in words. Empty: nothing is known about that.
#[derive(Clone, Debug, Default)]
pub(super) struct Note(Arc<Mutex<String>>);

impl Note {
    pub(super) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { lines: MultiProgress::new(), is_terminal: std::io::stderr().is_terminal() }
    }

    /// Shows a step while it runs: with a spinner on a terminal, as plain lines elsewhere.
    pub(super) async fn step<T>(&self, what: &str, note: Note, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let line = self.lines.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            line.set_style(style);
        }
        let mut ticks = interval(if self.is_terminal { ON_TERMINAL } else { ELSEWHERE });
        let mut work = pin!(work);
        loop {
            tokio::select! {
                result = &mut work => {
                    line.finish_and_clear();
                    return result;
                }
                _ = ticks.tick() => {
                    let text = describe(what, start.elapsed(), &note.text());
                    if self.is_terminal {
                        line.set_message(text);
                        line.tick();
                    } else {
                        anstream::eprintln!("{text}");
                    }
                }
            }
        }
    }
}

/// Such as `building the functions … 12 s, 3 of 242 crates`.
fn describe(what: &str, elapsed: Duration, note: &str) -> String {
    match (elapsed.as_secs(), note) {
        (0, "") => format!("{what} …"),
        (0, note) => format!("{what} … {note}"),
        (seconds, "") => format!("{what} … {seconds} s"),
        (seconds, note) => format!("{what} … {seconds} s, {note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_how_long_it_takes_and_how_far_it_is() {
        assert_eq!(describe("starting", Duration::ZERO, ""), "starting …");
        assert_eq!(
            describe("building", Duration::from_secs(12), "3 of 242 crates"),
            "building … 12 s, 3 of 242 crates"
        );
    }
}
