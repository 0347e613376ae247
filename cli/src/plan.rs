//! Plan: what a command will do. It is made by looking, kept in a file, and named by the digest of that file. `dlq`, `inbox`
//! and `replay` have plans.
//!
//! **Invariant:** a plan never changes. A file whose content does not have the digest in its name is refused.

use std::{
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{
    failed,
    stack::{self, StackOption},
};

/// The format of a plan.
const VERSION: u32 = 2;

/// The exit code if there is nothing to plan, or a plan is refused.
pub(crate) const NOTHING_TO_DO: u8 = 3;

/// How long a plan can be run.
const VALID: Duration = Duration::from_hours(24);

/// How long the file of a plan is kept: as long as SQS keeps a dead letter.
const KEPT: Duration = Duration::from_hours(14 * 24);

/// The bytes of the digest that name a plan.
const FINGERPRINT_BYTES: usize = 6;

/// The longest reason: an attribute of a message has little room.
const MAX_REASON_BYTES: usize = 200;

/// What a kind of plan is about.
pub(crate) trait Content: Serialize + DeserializeOwned {
    /// The command that makes it.
    const MADE_BY: &'static str;
    /// The command that runs it.
    const RUN_BY: &'static str;
}

/// What will be done, and to which stack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan<T> {
    version: u32,
    /// The command that runs it.
    command: String,
    created_at: Timestamp,
    /// The stack's name.
    stack: String,
    pub(crate) content: T,
}

/// The name and the file of a plan.
pub(crate) struct Saved {
    pub(crate) fingerprint: String,
    pub(crate) file: PathBuf,
}

/// How to run a plan.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// The plan's fingerprint, as it was printed.
    pub(crate) fingerprint: String,
    /// How many messages to send in a second at most. They are handled beside new ones.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rate: u32,
    /// Why you do this, in a few words. It is kept in the plan's journal and as an attribute of each message.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,
    /// The stack's name, for scripts. Without it, you are asked to type the name, except for local stacks and `test`.
    #[arg(long, value_name = "STACK")]
    confirm: Option<String>,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) stack: StackOption,
}

/// The plan cannot be run. Nothing was changed by trying.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no plan `{named}` on this machine; make one with `xendit-hooks {made_by}`")]
    Unknown { named: String, made_by: &'static str },
    #[error("{} is not as it was written; make a new plan with `xendit-hooks {made_by}`", .file.display())]
    Changed { file: PathBuf, made_by: &'static str },
    #[error("the plan is for another command: `xendit-hooks {0}`")]
    OtherCommand(String),
    #[error("the plan is for the stack `{planned}`, with {place}; choose it with --stack")]
    OtherStack { planned: String, place: String },
    #[error("the plan is more than a day old; make a new one with `xendit-hooks {0}`")]
    Old(&'static str),
    #[error("the plan is done: {0}")]
    Done(&'static str),
    #[error("the plan is stale, and {why}; make a new plan of what is there with `xendit-hooks {made_by}`")]
    Stale { why: String, made_by: &'static str },
    #[error("not confirmed; type `{0}` when asked, or add `--confirm {0}`")]
    NotConfirmed(String),
}

/// The result of a run. A refusal has an exit code of its own.
pub(crate) fn exit_code(result: Result<ExitCode>) -> Result<ExitCode> {
    match result {
        Err(error) if error.is::<Refused>() => Ok(failed(&error, ExitCode::from(NOTHING_TO_DO))),
        result => result,
    }
}

impl RunOptions {
    /// Asks for the stack's name, unless no real money is in it.
    pub(crate) fn confirm(&self, what: &str) -> Result<()> {
        let name = self.stack.name();
        if self.stack.is_for_tests() {
            return Ok(());
        }
        let typed = match &self.confirm {
            Some(name) => name.clone(),
            None if std::io::stdin().is_terminal() => {
                anstream::eprint!("This {what} of `{name}`. Type its name: ");
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).context("cannot read from the terminal")?;
                line
            }
            None => String::new(),
        };
        if typed.trim() == name { Ok(()) } else { Err(Refused::NotConfirmed(name.to_owned()).into()) }
    }
}

impl<T: Content> Plan<T> {
    pub(crate) fn new(stack: &StackOption, content: T) -> Self {
        let (stack, created_at) = (stack.name().to_owned(), Timestamp::now());
        Self { version: VERSION, command: T::RUN_BY.to_owned(), created_at, stack, content }
    }

    /// Writes the plan to its file. Old plans are removed.
    pub(crate) fn save(&self) -> Result<Saved> {
        self.save_in(&folder())
    }

    fn save_in(&self, folder: &Path) -> Result<Saved> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        remove_old(folder);
        let content = serde_json::to_vec(self)?;
        let fingerprint = fingerprint(&content);
        let file = file(folder, &fingerprint);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Saved { fingerprint, file })
    }

    /// Reads a plan, and the file for its journal.
    pub(crate) fn load(named: &str) -> Result<(Self, PathBuf)> {
        Self::load_from(&folder(), named)
    }

    fn load_from(folder: &Path, named: &str) -> Result<(Self, PathBuf)> {
        #[derive(Deserialize)]
        struct Head {
            command: String,
        }

        // A fingerprint becomes a file's name.
        let is_one = named.len() == 2 * FINGERPRINT_BYTES && named.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unknown = || Refused::Unknown { named: named.to_owned(), made_by: T::MADE_BY };
        let file = if is_one { file(folder, named) } else { return Err(unknown().into()) };
        let content = fs::read(&file).map_err(|_| unknown())?;
        if fingerprint(&content) != named {
            return Err(Refused::Changed { file, made_by: T::MADE_BY }.into());
        }
        let cannot_read = || format!("cannot read {}", file.display());
        let Head { command } = serde_json::from_slice(&content).with_context(cannot_read)?;
        if command != T::RUN_BY {
            return Err(Refused::OtherCommand(command).into());
        }
        let plan = serde_json::from_slice(&content).with_context(cannot_read)?;
        Ok((plan, file.with_extension("journal")))
    }

    /// Refuses a plan for another stack: one whose place, such as a queue, is another.
    pub(crate) fn check_place(&self, planned: &str, there: &str) -> Result<(), Refused> {
        if planned == there {
            return Ok(());
        }
        Err(Refused::OtherStack { planned: self.stack.clone(), place: planned.to_owned() })
    }

    /// Refuses a plan that is too old.
    pub(crate) fn check_age(&self, now: Timestamp) -> Result<(), Refused> {
        let age = Duration::try_from(now.duration_since(self.created_at)).unwrap_or_default();
        if age > VALID { Err(Refused::Old(T::MADE_BY)) } else { Ok(()) }
    }

    /// The command line that runs the plan.
    pub(crate) fn command_line(&self, fingerprint: &str) -> String {
        let stack = if self.stack == "local" { String::new() } else { format!(" --stack {}", self.stack) };
        format!("xendit-hooks {} {fingerprint}{stack}", self.command)
    }
}

/// The folder with the plans and their journals.
fn folder() -> PathBuf {
    stack::state().join("plans")
}

fn file(folder: &Path, fingerprint: &str) -> PathBuf {
    folder.join(format!("{fingerprint}.json"))
}

fn fingerprint(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    hex::encode(digest.iter().take(FINGERPRINT_BYTES).copied().collect::<Vec<_>>())
}

/// Removes plans and journals whose messages SQS does not keep any more. What cannot be removed now can be later.
fn remove_old(folder: &Path) {
    let Some(limit) = SystemTime::now().checked_sub(KEPT) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.metadata().and_then(|it| it.modified()).is_ok_and(|at| at < limit) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A reason that fits into an attribute of a message.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("it is empty, or has more than one line".to_owned());
    }
    if text.len() > MAX_REASON_BYTES {
        return Err(format!("it has more than {MAX_REASON_BYTES} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: RunOptions,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Letters {
        letters: Vec<String>,
    }

    impl Content for Letters {
        const MADE_BY: &'static str = "letters plan";
        const RUN_BY: &'static str = "letters send";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Others {}

    impl Content for Others {
        const MADE_BY: &'static str = "others plan";
        const RUN_BY: &'static str = "others send";
    }

    fn options(text: &str) -> Result<RunOptions, clap::Error> {
        Ok(Cli::try_parse_from(text.split(' '))?.options)
    }

    #[test]
    fn a_plan_is_found_by_its_fingerprint_and_refused_if_it_was_changed_or_is_old_or_another() {
        let folder = std::env::temp_dir().join(format!("xendit-hooks-plan-{}", std::process::id()));
        let options = options("redrive f --stack local").unwrap();
        let plan = Plan::new(&options.stack, Letters { letters: vec!["m".to_owned()] });
        let plan = Plan { created_at: Timestamp::UNIX_EPOCH, ..plan };
        let Saved { fingerprint, file } = plan.save_in(&folder).unwrap();
        let (loaded, journal) = Plan::<Letters>::load_from(&folder, &fingerprint).unwrap();
        assert_eq!(
            (&*loaded.content.letters, journal.extension().unwrap()),
            (&["m".to_owned()][..], "journal".as_ref())
        );
        assert_eq!(loaded.command_line(&fingerprint), format!("xendit-hooks letters send {fingerprint}"));
        assert!(loaded.check_age(Timestamp::from_second(86_400).unwrap()).is_ok());
        assert!(matches!(loaded.check_age(Timestamp::from_second(86_401).unwrap()), Err(Refused::Old("letters plan"))));
        assert!(loaded.check_place("queue", "queue").is_ok() && loaded.check_place("queue", "other").is_err());

        let refused =
            |named: &str| Plan::<Letters>::load_from(&folder, named).unwrap_err().downcast::<Refused>().unwrap();
        assert!(matches!(refused("000000000000"), Refused::Unknown { .. }));
        assert!(matches!(refused("../../../etc"), Refused::Unknown { .. }));
        let other = Plan::<Others>::load_from(&folder, &fingerprint).unwrap_err().to_string();
        assert_eq!(other, "the plan is for another command: `xendit-hooks letters send`");
        fs::write(&file, fs::read_to_string(&file).unwrap().replace("\"m\"", "\"x\"")).unwrap();
        assert!(matches!(refused(&fingerprint), Refused::Changed { .. }));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_stack_that_may_hold_real_money_is_confirmed_by_its_name() {
        let is_confirmed = |text: &str| options(text).unwrap().confirm("changes something").is_ok();
        for stack in ["local", "local:8787", "test"] {
            assert!(is_confirmed(&format!("redrive f --stack {stack}")), "{stack}");
        }
        for stack in ["live", "xendit-hooks-live", "another"] {
            assert!(is_confirmed(&format!("redrive f --stack {stack} --confirm {stack}")), "{stack}");
            assert!(!is_confirmed(&format!("redrive f --stack {stack} --confirm yes")), "{stack}");
        }
    }

    #[test]
    fn a_reason_fits_into_an_attribute() {
        assert_eq!(options("redrive f --reason x").unwrap().reason.as_deref(), Some("x"));
        for wrong in [String::new(), "a\u{1b}[2J".to_owned(), "x".repeat(201)] {
            assert!(options(&format!("redrive f --reason {wrong}")).is_err(), "{wrong}");
        }
    }
}
