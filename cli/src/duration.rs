//! Durations on the command line, such as `90s`, `30m`, `2h` or `3d`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{Span, SpanRelativeTo, Timestamp};

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration> {
    let meant = "a duration is written as `90s`, `30m`, `2h` or `3d`";
    let span: Span = text.parse().context(meant)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).context(meant)?;
    Duration::try_from(duration).context("a duration cannot be negative")
}

/// The time so long ago, or the first one that AWS knows.
pub(crate) fn ago(duration: Duration) -> Timestamp {
    Timestamp::now().checked_sub(duration).unwrap_or_default().max(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_with_its_unit() {
        let seconds = |text: &str| parse(text).map(|duration| duration.as_secs()).ok();
        let read = ["90s", "30m", "2h", "3d", "1h30m", "90", "", "-5s", "1 month", "soon"].map(seconds);
        assert_eq!(read, [Some(90), Some(1800), Some(7200), Some(259_200), Some(5400), None, None, None, None, None]);
    }

    #[test]
    fn no_duration_is_too_long_ago() {
        assert_eq!(ago(parse("175000000h").unwrap()), Timestamp::UNIX_EPOCH);
        assert!(ago(Duration::ZERO) > Timestamp::UNIX_EPOCH);
    }
}
