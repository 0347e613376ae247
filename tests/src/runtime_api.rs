//! Runtime API: plays Lambda's runtime API for one sandbox. It sends events to a function and receives its answers.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use crate::stub::{Message, answer};

/// More than any function needs here.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// One event for a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's request id, which becomes the delivery's id.
    pub id: String,
    /// The event, as JSON.
    pub event: String,
    /// The function's timeout.
    pub limit: Duration,
}

/// A function's answer to an event.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The last part of the path that it was posted to: `response` or `error`.
    pub to: String,
    /// The posted body.
    pub body: String,
    /// The time since the event was sent.
    pub took: Duration,
}

/// The runtime API of one sandbox.
pub struct RuntimeApi {
    /// Host and port, the value of `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    events: mpsc::UnboundedSender<Invocation>,
    shared: Arc<Shared>,
    answers: mpsc::UnboundedReceiver<Answer>,
    task: JoinHandle<()>,
}

impl RuntimeApi {
    /// Starts the API without an event.
    pub async fn idle() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, pending) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(pending),
            polled: Notify::new(),
            sent_at: Mutex::new(Instant::now()),
            answered,
        });
        let served = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self { address, events, shared, answers, task }
    }

    /// Starts the API with one event.
    pub async fn start(event: String) -> Self {
        let api = Self::idle().await;
        let id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
        api.send(Invocation { id, event, limit: Duration::from_secs(30) });
        api
    }

    /// Sends an event as soon as the function asks for one.
    pub fn send(&self, invocation: Invocation) {
        let _ = self.events.send(invocation);
    }

    /// Waits until the function has started and asks for an event.
    pub async fn started(&self) {
        self.shared.polled.notified().await;
    }

    /// Waits for the function's next answer.
    pub async fn next_answer(&mut self) -> Answer {
        self.answers.recv().await.unwrap()
    }

    /// The same, within a time limit.
    pub async fn answer(&mut self) -> Answer {
        tokio::time::timeout(ANSWER_TIMEOUT, self.next_answer()).await.expect("the function answers in time")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a function's connections share.
struct Shared {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// The function has asked for an event.
    polled: Notify,
    /// When the last event was sent.
    sent_at: Mutex<Instant>,
    answered: mpsc::UnboundedSender<Answer>,
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let sent_at = || shared.sent_at.lock().unwrap();
    while let Some(request) = Message::read(&mut stream).await {
        if request.path().ends_with("/invocation/next") {
            shared.polled.notify_one();
            let Some(invocation) = shared.events.lock().await.recv().await else { return };
            *sent_at() = Instant::now();
            let _ = stream.write_all(head(&invocation).as_bytes()).await;
            let _ = stream.write_all(invocation.event.as_bytes()).await;
        } else {
            let to = request.path().rsplit('/').next().unwrap().to_owned();
            let took = sent_at().elapsed();
            let _ = shared.answered.send(Answer { to, body: request.text(), took });
            answer(&mut stream, 202, "{}").await;
        }
    }
}

fn head(invocation: &Invocation) -> String {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + invocation.limit;
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         lambda-runtime-aws-request-id: {}\r\n\
         lambda-runtime-deadline-ms: {}\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:ap-southeast-1:123456789012:function:f\r\n\
         lambda-runtime-trace-id: Root=1-69573385-0123456789abcdef01234567\r\n\r\n",
        invocation.event.len(),
        invocation.id,
        deadline.as_millis()
    )
}
