//! Rival: the receiver as the guides for Rust on Lambda write it. `lambda_http`, `aws-config` and `aws-sdk-sqs` with
//! their default features, the client built once, the multi-threaded Tokio.
//!
//! It does the receiver's job with less care: it checks the token, wraps the body, sends it, answers.

use aws_sdk_sqs::Client;
use lambda_http::{Body, Error, IntoResponse, Request, RequestExt, http::StatusCode, run, service_fn, tracing};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_from_env().await;
    let client = &Client::new(&config);
    let queue_url = &*std::env::var("QUEUE_URL")?.leak();
    let token = &*std::env::var("CALLBACK_TOKEN")?.leak();
    run(service_fn(move |request: Request| receive(client, queue_url, token, request))).await
}

async fn receive(client: &Client, queue_url: &str, token: &str, request: Request) -> Result<impl IntoResponse, Error> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("x-callback-token") != Some(token) {
        tracing::warn!("refused");
        return Ok((StatusCode::UNAUTHORIZED, json!({})));
    }
    let id = request.lambda_context().request_id;
    let body = match request.body() {
        Body::Text(text) => text.clone(),
        other => String::from_utf8_lossy(other).into_owned(),
    };
    let message = json!({ "id": id, "webhook_id": header("webhook-id"), "body": body }).to_string();
    client.send_message().queue_url(queue_url).message_body(message).send().await?;
    tracing::info!(delivery = id, "received");
    Ok((StatusCode::OK, json!({ "id": id })))
}
