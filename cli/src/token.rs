//! `token`: prints the digest of a callback token for the template, and creates tokens for local use.
//!
//! **Invariant:** these commands never take a token as an argument, because the shell's history and `ps` show arguments.

use std::{
    io::{IsTerminal as _, Read as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Subcommand;
use receiver::verify::Digest;

/// A digest is safe to publish only if nobody can guess its token. Xendit's tokens are far longer than this.
const MIN_TOKEN_CHARS: usize = 16;

/// The number of random bytes in a new token.
const NEW_TOKEN_BYTES: usize = 32;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read a token from the terminal or from standard input, and print its digest for `CallbackTokens`.
    Digest,
    /// Print a new random token for local use. Xendit's own token is in its dashboard under Settings, Webhooks.
    New,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Digest => anstream::println!("{}", digest(&read()?)?),
        Command::New => anstream::println!("{}", new()?),
    }
    Ok(ExitCode::SUCCESS)
}

fn read() -> Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Callback token (not shown): ").context("cannot read from the terminal");
    }
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token).context("cannot read standard input")?;
    Ok(token)
}

fn digest(token: &str) -> Result<Digest> {
    let token = token.trim();
    let chars = token.chars().count();
    ensure!(
        chars >= MIN_TOKEN_CHARS,
        "a callback token has at least {MIN_TOKEN_CHARS} characters, but this one has {chars}; \
         copy the token from Xendit's dashboard under Settings, Webhooks"
    );
    Ok(Digest::of(token.as_bytes()))
}

fn new() -> Result<String> {
    let mut bytes = [0; NEW_TOKEN_BYTES];
    getrandom::fill(&mut bytes).context("cannot get random bytes from the system")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newline_after_a_pasted_token_is_ignored() {
        let token = "0123456789abcdef";
        assert_eq!(digest(&format!("{token}\r\n")).unwrap().to_string(), Digest::of(token.as_bytes()).to_string());
    }

    #[test]
    fn a_short_token_is_refused() {
        assert!(digest("0123456789abcde").is_err());
    }

    #[test]
    fn a_new_token_is_long_and_different_each_time() {
        let token = new().unwrap();
        assert!(digest(&token).is_ok());
        assert_ne!(token, new().unwrap());
    }
}
