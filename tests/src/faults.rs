//! Faults: how the ports in memory fail, and the clock that they share.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use jiff::{SignedDuration, Timestamp};

/// A clock that stands still until it is advanced. It starts after every time in a bundled body.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Timestamp>>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new("2030-01-02T03:04:05Z".parse().unwrap())))
    }
}

impl Clock {
    /// The current time.
    pub fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    /// Advances the clock. A negative duration steps it back.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }

    /// Advances the clock to a time, unless that is in the past.
    pub fn advance_to(&self, time: Timestamp) {
        let mut now = self.0.lock().unwrap();
        *now = time.max(*now);
    }
}

/// The power supply of both functions. Cutting it before or after any effect of a port simulates a crash there.
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
    /// Cuts the power at the n-th step from now, counted from 0.
    pub fn cut_at_step(&self, n: usize) {
        self.steps.store(0, Ordering::SeqCst);
        self.cut_at.store(n, Ordering::SeqCst);
    }

    /// Restores the power. Returns whether it was cut.
    pub fn restore(&self) -> bool {
        let was_cut = self.steps.load(Ordering::SeqCst) > self.cut_at.load(Ordering::SeqCst);
        self.cut_at.store(usize::MAX, Ordering::SeqCst);
        was_cut
    }

    /// Yields to other tasks, or hangs forever once the power is cut.
    pub(crate) async fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) >= self.cut_at.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }
}

/// How a port behaves. A test changes it at any point of a story.
#[derive(Clone, Debug)]
pub struct Mode<T>(Arc<Mutex<T>>);

impl<T: Default> Default for Mode<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Default> Mode<T> {
    /// Sets the mode from now on.
    pub fn set(&self, mode: T) {
        *self.0.lock().unwrap() = mode;
    }

    /// Lets the port work again.
    pub fn reset(&self) {
        self.set(T::default());
    }

    pub(crate) fn get(&self) -> T {
        self.0.lock().unwrap().clone()
    }
}

/// How the queue accepts new messages.
#[derive(Clone, Debug, Default)]
pub enum QueueMode {
    /// It stores them.
    #[default]
    Working,
    /// It refuses them.
    Refuses,
    /// It stores them, but its reply is lost.
    LosesReplies,
}

/// How the inbox behaves.
#[derive(Clone, Debug, Default)]
pub enum InboxMode {
    /// It stores objects and sends notifications.
    #[default]
    Working,
    /// It does not answer.
    Down,
    /// It stores objects and sends notifications, but its reply is lost.
    LosesReplies,
}

/// How the ledger behaves.
#[derive(Clone, Debug, Default)]
pub enum LedgerMode {
    /// It answers every call.
    #[default]
    Working,
    /// It does not answer.
    Down,
    /// It permanently refuses items whose key contains this text.
    Refuses(&'static str),
    /// It writes, but its reply is lost. The SDK's retry then finds what the first attempt wrote.
    LosesReplies,
    /// It panics on keys that contain this text.
    PanicsOn(&'static str),
    /// It writes, but does not answer a call that clears an outbox.
    CannotClear,
}

/// How the bus behaves.
#[derive(Clone, Debug, Default)]
pub enum BusMode {
    /// It publishes.
    #[default]
    Working,
    /// It publishes nothing.
    Down,
    /// It answers 200, but rejects entries of this type.
    Rejects(&'static str),
    /// It permanently refuses events whose detail contains this text.
    RefusesPermanently(&'static str),
    /// It panics on details that contain this text.
    PanicsOn(&'static str),
}

/// How the queue delays and parks messages.
#[derive(Clone, Debug, Default)]
pub enum SourceMode {
    /// It answers every call.
    #[default]
    Working,
    /// The dead-letter queue does not answer.
    CannotPark,
    /// It does not change a message's visibility timeout.
    CannotPostpone,
    /// It panics on messages whose body contains this text.
    PanicsOn(&'static str),
}
