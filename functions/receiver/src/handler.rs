//! Handler: the receiver's control flow. Route, verify, seal, enqueue, answer. One request, one log line.
//!
//! | Request | Answer | Stored |
//! |---|---|---|
//! | right token, whatever the body | 200, the delivery's id | one envelope, before the answer |
//! | token missing, wrong or repeated | 401, empty | nothing |
//! | another path, another method | 404, 405 | nothing |
//! | right token, but the queue refuses, hangs, or cannot hold it | 200 | one envelope, in the inbox |
//! | right token, and the inbox does not take it either | 503, empty, within 6 s | perhaps; Xendit retries |
//!
//! **Invariant:** no 2xx without a stored copy. A log line holds ids and reasons, never a body, a header or a token.

use jiff::Timestamp;
use lambda_http::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use shared::{
    envelope::{Envelope, Environment},
    loggable::Loggable,
    outcome::Received,
    topic::Topic,
};

use crate::{
    inbox::Inbox,
    queue::{NotStored, Queue},
    verify::{Arrival, Tokens},
};

/// The receiver's dependencies.
#[derive(Debug)]
pub struct Receiver<Q, I, C> {
    /// The accepted tokens.
    pub tokens: Tokens,
    /// Where webhooks go.
    pub queue: Q,
    /// Where they go when the queue does not take them.
    pub inbox: I,
    /// Which of Xendit's two environments this is.
    pub environment: Environment,
    /// The time.
    pub clock: C,
}

impl<Q: Queue, I: Inbox, C: Fn() -> Timestamp> Receiver<Q, I, C> {
    /// Answers one request. Total: every request has an answer, and a failure is one of them.
    pub async fn receive(&self, request: Request<Vec<u8>>, arrival: Arrival) -> Response<String> {
        let topic = match route(&request) {
            Ok(topic) => topic,
            Err(status) => return refuse(status, "no such path or method", &arrival),
        };
        let verified = match self.tokens.verify(request) {
            Ok(verified) => verified,
            Err(rejection) => return refuse(StatusCode::UNAUTHORIZED, &rejection.to_string(), &arrival),
        };
        let envelope = verified.into_envelope(arrival, self.environment, topic);
        let stored = self.store(&envelope).await;
        // Not negative: the clock may be set back.
        let ack_ms =
            u64::try_from((self.clock)().duration_since(envelope.delivery.received_at).as_millis()).unwrap_or(0);
        let delivery = &envelope.delivery;
        let topic = delivery.topic.as_ref().map(Topic::as_str);
        let webhook_id = delivery.webhook_id.as_deref().map(|id| tracing::field::display(Loggable(id)));
        let (token, bytes) = (delivery.token.as_str(), envelope.body.len());
        match stored {
            Ok(Stored::InQueue) => {
                let outcome = Received::Stored.as_str();
                tracing::info!(delivery = delivery.id, webhook_id, topic, token, bytes, ack_ms, outcome, "received");
                acknowledge(&delivery.id)
            }
            Ok(Stored::InInbox { queue_error: reason }) => {
                let outcome = Received::StoredInInbox.as_str();
                tracing::warn!(delivery = delivery.id, webhook_id, topic, token, bytes, ack_ms, outcome, %reason, "received");
                acknowledge(&delivery.id)
            }
            Err(reason) => {
                let outcome = Received::NotStored.as_str();
                tracing::error!(delivery = delivery.id, webhook_id, topic, token, bytes, ack_ms, outcome, %reason, "not received");
                answer(StatusCode::SERVICE_UNAVAILABLE, String::new())
            }
        }
    }

    /// Stores an envelope: in the queue, or else in the inbox.
    async fn store(&self, envelope: &Envelope) -> Result<Stored, NowhereStored> {
        let Err(queue) = self.queue.enqueue(envelope).await else { return Ok(Stored::InQueue) };
        match self.inbox.keep(envelope).await {
            Ok(()) => Ok(Stored::InInbox { queue_error: queue }),
            Err(inbox) => Err(NowhereStored { queue, inbox }),
        }
    }
}

/// Where an envelope is stored.
enum Stored {
    InQueue,
    InInbox { queue_error: NotStored },
}

/// The envelope may not be stored anywhere.
#[derive(Debug, thiserror::Error)]
#[error("queue: {queue}; inbox: {inbox}")]
struct NowhereStored {
    queue: NotStored,
    inbox: NotStored,
}

/// The topic in the path, or the status for a request that has no route.
///
/// An invalid topic is ignored, never refused: it is a hint, and the person who typed the URL would not see a 404.
fn route(request: &Request<Vec<u8>>) -> Result<Option<Topic>, StatusCode> {
    let path = request.uri().path().trim_end_matches('/');
    let topic = match path.strip_prefix("/webhook").ok_or(StatusCode::NOT_FOUND)? {
        "" => None,
        rest => Some(rest.strip_prefix('/').filter(|topic| !topic.contains('/')).ok_or(StatusCode::NOT_FOUND)?),
    };
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    Ok(topic.and_then(|topic| topic.parse().ok()))
}

fn refuse(status: StatusCode, reason: &str, arrival: &Arrival) -> Response<String> {
    let outcome = Received::Refused.as_str();
    tracing::warn!(delivery = arrival.id, status = status.as_u16(), outcome, reason, "refused");
    answer(status, String::new())
}

/// The response body is our delivery id. Xendit's dashboard shows it to its users, so it holds nothing else.
fn acknowledge(delivery: &str) -> Response<String> {
    let id: String = delivery.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let mut response = answer(StatusCode::OK, format!(r#"{{"id":"{id}"}}"#));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn answer(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: &str, path: &str) -> Result<Option<String>, u16> {
        let request = Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
        route(&request).map(|topic| topic.map(String::from)).map_err(|status| status.as_u16())
    }

    #[test]
    fn a_webhook_is_posted_with_or_without_a_topic() {
        assert_eq!(routed("POST", "/webhook"), Ok(None));
        assert_eq!(routed("POST", "/webhook/"), Ok(None));
        assert_eq!(routed("POST", "/webhook/fva_paid"), Ok(Some("fva_paid".to_owned())));
        assert_eq!(routed("POST", "/webhook/invoice/?x=1"), Ok(Some("invoice".to_owned())));
        assert_eq!(routed("POST", "/webhook/Not%20A%20Topic"), Ok(None));
    }

    #[test]
    fn every_other_path_and_method_is_refused() {
        for path in ["/", "/webhooks", "/webhook/a/b", "/test/webhook"] {
            assert_eq!(routed("POST", path), Err(404), "{path}");
        }
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"] {
            assert_eq!(routed(method, "/webhook"), Err(405), "{method}");
        }
    }

    #[test]
    fn an_acknowledgement_is_json_with_the_id_and_nothing_else() {
        let response = acknowledge("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.body(), r#"{"id":"8476a536-e9f4-11e8-9739-2dfe598c3fcd"}"#);
        assert_eq!(acknowledge(r#"a"b\c</script>"#).body(), r#"{"id":"abcscript"}"#);
    }

    #[test]
    fn a_refusal_says_nothing() {
        let arrival = Arrival { id: "d-1".to_owned(), at: jiff::Timestamp::UNIX_EPOCH };
        let response = refuse(StatusCode::UNAUTHORIZED, "wrong token", &arrival);
        assert_eq!((response.status().as_u16(), response.body().as_str()), (401, ""));
        assert!(response.headers().is_empty());
    }
}
