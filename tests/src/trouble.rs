//! Trouble: what can happen to the ports in memory, and the clock that they share.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use jiff::{SignedDuration, Timestamp};

/// A clock that stands still until it is turned.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Timestamp>>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new("2026-01-02T03:04:05Z".parse().unwrap())))
    }
}

impl Clock {
    /// Now.
    pub fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    /// Lets time pass.
    pub fn turn(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }

    /// Lets time pass until a moment, if that is still to come.
    pub fn turn_to(&self, moment: Timestamp) {
        let mut now = self.0.lock().unwrap();
        *now = moment.max(*now);
    }
}

/// The power of the machine that the functions run on. It can be cut before and after every effect of a port.
#[derive(Clone, Debug)]
pub struct Power {
    steps: Arc<AtomicUsize>,
    cut_at: Arc<AtomicUsize>,
}

impl Default for Power {
    fn default() -> Self {
        Self { steps: Arc::default(), cut_at: Arc::new(AtomicUsize::new(usize::MAX)) }
    }
}

impl Power {
    /// Cuts the power at the n-th step from here, counted from 0.
    pub fn cut_at_step(&self, n: usize) {
        self.steps.store(0, Ordering::SeqCst);
        self.cut_at.store(n, Ordering::SeqCst);
    }

    /// Brings the power back, and says whether it had been cut.
    pub fn restore(&self) -> bool {
        let was_cut = self.steps.load(Ordering::SeqCst) > self.cut_at.load(Ordering::SeqCst);
        self.cut_at.store(usize::MAX, Ordering::SeqCst);
        was_cut
    }

    /// A moment at which others may run, or at which everything ends.
    pub(crate) async fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) >= self.cut_at.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }
}

/// How a port is doing, and a way to change that in the middle of a story.
#[derive(Clone, Debug)]
pub struct Mood<T>(Arc<Mutex<T>>);

impl<T: Default> Default for Mood<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Default> Mood<T> {
    /// From now on.
    pub fn is(&self, mood: T) {
        *self.0.lock().unwrap() = mood;
    }

    /// All is well again.
    pub fn is_well(&self) {
        self.is(T::default());
    }

    pub(crate) fn get(&self) -> T {
        self.0.lock().unwrap().clone()
    }
}

/// How the queue takes new messages.
#[derive(Clone, Debug, Default)]
pub enum QueueMood {
    /// It stores them.
    #[default]
    Well,
    /// It refuses them.
    Refuses,
    /// It stores them, and its answer is lost.
    LosesReplies,
}

/// How the inbox is doing.
#[derive(Clone, Debug, Default)]
pub enum InboxMood {
    /// It stores and tells.
    #[default]
    Well,
    /// It does not answer.
    Down,
    /// It stores and tells, and its answer is lost.
    LosesReplies,
}

/// How the ledger is doing.
#[derive(Clone, Debug, Default)]
pub enum LedgerMood {
    /// It does what it is asked.
    #[default]
    Well,
    /// It does not answer.
    Down,
    /// It takes no item whose key contains this, now or ever.
    Refuses(&'static str),
    /// It writes, and its answer is lost: the second try, made by the SDK, meets what the first has written.
    LosesReplies,
    /// It panics on keys that contain this.
    PanicsOn(&'static str),
    /// It writes, but does not answer when an outbox is to be cleared.
    CannotClear,
}

/// How the bus is doing.
#[derive(Clone, Debug, Default)]
pub enum BusMood {
    /// It publishes.
    #[default]
    Well,
    /// It publishes nothing.
    Down,
    /// It answers 200, with entries of this type rejected.
    Rejects(&'static str),
    /// It will never take an event whose detail contains this.
    RefusesForGood(&'static str),
    /// It panics when the detail contains this.
    PanicsOn(&'static str),
}

/// How the queue takes messages back.
#[derive(Clone, Debug, Default)]
pub enum SourceMood {
    /// It does what it is asked.
    #[default]
    Well,
    /// The dead-letter queue does not answer.
    CannotPark,
    /// It does not change when a message comes again.
    CannotPostpone,
    /// It panics on messages whose body contains this.
    PanicsOn(&'static str),
}
