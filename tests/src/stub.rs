//! Stub: a server with scripted replies, or a proxy between a function and AWS.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::calls::Call;

/// What a stub does with a connection.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Reads the request and never answers.
    Never,
    /// Reads the request and resets the connection.
    Reset,
    /// Answers with a status and a body.
    With(u16, String),
    /// Answers with a status and a body, and closes the connection.
    Once(u16, String),
    /// Answers with a 200 and a body, and resets the connection on the next request.
    ThenReset(String),
    /// Answers with a 200 and the first half of a body, and never sends the rest.
    Stalls(String),
    /// Forwards the request to this endpoint, and its answer back.
    Through(String),
    /// Forwards the request to this endpoint, and drops its answer.
    Lost(String),
}

/// How a stub chooses a reply.
#[derive(Clone)]
enum Choice {
    /// One reply for each connection, in order. The last one repeats.
    InOrder(Arc<[Reply]>),
    /// One reply for SQS and one for S3.
    ByService { queue: Reply, inbox: Reply },
    /// Records each call. One reply for some actions, such as `sqs:SendMessage`, and one for all others.
    ByAction(Arc<Mutex<Recorded>>),
}

/// The calls so far, and the replies to the next ones.
struct Recorded {
    calls: Vec<Call>,
    replies: BTreeMap<&'static str, Reply>,
    others: Reply,
}

/// A server with scripted replies.
pub struct Stub {
    /// Its URL.
    pub endpoint: String,
    choice: Choice,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Stub {
    /// Starts a server with one reply for each connection, in order. The last one repeats.
    pub async fn start(replies: Vec<Reply>) -> Self {
        Self::choosing(Choice::InOrder(replies.into())).await
    }

    /// Starts a server that replies as SQS and as S3. A function has one endpoint for all of AWS.
    pub async fn in_front_of(queue: Reply, inbox: Reply) -> Self {
        Self::choosing(Choice::ByService { queue, inbox }).await
    }

    /// Starts a proxy to an emulated AWS that records each call.
    pub async fn recording(endpoint: &str) -> Self {
        let others = Reply::Through(endpoint.to_owned());
        let recorded = Recorded { calls: Vec::new(), replies: BTreeMap::new(), others };
        Self::choosing(Choice::ByAction(Arc::new(Mutex::new(recorded)))).await
    }

    /// Sets the replies of a recording stub to some actions.
    pub fn reply(&self, replies: impl IntoIterator<Item = (&'static str, Reply)>) {
        self.recorded(|recorded| recorded.replies = replies.into_iter().collect());
    }

    /// The calls that a recording stub has got since the last time.
    pub fn calls(&self) -> Vec<Call> {
        self.recorded(|recorded| mem::take(&mut recorded.calls))
    }

    fn recorded<T>(&self, work: impl FnOnce(&mut Recorded) -> T) -> T {
        let Choice::ByAction(recorded) = &self.choice else { panic!("this stub does not record") };
        work(&mut recorded.lock().unwrap())
    }

    async fn choosing(choice: Choice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, replies) = (Arc::clone(&connections), choice.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, replies.clone(), index));
            }
        });
        Self { endpoint, choice, connections, task }
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Choice {
    fn reply(&self, connection: usize, request: &Message) -> Reply {
        match self {
            Self::InOrder(replies) => replies[connection.min(replies.len() - 1)].clone(),
            // Only S3's requests have a path.
            Self::ByService { queue, .. } if request.path() == "/" => queue.clone(),
            Self::ByService { inbox, .. } => inbox.clone(),
            Self::ByAction(recorded) => {
                let (call, mut recorded) = (Call::of(request), recorded.lock().unwrap());
                let reply = recorded.replies.get(&*call.action).unwrap_or(&recorded.others).clone();
                recorded.calls.push(call);
                reply
            }
        }
    }
}

async fn serve(mut stream: TcpStream, choice: Choice, connection: usize) {
    while let Some(request) = Message::read(&mut stream).await {
        match choice.reply(connection, &request) {
            Reply::Never => std::future::pending().await,
            Reply::Reset => return reset(stream),
            Reply::With(status, body) => answer(&mut stream, status, &body).await,
            Reply::Once(status, body) => return answer(&mut stream, status, &body).await,
            Reply::ThenReset(body) => {
                answer(&mut stream, 200, &body).await;
                Message::read(&mut stream).await;
                return reset(stream);
            }
            Reply::Stalls(body) => {
                let _ = stream.write_all(head(200, body.len()).as_bytes()).await;
                let _ = stream.write_all(&body.as_bytes()[..body.len() / 2]).await;
                std::future::pending::<()>().await;
            }
            Reply::Through(endpoint) => {
                let Some(answer) = forward(&endpoint, &request).await else { return reset(stream) };
                let _ = stream.write_all(&answer.bytes).await;
            }
            Reply::Lost(endpoint) => {
                forward(&endpoint, &request).await;
                return reset(stream);
            }
        }
    }
}

/// Forwards a request to another server. `None`: it did not answer.
async fn forward(endpoint: &str, request: &Message) -> Option<Message> {
    let mut server = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.ok()?;
    server.write_all(&request.bytes).await.ok()?;
    Message::read(&mut server).await
}

/// The bytes of an HTTP request or answer.
pub(crate) struct Message {
    bytes: Vec<u8>,
    body: usize,
}

impl Message {
    /// Reads a message. `None`: the connection was closed.
    pub(crate) async fn read(stream: &mut TcpStream) -> Option<Self> {
        const END: &[u8] = b"\r\n\r\n";
        let mut bytes = Vec::new();
        let body = loop {
            if let Some(end) = bytes.windows(END.len()).position(|window| window == END) {
                break end + END.len();
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..body]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
        let whole = body + length.trim().parse::<usize>().unwrap();
        while bytes.len() < whole {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        Some(Self { bytes, body })
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.head().split(' ').next().unwrap()
    }

    /// The path of a request, with its query.
    pub(crate) fn path(&self) -> &str {
        self.head().split(' ').nth(1).unwrap()
    }

    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head().lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Everything before the body.
    fn head(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.body]).unwrap()
    }

    /// The body, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[self.body..]).into_owned()
    }
}

/// Writes an HTTP answer.
pub(crate) async fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let _ = stream.write_all(format!("{}{body}", head(status, body.len())).as_bytes()).await;
}

/// The head of an HTTP answer with a body of this many bytes.
fn head(status: u16, bytes: usize) -> String {
    format!("HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {bytes}\r\n\r\n")
}

/// Closes a connection with a TCP reset.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}
