//! `xendit-hooks`: the tool beside the functions. Each command is one file.
//!
//! **Invariant:** what a command prints for people goes through `anstream`, which drops colours where nobody sees
//! them; `--json` prints one JSON object a line on standard output, and nothing else there.

mod dev;
mod events;
mod explain;
mod project;
mod token;
mod trigger;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Receives Xendit's webhooks on AWS: a local stack, and small helps around webhooks and tokens.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole system on this machine, send it every bundled webhook, and keep serving.
    Dev(dev::Options),
    /// List the webhooks that are known, or show one.
    Events(events::Options),
    /// Say what bodies are taken for, without running anything.
    Explain(explain::Options),
    /// Send a bundled webhook, or one from a file, changed as you ask.
    Trigger(trigger::Options),
    /// Work with callback tokens.
    #[command(subcommand)]
    Token(token::Command),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Dev(options) => dev::run(&options),
        Command::Events(options) => events::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Trigger(options) => trigger::run(&options),
        Command::Token(command) => token::run(&command),
    };
    result.unwrap_or_else(|error| {
        let (red, reset) = (anstyle::AnsiColor::Red.on_default(), anstyle::Reset);
        anstream::eprintln!("{red}error:{reset} {error:#}");
        ExitCode::FAILURE
    })
}
