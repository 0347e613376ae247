//! Redrive: moves the dead letters of a plan back to the webhook queue, each once, and nothing else.
//!
//! ```text
//! find ─▶ "sending" ─▶ send to the webhook queue ─▶ "sent" ─▶ delete from the dead-letter queue ─▶ "removed"
//! ```
//!
//! What is in quotes is written to a journal beside the plan. After a kill at any point, the same command reads it and goes
//! on. SQS hands out no message by its id, so that all are received to find the planned ones, and the others are made
//! visible before the first one is moved.
//!
//! **Invariant:** a dead letter is deleted only after the webhook queue has confirmed, by its MD5, that it holds the same
//! body. So a kill may send a message twice, and never loses one. The envelope stays as it is, and the ledger recognises
//! the second one as a duplicate.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::{File, TryLockError},
    io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    DeadLetters, HIDDEN, NOTHING_TO_DO, RENEWAL, VERSION, WAIT,
    plan::{self, Plan, Planned},
};
use crate::{failed, stack::StackOption};

/// The attribute of a moved message with the reason why it was a dead letter. It is not called `reason`, because SQS keeps
/// the attributes of a message that it moves by itself, and such a one has no reason.
pub(super) const EARLIER_REASON: &str = "earlier_reason";

/// The attribute of a moved message with the plan's fingerprint.
const REDRIVE: &str = "redrive";

/// How long to look for a planned dead letter: it may be hidden, by a redrive that was killed or by somebody who looks.
const PATIENCE: Duration = HIDDEN.saturating_add(Duration::from_secs(5));

/// How long to leave the queue alone between two looks.
const PAUSE: Duration = Duration::from_secs(3);

const HELP: &str = "\
A plan can be run for a day, on the stack that it was made for. After an interruption, the same command goes on.
Exit codes: 0 all are moved; 1 an error, and the same command goes on; 2 a wrong option; 3 refused: the plan is \
unknown, changed, for another stack, too old, done or stale, or the stack's name was not confirmed.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The fingerprint that `dlq plan` printed.
    fingerprint: String,
    /// How many messages to move in a second at most. The processor handles them beside new webhooks.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
    /// The stack's name, for scripts. Without it, you are asked to type the name, except for local stacks and `test`.
    #[arg(long, value_name = "STACK")]
    confirm: Option<String>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// The plan cannot be run. Nothing was changed by trying.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no plan `{0}` on this machine; make one with `xendit-hooks dlq plan`")]
    Unknown(String),
    #[error("{} is not as `dlq plan` wrote it; make a new plan", .0.display())]
    Changed(PathBuf),
    #[error("the plan is for the stack `{planned}`, with the queue {dlq_url}; choose it with --stack")]
    OtherStack { planned: String, dlq_url: String },
    #[error("the plan is more than a day old; make a new one with `xendit-hooks dlq plan`")]
    Old,
    #[error("the plan is done: all its dead letters are moved")]
    Done,
    #[error(
        "the plan is stale, and nothing was moved now: {gone} of its dead letters left the queue in another way; \
         make a new plan of what is there with `xendit-hooks dlq plan`"
    )]
    Stale { gone: usize },
    #[error("not confirmed; type `{0}` when asked, or add `--confirm {0}`")]
    NotConfirmed(String),
}

/// The result for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    fingerprint: &'a str,
    stack: &'a str,
    planned: usize,
    /// Moved by this run.
    moved: usize,
    moved_before: usize,
    /// How many may have been sent twice, because a run was interrupted between sending and writing that down.
    perhaps_sent_twice: usize,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    match redrive(options).await {
        Err(error) if error.is::<Refused>() => Ok(failed(&error, ExitCode::from(NOTHING_TO_DO))),
        result => result,
    }
}

async fn redrive(options: &Options) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let (plan, journal) = Plan::load(&plan::folder(), &options.fingerprint)?;
    plan.check_stack(&stack)?;
    let journal = Journal::open(&journal)?;
    let letters = DeadLetters::new(&stack.aws().await, plan.dlq_url.clone());
    let mut redrive = Redrive { plan, journal, letters, fingerprint: &options.fingerprint };
    let moved_before = redrive.removed();
    let planned = redrive.plan.letters.len();
    if moved_before == planned {
        return Err(Refused::Done.into());
    }
    redrive.plan.check_age(Timestamp::now())?;
    confirm(options, planned - moved_before)?;

    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let held = redrive.find(interrupted.as_mut()).await?;
    let moving = redrive.move_all(held, options.rate, interrupted).await;
    let moved = redrive.removed();
    moving.with_context(|| format!("{moved} of {planned} dead letters are moved; the same command goes on"))?;

    let perhaps_sent_twice = redrive.journal.perhaps_sent_twice();
    let moved = moved - moved_before;
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: &options.fingerprint,
            stack: options.stack.name(),
            planned,
            moved,
            moved_before,
            perhaps_sent_twice,
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let before = if moved_before > 0 { format!(" {moved_before} had been moved before.") } else { String::new() };
    anstream::println!("Moved {moved} of {planned} planned dead letters to the webhook queue.{before}");
    if perhaps_sent_twice > 0 {
        anstream::println!("{perhaps_sent_twice} may have been sent twice, which the ledger recognises.");
    }
    anstream::eprintln!("One that fails again comes back with its reason: `xendit-hooks dlq list` shows it.");
    Ok(ExitCode::SUCCESS)
}

/// Asks for the stack's name, unless no real money is in it.
fn confirm(options: &Options, count: usize) -> Result<()> {
    let name = options.stack.name();
    if options.stack.is_for_tests() {
        return Ok(());
    }
    let typed = match &options.confirm {
        Some(name) => name.clone(),
        None if std::io::stdin().is_terminal() => {
            anstream::eprint!("This moves {count} dead letters to the webhook queue of `{name}`. Type its name: ");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("cannot read from the terminal")?;
            line
        }
        None => String::new(),
    };
    if typed.trim() == name { Ok(()) } else { Err(Refused::NotConfirmed(name.to_owned()).into()) }
}

/// A plan that is being run.
struct Redrive<'a> {
    plan: Plan,
    journal: Journal,
    letters: DeadLetters,
    fingerprint: &'a str,
}

type Interrupted<'a, F> = Pin<&'a mut F>;

impl Redrive<'_> {
    /// How many dead letters of the plan are moved.
    fn removed(&self) -> usize {
        self.left().count().abs_diff(self.plan.letters.len())
    }

    /// The dead letters that are still to be moved.
    fn left(&self) -> impl Iterator<Item = &str> {
        let left = self.plan.letters.iter().filter(|it| self.journal.step(&it.message_id) != Some(Step::Removed));
        left.map(|Planned { message_id, .. }| message_id.as_str())
    }

    /// Receives the planned dead letters, which stay hidden, oldest first. All others are made visible.
    async fn find(
        &mut self,
        mut interrupted: Interrupted<'_, impl Future<Output = std::io::Result<()>>>,
    ) -> Result<VecDeque<Message>> {
        let start = Instant::now();
        let wanted: BTreeSet<_> = self.left().map(str::to_owned).collect();
        let mut told = false;
        loop {
            let (mut messages, mut missing) = (BTreeMap::new(), wanted.clone());
            let found = |message: &Message| {
                missing.remove(message.message_id().unwrap_or_default());
                missing.is_empty()
            };
            let looked = tokio::select! {
                looked = self.letters.receive_into(&mut messages, usize::MAX, WAIT, found) => looked,
                _ = &mut interrupted => Err(anyhow!("interrupted")),
            };
            // One that was sent and is not there is deleted: the run that deleted it could not write that down.
            let is_last = start.elapsed() > PATIENCE;
            let gone = missing.iter().filter(|id| self.journal.step(id) != Some(Step::Sent)).count();
            let is_complete = looked.is_ok() && (missing.is_empty() || (is_last && gone == 0));
            let (held, others): (Vec<_>, Vec<_>) = messages
                .into_values()
                .partition(|message| is_complete && wanted.contains(message.message_id().unwrap_or_default()));
            self.letters.release(others.iter()).await;
            looked?;
            if is_complete {
                for id in &missing {
                    self.journal.write(id, Step::Removed)?;
                }
                return Ok(self.in_order(held));
            }
            if is_last {
                return Err(Refused::Stale { gone }.into());
            }
            if !told {
                let (missing, wanted) = (missing.len(), wanted.len());
                anstream::eprintln!(
                    "{missing} of {wanted} planned dead letters are hidden or gone. Looking for {PATIENCE:?} …"
                );
                told = true;
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = &mut interrupted => bail!("interrupted"),
            }
        }
    }

    /// The messages in the order of the plan.
    fn in_order(&self, held: Vec<Message>) -> VecDeque<Message> {
        let mut held: BTreeMap<_, _> =
            held.into_iter().map(|message| (message.message_id().unwrap_or_default().to_owned(), message)).collect();
        self.plan.letters.iter().filter_map(|planned| held.remove(&planned.message_id)).collect()
    }

    /// Moves messages, not more than so many in a second. After an error or an interruption, the rest is made visible.
    async fn move_all(
        &mut self,
        mut held: VecDeque<Message>,
        rate: u32,
        mut interrupted: Interrupted<'_, impl Future<Output = std::io::Result<()>>>,
    ) -> Result<()> {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hidden_at = None;
        anstream::eprintln!("Moving {} dead letters, at most {rate} in a second …", held.len());
        let bar = ProgressBar::new(u64::try_from(held.len())?);
        let mut result = Ok(());
        while let Some(message) = held.front() {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = &mut interrupted => {
                    result = Err(anyhow!("interrupted"));
                    break;
                }
            }
            if hidden_at.is_none_or(|at: Instant| at.elapsed() > RENEWAL) {
                result = self.letters.hide(held.iter(), HIDDEN).await;
                hidden_at = Some(Instant::now());
            }
            if result.is_ok() {
                result = self.move_one(message).await;
            }
            if result.is_err() {
                break;
            }
            held.pop_front();
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.letters.release(held.iter()).await;
        result
    }

    async fn move_one(&mut self, message: &Message) -> Result<()> {
        let id = message.message_id().unwrap_or_default();
        if self.journal.step(id) != Some(Step::Sent) {
            self.journal.write(id, Step::Sending)?;
            self.send(message).await?;
            self.journal.write(id, Step::Sent)?;
        }
        let receipt = message.receipt_handle().unwrap_or_default();
        let call = self.letters.sqs.delete_message().queue_url(&self.plan.dlq_url).receipt_handle(receipt);
        let deleted = call.send().await.map_err(aws_sdk_sqs::Error::from);
        deleted.context("cannot delete from the dead-letter queue what was moved")?;
        self.journal.write(id, Step::Removed)
    }

    /// Puts the message into the webhook queue.
    async fn send(&self, message: &Message) -> Result<()> {
        let attributes = message.message_attributes();
        let reason = attributes.and_then(|all| all.get("reason").or_else(|| all.get(EARLIER_REASON)));
        let plan = MessageAttributeValue::builder().data_type("String").string_value(self.fingerprint).build()?;
        let call = self.letters.sqs.send_message().queue_url(&self.plan.queue_url);
        let mut call = call.message_body(message.body().unwrap_or_default()).message_attributes(REDRIVE, plan);
        if let Some(reason) = reason {
            call = call.message_attributes(EARLIER_REASON, reason.clone());
        }
        let sent = call.send().await.map_err(aws_sdk_sqs::Error::from).context("cannot send to the webhook queue")?;
        ensure!(
            sent.message_id.is_some() && sent.md5_of_message_body() == message.md5_of_body(),
            "the webhook queue confirmed another body than the dead letter's"
        );
        Ok(())
    }
}

/// What was done with a dead letter, or is about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Sending,
    Sent,
    Removed,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Entry {
    at: Timestamp,
    step: Step,
    message_id: String,
}

/// The steps that were taken for a plan, one line each, in a file that only one process has open.
#[derive(Debug)]
struct Journal {
    file: File,
    /// The last step of each dead letter.
    steps: BTreeMap<String, Step>,
    /// How often each was about to be sent.
    sendings: BTreeMap<String, usize>,
}

impl Journal {
    fn open(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another redrive of this plan is running"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // A kill may have cut the last line short. Its step was not taken yet, or is taken again.
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        text.truncate(end);
        let end = u64::try_from(end)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        let mut journal = Self { file, steps: BTreeMap::new(), sendings: BTreeMap::new() };
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: Entry = serde_json::from_slice(line)
                .with_context(|| format!("{} is damaged; make a new plan", path.display()))?;
            journal.note(entry.message_id, entry.step);
        }
        Ok(journal)
    }

    /// Writes a step down, so that it outlives this process and the machine.
    fn write(&mut self, message_id: &str, step: Step) -> Result<()> {
        let entry = Entry { at: Timestamp::now(), step, message_id: message_id.to_owned() };
        let line = format!("{}\n", serde_json::to_string(&entry)?);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.context("cannot write the journal of the plan")?;
        self.note(entry.message_id, step);
        Ok(())
    }

    fn note(&mut self, message_id: String, step: Step) {
        if step == Step::Sending {
            *self.sendings.entry(message_id.clone()).or_default() += 1;
        }
        self.steps.insert(message_id, step);
    }

    fn step(&self, message_id: &str) -> Option<Step> {
        self.steps.get(message_id).copied()
    }

    fn perhaps_sent_twice(&self) -> usize {
        self.sendings.values().filter(|count| **count > 1).count()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn a_stack_that_may_hold_real_money_is_confirmed_by_its_name() {
        let is_confirmed = |text: &str| confirm(&Cli::parse_from(text.split(' ')).options, 1).is_ok();
        for stack in ["local", "local:8787", "test"] {
            assert!(is_confirmed(&format!("redrive f --stack {stack}")), "{stack}");
        }
        for stack in ["live", "xendit-hooks-live", "another"] {
            assert!(is_confirmed(&format!("redrive f --stack {stack} --confirm {stack}")), "{stack}");
            assert!(!is_confirmed(&format!("redrive f --stack {stack} --confirm yes")), "{stack}");
        }
    }

    #[test]
    fn a_journal_goes_on_where_it_was_cut_off() {
        let path = std::env::temp_dir().join(format!("xendit-hooks-journal-{}", std::process::id()));
        let mut journal = Journal::open(&path).unwrap();
        for (id, step) in [("a", Step::Sending), ("a", Step::Sent), ("a", Step::Removed), ("b", Step::Sending)] {
            journal.write(id, step).unwrap();
        }
        assert!(Journal::open(&path).unwrap_err().to_string().contains("another redrive of this plan is running"));
        journal.file.write_all(br#"{"at":"2026-01-02T03:04:05Z","step":"se"#).unwrap();
        drop(journal);

        let mut journal = Journal::open(&path).unwrap();
        assert_eq!((journal.step("a"), journal.step("b")), (Some(Step::Removed), Some(Step::Sending)));
        assert_eq!((journal.step("c"), journal.perhaps_sent_twice()), (None, 0));
        journal.write("b", Step::Sending).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().perhaps_sent_twice(), 1);
        std::fs::remove_file(path).unwrap();
    }
}
