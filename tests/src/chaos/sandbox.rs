//! Sandbox: runs the binaries as Lambda does, and injects faults.
//!
//! A sandbox is one process with its own runtime API. It serves one invocation at a time, and is reused while it lives. A
//! fault hits at a random time, during an invocation or shortly after it. An invocation fails when its process dies or it
//! times out.

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
    fixture::LOCAL_TOKENS,
    process::{PANIC_MESSAGE, binary},
    runtime_api::{Invocation, RuntimeApi},
};

/// How a function runs, and the faults to inject.
#[derive(Clone, Copy)]
pub(super) struct Profile {
    /// The binary's name.
    pub(super) name: &'static str,
    /// Its timeout.
    pub(super) limit: Duration,
    /// The kills per thousand invocations.
    pub(super) killed: u32,
    /// The freezes per thousand invocations.
    pub(super) frozen: u32,
    /// The longest freeze. Most are much shorter.
    pub(super) longest_freeze: Duration,
}

/// One function with its sandboxes.
#[derive(Clone)]
pub(super) struct Lambda(Arc<Shared>);

struct Shared {
    profile: Profile,
    variables: Vec<(String, String)>,
    program: PathBuf,
    log: PathBuf,
    /// Limits the concurrency.
    slots: Arc<Semaphore>,
    concurrency: usize,
    warm: Mutex<Vec<Sandbox>>,
    rng: Mutex<Rng>,
    /// The estimated median duration of an invocation.
    median: Mutex<Duration>,
    tally: Mutex<Tally>,
}

struct Sandbox {
    process: Child,
    api: RuntimeApi,
}

/// A fault to inject into an invocation.
enum Fault {
    None,
    Kill { after: Duration },
    Freeze { after: Duration, during: Duration },
}

impl Lambda {
    /// Starts without warm sandboxes.
    pub(super) fn new(profile: Profile, cloud: &Cloud, concurrency: usize, rng: Rng) -> Self {
        let log = cloud.logs.join(format!("{}.log", profile.name));
        // A copy, so that a build during the run does not replace it.
        let program = cloud.logs.join(profile.name);
        fs::copy(binary(profile.name), &program).unwrap();
        let variables = cloud.variables().into_iter().chain([("CALLBACK_TOKENS".to_owned(), LOCAL_TOKENS.to_owned())]);
        Self(Arc::new(Shared {
            profile,
            variables: variables.collect(),
            program,
            log,
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            warm: Mutex::default(),
            rng: Mutex::new(rng),
            median: Mutex::new(Duration::from_millis(50)),
            tally: Mutex::default(),
        }))
    }

    /// Invokes the function. `None`: it failed, and may have had effects.
    pub(super) async fn invoke(&self, id: &str, event: String) -> Option<String> {
        let slot = Arc::clone(&self.0.slots).acquire_owned().await.unwrap();
        let warm = self.0.warm.lock().unwrap().pop();
        let mut sandbox = match warm {
            Some(sandbox) => sandbox,
            None => self.start().await,
        };
        let (answered, lambda) = (Arc::new(AtomicBool::new(false)), self.clone());
        let (fault, process, is_over) = (self.draw_fault(), sandbox.process.id().unwrap(), Arc::clone(&answered));
        let injection = tokio::spawn(async move { lambda.inject(fault, process, &is_over).await });
        let limit = self.0.profile.limit;
        sandbox.api.send(Invocation { id: id.to_owned(), event, limit });
        let answer = tokio::select! {
            answer = sandbox.api.next_answer() => answer,
            _ = sandbox.process.wait() => {
                injection.abort();
                return None;
            }
            () = sleep(limit) => {
                injection.abort();
                self.0.tally.lock().unwrap().timeouts += 1;
                return None;
            }
        };
        answered.store(true, Ordering::SeqCst);
        self.update_median(answer.took);
        let lambda = self.clone();
        tokio::spawn(async move {
            if injection.await.unwrap() {
                lambda.0.warm.lock().unwrap().push(sandbox);
            }
            drop(slot);
        });
        (answer.to == "response").then_some(answer.body)
    }

    /// Waits until no invocation runs and no process is frozen.
    pub(super) async fn idle(&self) {
        let all = self.0.concurrency.try_into().unwrap();
        drop(self.0.slots.acquire_many(all).await.unwrap());
    }

    /// The counts so far.
    pub(super) fn tally(&self) -> Tally {
        *self.0.tally.lock().unwrap()
    }

    /// Removes the copy of the binary. The log stays.
    pub(super) fn remove_program(&self) {
        let _ = fs::remove_file(&self.0.program);
    }

    /// The first panic in the log, if any.
    pub(super) fn panics(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.0.log).unwrap_or_default();
        let bug = log.lines().find(|line| line.contains(PANIC_MESSAGE));
        bug.map(|line| format!("a {} panicked: {line}", self.0.profile.name)).into_iter().collect()
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
        api.started().await;
        Sandbox { process, api }
    }

    /// Adjusts the estimated median by the duration of an invocation.
    fn update_median(&self, took: Duration) {
        let mut median = self.0.median.lock().unwrap();
        *median = *median * if took > *median { 17 } else { 15 } / 16;
    }

    /// Draws a fault for an invocation, at a time during it or shortly after it.
    fn draw_fault(&self) -> Fault {
        let Profile { killed, frozen, longest_freeze, .. } = self.0.profile;
        let median = u64::try_from(self.0.median.lock().unwrap().as_micros()).unwrap();
        let mut rng = self.0.rng.lock().unwrap();
        let draw = rng.u32(..1000);
        let after = Duration::from_micros(rng.u64(..=median + median / 4));
        let longest = u64::try_from(longest_freeze.as_millis()).unwrap();
        let longest = if rng.u32(..5) == 0 { longest } else { longest / 10 };
        let during = Duration::from_millis(rng.u64(..longest));
        if draw < killed {
            Fault::Kill { after }
        } else if draw < killed + frozen {
            Fault::Freeze { after, during }
        } else {
            Fault::None
        }
    }

    /// Injects a fault. Returns whether the process survives.
    async fn inject(&self, fault: Fault, process: u32, answered: &AtomicBool) -> bool {
        let count = |what: fn(&mut Tally) -> &mut [usize; 2]| {
            let when = usize::from(answered.load(Ordering::SeqCst));
            what(&mut self.0.tally.lock().unwrap())[when] += 1;
        };
        match fault {
            Fault::None => true,
            Fault::Kill { after } => {
                sleep(after).await;
                count(|tally| &mut tally.kills);
                signal(process, "-KILL").await;
                false
            }
            Fault::Freeze { after, during } => {
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
    assert!(sent.is_ok(), "the program `kill` is missing");
}
