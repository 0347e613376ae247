//! Runtime API: plays Lambda for one function. The function's process asks for an event over the HTTP interface that Lambda
//! documents for custom runtimes, and posts its response or its error.
//!
//! **Invariant:** every invocation that the function has taken ends: with its answer, or at its timeout. A process without
//! this API exits, so that the functions end with `dev`, however that ends.

use std::{
    collections::{BTreeMap, HashMap},
    fs::OpenOptions,
    io::Write as _,
    path::{Path as FilePath, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    routing::{get, post},
};
use jiff::Timestamp;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// The largest event that Lambda accepts: 6 MiB and a bit.
pub(super) const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024 + 100;

/// More than the largest response that Lambda accepts, which is as large.
const MAX_RESPONSE_BYTES: usize = 10 * 1024 * 1024;

/// The file in the folder of the logs that says what fails, as `faults.py` describes. Here it may have `INVOKE`.
pub(super) const FAULTS: &str = "faults.json";

/// The action that fails when Lambda starts no function, because the account's concurrency is used up.
const INVOKE: &str = "lambda:InvokeFunction";

/// A function as its callers see it.
#[derive(Clone, Debug)]
pub(super) struct Lambda {
    /// The value of `AWS_LAMBDA_RUNTIME_API` for the function's process.
    pub(super) address: String,
    invocations: mpsc::UnboundedSender<Invocation>,
    records: Option<Records>,
}

/// The log for Lambda's own lines about a function, and the faults to simulate.
#[derive(Clone, Debug)]
struct Records {
    log: PathBuf,
    faults: PathBuf,
}

/// Why an invocation has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoResponse {
    /// Lambda does not accept the event.
    TooLarge,
    /// The function returned an error.
    Failed,
    /// The function did not answer in time.
    TimedOut,
    /// Lambda did not start the function.
    Throttled,
}

type Answer = oneshot::Sender<Result<Bytes, NoResponse>>;

/// An event that waits for the function.
#[derive(Debug)]
struct Invocation {
    id: String,
    event: String,
    answer: Answer,
}

/// What the function's requests share.
struct Function {
    timeout: Duration,
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// The invocations that the function works on, by id.
    running: Mutex<HashMap<String, Answer>>,
}

impl Lambda {
    /// Starts the API of a function with a timeout.
    pub(super) async fn start(timeout: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot find a free port")?;
        let address = listener.local_addr()?.to_string();
        let (invocations, waiting) = mpsc::unbounded_channel();
        let function =
            Arc::new(Function { timeout, waiting: tokio::sync::Mutex::new(waiting), running: Mutex::default() });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(respond))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(fail))
            .layer(DefaultBodyLimit::max(MAX_RESPONSE_BYTES))
            .with_state(function);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, invocations, records: None })
    }

    /// The same function, about whose failures Lambda writes to the function's log in a folder, and whose faults are there.
    pub(super) fn recorded(self, name: &str, folder: &FilePath) -> Self {
        let records = Records { log: folder.join(format!("{name}.log")), faults: folder.join(FAULTS) };
        Self { records: Some(records), ..self }
    }

    /// Passes an event to the function once it is free, and returns its response. `id` is Lambda's request id, which the
    /// receiver uses as the delivery id. If the caller stops waiting before the function is free, the event is dropped.
    pub(super) async fn invoke(&self, id: String, event: String) -> Result<Bytes, NoResponse> {
        if event.len() > MAX_EVENT_BYTES {
            return Err(NoResponse::TooLarge);
        }
        if self.records.as_ref().is_some_and(Records::is_throttled) {
            return Err(NoResponse::Throttled);
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.invocations.send(Invocation { id: id.clone(), event, answer });
        sent.map_err(|_| NoResponse::Failed)?;
        let response = answered.await.unwrap_or(Err(NoResponse::Failed));
        if let (Err(why), Some(records)) = (&response, &self.records) {
            records.report(&id, *why);
        }
        response
    }
}

impl Records {
    fn is_throttled(&self) -> bool {
        let faults = std::fs::read(&self.faults).unwrap_or_default();
        serde_json::from_slice::<BTreeMap<String, String>>(&faults).is_ok_and(|faults| faults.contains_key(INVOKE))
    }

    /// Writes a line as Lambda does, at the log level of template.yaml.
    fn report(&self, id: &str, why: NoResponse) {
        let status = if why == NoResponse::TimedOut { "timeout" } else { "error" };
        let record = json!({ "requestId": id, "status": status });
        let line = json!({ "time": Timestamp::now(), "type": "platform.report", "record": record });
        // Lambda, too, goes on when it cannot log.
        let _ = OpenOptions::new().append(true).open(&self.log).and_then(|mut log| writeln!(log, "{line}"));
    }
}

impl Function {
    /// Ends an invocation, unless it has ended.
    fn end(&self, id: &str, result: Result<Bytes, NoResponse>) {
        let answer = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(answer) = answer {
            let _ = answer.send(result);
        }
    }
}

/// The function's next event. Waits until there is one.
async fn next(State(function): State<Arc<Function>>) -> Result<([(&'static str, String); 3], String), StatusCode> {
    let Invocation { id, event, answer } = loop {
        let invocation = function.waiting.lock().await.recv().await.ok_or(StatusCode::GONE)?;
        if !invocation.answer.is_closed() {
            break invocation;
        }
    };
    function.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), answer);
    tokio::spawn({
        let (function, id) = (Arc::clone(&function), id.clone());
        async move {
            tokio::time::sleep(function.timeout).await;
            function.end(&id, Err(NoResponse::TimedOut));
        }
    });
    let deadline = Timestamp::now() + function.timeout;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millisecond().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:ap-southeast-1:123456789012:function:local".to_owned()),
    ];
    Ok((headers, event))
}

async fn respond(State(function): State<Arc<Function>>, Path(id): Path<String>, response: Bytes) -> StatusCode {
    function.end(&id, Ok(response));
    StatusCode::ACCEPTED
}

/// The function's log has the error.
async fn fail(State(function): State<Arc<Function>>, Path(id): Path<String>) -> StatusCode {
    function.end(&id, Err(NoResponse::Failed));
    StatusCode::ACCEPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(300);

    /// Takes one event, as a function's process does, and posts its answer to `to`.
    fn answer_one(lambda: &Lambda, to: &'static str, text: &'static str) -> std::thread::JoinHandle<String> {
        let base = format!("http://{}/2018-06-01/runtime/invocation", lambda.address);
        std::thread::spawn(move || {
            let mut next = ureq::get(format!("{base}/next")).call().unwrap();
            let id = next.headers()["lambda-runtime-aws-request-id"].to_str().unwrap().to_owned();
            let event = next.body_mut().read_to_string().unwrap();
            if !to.is_empty() {
                let _ = ureq::post(format!("{base}/{id}/{to}")).send(text);
            }
            event
        })
    }

    async fn invoke(lambda: &Lambda, event: &str) -> Result<Bytes, NoResponse> {
        let response = lambda.invoke(uuid::Uuid::new_v4().to_string(), event.to_owned());
        tokio::time::timeout(10 * TIMEOUT, response).await.unwrap()
    }

    #[tokio::test]
    async fn the_function_gets_the_event_and_the_caller_its_answer() {
        let lambda = Lambda::start(TIMEOUT).await.unwrap();
        let function = answer_one(&lambda, "response", "done");
        assert_eq!(invoke(&lambda, "{}").await.unwrap(), "done");
        assert_eq!(function.join().unwrap(), "{}");
        answer_one(&lambda, "error", "{}");
        assert_eq!(invoke(&lambda, "{}").await, Err(NoResponse::Failed));
    }

    #[tokio::test]
    async fn a_function_that_hangs_is_given_up_at_its_timeout() {
        let lambda = Lambda::start(TIMEOUT).await.unwrap();
        answer_one(&lambda, "", "");
        assert_eq!(invoke(&lambda, "{}").await, Err(NoResponse::TimedOut));
    }

    #[tokio::test]
    async fn an_event_whose_caller_has_gone_is_not_passed_on() {
        let lambda = Lambda::start(TIMEOUT).await.unwrap();
        let first = lambda.invoke("1".to_owned(), "first".to_owned());
        assert!(tokio::time::timeout(TIMEOUT, first).await.is_err());
        let function = answer_one(&lambda, "response", "");
        invoke(&lambda, "second").await.unwrap();
        assert_eq!(function.join().unwrap(), "second");
    }

    #[tokio::test]
    async fn an_event_that_lambda_would_not_accept_is_refused() {
        let lambda = Lambda::start(TIMEOUT).await.unwrap();
        assert_eq!(invoke(&lambda, &"x".repeat(MAX_EVENT_BYTES + 1)).await, Err(NoResponse::TooLarge));
    }

    #[tokio::test]
    async fn lambda_logs_failures_and_starts_no_function_when_it_is_told_so() {
        let folder = std::env::temp_dir().join(format!("xendit-hooks-runtime-api-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("receiver.log"), "cannot start\n").unwrap();
        let lambda = Lambda::start(TIMEOUT).await.unwrap().recorded("receiver", &folder);
        answer_one(&lambda, "", "");
        assert_eq!(invoke(&lambda, "{}").await, Err(NoResponse::TimedOut));
        let log = std::fs::read_to_string(folder.join("receiver.log")).unwrap();
        let (before, line) = log.trim_end().split_once('\n').unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((before, &line["record"]["status"]), ("cannot start", &json!("timeout")));
        std::fs::write(folder.join(FAULTS), json!({ INVOKE: "TooManyRequestsException" }).to_string()).unwrap();
        assert_eq!(invoke(&lambda, "{}").await, Err(NoResponse::Throttled));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
