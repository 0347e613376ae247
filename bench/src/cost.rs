//! Cost: dollars for a million webhooks, from what was measured and a dated list of prices.
//!
//! Duration is what Lambda bills: the CPU time measured here, stretched to the share of a core that the memory buys,
//! and the calls one after the other at an assumed time each. Everything assumed is in `prices.json`, beside the prices.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::measure::Figures;

/// Lambda gives one core at this much memory, and in proportion below it.
const MB_PER_CORE: f64 = 1_769.0;

/// CloudWatch counts this much beside each line.
const LOG_OVERHEAD_BYTES: f64 = 26.0;

struct Prices(BTreeMap<String, Value>);

impl Prices {
    fn of(&self, name: &str) -> Result<f64> {
        self.0.get(name).and_then(Value::as_f64).with_context(|| format!("prices.json has no {name}"))
    }

    fn text(&self, name: &str) -> Result<&str> {
        self.0.get(name).and_then(Value::as_str).with_context(|| format!("prices.json has no {name}"))
    }
}

/// One way to receive webhooks, with what each part of it costs for a million.
struct Way {
    name: &'static str,
    parts: Vec<(&'static str, f64)>,
}

impl Way {
    fn total(&self) -> f64 {
        self.parts.iter().map(|(_, dollars)| dollars).sum()
    }
}

/// The document.
pub fn render(figures: &Figures, prices: &Path) -> Result<String> {
    let prices = Prices(serde_json::from_str(&fs::read_to_string(prices)?)?);
    let ways = ways(figures, &prices)?;
    let mut text = format!(
        "# What a million webhooks cost\n\n\
         Made by `make cost` from `bench/results.json` (`make bench`) and `bench/prices.json`; do not edit.\n\n\
         Prices of {}: {}\n\n\
         Assumed: {} ms for a call to AWS, batches of {}, {} million webhooks a month where a cost is by the \
         hour. Every webhook is fresh and alone in its batch: {} calls, of which two are writes of an item.\n",
        prices.text("date")?,
        prices.text("about")?,
        prices.of("assumed_call_ms")?,
        prices.of("assumed_batch")?,
        prices.of("assumed_millions_per_month")?,
        figures.median("calls fresh and alone", "processor")?,
    );
    text.push_str("\n| way | dollars per million |\n|---|--:|\n");
    for way in &ways {
        text += &format!("| {} | {:.2} |\n", way.name, way.total());
    }
    for way in &ways {
        text += &format!("\n## {}\n\n| part | dollars per million |\n|---|--:|\n", way.name);
        for (part, dollars) in &way.parts {
            text += &format!("| {part} | {dollars:.2} |\n");
        }
    }
    Ok(text)
}

fn ways(figures: &Figures, prices: &Prices) -> Result<Vec<Way>> {
    let (call_ms, batch) = (prices.of("assumed_call_ms")?, prices.of("assumed_batch")?);
    // CPU in µs, calls made one after the other, and memory in MB, to dollars for a million.
    let lambda = |cpu_us: f64, calls: f64, mb: f64| -> Result<f64> {
        let ms = cpu_us / 1e3 * (MB_PER_CORE / mb).max(1.0) + calls * call_ms;
        // Lambda bills whole milliseconds; a million of them are a thousand seconds.
        Ok(ms.ceil() * 1e3 * mb / 1_024.0 * prices.of("lambda_gb_second")?)
    };
    let log = |of: &str| -> Result<f64> {
        Ok((figures.median("log bytes per webhook", of)? + LOG_OVERHEAD_BYTES) * 1e6 / 1e9 * prices.of("logs_gb")?)
    };
    let invocation = prices.of("lambda_request_per_million")?;
    let http_api = prices.of("http_api_per_million")?;
    let sqs = prices.of("sqs_request_per_million")?;
    // Sent by the receiver; received and deleted by Lambda's poller, a batch at a time.
    let queue = sqs * (1.0 + 2.0 / batch);
    let bus = prices.of("eventbridge_event_per_million")?;
    let write = prices.of("dynamodb_write_unit_per_million")?;
    // A write is billed by the KB of the larger of the item before and after, and the second write takes the event out of
    // the item that the first has written. The index has an entry of its own, written once.
    let item_kb = (figures.median("bytes of an item fresh", "processor")? / 1_024.0).ceil();
    let our_writes = write * (2.0 * item_kb + 1.0);

    let (receiver_mb, processor_mb) = (prices.of("receiver_mb")?, prices.of("processor_mb")?);
    let calls = figures.median("calls fresh and alone", "processor")?;
    let front = |cpu: &str, mb: f64| lambda(figures.median("warm cpu µs", cpu)?, 1.0, mb);
    let back = |of: &str, mb: f64| lambda(figures.median("cpu µs per message at 1", of)?, calls, mb);
    let ours_back = back("processor", processor_mb)?;

    let ours = Way {
        name: "Xendit Hooks",
        parts: vec![
            ("API Gateway, HTTP API", http_api),
            ("Lambda, receiver: invocations", invocation),
            ("Lambda, receiver: duration", front("receiver", receiver_mb)?),
            ("SQS", queue),
            ("Lambda, processor: invocations", invocation / batch),
            ("Lambda, processor: duration", ours_back),
            ("DynamoDB, writes", our_writes),
            ("EventBridge", bus),
            ("CloudWatch Logs, both functions", log("receiver")? + log("processor")?),
        ],
    };
    // The token is checked by an authorizer whose answer is cached, so that it is hardly ever invoked.
    let direct = Way {
        name: "API Gateway straight to SQS, with an authorizer, and our processor",
        parts: vec![
            ("API Gateway, HTTP API", http_api),
            ("SQS", queue),
            ("Lambda, processor: invocations", invocation / batch),
            ("Lambda, processor: duration", ours_back),
            ("DynamoDB, writes", our_writes),
            ("EventBridge", bus),
            ("CloudWatch Logs, processor", log("processor")?),
        ],
    };
    let python = Way {
        name: "Python with boto3 and Powertools",
        parts: vec![
            ("API Gateway, HTTP API", http_api),
            ("Lambda, receiver: invocations", invocation),
            ("Lambda, receiver: duration", front("python", prices.of("python_receiver_mb")?)?),
            ("SQS", queue),
            ("Lambda, processor: invocations", invocation / batch),
            ("Lambda, processor: duration", back("powertools", prices.of("python_processor_mb")?)?),
            // Powertools' record holds no webhook: two writes of 1 KB.
            ("DynamoDB, writes of a record without state or history", write * 2.0),
            ("EventBridge", bus),
            ("CloudWatch Logs, as ours", log("receiver")? + log("processor")?),
        ],
    };
    let hours = 730.0 / prices.of("assumed_millions_per_month")?;
    let container = Way {
        name: "A container: two Fargate tasks of a quarter core behind a load balancer, the same writes",
        parts: vec![
            ("Load balancer", hours * prices.of("load_balancer_hour")?),
            ("Fargate", hours * 2.0 * (0.25 * prices.of("fargate_vcpu_hour")? + 0.5 * prices.of("fargate_gb_hour")?)),
            ("SQS", queue),
            ("DynamoDB, writes", our_writes),
            ("EventBridge", bus),
            ("CloudWatch Logs, as ours", log("receiver")? + log("processor")?),
        ],
    };
    Ok(vec![ours, direct, python, container])
}
