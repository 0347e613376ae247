//! A local stack for the tests, and the tool's other commands, which find it.

#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod aws;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

const HOOKS: &str = env!("CARGO_BIN_EXE_xendit-hooks");

/// A local stack, which has worked off its samples.
pub(crate) struct Stack {
    child: Child,
    /// The folder where it registers itself, and where the other commands keep their files.
    pub(crate) state: PathBuf,
    /// The first line of its output: the addresses.
    pub(crate) ready: Value,
    /// The lines after the samples: the result of each webhook.
    rows: Arc<Mutex<Vec<Value>>>,
}

impl Stack {
    pub(crate) fn start(name: &str) -> Self {
        let state = env::temp_dir().join(format!("xendit-hooks-{name}-{}", std::process::id()));
        let mut child = Command::new(HOOKS)
            .args(["dev", "--json", "--port", "0"])
            .current_dir(root())
            .env("XDG_STATE_HOME", &state)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        for _ in fs::read_dir(root().join("events/webhooks")).unwrap() {
            lines.next().unwrap().unwrap();
        }
        let rows: Arc<Mutex<Vec<Value>>> = Arc::default();
        let told = Arc::clone(&rows);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                told.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, state, ready, rows }
    }

    /// The result of a webhook, as the stack itself tells it.
    pub(crate) fn row(&self, delivery: &Value) -> Value {
        for _ in 0..600 {
            if let Some(row) = self.rows.lock().unwrap().iter().find(|row| row["delivery"] == *delivery) {
                return row.clone();
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the stack told nothing of {delivery}: {:?}", self.rows.lock().unwrap());
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap()
    }

    /// A command that finds this stack.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(&self.state, arguments)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Calls boto3 on the emulated AWS, such as `("sqs", "send_message", …)`.
    pub(crate) fn boto(&self, service: &str, method: &str, input: &Value) {
        let script = "import boto3, json, sys; getattr(boto3.client(sys.argv[1]), sys.argv[2])(**json.load(sys.stdin))";
        let mut python = Command::new(root().join(".venv/bin/python"));
        python.args(["-c", script, service, method]).stdin(Stdio::piped());
        python.envs([("AWS_ENDPOINT_URL", self.text("aws_endpoint_url")), ("AWS_DEFAULT_REGION", self.text("region"))]);
        python.envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")]);
        let mut python = python.spawn().unwrap();
        python.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        assert!(python.wait().unwrap().success(), "{service} {method}");
    }

    /// What a command that succeeds prints.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON lines of a command that succeeds.
    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.told(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// Registers a stack in a folder, until the file is dropped: a stack that does not hold its registration was killed.
pub(crate) fn register(state: &Path, stack: &Value) -> fs::File {
    let folder = state.join("xendit-hooks");
    fs::create_dir_all(&folder).unwrap();
    let mut file = fs::File::create(folder.join("1.json")).unwrap();
    file.lock().unwrap();
    file.write_all(stack.to_string().as_bytes()).unwrap();
    file
}

/// A command that finds the stack that is registered in a folder.
pub(crate) fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(HOOKS);
    command.args(arguments).current_dir(root()).env("XDG_STATE_HOME", state);
    command.env_remove("XENDIT_CALLBACK_TOKEN").env_remove("XENDIT_HOOKS_STACK");
    command
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn fingerprint(plan: &Value) -> &str {
    plan["fingerprint"].as_str().unwrap_or_else(|| panic!("{plan}"))
}

pub(crate) fn journal(plan: &Value) -> PathBuf {
    Path::new(plan["file"].as_str().unwrap()).with_extension("journal")
}

/// How often a step is in a journal.
pub(crate) fn steps(journal: &Path, step: &str) -> usize {
    fs::read_to_string(journal).unwrap_or_default().matches(&format!(r#""step":"{step}""#)).count()
}
