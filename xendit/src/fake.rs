//! Fake: a server that behaves like Xendit in test mode: its API, and the webhooks that follow.
//!
//! Written from Xendit's public documentation and from recorded traffic, and not from the client. Each file names its sources,
//! and a route's comment says where they leave a choice. What Xendit does not have is under `/_fake`: payers, faults, and
//! webhooks that go wrong by plan.
//!
//! ```text
//! call ─▶ gate (fault? key? rate limit?) ─▶ route ─▶ books
//!                                             └────▶ sender ─▶ webhooks, with Xendit's retries
//! ```
//!
//! **Invariant:** it listens on 127.0.0.1 only, and holds nothing but what it was sent.

mod books;
mod callback_urls;
mod control;
mod disputes;
mod ewallets;
mod gate;
mod invoices;
mod money_out;
mod outlets;
mod payments;
mod qr_codes;
mod refunds;
mod reply;
mod reports;
mod sender;
mod transactions;
mod virtual_accounts;

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, middleware};
use tokio::{net::TcpListener, task::JoinHandle};

use self::{
    books::Books,
    gate::Gate,
    sender::{Hook, Sender},
};

/// The account of the key, as in Xendit's examples.
pub const ACCOUNT: &str = "62440e322008e87fb29c1fd0";

/// The most calls of one endpoint and account within a minute, in test mode.
pub const TEST_CALLS_A_MINUTE: usize = 60;

/// How the fake is set up. It holds a token, and so has no `Debug`.
#[derive(Clone)]
pub struct Settings {
    /// The secret key that it accepts.
    pub key: String,
    /// The callback token that it sends.
    pub token: String,
    /// Where webhooks go for which no URL was set by API. `{topic}` stands for the webhook's topic. `None`: nowhere.
    pub webhooks_to: Option<String>,
    /// The most calls of one endpoint and account within a minute.
    pub calls_a_minute: usize,
    /// How much faster than Xendit it repeats webhooks.
    pub speed: u32,
}

/// A running fake. It stops when this is dropped.
#[derive(Debug)]
pub struct Fake {
    /// Its address, for a client.
    pub url: String,
    server: JoinHandle<()>,
}

/// What all routes share.
struct Xendit {
    settings: Settings,
    books: Mutex<Books>,
    gate: Gate,
    sender: Sender,
}

type Shared = Arc<Xendit>;

impl Fake {
    /// Starts to serve at a port of 127.0.0.1. Port 0 is any free one.
    pub async fn start(port: u16, settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let xendit = Arc::new(Xendit {
            books: Mutex::default(),
            gate: Gate::new(&settings),
            sender: Sender::new(&settings),
            settings,
        });
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, xendit.router()).await;
        });
        Ok(Self { url, server })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Xendit {
    fn router(self: Shared) -> Router {
        let api = Router::new()
            .merge(callback_urls::routes())
            .merge(disputes::routes())
            .merge(ewallets::routes())
            .merge(invoices::routes())
            .merge(money_out::routes())
            .merge(outlets::routes())
            .merge(payments::routes())
            .merge(qr_codes::routes())
            .merge(refunds::routes())
            .merge(reports::routes())
            .merge(transactions::routes())
            .merge(virtual_accounts::routes())
            .layer(middleware::from_fn_with_state(Arc::clone(&self), gate::enter));
        Router::new().merge(api).merge(control::routes()).fallback(gate::no_route).with_state(self)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a webhook, and goes on.
    fn send(self: &Arc<Self>, hook: Hook) {
        tokio::spawn({
            let xendit = Arc::clone(self);
            async move { xendit.sender.deliver(hook).await }
        });
    }

    /// Does something a while later, as Xendit's own systems do.
    fn later(self: &Arc<Self>, wait: Duration, work: impl FnOnce(&Shared) + Send + 'static) {
        tokio::spawn({
            let xendit = Arc::clone(self);
            async move {
                tokio::time::sleep(wait).await;
                work(&xendit);
            }
        });
    }
}
