//! `status`: one screen that says whether money is at risk, what came in, what waits, and what is wrong.

mod facts;
mod read;
mod screen;
mod verdict;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use self::{
    facts::Facts,
    verdict::{Money, Verdict},
};
pub(crate) use self::{facts::Token, read::tokens};
use crate::{failed, stack::StackOption};

/// The format of the JSON output.
const VERSION: u32 = 1;

/// Clears the terminal. `anstream` drops it where there is none.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// How often a local stack is looked at.
const LOCAL_INTERVAL: Duration = Duration::from_secs(2);

/// How often a deployed stack is looked at. Its metrics come every minute.
const INTERVAL: Duration = Duration::from_mins(1);

const WRONG: u8 = 1;
const UNREADABLE: u8 = 3;

const HELP: &str = "\
It only reads, and shows no bodies. On a deployed stack it counts log lines with CloudWatch Logs Insights, which AWS charges by
the amount of logs in the last day: less than a cent per million webhooks. docs/commands.md lists the permissions.
Exit codes: 0 all is well; 1 something is wrong; 2 a wrong option; 3 the stack, or a part of it, cannot be read, and nothing that
could be read is wrong.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Show it again and again, until Ctrl-C: a local stack every 2 seconds, a deployed one every minute.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    #[command(flatten)]
    stack: StackOption,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    #[serde(flatten)]
    verdict: &'a Verdict,
    #[serde(flatten)]
    facts: &'a Facts,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // How long to wait for the next look, once there was one at a deployed stack.
    let mut again = None;
    loop {
        let read = runtime.block_on(async {
            let stack = options.stack.find().await?;
            Ok::<_, anyhow::Error>((read::facts(options.stack.name(), &stack).await, stack))
        });
        let (facts, stack) = match read {
            Ok(read) => read,
            // A connection that fails once must not end the watch.
            Err(error) if let Some(interval) = again => {
                anstream::eprintln!("{error:#}; trying again until it works");
                std::thread::sleep(interval);
                continue;
            }
            Err(error) => return Ok(failed(&error, ExitCode::from(UNREADABLE))),
        };
        let verdict = Verdict::of(&facts);
        if options.json {
            let report = Report { version: VERSION, verdict: &verdict, facts: &facts };
            anstream::println!("{}", serde_json::to_string(&report)?);
        } else {
            let name = stack.deployed.as_ref().map_or("local", |deployed| &deployed.name);
            let clear = if options.watch { CLEAR } else { "" };
            anstream::print!("{clear}{}", screen::show(name, &facts, &verdict));
        }
        if !options.watch {
            return Ok(match verdict.money {
                Money::Safe => ExitCode::SUCCESS,
                Money::AtRisk | Money::Waiting => ExitCode::from(WRONG),
                Money::Unknown => ExitCode::from(UNREADABLE),
            });
        }
        again = stack.deployed.is_some().then_some(INTERVAL);
        std::thread::sleep(again.unwrap_or(LOCAL_INTERVAL));
    }
}
