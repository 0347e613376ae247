//! `replay`: hands domain events again to one consumer, the queue that a rule of the bus leads to.
//!
//! ```text
//! plan:  archive ─▶ a rule for this replay ─▶ the replay queue ─▶ the list
//! run:   the replay queue ─▶ the consumer's queue
//! ```
//!
//! The events come whole from the archive: the ledger keeps neither their ids nor their bodies once they are published.
//! EventBridge's own replay says neither before nor after which events it handed out, and chooses only by time. So the plan
//! lets it replay into a queue of its own, through a rule that has the pattern of the consumer's rule and matches that replay
//! alone, and deletes the copies that were not chosen.
//!
//! **Invariant:** a plan hands nothing to any consumer, and a run only to the one consumer of the plan. An event keeps its
//! bytes, and so its id.

mod archive;
mod consumer;
mod plan;
mod run;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::plan::RunOptions;

/// The format of the JSON output.
const VERSION: u32 = 1;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Choose events from the archive for one consumer: prints the list, and hands out nothing.
    Plan(plan::Options),
    /// Hand the events of a plan to its consumer.
    #[command(after_help = run::HELP)]
    Run(RunOptions),
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Plan(options) => runtime.block_on(plan::run(options)),
        Command::Run(options) => runtime.block_on(run::run(options)),
    }
}
