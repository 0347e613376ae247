//! Events: what API Gateway hands to the receiver and SQS to the processor, around a body that Xendit sends.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

/// The callback token that the bench's requests carry.
pub const TOKEN: &str = "the-callback-token-of-the-bench-0123456789";

/// Bodies to send.
pub struct Events {
    /// An e-wallet payment, 1.2 KB.
    capture: String,
    /// The same payment, voided: a later stage of it.
    void: String,
}

impl Events {
    /// Reads the bodies that come with the project.
    pub fn read(project: &Path) -> Result<Self> {
        let read = |name: &str| fs::read_to_string(project.join("events/webhooks").join(name));
        Ok(Self { capture: read("ewallet.capture.json")?, void: read("ewallet.void.json")? })
    }

    /// A request with the right token.
    pub fn request(&self) -> String {
        request(&self.capture, TOKEN)
    }

    /// A request with a wrong one.
    pub fn forged_request(&self) -> String {
        request(&self.capture, &TOKEN.to_uppercase())
    }

    /// A request whose body has about this many bytes.
    pub fn request_of(&self, bytes: usize) -> String {
        request(&padded(&self.capture, bytes), TOKEN)
    }

    /// A batch of payments, one message for each id.
    pub fn payments(&self, ids: impl Iterator<Item = u64>) -> String {
        batch(&self.capture, ids)
    }

    /// A batch of payments that were voided.
    pub fn voids(&self, ids: impl Iterator<Item = u64>) -> String {
        batch(&self.void, ids)
    }

    /// A batch of one payment whose body has about this many bytes.
    pub fn payment_of(&self, bytes: usize, id: u64) -> String {
        batch(&padded(&self.capture, bytes), std::iter::once(id))
    }
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

/// What Lambda's poller hands over.
fn batch(body: &str, ids: impl Iterator<Item = u64>) -> String {
    json!({ "Records": ids.map(|id| record(body, id)).collect::<Vec<_>>() }).to_string()
}

/// One message: an envelope, as the receiver seals it, around a payment of its own.
fn record(body: &str, id: u64) -> Value {
    let mut payment: Value = serde_json::from_str(body).unwrap_or_default();
    payment["data"]["id"] = json!(format!("ewc_95d47d3a-db03-4b4b-9b6c-{id:012}"));
    // One payment, whichever of its stages the body tells of.
    payment["data"]["reference_id"] = json!(format!("order-{id}"));
    payment["data"]["channel_code"] = json!("ID_DANA");
    payment["data"]["charge_amount"] = json!(35000);
    payment["data"]["capture_amount"] = json!(35000);
    let envelope = json!({
        "v": 1,
        "id": format!("8476a536-e9f4-11e8-9739-{id:012}"),
        "received_at": "2026-01-02T03:04:05.678Z",
        "environment": "test",
        "token": "test",
        "topic": "ewallet",
        "webhook_id": "b0c5f5a2-4c0e-4f4e-9a57-1c2f4c6f4b57",
        "content_type": "application/json",
        "body": payment.to_string(),
    });
    json!({
        "messageId": format!("059f36b4-87a3-44ab-83d2-{id:012}"),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": envelope.to_string(),
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
