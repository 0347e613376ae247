//! Tracker: follows each webhook from the gateway's answer to the deletion of its message, and puts what happens on the
//! channel. It also reads the published domain events.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc},
    time::{MissedTickBehavior, interval},
};

use super::{
    happening::{Happening, Request, Row},
    local_aws::LocalAws,
};

/// How often events are read that no known webhook caused, such as those of a message that was sent to the queue by hand.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// What the gateway and the poller report.
#[derive(Debug)]
pub(super) enum News {
    /// The gateway answered a request.
    Answered(Request),
    /// The messages of the deliveries with these ids were processed and deleted from the queue.
    Deleted(Vec<String>),
}

pub(super) struct Tracker {
    aws: LocalAws,
    happenings: broadcast::Sender<Happening>,
    /// The acknowledged webhooks whose messages are in the queue, by delivery id.
    queued: HashMap<String, Arc<Request>>,
    /// The deliveries that were deleted before the gateway reported its answer.
    deleted: HashSet<String>,
    /// The types of the published events, by delivery id.
    published: HashMap<String, Vec<String>>,
}

impl Tracker {
    pub(super) fn new(aws: LocalAws, happenings: broadcast::Sender<Happening>) -> Self {
        Self { aws, happenings, queued: HashMap::new(), deleted: HashSet::new(), published: HashMap::new() }
    }

    /// Runs until the gateway and the poller have stopped.
    pub(super) async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut ticks = interval(EVENT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = news.recv() => match next {
                    Some(News::Answered(request)) => self.answered(request).await,
                    Some(News::Deleted(deliveries)) => self.deleted(deliveries).await,
                    None => return,
                },
                _ = ticks.tick() => self.read_events().await,
            }
        }
    }

    async fn answered(&mut self, request: Request) {
        let request = Arc::new(request);
        self.tell(Happening::Request(Arc::clone(&request)));
        if !request.is_acknowledged() {
            self.tell(Happening::Result(Arc::new(Row::new(&request))));
        } else if self.deleted.remove(&request.id) {
            self.read_events().await;
            self.complete(&request).await;
        } else {
            self.queued.insert(request.id.clone(), request);
        }
    }

    /// The processor publishes a webhook's events before its message is deleted.
    async fn deleted(&mut self, deliveries: Vec<String>) {
        self.read_events().await;
        for delivery in deliveries {
            match self.queued.remove(&delivery) {
                Some(request) => self.complete(&request).await,
                None => drop(self.deleted.insert(delivery)),
            }
        }
    }

    async fn complete(&mut self, request: &Request) {
        let published = self.published.remove(&request.id).unwrap_or_default();
        let row = Row::complete(request, published, &self.aws).await;
        self.tell(Happening::Result(Arc::new(row)));
    }

    /// An error means that the emulated AWS is gone, which `Children` reports, or is slow: the next read finds the events.
    async fn read_events(&mut self) {
        for event in self.aws.published().await.unwrap_or_default() {
            self.published.entry(event.delivery.clone()).or_default().push(event.detail_type.clone());
            self.tell(Happening::Event(Arc::new(event)));
        }
    }

    /// It is an error if nobody listens, which does not matter.
    fn tell(&self, happening: Happening) {
        let _ = self.happenings.send(happening);
    }
}
