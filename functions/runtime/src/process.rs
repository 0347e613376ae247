//! Process: the start and the end of a function's process.

use std::{fmt::Display, process::ExitCode};

use crate::{logs, settings::BadSetting};

/// Starts logging, reads the settings, and runs the function until the runtime ends.
///
/// A setting that is missing or wrong ends the process before its first event, with one line that names it.
pub async fn function<C, E: Display>(
    settings: impl FnOnce() -> Result<C, BadSetting>,
    run: impl AsyncFnOnce(C) -> Result<(), E>,
) -> ExitCode {
    match logs::init().and_then(|()| settings()) {
        Err(reason) => {
            tracing::error!(%reason, "cannot start");
            ExitCode::FAILURE
        }
        Ok(settings) => match run(settings).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                tracing::error!(%reason, "the runtime ended");
                ExitCode::FAILURE
            }
        },
    }
}
