//! Runtime API: Lambda's side of one sandbox, which hands out events and takes the answers.

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

/// Longer than any function here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One event for a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's id of it, which becomes the delivery's.
    pub id: String,
    /// The event, as JSON.
    pub event: String,
    /// The function's timeout.
    pub limit: Duration,
}

/// What a function did with an event.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The last part of the path it posted to: `response` or `error`.
    pub to: String,
    /// What it posted.
    pub body: String,
    /// How long after it had the event.
    pub took: Duration,
}

/// The API of one sandbox.
pub struct RuntimeApi {
    /// Host and port, as `AWS_LAMBDA_RUNTIME_API` wants them.
    pub address: String,
    events: mpsc::UnboundedSender<Invocation>,
    desk: Arc<Desk>,
    answers: mpsc::UnboundedReceiver<Answer>,
    task: JoinHandle<()>,
}

impl RuntimeApi {
    /// Starts it, without an event.
    pub async fn idle() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let since = Mutex::new(Instant::now());
        let desk = Arc::new(Desk { events: tokio::sync::Mutex::new(waiting), asked: Notify::new(), since, answered });
        let shared = Arc::clone(&desk);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, events, desk, answers, task }
    }

    /// Starts it with one event to hand out.
    pub async fn start(event: String) -> Self {
        let api = Self::idle().await;
        let id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
        api.hand_out(Invocation { id, event, limit: Duration::from_secs(30) });
        api
    }

    /// Hands out an event when the function asks for one.
    pub fn hand_out(&self, invocation: Invocation) {
        let _ = self.events.send(invocation);
    }

    /// Until the function has started, and asks for its first event.
    pub async fn asked(&self) {
        self.desk.asked.notified().await;
    }

    /// What the function did with the event, whenever that is.
    pub async fn next(&mut self) -> Answer {
        self.answers.recv().await.unwrap()
    }

    /// The same, of a function that has to be quick.
    pub async fn answer(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.next()).await.expect("the function answers")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the connections of a function share.
struct Desk {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    asked: Notify,
    /// When the last event was handed out.
    since: Mutex<Instant>,
    answered: mpsc::UnboundedSender<Answer>,
}

async fn serve(mut stream: TcpStream, desk: Arc<Desk>) {
    let since = || desk.since.lock().unwrap();
    while let Some(request) = Message::read(&mut stream).await {
        if request.path().ends_with("/invocation/next") {
            desk.asked.notify_one();
            let Some(invocation) = desk.events.lock().await.recv().await else { return };
            *since() = Instant::now();
            let _ = stream.write_all(head(&invocation).as_bytes()).await;
            let _ = stream.write_all(invocation.event.as_bytes()).await;
        } else {
            let to = request.path().rsplit('/').next().unwrap().to_owned();
            let took = since().elapsed();
            let _ = desk.answered.send(Answer { to, body: request.text(), took });
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
