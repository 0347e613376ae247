//! Stub: a server that answers as it is told, or stands between a function and AWS.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a stub does with a connection.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It reads the request and never answers.
    Never,
    /// It reads the request and resets the connection.
    Reset,
    /// It answers with a status and a body.
    With(u16, String),
    /// It answers with a status and a body, and closes the connection.
    Once(u16, String),
    /// It answers, and resets the connection when the next request comes over it.
    ThenReset(String),
    /// It lets the server at this endpoint answer.
    Through(String),
    /// The server at this endpoint does what it is asked, and its answer is lost.
    Lost(String),
}

/// How a stub chooses.
#[derive(Clone)]
enum Choice {
    /// One reply for each connection, in this order, and further ones the last again.
    InOrder(Arc<[Reply]>),
    /// One for SQS and one for S3.
    ByService { queue: Reply, inbox: Reply },
}

/// A server that answers as it is told.
pub struct Stub {
    /// Where it listens.
    pub endpoint: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Stub {
    /// Starts a server: each connection gets the next reply, and further ones the last again.
    pub async fn start(replies: Vec<Reply>) -> Self {
        Self::choosing(Choice::InOrder(replies.into())).await
    }

    /// Starts a server that stands for both stores of the receiver, which has one endpoint for all of AWS.
    pub async fn in_front_of(queue: Reply, inbox: Reply) -> Self {
        Self::choosing(Choice::ByService { queue, inbox }).await
    }

    async fn choosing(choice: Choice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, choice.clone(), index));
            }
        });
        Self { endpoint, connections, task }
    }

    /// How many connections there have been.
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
    fn reply(&self, connection: usize, request: &Message) -> &Reply {
        match self {
            Self::InOrder(replies) => &replies[connection.min(replies.len() - 1)],
            // S3's requests are the only ones with a path.
            Self::ByService { queue, .. } if request.path() == "/" => queue,
            Self::ByService { inbox, .. } => inbox,
        }
    }
}

async fn serve(mut stream: TcpStream, choice: Choice, connection: usize) {
    while let Some(request) = Message::read(&mut stream).await {
        match choice.reply(connection, &request) {
            Reply::Never => std::future::pending().await,
            Reply::Reset => return reset(stream),
            Reply::With(status, body) => answer(&mut stream, *status, body).await,
            Reply::Once(status, body) => return answer(&mut stream, *status, body).await,
            Reply::ThenReset(body) => {
                answer(&mut stream, 200, body).await;
                Message::read(&mut stream).await;
                return reset(stream);
            }
            Reply::Through(endpoint) => {
                let Some(answer) = ask(endpoint, &request).await else { return reset(stream) };
                let _ = stream.write_all(&answer.bytes).await;
            }
            Reply::Lost(endpoint) => {
                ask(endpoint, &request).await;
                return reset(stream);
            }
        }
    }
}

/// Sends a request to another server. `None`: it did not answer.
async fn ask(endpoint: &str, request: &Message) -> Option<Message> {
    let mut server = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.ok()?;
    server.write_all(&request.bytes).await.ok()?;
    Message::read(&mut server).await
}

/// A request or an answer, as it came.
pub(crate) struct Message {
    bytes: Vec<u8>,
    body: usize,
}

impl Message {
    /// Reads one. `None`: the connection has ended.
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

    /// The path of a request.
    pub(crate) fn path(&self) -> &str {
        let line = self.bytes.split(|byte| *byte == b'\r').next().unwrap();
        std::str::from_utf8(line).unwrap().split(' ').nth(1).unwrap()
    }

    /// The body, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[self.body..]).into_owned()
    }
}

/// Answers a request.
pub(crate) async fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Closes a connection so that the other side gets a reset and not an end.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}
