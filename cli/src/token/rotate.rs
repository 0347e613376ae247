//! `token rotate`: guides through a rotation of the callback token of a deployed stack. It reads which digests are deployed and
//! which labels the webhooks of the last day had, says which step comes next, and prints its command.
//!
//! ```text
//! begin ─▶ deploy ─▶ change at Xendit ─▶ wait a day ─▶ retire ─▶ done
//! ```
//!
//! **Invariant:** it changes nothing. It neither takes a token as an argument nor shows one.

use std::{collections::BTreeMap, env, io::IsTerminal as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use receiver::verify::Digest;
use serde::Serialize;

use super::{VARIABLE, digest};
use crate::{
    dlq::age,
    failed,
    stack::{Deployed, StackOption},
    status::{self, Token},
};

/// The format of the JSON output.
const VERSION: u32 = 1;

const UNREADABLE: u8 = 3;

/// How long Xendit sends a webhook again that it has sent with the old token.
const RETRIES: SignedDuration = SignedDuration::from_hours(24);

const HELP: &str = "\
Run it again after each step: it finds out which step comes next. The first step asks for the new token, without showing it, or
takes it from XENDIT_CALLBACK_TOKEN.
The credentials need cloudformation:DescribeStacks, and logs:StartQuery and logs:GetQueryResults on both log groups.
Exit codes: 0 the step was printed; 1 an error; 2 a wrong option; 3 the stack or its logs cannot be read.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Print one JSON object, and ask for nothing.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// Where a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// No rotation has begun, and there is no new token yet.
    Begin,
    /// The digest of the new token is not deployed.
    Deploy,
    /// Both tokens are accepted, and Xendit uses the old one.
    ChangeAtXendit,
    /// Xendit uses the new one, and may still send webhooks again with the old one.
    Wait,
    /// Both are accepted, and nothing came for a day.
    NoTraffic,
    /// The old one was not used for a day.
    Retire,
    /// Another rotation has not ended.
    FinishFirst,
    /// The token is accepted, and no other is being replaced by it.
    Done,
}

/// What a stack says about its tokens.
#[derive(Debug)]
struct Tokens {
    /// `test` or `live`, which is also the label of the present token.
    environment: String,
    /// The digests, by label.
    accepted: BTreeMap<String, String>,
    /// When each label was used last, within the last day.
    used: BTreeMap<String, Timestamp>,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    stack: &'a str,
    step: Step,
    why: &'a str,
    next: Option<&'a str>,
    tokens: Vec<Shown<'a>>,
}

/// A token, without it.
#[derive(Serialize)]
struct Shown<'a> {
    label: &'a str,
    /// The first digits of the digest, as `make deploy` shows them.
    digest: String,
    /// Within the last day.
    last_used: Option<Timestamp>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let read = runtime.block_on(async {
        let stack = options.stack.find().await?;
        let deployed = stack.deployed.clone().context(
            "a local stack has no token to rotate: it accepts those that `make run ARGS=--token` gets; name a deployed one with \
             --stack",
        )?;
        let used = status::tokens(&deployed, &stack.aws().await, Timestamp::now()).await?;
        Ok::<_, anyhow::Error>((Tokens::new(&deployed, &used)?, deployed, stack.region))
    });
    let (tokens, deployed, region) = match read {
        Ok(read) => read,
        Err(error) => return Ok(failed(&error, ExitCode::from(UNREADABLE))),
    };
    if !options.json {
        tokens.show(&deployed.name);
    }
    let new = if options.json { env::var(VARIABLE).ok() } else { new_token(&tokens)? };
    let new = new.map(|token| digest(&token)).transpose()?.map(|digest: Digest| digest.to_string());
    let step = tokens.step(new.as_deref(), Timestamp::now());
    let why = tokens.why(step, &deployed.name, &region);
    let next = tokens.next(step, new.as_deref(), &deployed.name, &region);
    if options.json {
        let report = Report {
            version: VERSION,
            stack: &deployed.name,
            step,
            why: &why,
            next: next.as_deref(),
            tokens: tokens.shown(),
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    anstream::println!("\n{why}");
    if let Some(next) = next {
        anstream::println!("Next:  {next}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The new token, if there is one and it may be needed.
fn new_token(tokens: &Tokens) -> Result<Option<String>> {
    if let Ok(token) = env::var(VARIABLE) {
        return Ok(Some(token));
    }
    if tokens.is_rotating() || !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let prompt = "New callback token (not shown; only Enter if you have none yet): ";
    let token = rpassword::prompt_password(prompt).context("cannot read from the terminal")?;
    Ok(Some(token).filter(|token| !token.trim().is_empty()))
}

impl Tokens {
    fn new(deployed: &Deployed, used: &BTreeMap<String, Token>) -> Result<Self> {
        let parameter = |name: &str| {
            let value = deployed.parameters.get(name);
            value.cloned().with_context(|| format!("the stack {} has no parameter {name}", deployed.name))
        };
        let pairs = parameter("CallbackTokens")?;
        let pairs = pairs.split(',').filter_map(|pair| pair.trim().split_once('='));
        Ok(Self {
            environment: parameter("Environment")?,
            accepted: pairs.map(|(label, digest)| (label.to_owned(), digest.to_owned())).collect(),
            used: used.iter().map(|(label, token)| (label.clone(), token.last)).collect(),
        })
    }

    /// The label that `make deploy` gives the token that is being replaced.
    fn old(&self) -> String {
        format!("{}-old", self.environment)
    }

    fn is_rotating(&self) -> bool {
        self.accepted.contains_key(&self.old())
    }

    fn step(&self, new: Option<&str>, now: Timestamp) -> Step {
        let present = self.accepted.get(&self.environment).map(String::as_str);
        let is_accepted = new.is_some() && new == present;
        if !self.is_rotating() {
            return match new {
                None => Step::Begin,
                Some(_) if is_accepted => Step::Done,
                Some(_) => Step::Deploy,
            };
        }
        if new.is_some() && !is_accepted {
            return Step::FinishFirst;
        }
        let is_recent = |label: &str| self.used.get(label).is_some_and(|used| now.duration_since(*used) < RETRIES);
        match (is_recent(&self.old()), is_recent(&self.environment)) {
            (true, false) => Step::ChangeAtXendit,
            (true, true) => Step::Wait,
            (false, true) => Step::Retire,
            (false, false) => Step::NoTraffic,
        }
    }

    fn why(&self, step: Step, stack: &str, region: &str) -> String {
        let (present, old) = (&self.environment, self.old());
        // Unwatched, because a roll-back would accept the leaked token again.
        let at_once = format!("RETIRE={old} WATCH=0");
        let retire_at_once = self.deploy(&at_once, stack, region);
        match step {
            Step::Begin => "No rotation has begun. Get the new token from Xendit's dashboard under Settings, Webhooks, and run \
                            this again. If the dashboard shows it only after the change, change it, and go on at once: Xendit sends \
                            refused webhooks again for 24 hours."
                .to_owned(),
            Step::Deploy => format!(
                "The new token is not accepted yet. Deploy its digest. The present one stays accepted as `{old}`; if it has leaked, add \
                 `{at_once}`, and it is not accepted any more."
            ),
            Step::ChangeAtXendit => format!(
                "Both tokens are accepted, and Xendit uses the old one. If the token has leaked, retire `{old}` right after the change: \
                 {retire_at_once}"
            ),
            Step::Wait => {
                let end = self.used.get(&old).map(|used| (*used + RETRIES).strftime("%F %T UTC").to_string()).unwrap_or_default();
                format!(
                    "Xendit uses the new token, and has used the old one within the last day: it sends webhooks again for 24 hours. \
                     Run this again after {end}. If the token has leaked, do not wait: {retire_at_once}"
                )
            }
            Step::NoTraffic => "Both tokens are accepted, and no webhook came in the last day, so it is not known which one Xendit \
                                uses. Send a test webhook from Xendit's dashboard, and run this again."
                .to_owned(),
            Step::Retire => format!("Xendit uses the new token. The old one was not used for a day: accept `{present}` alone."),
            Step::FinishFirst => format!(
                "This token is not accepted, and an earlier rotation has not ended: `{old}` is still accepted. Deploying another digest \
                 now would no longer accept `{old}`. Run this again without XENDIT_CALLBACK_TOKEN."
            ),
            Step::Done => "This token is accepted, and no other one is being replaced. There is nothing to do.".to_owned(),
        }
    }

    /// The command to type, or what to do.
    fn next(&self, step: Step, new: Option<&str>, stack: &str, region: &str) -> Option<String> {
        let deploy = |what: &str| self.deploy(what, stack, region);
        Some(match step {
            Step::Begin => "get the new token from Xendit's dashboard".to_owned(),
            Step::Deploy => deploy(&format!("DIGEST={}", new?)),
            Step::ChangeAtXendit => "change the token in Xendit's dashboard under Settings, Webhooks".to_owned(),
            Step::Retire => deploy(&format!("RETIRE={}", self.old())),
            Step::Wait | Step::NoTraffic | Step::FinishFirst | Step::Done => return None,
        })
    }

    /// The command that deploys other tokens.
    fn deploy(&self, what: &str, stack: &str, region: &str) -> String {
        if stack == format!("xendit-hooks-{}", self.environment) {
            format!("make deploy TO={} REGION={region} {what}", self.environment)
        } else {
            format!("change the parameter CallbackTokens of the stack {stack}; for a stack of `make deploy`: {what}")
        }
    }

    fn shown(&self) -> Vec<Shown<'_>> {
        self.accepted
            .iter()
            .map(|(label, digest)| Shown {
                label,
                digest: digest.chars().take(8).collect(),
                last_used: self.used.get(label).copied(),
            })
            .collect()
    }

    fn show(&self, stack: &str) {
        anstream::println!("{stack} accepts:");
        for Shown { label, digest, last_used } in self.shown() {
            let used = last_used.map(|at| format!("last used {} ago", age(Timestamp::now(), at)));
            let used = used.unwrap_or_else(|| "not used in the last day".to_owned());
            anstream::println!("  {label:<16} {digest}…  {used}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-24T10:00:00Z";

    /// Tokens by their label, digest, and hours since they were used.
    fn tokens(tokens: &[(&str, &str, Option<i64>)]) -> Tokens {
        let now: Timestamp = NOW.parse().unwrap();
        Tokens {
            environment: "live".to_owned(),
            accepted: tokens.iter().map(|(label, digest, _)| ((*label).to_owned(), (*digest).to_owned())).collect(),
            used: tokens
                .iter()
                .filter_map(|(label, _, hours)| {
                    Some(((*label).to_owned(), now - SignedDuration::from_hours((*hours)?)))
                })
                .collect(),
        }
    }

    #[test]
    fn the_step_follows_from_what_is_deployed_and_used() {
        let alone = tokens(&[("live", "aa", Some(1)), ("shop", "cc", None)]);
        let both = |old, new| tokens(&[("live", "bb", new), ("live-old", "aa", old)]);
        for (tokens, new, step) in [
            (&alone, None, Step::Begin),
            (&alone, Some("bb"), Step::Deploy),
            (&alone, Some("aa"), Step::Done),
            (&both(Some(1), None), None, Step::ChangeAtXendit),
            (&both(Some(1), None), Some("bb"), Step::ChangeAtXendit),
            (&both(Some(3), Some(1)), None, Step::Wait),
            (&both(Some(23), Some(0)), None, Step::Wait),
            (&both(Some(24), Some(0)), None, Step::Retire),
            (&both(None, Some(0)), None, Step::Retire),
            (&both(None, None), None, Step::NoTraffic),
            (&both(None, Some(0)), Some("dd"), Step::FinishFirst),
            (&both(None, Some(0)), Some("aa"), Step::FinishFirst),
        ] {
            assert_eq!(tokens.step(new, NOW.parse().unwrap()), step, "{new:?} {tokens:?}");
        }
    }

    #[test]
    fn the_next_command_is_ready_to_type() {
        let tokens = tokens(&[("live", "bb", Some(0)), ("live-old", "aa", None)]);
        let next = |step, stack| tokens.next(step, Some("dd"), stack, "ap-southeast-3").unwrap_or_default();
        let deploy = "make deploy TO=live REGION=ap-southeast-3";
        assert_eq!(next(Step::Deploy, "xendit-hooks-live"), format!("{deploy} DIGEST=dd"));
        assert_eq!(next(Step::Retire, "xendit-hooks-live"), format!("{deploy} RETIRE=live-old"));
        assert!(next(Step::Retire, "shop").starts_with("change the parameter CallbackTokens of the stack shop"));
        let why = |step| tokens.why(step, "xendit-hooks-live", "ap-southeast-3");
        assert!(why(Step::Wait).contains("again for 24 hours"));
        // A roll-back would accept the leaked token again.
        for step in [Step::ChangeAtXendit, Step::Wait] {
            assert!(why(step).ends_with(&format!(": {deploy} RETIRE=live-old WATCH=0")), "{}", why(step));
        }
        assert!(why(Step::Deploy).contains("add `RETIRE=live-old WATCH=0`"), "{}", why(Step::Deploy));
    }
}
