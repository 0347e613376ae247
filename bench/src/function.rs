//! Function: one process under an emulated Lambda Runtime API, and what it used by the kernel's count.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

use crate::http::{self, Request, Response};

/// The longest that anything here takes: AWS-LC's start under cachegrind is half a minute.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A program to start: its command line and environment.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: &'static str,
    pub command: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
}

/// A process that has been started.
pub struct Function {
    name: &'static str,
    child: Child,
    started: Instant,
    events: Sender<String>,
    news: Receiver<News>,
    output: Option<JoinHandle<String>>,
    errors: Option<JoinHandle<String>>,
}

/// What the process sends to the Runtime API.
enum News {
    Ready,
    Answer(Vec<u8>),
    Failure(String),
}

/// The results of a process that has ended.
pub struct Ended {
    /// What it logged.
    pub log: String,
    /// How many instructions it ran, if it ran under cachegrind.
    pub instructions: Option<u64>,
}

impl Function {
    /// Starts a process and returns at once.
    pub fn start(subject: &Subject) -> Result<Self> {
        Self::spawn(subject, Vec::new())
    }

    /// The same under cachegrind, which counts instructions as callgrind does, without the calls.
    ///
    /// It makes the process much slower, so the process gets a clock that is slow as well: by the true one it would run
    /// into its own time limits and connect again, and what is counted would depend on how busy the machine is.
    pub fn start_counted(subject: &Subject) -> Result<Self> {
        let line = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
        let mut subject = subject.clone();
        subject.environment.extend([("LD_PRELOAD", slow_clock()?), ("FAKETIME", "+0 x0.02".to_owned())]);
        Self::spawn(&subject, line.map(str::to_owned).to_vec())
    }

    fn spawn(subject: &Subject, wrapper: Vec<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let runtime_api = listener.local_addr()?.to_string();
        let (events, waiting) = mpsc::channel();
        let (tell, news) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (waiting, tell) = (Arc::clone(&waiting), tell.clone());
                thread::spawn(move || connection(stream, &waiting, &tell));
            }
        });

        let mut line = wrapper.into_iter().chain(subject.command.iter().cloned());
        let program = line.next().context("no command")?;
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(line)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", subject.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "log-group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "log-stream")
            .env("AWS_REGION", "ap-southeast-1")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_SESSION_TOKEN", "bench")
            .envs(subject.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let output = child.stdout.take().map(collect);
        let errors = child.stderr.take().map(collect);
        Ok(Self { name: subject.name, child, started, events, news, output, errors })
    }

    /// Waits until the process asks for its next event. Returns how long after its start that was.
    pub fn ready(&mut self) -> Result<Duration> {
        match self.hear()? {
            News::Ready => Ok(self.started.elapsed()),
            News::Answer(_) => bail!("{} answered without an event", self.name),
            News::Failure(message) => bail!("{} failed: {message}", self.name),
        }
    }

    /// Queues an event, which the process gets when it asks for its next one.
    pub fn give(&self, event: &str) -> Result<()> {
        Ok(self.events.send(event.to_owned())?)
    }

    /// Waits for the answer to an event.
    pub fn answer(&mut self) -> Result<Vec<u8>> {
        match self.hear()? {
            News::Answer(answer) => Ok(answer),
            News::Ready => bail!("{} asked for the next event before it answered", self.name),
            News::Failure(message) => bail!("{} failed: {message}", self.name),
        }
    }

    fn hear(&mut self) -> Result<News> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.news.recv_timeout(Duration::from_millis(200)) {
                Ok(news) => return Ok(news),
                Err(_) if self.child.try_wait()?.is_some() => {
                    let (log, errors) = (text(self.output.take()), text(self.errors.take()));
                    bail!("{} ended by itself: {log}{errors}", self.name)
                }
                Err(_) => ensure!(Instant::now() < deadline, "{} does not answer", self.name),
            }
        }
    }

    /// The CPU time of all its threads so far, user and system, by the kernel's clock for the process.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(clock_getcpuclockid(self.pid()?)?.now()?.into())
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// The memory it holds, in bytes.
    pub fn held_memory(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(PathBuf::from(format!("/proc/{}/status", self.child.id())))?;
        let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
        kib.map(|kib: u64| kib * 1024).context("the kernel does not say how much memory a process holds")
    }

    /// Ends the process.
    pub fn stop(mut self) -> Result<Ended> {
        kill(self.pid()?, Signal::SIGTERM)?;
        self.child.wait()?;
        let (log, errors) = (text(self.output.take()), text(self.errors.take()));
        let counted = errors.lines().find_map(|line| line.split_once("refs:"));
        let instructions = counted.map(|(_, count)| count.trim().replace(',', "").parse()).transpose()?;
        Ok(Ended { log, instructions })
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Fails if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CPU time of this process, which plays AWS.
pub fn own_cpu() -> Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// Where Debian and Ubuntu keep libfaketime, for programs with threads.
fn slow_clock() -> Result<String> {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", env::consts::ARCH);
    ensure!(Path::new(&library).is_file(), "{library} is missing: install libfaketime");
    Ok(library)
}

fn connection(stream: TcpStream, waiting: &Mutex<Receiver<String>>, tell: &Sender<News>) {
    let served = stream
        .set_nodelay(true)
        .map_err(anyhow::Error::from)
        .and_then(|()| http::serve(stream, |request| runtime_api(request, waiting, tell)));
    if let Err(error) = served {
        eprintln!("bench: the Runtime API: {error:#}");
    }
}

fn runtime_api(request: Request, waiting: &Mutex<Receiver<String>>, tell: &Sender<News>) -> Response {
    // Sending fails when the measurement is over.
    let path = request.path.rsplit('/').next().unwrap_or_default();
    match (&*request.method, path) {
        ("GET", "next") => {
            let _ = tell.send(News::Ready);
            match waiting.lock().unwrap_or_else(PoisonError::into_inner).recv() {
                Ok(event) => next(event),
                Err(_) => Response::new(500, ""),
            }
        }
        ("POST", "response") => {
            let _ = tell.send(News::Answer(request.body));
            Response::new(202, "")
        }
        _ => {
            let _ = tell.send(News::Failure(String::from_utf8_lossy(&request.body).into_owned()));
            Response::new(202, "")
        }
    }
}

fn next(event: String) -> Response {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(30);
    Response::new(200, event)
        .with("content-type", "application/json")
        .with("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        .with("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
        .with("lambda-runtime-invoked-function-arn", "arn:aws:lambda:ap-southeast-1:123456789012:function:bench")
        .with("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0")
}

fn collect(stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.fold(String::new(), |text, line| text + &line + "\n")
    })
}

fn text(thread: Option<JoinHandle<String>>) -> String {
    thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
}
