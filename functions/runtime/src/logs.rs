//! Logs: JSON lines on standard output, which is where Lambda collects them.
//!
//! **Invariant:** only this project's own lines are written, whatever the level. The AWS SDK and the HTTP stack
//! trace requests with their bodies and headers, and those hold tokens and personal data. A panic is logged by its
//! place and never by its message, because a message may quote a value.

use std::panic;

use tracing_subscriber::{Layer, filter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use shared::stack::LOG_LEVEL;

use crate::settings::{BadSetting, required};

/// This workspace's crates, by the names that `tracing` gives their events.
const OURS: [&str; 5] = ["runtime", "receiver", "processor", "ledger", "shared"];

/// Starts logging at `LOG_LEVEL`, and makes panics one line each.
///
/// An invalid level is reported at `info` and is an error, so that a typing mistake does not silence a function. So is a level
/// that leaves out the lines that alarms count.
pub fn init() -> Result<(), BadSetting> {
    let level = required::<filter::LevelFilter>(LOG_LEVEL).and_then(|level| {
        if level >= filter::LevelFilter::INFO {
            Ok(level)
        } else {
            Err(BadSetting::new(LOG_LEVEL, "is wrong (alarms count lines at info)".to_owned()))
        }
    });
    let chosen = level.as_ref().copied().unwrap_or(filter::LevelFilter::INFO);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_filter(filter::Targets::new().with_targets(OURS.map(|name| (name, chosen))));
    tracing_subscriber::registry().with(lines).init();
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: a bug in this program");
    }));
    level.map(|_| ())
}
