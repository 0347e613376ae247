//! Meter: measures a run as CloudWatch does. Each value has a time, a metric and the template's name of the resource.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::aws::Sqs;

// The defaults of ThrottleRate and ThrottleBurst in the template.
const REQUESTS_PER_SECOND: i64 = 100;
const BURST: i64 = 500;

/// One request in the units of the limit. A millisecond allows `REQUESTS_PER_SECOND` units.
const UNITS: i64 = 1_000;

/// SQS leaves out messages that were received more often when it says how old the oldest is.
const RECEIVES_OF_AN_AGE: u32 = 3;

/// What was measured, and API Gateway's access log.
pub(super) struct Meter {
    points: Vec<Value>,
    access_log: Vec<Value>,
    /// How much API Gateway accepted at this time, in units.
    allowed: i64,
    allowed_at: Timestamp,
}

impl Meter {
    /// Starts at a time.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { points: Vec::new(), access_log: Vec::new(), allowed: BURST * UNITS, allowed_at: now }
    }

    /// Measures a value.
    pub(super) fn measure(&mut self, now: Timestamp, metric: &str, resource: &str, value: i64) {
        self.points.push(json!([now.as_second(), metric, resource, value]));
    }

    /// Whether API Gateway refuses the next request.
    pub(super) fn throttles(&mut self, now: Timestamp) -> bool {
        let passed = millis(now.duration_since(self.allowed_at));
        (self.allowed, self.allowed_at) = ((self.allowed + passed * REQUESTS_PER_SECOND).min(BURST * UNITS), now);
        let refused = self.allowed < UNITS;
        if !refused {
            self.allowed -= UNITS;
        }
        refused
    }

    /// API Gateway has answered a request.
    pub(super) fn answered(&mut self, now: Timestamp, status: u16, took: SignedDuration) {
        self.measure(now, "Count", "WebhookApi", 1);
        self.measure(now, "5xx", "WebhookApi", i64::from(status >= 500));
        self.measure(now, "Latency", "WebhookApi", millis(took));
        let line = json!({ "timestamp": now, "route": "POST /webhook", "status": status.to_string() });
        self.access_log.push(line);
    }

    /// Measures both queues, as SQS does each minute.
    pub(super) fn sample(&mut self, now: Timestamp, sqs: &Sqs) {
        self.measure(now, "NumberOfMessagesSent", "WebhookQueue", 0);
        for (queue, messages) in [("WebhookQueue", &sqs.messages), ("DeadLetterQueue", &sqs.dead_letters)] {
            let hidden = messages.iter().filter(|message| message.visible_at > now).count();
            let counts = [
                ("ApproximateNumberOfMessagesVisible", messages.len() - hidden),
                ("ApproximateNumberOfMessagesNotVisible", hidden),
            ];
            for (metric, count) in counts {
                self.measure(now, metric, queue, i64::try_from(count).unwrap());
            }
            let young = messages.iter().filter(|message| message.receives <= RECEIVES_OF_AN_AGE);
            let age = young.map(|message| now.duration_since(message.sent_at)).max().unwrap_or_default();
            self.measure(now, "ApproximateAgeOfOldestMessage", queue, age.as_secs());
        }
    }

    /// What was measured, and the access log.
    pub(super) fn take(&mut self) -> (Vec<Value>, Vec<Value>) {
        (std::mem::take(&mut self.points), std::mem::take(&mut self.access_log))
    }
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}
