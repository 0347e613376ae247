//! `completions`: prints a script with which a shell completes the commands and options of `xendit-hooks`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;

/// Where each shell looks for it.
const HELP: &str = "\
Put the output into the file where the shell looks for it:
  bash  ~/.local/share/bash-completion/completions/xendit-hooks
  zsh   ~/.zfunc/_xendit-hooks, with ~/.zfunc in $fpath
  fish  ~/.config/fish/completions/xendit-hooks.fish";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "xendit-hooks", &mut script);
    anstream::print!("{}", String::from_utf8(script).context("the script is not UTF-8")?);
    Ok(ExitCode::SUCCESS)
}
