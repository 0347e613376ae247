//! HTTP: the part of HTTP/1.1 that a stub needs. One thread per connection, requests with a length, keep-alive.
//!
//! It is the same for all subjects, and runs in another process than they do.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};

use anyhow::{Context, Result, bail, ensure};

/// A complete request.
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A complete answer.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers requests until the client closes the connection. A process that is killed resets it, which is not an error
/// here.
pub fn serve(stream: impl Read + Write, mut answer: impl FnMut(Request) -> Response) -> Result<()> {
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    while let Some(request) = read(&mut stream)? {
        let response = answer(request);
        if write(stream.get_mut(), &response).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn read(stream: &mut BufReader<impl Read>) -> Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_until(b'\n', &mut head) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if hung_up(error.kind()) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    ensure!(parsed.parse(&head)?.is_complete(), "a request's head is cut off");
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let mut request = Request {
        method: parsed.method.context("no method")?.to_owned(),
        path: parsed.path.context("no path")?.to_owned(),
        headers,
        body: Vec::new(),
    };
    if request.header("transfer-encoding").is_some() {
        bail!("a request without a length: no subject should send one");
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse)?;
    request.body.resize(length, 0);
    match stream.read_exact(&mut request.body) {
        Ok(()) => Ok(Some(request)),
        Err(error) if hung_up(error.kind()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn hung_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

fn write(stream: &mut impl Write, response: &Response) -> Result<()> {
    let mut bytes = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", response.status, response.body.len());
    for (name, value) in &response.headers {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend(&response.body);
    stream.write_all(&bytes)?;
    stream.flush()?;
    Ok(())
}
