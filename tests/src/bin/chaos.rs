//! `make chaos`: kills and freezes the real binaries while webhooks arrive, and reports whether anything was lost.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use tests::{chaos, process::binary};

/// They take some minutes.
const WEBHOOKS: usize = 10_000;

const USAGE: &str = "usage: chaos [--seed SEED] [WEBHOOKS]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.is_empty()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (seed, rest) = match arguments.as_slice() {
        ["--seed", seed, rest @ ..] => (seed.parse().ok(), rest),
        rest => (SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| now.as_secs()), rest),
    };
    let webhooks = match rest {
        [] => Some(WEBHOOKS),
        [webhooks] => webhooks.parse().ok(),
        _ => None,
    };
    let (Some(seed), Some(webhooks)) = (seed, webhooks) else {
        println!("{USAGE}");
        return ExitCode::FAILURE;
    };
    binary("receiver");
    println!("seed {seed}: {webhooks} webhooks …");
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    // On Ctrl-C, exit normally, so that the child processes are killed. Some may be frozen.
    let report = runtime.block_on(async {
        tokio::select! {
            report = chaos::run(seed, webhooks, chaos::Redelivery::AsConfigured) => Some(report),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    let Some(report) = report else { return ExitCode::FAILURE };
    println!("{}", report.figures);
    for violation in report.violations.iter().take(20) {
        println!("  {violation}");
    }
    println!("{} violations", report.violations.len());
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
