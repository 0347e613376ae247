//! `xendit-hooks`: the command-line tool for developers and operators. It is not deployed. Each command has its own file.
//!
//! **Invariant:** all output goes through `anstream`, which drops colours that the output cannot show. With `--json`, a
//! command prints only JSON on standard output, one object per line.

mod aws;
mod columns;
mod completions;
mod console;
mod dev;
mod dlq;
mod duration;
mod events;
mod explain;
mod fake_xendit;
mod forward;
mod inbox;
mod journal;
mod listen;
mod logs;
mod payment;
mod plan;
mod project;
mod queue;
mod replay;
mod samples;
mod smoke;
mod stack;
mod status;
mod tail;
mod token;
mod trigger;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs Xendit Hooks on this machine, sends webhooks, and shows and repairs what is in a local or deployed stack.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = columns::WIDTH)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the completions for a shell.
    Completions(completions::Options),
    /// Show a stack's webhooks, payments and dead letters in the browser.
    Console(console::Options),
    /// Run the whole system on this machine, send it every bundled webhook, and keep serving.
    Dev(dev::Options),
    /// Look into the dead-letter queue, and move webhooks that could not be processed back to the webhook queue.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// List the known webhooks, the samples and the stories, or show one in detail.
    Events(events::Options),
    /// Show how the processor reads a webhook body.
    Explain(explain::Options),
    /// Play Xendit in test mode on this machine: its API, and the webhooks that follow.
    FakeXendit(fake_xendit::Options),
    /// Find webhooks that wait in the inbox because S3 never notified the processor, and bring them back.
    #[command(subcommand)]
    Inbox(inbox::Command),
    /// Show the domain events of a stack while they are published, and hand them to an app on this machine.
    Listen(listen::Options),
    /// Show the story of one payment, payout or refund: its state, and each webhook that changed it.
    Payment(payment::Options),
    /// Send a canary through a stack, and say how long each hop took.
    Smoke(smoke::Options),
    /// Say whether money is at risk, what came in, what waits, and what is wrong.
    Status(status::Options),
    /// Show the webhooks of a stack while they come: what became of each, and why.
    Tail(tail::Options),
    /// Hand domain events from the archive again to one consumer.
    #[command(subcommand)]
    Replay(replay::Command),
    /// Send a bundled webhook, a story of several, or a file, and say what became of it.
    Trigger(trigger::Options),
    /// Create callback tokens and their digests.
    #[command(subcommand)]
    Token(token::Command),
    /// Wait until the ledger knows that a payment, payout or refund reached a phase.
    Wait(wait::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Completions(options) => completions::run(&options),
        Command::Console(options) => console::run(&options),
        Command::Dev(options) => dev::run(&options),
        Command::Dlq(command) => dlq::run(&command),
        Command::Events(options) => events::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::FakeXendit(options) => fake_xendit::run(&options),
        Command::Inbox(command) => inbox::run(&command),
        Command::Listen(options) => listen::run(&options),
        Command::Payment(options) => payment::run(&options),
        Command::Smoke(options) => smoke::run(&options),
        Command::Status(options) => status::run(&options),
        Command::Tail(options) => tail::run(&options),
        Command::Replay(command) => replay::run(&command),
        Command::Trigger(options) => trigger::run(&options),
        Command::Token(command) => token::run(&command),
        Command::Wait(options) => wait::run(&options),
    };
    result.unwrap_or_else(|error| failed(&error, ExitCode::FAILURE))
}

/// Tells an error, and returns the exit code.
fn failed(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    let (red, reset) = (anstyle::AnsiColor::Red.on_default(), anstyle::Reset);
    anstream::eprintln!("{red}error:{reset} {}", columns::message(7, &format!("{error:#}")));
    code
}
