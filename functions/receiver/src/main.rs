//! The receiver's process: settings, clients, run. Everything else is in the library, where tests reach it.

use std::{process::ExitCode, time::Duration};

use jiff::Timestamp;
use lambda_http::{
    Error, LambdaEvent,
    lambda_runtime::{self, service_fn},
};
use receiver::{
    api_gateway::{self, Event},
    config::Config,
    handler::Receiver,
    inbox::{KEEP_BUDGET, S3Inbox},
    queue::{SEND_BUDGET, SqsQueue},
    verify::Arrival,
};
use runtime::{
    aws::{self, CallLimits},
    process,
};

/// Three attempts fit into the budget with their backoff, and one lost packet does not cost all of it.
const QUEUE_LIMITS: CallLimits = CallLimits { attempt: Duration::from_secs(1), total: SEND_BUDGET, attempts: 3 };

/// The second store is tried when something is wrong already: two attempts, each with time for some megabytes.
const INBOX_LIMITS: CallLimits = CallLimits { attempt: Duration::from_millis(1_200), total: KEEP_BUDGET, attempts: 2 };

// One thread: a function has a fraction of a core, and waking others up costs more than the work.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    process::function(Config::from_env, run).await
}

async fn run(config: Config) -> Result<(), Error> {
    let aws = aws::connect(QUEUE_LIMITS).await?;
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), config.queue_url);
    let inbox = S3Inbox::new(&aws, INBOX_LIMITS, &config.inbox_bucket)?;
    queue.warm_up().await;
    let receiver =
        &Receiver { tokens: config.tokens, queue, inbox, environment: config.environment, clock: Timestamp::now };
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Event>| {
        let arrival = Arrival { id: event.context.request_id, at: Timestamp::now() };
        Ok::<_, Error>(api_gateway::answer(receiver.receive(event.payload.into_request(), arrival).await))
    }))
    .await
}
