//! `smoke`: sends a canary through a stack, and tells how long each hop took, or which hop failed and what to look at.
//!
//! ```text
//! canary ─▶ POST ─▶ answer ─▶ ledger, or else: dead-letter queue, webhook queue
//! ```
//!
//! **Invariant:** it takes no token as an argument and shows none. What it sends publishes nothing, and leaves one item in the
//! ledger, however often it is sent (`shared::canary`).

use std::{
    env, fmt, io,
    net::ToSocketAddrs as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ledger::{dynamo::DynamoLedger, item::Item, key::Key, store::Ledger as _};
use receiver::verify::{Digest, TOKEN_HEADER};
use serde::{Deserialize, Serialize};
use shared::{canary, envelope::Environment, observation::Observation, webhook::Webhook};
use tokio::time::sleep;

use crate::{
    dlq::DeadLetters,
    duration, failed, queue,
    stack::{Stack, StackOption},
    token,
};

/// The format of the JSON output.
const VERSION: u32 = 1;

/// How often to look into the ledger.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often to look into the dead-letter queue: a look hides its messages for a moment.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Xendit's own timeout for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many digits of a digest are shown: enough to tell two apart.
const SHORT_DIGEST: usize = 8;

const FAILED: u8 = 1;
const NO_ACCESS: u8 = 3;

const HELP: &str = "\
The canary is a webhook that Xendit never sends. No domain event is published about it, and all canaries together are one item in
the ledger, which `xendit-hooks payment xendit-hooks` shows. The callback token is read from XENDIT_CALLBACK_TOKEN, or you are asked for it;
a local stack knows its own.
Exit codes: 0 it arrived; 1 a hop failed; 2 a wrong option; 3 the stack or its ledger cannot be read, or there is no token.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// How long to wait until the canary is in the ledger, such as `30s` or `5m`.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// What was seen.
#[derive(Debug, Default, Serialize)]
struct Report {
    version: u32,
    stack: String,
    url: String,
    passed: bool,
    status: Option<u16>,
    delivery: Option<String>,
    /// From the start of the request to the end of the answer.
    answer_ms: Option<u128>,
    /// From the answer to the ledger.
    ledger_ms: Option<u128>,
    key: Option<String>,
    failure: Option<Failure>,
}

/// Why the canary did not arrive.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Failure {
    hop: Hop,
    reason: String,
    /// What to look at, or to do.
    advice: String,
}

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Hop {
    /// From here to API Gateway.
    Connection,
    /// API Gateway and the receiver.
    Answer,
    /// The queue, the processor and the ledger.
    Ledger,
}

/// The answer to the canary.
struct Answer {
    status: u16,
    text: String,
}

/// Where a canary can be after it was accepted.
struct Probe {
    ledger: DynamoLedger,
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
    dead_letters: DeadLetters,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match runtime.block_on(smoke(options)) {
        Ok(report) => report,
        Err(error) => return Ok(failed(&error, ExitCode::from(NO_ACCESS))),
    };
    if options.json {
        anstream::println!("{}", serde_json::to_string(&report)?);
    } else {
        anstream::print!("{report}");
    }
    Ok(match &report.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => failed(&anyhow!("{}; {}", failure.reason, failure.advice), ExitCode::from(FAILED)),
    })
}

/// An error: nothing was sent.
async fn smoke(options: &Options) -> Result<Report> {
    let stack = options.stack.find().await?;
    let token = match stack.token.clone().or_else(|| env::var(token::VARIABLE).ok()) {
        Some(token) => token,
        None => token::read()?,
    };
    let token = token.trim();
    ensure!(!token.is_empty(), "there is no callback token; put it into {}", token::VARIABLE);
    let probe = Probe::of(&stack).await;
    let before = probe.find(&canary::body(Timestamp::now())).await.context("cannot read the ledger")?;
    // A canary from a machine whose clock is ahead would make this one older news.
    let newest = before.and_then(|(item, _)| item.state.occurred_at);
    let next = newest.and_then(|newest| newest.checked_add(SignedDuration::from_micros(1)).ok());
    let body = canary::body(next.into_iter().chain([Timestamp::now()]).max().unwrap_or_default());

    let accepted = stack.deployed.as_ref().and_then(|deployed| deployed.parameters.get("CallbackTokens"));
    let url = stack.topic_url.replace("{topic}", canary::TOPIC);
    let mut report = Report { version: VERSION, stack: options.stack.name().to_owned(), url, ..Report::default() };
    report.failure = report.send(&body, token, accepted.map(String::as_str), &probe, options.timeout).await.err();
    report.passed = report.failure.is_none();
    Ok(report)
}

impl Report {
    /// Sends a canary, and writes down how far it gets.
    async fn send(
        &mut self,
        body: &str,
        token: &str,
        accepted: Option<&str>,
        probe: &Probe,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let answer = post(&self.url, token, body).map_err(|error| unreachable(&self.url, &error))?;
        self.status = Some(answer.status);
        self.answer_ms = Some(start.elapsed().as_millis());
        let delivery = answer.delivery().ok_or_else(|| answer.why_refused(token, accepted))?;
        self.delivery = Some(delivery.clone());
        let answered = Instant::now();
        self.key = Some(probe.wait(body, &delivery, timeout).await?.as_str().to_owned());
        self.ledger_ms = Some(answered.elapsed().as_millis());
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Canary to {}", self.url)?;
        if let (Some(status), Some(ms)) = (self.status, self.answer_ms) {
            writeln!(f, "  answered    {status} after {ms} ms")?;
        }
        if let Some(delivery) = &self.delivery {
            writeln!(f, "  delivery    {delivery}")?;
        }
        if let (Some(key), Some(ms)) = (&self.key, self.ledger_ms) {
            writeln!(f, "  in ledger   {ms} ms later, as {key}\n  published   nothing, as it should be")?;
        }
        Ok(())
    }
}

// --- The answer ---

fn post(url: &str, token: &str, body: &str) -> Result<Answer, ureq::Error> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build();
    let request = ureq::Agent::new_with_config(config).post(url).header(TOKEN_HEADER, token);
    let mut response = request.header("content-type", "application/json").send(body)?;
    Ok(Answer { status: response.status().as_u16(), text: response.body_mut().read_to_string()? })
}

/// Why there was no answer.
fn unreachable(url: &str, error: &ureq::Error) -> Failure {
    let (what, advice) = match error {
        // Not every resolver's failure is a HostNotFound.
        _ if !is_in_dns(url) => (
            "its name was not found".to_owned(),
            "with a domain name of your own, its DNS record must lead to the output DomainTarget",
        ),
        // rustls reports a bad certificate as invalid data.
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => (format!("no TLS connection: {error}"), CHECK_CERTIFICATE),
        ureq::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            (format!("no TLS connection: {source}"), CHECK_CERTIFICATE)
        }
        ureq::Error::Timeout(_) => (
            format!("no answer within {} s", TIMEOUT.as_secs()),
            "API Gateway answers within 15 s, so look for a proxy or a firewall in between",
        ),
        error => (error.to_string(), "check the network from here, and that the stack is running"),
    };
    Failure { hop: Hop::Connection, reason: format!("cannot reach {url}: {what}"), advice: advice.to_owned() }
}

fn is_in_dns(url: &str) -> bool {
    let host = url.parse::<ureq::http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| (host, 443).to_socket_addrs().is_ok())
}

const CHECK_CERTIFICATE: &str = "with a domain name of your own, check CertificateArn and the DNS record; a proxy in between may \
                                 have a certificate of its own";

impl Answer {
    /// The delivery id. `None`: the canary was not accepted.
    fn delivery(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Acknowledged {
            id: String,
        }

        let acknowledged = serde_json::from_str::<Acknowledged>(&self.text).ok();
        acknowledged.filter(|_| self.status == 200).map(|Acknowledged { id }| id)
    }

    fn why_refused(&self, token: &str, accepted: Option<&str>) -> Failure {
        // The receiver answers without a text, API Gateway with one.
        let by_receiver = self.text.is_empty();
        let (reason, advice) = match self.status {
            401 => return wrong_token(token, accepted),
            403 | 404 => (
                "API Gateway has no such path",
                "the URL must be the output WebhookTopicUrl; a domain name must be mapped to this stack's API",
            ),
            429 => (
                "API Gateway throttles the requests",
                "try again; if it lasts, compare the requests per second with the parameters ThrottleRate and ThrottleBurst",
            ),
            503 if by_receiver => (
                "the receiver could store it neither in the queue nor in the inbox",
                "its log has both reasons: docs/runbooks/server-errors.md",
            ),
            500..=599 => (
                "the receiver failed, or was not started",
                "its log says why: docs/runbooks/receiver-errors.md and receiver-throttles.md",
            ),
            _ => ("this is no answer of the receiver", "check that the URL is that of the stack"),
        };
        Failure { hop: Hop::Answer, reason: format!("{}: {reason}", self.status), advice: advice.to_owned() }
    }
}

/// `accepted`: label=digest pairs.
fn wrong_token(token: &str, accepted: Option<&str>) -> Failure {
    let digest = Digest::of(token.as_bytes()).to_string();
    let pairs: Vec<_> =
        accepted.into_iter().flat_map(|pairs| pairs.split(',')).filter_map(|it| it.split_once('=')).collect();
    let short = |digest: &str| digest.chars().take(SHORT_DIGEST).chain(['…']).collect::<String>();
    let labels =
        pairs.iter().map(|(label, digest)| format!("{label}={}", short(digest))).collect::<Vec<_>>().join(", ");
    let advice = match pairs.iter().find(|(_, accepted)| *accepted == digest) {
        Some((label, _)) => format!(
            "it is that of the label `{label}`, so that the last deployment is not complete, or the URL leads to another stack"
        ),
        None if labels.is_empty() => format!("its digest begins with {}", short(&digest)),
        None => format!(
            "its digest is {}, and the stack accepts {labels}; test and live have one token each, and `make deploy … DIGEST=` \
             accepts a new one",
            short(&digest)
        ),
    };
    Failure { hop: Hop::Answer, reason: "401: the receiver does not accept the token".to_owned(), advice }
}

// --- The ledger ---

impl Probe {
    async fn of(stack: &Stack) -> Self {
        let aws = stack.aws().await;
        Self {
            ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::new(&aws), stack.table.clone()),
            sqs: aws_sdk_sqs::Client::new(&aws),
            queue_url: stack.queue_url.clone(),
            dead_letters: DeadLetters::new(&aws, stack.dlq_url.clone()),
        }
    }

    /// The item of all canaries, and what a canary says. `None`: this is the first one.
    async fn find(&self, body: &str) -> Result<Option<(Item, Observation)>> {
        let seen = Webhook::parse(body.as_bytes(), None)?.observe();
        for environment in [Environment::Test, Environment::Live] {
            if let Some(item) = self.ledger.get(&Key::of(environment, &seen)).await? {
                return Ok(Some((item, seen)));
            }
        }
        Ok(None)
    }

    /// Waits until a canary is in the ledger.
    async fn wait(&self, body: &str, delivery: &str, timeout: Duration) -> Result<Key, Failure> {
        let start = Instant::now();
        let mut looked = start;
        loop {
            let found = self.find(body).await.map_err(|error| Failure {
                hop: Hop::Ledger,
                reason: format!("the canary was accepted, and then the ledger could not be read: {error:#}"),
                advice: "check your permissions".to_owned(),
            })?;
            if let Some((item, _)) = found.filter(|(item, seen)| has_arrived(item, delivery, seen)) {
                return Ok(item.key);
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() || looked.elapsed() > LOOK_INTERVAL {
                looked = Instant::now();
                match self.dead_letters.reason(delivery).await {
                    Ok(Some(reason)) => return Err(parked(&reason)),
                    Ok(None) if left.is_zero() => return Err(self.not_applied(timeout, "").await),
                    Err(error) if left.is_zero() => {
                        let note = format!(" (the dead-letter queue cannot be read: {error:#})");
                        return Err(self.not_applied(timeout, &note).await);
                    }
                    _ => {}
                }
            }
            sleep(left.min(INTERVAL)).await;
        }
    }

    /// Where a canary is that is in neither the ledger nor the dead-letter queue.
    async fn not_applied(&self, timeout: Duration, note: &str) -> Failure {
        let advice = match queue::counts(&self.sqs, &self.queue_url).await {
            Ok([0, 0, _]) => {
                "the webhook queue is empty: it may be in the inbox, if SQS failed (docs/runbooks/inbox.md), or the URL leads to \
                 another stack"
            }
            Ok([_, 0, _]) => "nothing reads the webhook queue: docs/runbooks/queue-age.md",
            Ok(_) => {
                "the processor is at work on the webhook queue, or failed: docs/runbooks/retries.md and processor-errors.md"
            }
            Err(_) => "docs/runbooks/queue-age.md and retries.md say what to look at",
        };
        let seconds = timeout.as_secs();
        Failure {
            hop: Hop::Ledger,
            reason: format!("the canary was accepted, and is not in the ledger after {seconds} s{note}"),
            advice: advice.to_owned(),
        }
    }
}

/// Whether the ledger has the canary of a delivery, or a newer one that overtook it.
fn has_arrived(item: &Item, delivery: &str, seen: &Observation) -> bool {
    item.history.iter().any(|entry| entry.delivery == delivery) || item.state.mark > seen.mark
}

fn parked(reason: &str) -> Failure {
    Failure {
        hop: Hop::Ledger,
        reason: format!("the canary is in the dead-letter queue: {reason}"),
        advice: "remove the cause: docs/runbooks/parked.md".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Nothing listens there any more.
    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn failure(url: &str) -> Failure {
        unreachable(url, &post(url, "token", "{}").err().unwrap())
    }

    #[test]
    fn a_name_that_is_not_found_a_closed_port_and_a_server_without_tls_are_told_apart() {
        let unknown = failure("https://webhooks.invalid/webhook");
        assert!(
            unknown.reason.contains("its name was not found") && unknown.advice.contains("DomainTarget"),
            "{unknown:?}"
        );
        let closed = failure(&format!("http://127.0.0.1:{}/webhook", free_port()));
        assert!(closed.reason.contains("refused") && closed.advice.contains("the network"), "{closed:?}");

        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/webhook", server.local_addr().unwrap());
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut client, _) = server.accept().unwrap();
            let _ = client.read(&mut [0; 1024]);
            client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let plain = failure(&url);
        assert!(plain.reason.contains("no TLS connection") && plain.advice.contains("CertificateArn"), "{plain:?}");
        for failure in [unknown, closed, plain] {
            assert_eq!(failure.hop, Hop::Connection);
        }
    }

    #[test]
    fn a_401_says_which_labels_are_deployed_and_shows_no_token() {
        let (token, other) = ("0123456789abcdef", Digest::of(b"another token"));
        let digest = Digest::of(token.as_bytes()).to_string();
        let refused = |accepted: Option<&str>| wrong_token(token, accepted).advice;
        let wrong = refused(Some(&format!("live={other},live-old={other}")));
        let (ours, theirs) = (&digest[..8], &other.to_string()[..8]);
        assert!(
            wrong.contains(&format!("its digest is {ours}…, and the stack accepts live={theirs}…, live-old=")),
            "{wrong}"
        );
        let known = refused(Some(&format!("live={other},next={digest}")));
        assert!(known.contains("the label `next`"), "{known}");
        for told in [wrong, known, refused(None)] {
            assert!(!told.contains(token) && !told.contains(&digest), "{told}");
        }
    }

    #[test]
    fn each_answer_says_who_refused_and_what_to_look_at() {
        let told = |status, text: &str| {
            let answer = Answer { status, text: text.to_owned() };
            assert_eq!(answer.delivery(), None);
            let Failure { hop, reason, advice } = answer.why_refused("token", None);
            assert_eq!(hop, Hop::Answer);
            format!("{reason}; {advice}")
        };
        for (status, text, expected) in [
            (429, r#"{"message":"Too Many Requests"}"#, "ThrottleRate"),
            (503, "", "neither in the queue nor in the inbox"),
            (503, r#"{"message":"Service Unavailable"}"#, "receiver-throttles.md"),
            (500, r#"{"message":"Internal Server Error"}"#, "receiver-errors.md"),
            (403, r#"{"message":"Forbidden"}"#, "WebhookTopicUrl"),
            (404, r#"{"message":"Not Found"}"#, "WebhookTopicUrl"),
            (200, "<html>", "no answer of the receiver"),
            (302, "", "no answer of the receiver"),
        ] {
            let told = told(status, text);
            assert!(told.starts_with(&status.to_string()) && told.contains(expected), "{told}");
        }
        let accepted = Answer { status: 200, text: r#"{"id":"d-1"}"#.to_owned() };
        assert_eq!(accepted.delivery().as_deref(), Some("d-1"));
    }
}
