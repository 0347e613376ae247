//! Events: what API Gateway sends to the receiver and SQS to the processor, around a body that Xendit sends.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

/// The callback token in the bench's requests.
pub const TOKEN: &str = "the-callback-token-of-the-bench-0123456789";

/// The size of a usual body.
const BODY_BYTES: usize = 1_400;

/// Bodies to send.
pub struct Events {
    /// An e-wallet payment of 1.0 KB, to be padded.
    template: String,
    /// The same in the usual size.
    capture: String,
    /// The same payment, voided.
    void: String,
    /// Other kinds of subjects, each with the bodies of two phases.
    others: Vec<(&'static str, String, String)>,
}

/// Which webhook about a subject it is.
#[derive(Clone, Copy)]
enum Phase {
    First,
    Second,
}

impl Events {
    /// Reads the bodies that come with the project.
    pub fn read(project: &Path) -> Result<Self> {
        let read = |name: &str| fs::read_to_string(project.join("events/webhooks").join(name));
        let template = serde_json::from_str::<Value>(&read("ewallet.capture.json")?)?.to_string();
        let paid = read("invoice.paid.json")?;
        let settled = paid.replace(r#""PAID""#, r#""SETTLED""#);
        Ok(Self {
            void: padded(&same_payment(&read("ewallet.void.json")?, &template), BODY_BYTES),
            capture: padded(&template, BODY_BYTES),
            template,
            others: vec![
                ("invoice", paid, settled),
                ("payout", read("payout.succeeded.json")?, read("payout.reversed.json")?),
            ],
        })
    }

    /// A request with the right token.
    pub fn request(&self) -> String {
        request(&self.capture, TOKEN)
    }

    /// The same about a payment of its own.
    pub fn request_about(&self, id: u64) -> String {
        request(&about(&self.capture, id), TOKEN)
    }

    /// A request with a wrong token.
    pub fn forged_request(&self) -> String {
        request(&self.capture, &TOKEN.to_uppercase())
    }

    /// A request whose body has about this many bytes.
    pub fn request_of(&self, bytes: usize) -> String {
        request(&padded(&self.template, bytes), TOKEN)
    }

    /// A batch of payments, one message for each id.
    pub fn payments(&self, ids: impl Iterator<Item = u64>) -> String {
        batch("ewallet", &self.capture, Phase::First, ids)
    }

    /// A batch of the same payments, voided.
    pub fn voids(&self, ids: impl Iterator<Item = u64>) -> String {
        batch("ewallet", &self.void, Phase::Second, ids)
    }

    /// Two batches for each of the other kinds: the first phase of some subjects, and the second.
    pub fn others(
        &self,
        ids: impl Iterator<Item = u64> + Clone,
    ) -> impl Iterator<Item = (&'static str, String, String)> {
        self.others.iter().map(move |(kind, first, second)| {
            (*kind, batch(kind, first, Phase::First, ids.clone()), batch(kind, second, Phase::Second, ids.clone()))
        })
    }

    /// A batch of one payment whose body has about this many bytes.
    pub fn payment_of(&self, bytes: usize, id: u64) -> String {
        batch("ewallet", &padded(&self.template, bytes), Phase::First, std::iter::once(id))
    }
}

/// Makes a webhook about an e-wallet payment one about another payment.
fn same_payment(body: &str, other: &str) -> String {
    let [mut webhook, other] = [body, other].map(|body| serde_json::from_str::<Value>(body).unwrap_or_default());
    for field in ["id", "reference_id", "channel_code", "charge_amount", "capture_amount", "metadata"] {
        webhook["data"][field] = other["data"][field].clone();
    }
    webhook.to_string()
}

/// The body with its metadata made longer, as a merchant may.
fn padded(body: &str, bytes: usize) -> String {
    let note = "x".repeat(bytes.saturating_sub(body.len()));
    body.replacen("senayan_372", &format!("senayan_372{note}"), 1)
}

/// API Gateway's payload 2.0.
fn request(body: &str, token: &str) -> String {
    json!({
        "version": "2.0",
        "routeKey": "POST /webhook/{topic}",
        "rawPath": "/webhook/ewallet",
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "content-length": body.len().to_string(),
            "content-type": "application/json",
            "host": "abcdefghij.execute-api.ap-southeast-1.amazonaws.com",
            "user-agent": "axios/1.7.2",
            "webhook-id": "b0c5f5a2-4c0e-4f4e-9a57-1c2f4c6f4b57",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-callback-token": token,
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "pathParameters": { "topic": "ewallet" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.ap-southeast-1.amazonaws.com",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "POST",
                "path": "/webhook/ewallet",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "axios/1.7.2",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /webhook/{topic}",
            "stage": "$default",
            "time": "21/Oct/2020:13:59:14 +0000",
            "timeEpoch": 1_603_288_754_536_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
    .to_string()
}

/// What Lambda's poller sends: the messages about subjects with these ids.
fn batch(topic: &str, body: &str, phase: Phase, ids: impl Iterator<Item = u64>) -> String {
    let message = |id| record(&envelope(topic, &about(body, id), phase, id), id);
    json!({ "Records": ids.map(message).collect::<Vec<_>>() }).to_string()
}

/// What Lambda's poller sends: one message, as it is in the queue.
pub fn batch_of(message: &str, id: u64) -> String {
    json!({ "Records": [record(message, id)] }).to_string()
}

/// A body about a subject of its own.
fn about(body: &str, id: u64) -> String {
    let mut webhook: Value = serde_json::from_str(body).unwrap_or_default();
    let subject = if webhook["data"].is_object() { &mut webhook["data"] } else { &mut webhook };
    let mut name = subject["id"].as_str().unwrap_or_default().to_owned();
    name.truncate(name.len().saturating_sub(12));
    subject["id"] = json!(format!("{name}{id:012}"));
    let reference = if subject["external_id"].is_string() { "external_id" } else { "reference_id" };
    subject[reference] = json!(format!("order-{id:012}"));
    webhook.to_string()
}

/// The receiver's message for a body.
fn envelope(topic: &str, body: &str, phase: Phase, id: u64) -> String {
    json!({
        "v": 1,
        "id": format!("8476a536-e9f4-11e8-973{}-{id:012}", phase as u8),
        "received_at": "2026-01-02T03:04:05.678Z",
        "environment": "test",
        "token": "test",
        "topic": topic,
        "webhook_id": "b0c5f5a2-4c0e-4f4e-9a57-1c2f4c6f4b57",
        "content_type": "application/json",
        "body": body,
    })
    .to_string()
}

fn record(message: &str, id: u64) -> Value {
    json!({
        "messageId": format!("059f36b4-87a3-44ab-83d2-{id:012}"),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": message,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1603288754536",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1603288754549",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:ap-southeast-1:123456789012:webhooks",
        "awsRegion": "ap-southeast-1",
    })
}
