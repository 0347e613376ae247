//! `token`: prints the digest of a callback token for the template, and creates tokens for local use. Also reads which tokens
//! `dev` accepts.
//!
//! **Invariant:** these commands never take a token as an argument, because the shell's history and `ps` show arguments. No
//! error quotes a token or a digest.

mod rotate;

use std::{
    env,
    io::{IsTerminal as _, Read as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use receiver::verify::{Digest, Tokens};

/// A digest is safe to publish only if nobody can guess its token. Xendit's tokens are far longer than this.
const MIN_TOKEN_CHARS: usize = 16;

/// The number of random bytes in a new token.
const NEW_TOKEN_BYTES: usize = 32;

/// The variable with a callback token. The programs that `dev` starts do not inherit it.
pub(crate) const VARIABLE: &str = "XENDIT_CALLBACK_TOKEN";

/// The label of the token that `dev --token` reads.
const LABEL: &str = "xendit";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read a token from the terminal or from standard input, and print its digest for `CallbackTokens`.
    Digest,
    /// Print a new random token for local use. Xendit's own is in its dashboard: Settings, Developers, Webhooks.
    New,
    /// Guide through a rotation of the callback token: show which step it is at, and the next command.
    Rotate(rotate::Options),
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Digest => anstream::println!("{}", digest(&read()?)?),
        Command::New => anstream::println!("{}", new()?),
        Command::Rotate(options) => return rotate::run(options),
    }
    Ok(ExitCode::SUCCESS)
}

/// The tokens that the local stack accepts in addition to its own.
#[derive(Args)]
pub(crate) struct Accepted {
    /// Also accept the callback token with this digest, which `xendit-hooks token digest` prints. LABEL is any name, such as
    /// test; the label of a live token is refused. Can be repeated.
    #[arg(long = "digest", value_name = "LABEL=HEX")]
    digests: Vec<String>,
    /// Also accept Xendit's test-mode callback token: the one in `XENDIT_CALLBACK_TOKEN`, or one that you are asked for.
    #[arg(long)]
    token: bool,
}

impl Accepted {
    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.digests.is_empty() && !self.token
    }

    /// The receiver's `CALLBACK_TOKENS`: a label and a digest for the local stack's own token and for each accepted one.
    pub(crate) fn with_local(&self, local: &str) -> Result<String> {
        let mut entries = vec![format!("local={}", Digest::of(local.as_bytes()))];
        entries.extend(self.digests.iter().cloned());
        if self.token {
            entries.push(format!("{LABEL}={}", digest(&given()?)?));
        }
        let list = entries.join(",");
        let labels = list.split(',').filter_map(|entry| Some(entry.split_once('=')?.0.trim()));
        for label in labels {
            ensure!(
                !label.split('-').any(|word| word == "live"),
                "`--digest {label}=…` is a live token; the local stack is for Xendit's test mode, so give it the test token"
            );
        }
        list.parse::<Tokens>().with_context(|| {
            format!(
                "cannot accept --digest; write it as LABEL=HEX, with the 64 digits that `xendit-hooks token digest` prints \
                 (the labels `local` and `{LABEL}` are taken)"
            )
        })?;
        Ok(list)
    }
}

/// The callback token in the environment, or one that the user is asked for.
pub(crate) fn given() -> Result<String> {
    env::var(VARIABLE).or_else(|_| read()).map(|token| token.trim().to_owned())
}

/// The token that is typed at the terminal, or comes from standard input.
pub(crate) fn read() -> Result<String> {
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
         copy the token from Xendit's dashboard under Settings, Developers, Webhooks"
    );
    Ok(Digest::of(token.as_bytes()))
}

/// A new random token.
pub(crate) fn new() -> Result<String> {
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

    fn accepted(digests: &[&str]) -> Result<String> {
        let digests = digests.iter().map(|digest| (*digest).to_owned()).collect();
        Accepted { digests, token: false }.with_local("local-token")
    }

    #[test]
    fn the_local_stack_accepts_its_own_token_and_those_with_a_digest() {
        let hex = Digest::of(b"0123456789abcdef").to_string();
        let own = format!("local={}", Digest::of(b"local-token"));
        assert_eq!(accepted(&[]).unwrap(), own);
        let two = [&*format!("test={hex}"), &*format!("shop-2={hex}")];
        assert_eq!(accepted(&two).unwrap(), format!("{own},test={hex},shop-2={hex}"));
    }

    #[test]
    fn a_live_token_is_refused() {
        let hex = Digest::of(b"0123456789abcdef").to_string();
        for label in ["live", "live-old", "shop-live", " live"] {
            let error = accepted(&[&format!("{label}={hex}")]).unwrap_err().to_string();
            assert!(error.contains("test mode"), "{error}");
        }
        assert!(accepted(&[&format!("test={hex},live={hex}")]).is_err(), "nor in a list");
        assert!(accepted(&[&format!("delivery={hex}")]).is_ok());
    }

    #[test]
    fn a_token_in_place_of_its_digest_is_refused_and_not_shown() {
        for entry in ["test=a-secret-token-0123456789", "a-secret-token-0123456789", "local=00"] {
            let error = format!("{:#}", accepted(&[entry]).unwrap_err());
            assert!(error.contains("LABEL=HEX") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_new_token_is_long_and_different_each_time() {
        let token = new().unwrap();
        assert!(digest(&token).is_ok());
        assert_ne!(token, new().unwrap());
    }
}
