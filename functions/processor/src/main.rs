//! The processor's process: settings, clients, run. Everything else is in the library, where tests reach it.

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use ledger::{dynamo::DynamoLedger, event_bridge::EventBridge};
use processor::{
    batch::Processor,
    config::Config,
    failure::{CALL_LIMITS, TIMEOUT},
    inbox::S3Inbox,
    message::Batch,
    source::SqsSource,
};
use runtime::{aws, process};

// One thread: a function has a fraction of a core, and waking others up costs more than the work.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    process::function(Config::from_env, run).await
}

async fn run(config: Config) -> Result<(), Error> {
    let aws = aws::connect(CALL_LIMITS).await?;
    let s3 = aws_sdk_s3::config::Builder::from(&aws)
        // An emulated AWS has no host name for each bucket.
        .force_path_style(aws.endpoint_url().is_some())
        .build();
    let processor = &Processor {
        inbox: S3Inbox::new(aws_sdk_s3::Client::from_conf(s3), config.inbox_bucket),
        ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::new(&aws), config.ledger_table),
        bus: EventBridge::new(aws_sdk_eventbridge::Client::new(&aws), config.bus_name),
        source: SqsSource::new(aws_sdk_sqs::Client::new(&aws), config.queue_url, config.dlq_url),
        environment: config.environment,
        token_accounts: config.token_accounts,
        clock: Timestamp::now,
    };
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Batch>| {
        let now = Timestamp::now();
        processor.process(event.payload, now + time_left(&event.context, now)).await.map_err(Error::from)
    }))
    .await
}

/// The time until the function is stopped.
///
/// A deadline that has passed, or lies further off than the timeout, says that two clocks disagree (or that this is a
/// local emulator, which sends a constant). Trusting it would retry every message, for ever.
fn time_left(context: &Context, now: Timestamp) -> SignedDuration {
    let timeout = SignedDuration::try_from(TIMEOUT).unwrap_or(SignedDuration::MAX);
    let deadline = i64::try_from(context.deadline).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let left = deadline.map_or(timeout, |deadline| deadline.duration_since(now));
    if left.is_positive() { left.min(timeout) } else { timeout }
}
