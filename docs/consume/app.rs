//! Takes domain events, and says which orders are paid. Run: cargo run -p xendit-hooks --example consumer

#![expect(clippy::print_stdout, reason = "what it has to say")]

use std::{
    collections::{HashMap, HashSet},
    env, io,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use serde::Deserialize;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    id: String,
    subject: Subject,
    reference: Option<String>,
    version: u64,
    /// The total. Absent while webhooks contradict each other.
    paid: Option<Money>,
}

#[derive(PartialEq, Eq, Hash, Deserialize)]
struct Subject {
    kind: String,
    scope: Option<String>,
    id: String,
}

#[derive(Deserialize)]
struct Money {
    amount: String,
    currency: String,
}

/// In production these are tables, written in the transaction that changes the order.
#[derive(Default)]
struct Known {
    handled: HashSet<String>,
    versions: HashMap<Subject, u64>,
}

impl Known {
    fn apply(&mut self, Event { detail_type, detail }: Event) {
        if !["invoice.paid", "payment.succeeded"].contains(&detail_type.as_str()) {
            return; // Not about an order.
        }
        if self.handled.contains(&detail.id) {
            return; // A duplicate.
        }
        let newest = self.versions.entry(detail.subject).or_default();
        if detail.version < *newest {
            return; // Older than what is known.
        }
        let reference = detail.reference.unwrap_or_default();
        match detail.paid {
            Some(Money { amount, currency }) => println!("{reference} is paid: {currency} {amount}"),
            None => println!("{reference} is paid: look at Xendit"),
        }
        *newest = detail.version;
        self.handled.insert(detail.id);
    }
}

async fn take(State(known): State<Arc<Mutex<Known>>>, body: Bytes) -> StatusCode {
    let (Ok(event), Ok(mut known)) = (serde_json::from_slice(&body), known.lock()) else {
        return StatusCode::INTERNAL_SERVER_ERROR; // The event is sent again.
    };
    known.apply(event);
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let router = Router::new().route("/events", post(take)).with_state(Arc::default());
    axum::serve(listener, router).await
}
