//! The receiver's process: settings, clients, run. Everything else is in the library, where tests reach it.

use std::{
    future::{self, Future},
    pin::Pin,
    process::ExitCode,
    time::Duration,
};

use jiff::Timestamp;
use lambda_http::{Body, Error, IntoResponse, Request, RequestExt, Response, service_fn};
use receiver::{
    config::Config,
    handler::Receiver,
    inbox::{KEEP_BUDGET, S3Inbox},
    queue::{SEND_BUDGET, SqsQueue},
    verify::Arrival,
};
use runtime::{
    aws::{self, Patience},
    process,
};

/// Three tries fit into the budget with their backoff, and one lost packet does not cost it all.
const QUEUE_PATIENCE: Patience = Patience { attempt: Duration::from_secs(1), total: SEND_BUDGET, attempts: 3 };

/// The second store is tried when things go wrong already: two tries, each with time for some megabytes.
const INBOX_PATIENCE: Patience = Patience { attempt: Duration::from_millis(1_200), total: KEEP_BUDGET, attempts: 2 };

// One thread: a function has a fraction of a core, and waking others up costs more than the work.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    process::function(Config::from_env, run).await
}

async fn run(config: Config) -> Result<(), Error> {
    let aws = aws::connect(QUEUE_PATIENCE).await?;
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), config.queue_url);
    let inbox = S3Inbox::new(&aws, INBOX_PATIENCE, &config.inbox_bucket)?;
    queue.warm_up().await;
    let receiver = &Receiver { tokens: config.tokens, queue, inbox, environment: config.environment };
    lambda_http::run(service_fn(async move |request: Request| {
        let arrival = Arrival { id: request.lambda_context().request_id, at: Timestamp::now() };
        Ok::<_, Error>(Answer(receiver.receive(request.map(bytes), arrival).await))
    }))
    .await
}

/// An answer in UTF-8. For a plain `Response`, `lambda_http` looks at its character set, and brings the tables of all
/// there are.
struct Answer(Response<String>);

impl IntoResponse for Answer {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(future::ready(self.0.map(Body::Text)))
    }
}

fn bytes(body: Body) -> Vec<u8> {
    match body {
        Body::Empty => Vec::new(),
        Body::Text(text) => text.into_bytes(),
        Body::Binary(bytes) => bytes,
        // The enum may grow; whatever it grows by is bytes.
        other => other.to_vec(),
    }
}
