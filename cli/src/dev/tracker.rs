//! Tracker: follows each webhook from the gateway's answer to the deletion of its message, and puts what happens on the
//! channel. It also reads the published domain events.
//!
//! **Invariant:** a webhook counts as lost only if it was looked for several times while nobody else hid dead letters. What
//! belongs to no request is kept for a while, and not for ever.

use std::{
    collections::{HashMap, VecDeque},
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

/// How often events are read that no known webhook caused, such as those of a message that was sent to the queue by hand; and
/// how often to look again for a webhook that was found nowhere.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a webhook must be found nowhere until it counts as lost.
const LOOKS: u32 = 3;

/// How many deliveries and events are remembered. Those of messages that were redriven, or sent to the queue by hand, belong to
/// no request.
const MAX_REMEMBERED: usize = 10_000;

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
    /// The webhooks that are neither in a queue nor found elsewhere.
    sought: Vec<Sought>,
    /// The deliveries that were deleted before the gateway reported its answer.
    deleted: VecDeque<String>,
    /// The published events, each with its delivery and its type.
    published: VecDeque<(String, String)>,
    /// The ids of the latest events. A queue may hand out an event twice, as it does when this machine is slow.
    known: VecDeque<String>,
}

/// A webhook whose message was deleted from the queue.
struct Sought {
    request: Arc<Request>,
    /// The types of the published events.
    published: Vec<String>,
    /// How often it was found nowhere.
    misses: u32,
}

impl Tracker {
    pub(super) fn new(aws: LocalAws, happenings: broadcast::Sender<Happening>) -> Self {
        Self {
            aws,
            happenings,
            queued: HashMap::new(),
            sought: Vec::new(),
            deleted: VecDeque::new(),
            published: VecDeque::new(),
            known: VecDeque::new(),
        }
    }

    /// Runs until the gateway and the poller have stopped.
    pub(super) async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = news.recv() => match next {
                    Some(News::Answered(request)) => self.answered(request).await,
                    Some(News::Deleted(deliveries)) => self.deleted(deliveries).await,
                    None => return,
                },
                _ = ticks.tick() => {
                    self.read_events().await;
                    for sought in std::mem::take(&mut self.sought) {
                        self.look_for(sought).await;
                    }
                }
            }
        }
    }

    async fn answered(&mut self, request: Request) {
        let request = Arc::new(request);
        self.tell(Happening::Request(Arc::clone(&request)));
        if !request.is_acknowledged() {
            self.tell(Happening::Result(Arc::new(Row::new(&request))));
        } else if let Some(position) = self.deleted.iter().position(|delivery| *delivery == request.id) {
            self.deleted.remove(position);
            self.read_events().await;
            self.complete(request).await;
        } else {
            self.queued.insert(request.id.clone(), request);
        }
    }

    /// The processor publishes a webhook's events before its message is deleted.
    async fn deleted(&mut self, deliveries: Vec<String>) {
        self.read_events().await;
        for delivery in deliveries {
            match self.queued.remove(&delivery) {
                Some(request) => self.complete(request).await,
                None => remember(&mut self.deleted, delivery),
            }
        }
    }

    async fn complete(&mut self, request: Arc<Request>) {
        let all = std::mem::take(&mut self.published).into_iter();
        let (own, others): (VecDeque<_>, VecDeque<_>) = all.partition(|(delivery, _)| *delivery == request.id);
        self.published = others;
        let published = own.into_iter().map(|(_, detail_type)| detail_type).collect();
        self.look_for(Sought { request, published, misses: 0 }).await;
    }

    async fn look_for(&mut self, sought: Sought) {
        let row = Row::complete(&sought.request, sought.published.clone(), &self.aws).await;
        let misses = if row.is_in_doubt { 0 } else { sought.misses + 1 };
        if row.is_lost() && misses < LOOKS {
            self.sought.push(Sought { misses, ..sought });
        } else {
            self.tell(Happening::Result(Arc::new(row)));
        }
    }

    /// An error means that the emulated AWS is gone, which `Children` reports, or is slow: the next read finds the events.
    async fn read_events(&mut self) {
        for event in self.aws.published().await.unwrap_or_default() {
            if self.known.contains(&event.id) {
                continue;
            }
            remember(&mut self.known, event.id.clone());
            remember(&mut self.published, (event.delivery.clone(), event.detail_type.clone()));
            self.tell(Happening::Event(Arc::new(event)));
        }
    }

    /// It is an error if nobody listens, which does not matter.
    fn tell(&self, happening: Happening) {
        let _ = self.happenings.send(happening);
    }
}

fn remember<T>(latest: &mut VecDeque<T>, new: T) {
    latest.push_back(new);
    latest.drain(..latest.len().saturating_sub(MAX_REMEMBERED));
}
