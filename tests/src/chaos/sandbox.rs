//! Sandbox: what Lambda does with the binaries, and what happens to them.
//!
//! A sandbox is one process with a runtime API of its own, has one invocation at a time, and is used again while it
//! lives. Harm comes at a random moment: in the midst of an invocation, or just after it. An invocation whose process
//! is gone, or that takes longer than the function may, has failed.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    process::{Child, Command},
    sync::Semaphore,
    time::sleep,
};

use super::figures::Tally;
use crate::{
    cloud::Cloud,
    process::{TOKENS, binary},
    runtime_api::{Invocation, RuntimeApi},
};

/// How a function runs, and how it is harmed.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    /// The binary's name.
    pub(super) name: &'static str,
    /// Its timeout.
    pub(super) limit: Duration,
    /// How many of a thousand invocations are killed.
    pub(super) killed: u32,
    /// How many of a thousand are frozen.
    pub(super) frozen: u32,
    /// Most freezes are much shorter.
    pub(super) longest_freeze: Duration,
}

/// One function with its sandboxes.
#[derive(Clone)]
pub(super) struct Lambda(Arc<Shared>);

struct Shared {
    habits: Habits,
    variables: Vec<(String, String)>,
    program: PathBuf,
    log: PathBuf,
    /// As many as there may be sandboxes.
    slots: Arc<Semaphore>,
    concurrency: usize,
    warm: Mutex<Vec<Sandbox>>,
    dice: Mutex<Rng>,
    /// How long an invocation takes: half of them are quicker.
    median: Mutex<Duration>,
    tally: Mutex<Tally>,
}

struct Sandbox {
    process: Child,
    api: RuntimeApi,
}

/// What happens to a process.
enum Harm {
    None,
    Kill { after: Duration },
    Freeze { after: Duration, during: Duration },
}

impl Lambda {
    /// Nothing is warm yet.
    pub(super) fn new(habits: Habits, cloud: &Cloud, concurrency: usize, dice: Rng) -> Self {
        let log = cloud.logs.join(format!("{}.log", habits.name));
        // A copy, so that building does not change what runs.
        let program = cloud.logs.join(habits.name);
        fs::copy(binary(habits.name), &program).unwrap();
        let variables = cloud.variables().into_iter().chain([("CALLBACK_TOKENS".to_owned(), TOKENS.to_owned())]);
        Self(Arc::new(Shared {
            habits,
            variables: variables.collect(),
            program,
            log,
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            warm: Mutex::default(),
            dice: Mutex::new(dice),
            median: Mutex::new(Duration::from_millis(50)),
            tally: Mutex::default(),
        }))
    }

    /// One invocation. `None`: it failed, whatever it has done.
    pub(super) async fn invoke(&self, id: &str, event: String) -> Option<String> {
        let slot = Arc::clone(&self.0.slots).acquire_owned().await.unwrap();
        let warm = self.0.warm.lock().unwrap().pop();
        let mut sandbox = match warm {
            Some(sandbox) => sandbox,
            None => self.start().await,
        };
        let (answered, lambda) = (Arc::new(AtomicBool::new(false)), self.clone());
        let (harm, process, over) = (self.harm(), sandbox.process.id().unwrap(), Arc::clone(&answered));
        let strike = tokio::spawn(async move { lambda.strike(harm, process, &over).await });
        let limit = self.0.habits.limit;
        sandbox.api.hand_out(Invocation { id: id.to_owned(), event, limit });
        let answer = tokio::select! {
            answer = sandbox.api.next() => answer,
            _ = sandbox.process.wait() => {
                strike.abort();
                return None;
            }
            () = sleep(limit) => {
                strike.abort();
                self.0.tally.lock().unwrap().timeouts += 1;
                return None;
            }
        };
        answered.store(true, Ordering::SeqCst);
        self.learn(answer.took);
        let lambda = self.clone();
        tokio::spawn(async move {
            if strike.await.unwrap() {
                lambda.0.warm.lock().unwrap().push(sandbox);
            }
            drop(slot);
        });
        (answer.to == "response").then_some(answer.body)
    }

    /// Until no invocation is under way, and nobody is frozen.
    pub(super) async fn idle(&self) {
        let all = self.0.concurrency.try_into().unwrap();
        drop(self.0.slots.acquire_many(all).await.unwrap());
    }

    /// What happened so far.
    pub(super) fn tally(&self) -> Tally {
        *self.0.tally.lock().unwrap()
    }

    /// Takes the binary away, and leaves the log.
    pub(super) fn leave(&self) {
        let _ = fs::remove_file(&self.0.program);
    }

    /// What the logs tell that should not have happened.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.0.log).unwrap_or_default();
        let bug = log.lines().find(|line| line.contains("a bug in this program"));
        bug.map(|line| format!("a {} panicked: {line}", self.0.habits.name)).into_iter().collect()
    }

    async fn start(&self) -> Sandbox {
        self.0.tally.lock().unwrap().starts += 1;
        let api = RuntimeApi::idle().await;
        let log = File::options().create(true).append(true).open(&self.0.log).unwrap();
        let mut command = Command::new(&self.0.program);
        command.env_clear().envs(self.0.variables.iter().map(|(name, value)| (name, value)));
        command.env("AWS_LAMBDA_RUNTIME_API", &api.address);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        let process = command.spawn().unwrap();
        api.asked().await;
        Sandbox { process, api }
    }

    /// Brings the median nearer to what an invocation has taken.
    fn learn(&self, took: Duration) {
        let mut median = self.0.median.lock().unwrap();
        *median = *median * if took > *median { 17 } else { 15 } / 16;
    }

    /// Draws what happens to an invocation, at a moment within it or soon after it.
    fn harm(&self) -> Harm {
        let Habits { killed, frozen, longest_freeze, .. } = self.0.habits;
        let median = u64::try_from(self.0.median.lock().unwrap().as_micros()).unwrap();
        let mut dice = self.0.dice.lock().unwrap();
        let draw = dice.u32(..1000);
        let after = Duration::from_micros(dice.u64(..=median + median / 4));
        let longest = u64::try_from(longest_freeze.as_millis()).unwrap();
        let longest = if dice.u32(..5) == 0 { longest } else { longest / 10 };
        let during = Duration::from_millis(dice.u64(..longest));
        if draw < killed {
            Harm::Kill { after }
        } else if draw < killed + frozen {
            Harm::Freeze { after, during }
        } else {
            Harm::None
        }
    }

    /// Does the harm. Whether the process lives.
    async fn strike(&self, harm: Harm, process: u32, answered: &AtomicBool) -> bool {
        let count = |what: fn(&mut Tally) -> &mut [usize; 2]| {
            let when = usize::from(answered.load(Ordering::SeqCst));
            what(&mut self.0.tally.lock().unwrap())[when] += 1;
        };
        match harm {
            Harm::None => true,
            Harm::Kill { after } => {
                sleep(after).await;
                count(|tally| &mut tally.kills);
                signal(process, "-KILL").await;
                false
            }
            Harm::Freeze { after, during } => {
                sleep(after).await;
                count(|tally| &mut tally.freezes);
                signal(process, "-STOP").await;
                sleep(during).await;
                signal(process, "-CONT").await;
                true
            }
        }
    }
}

async fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status().await;
    assert!(sent.is_ok(), "there is no `kill`");
}
