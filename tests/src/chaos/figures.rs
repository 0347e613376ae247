//! Figures: the counts of a run.

use std::fmt;

/// The counts of one function's sandboxes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Started processes.
    pub starts: usize,
    /// Kills during an invocation, and after one.
    pub kills: [usize; 2],
    /// Freezes during an invocation, and after one.
    pub freezes: [usize; 2],
    /// Invocations that timed out.
    pub timeouts: usize,
}

/// All counts of a run.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The seed.
    pub seed: u64,
    /// Webhooks to send, including a provider's duplicates.
    pub webhooks: usize,
    /// Requests with the right token.
    pub attempts: usize,
    /// Attempts that were answered 200.
    pub acknowledged: usize,
    /// Attempts that were answered 5xx.
    pub failed: usize,
    /// Requests with a wrong token.
    pub forged: usize,
    /// The receiver.
    pub receivers: Tally,
    /// The processor.
    pub processors: Tally,
    /// Invocations of the processor.
    pub batches: usize,
    /// Messages in the queue.
    pub messages: usize,
    /// Messages that were received more than once.
    pub redelivered: usize,
    /// Items in the ledger.
    pub items: usize,
    /// Changes in the items' histories.
    pub transitions: usize,
    /// Publications on the bus.
    pub published: usize,
    /// Distinct events on the bus.
    pub events: usize,
    /// Unreadable dead letters.
    pub dead_letters: usize,
    /// Redriven dead letters.
    pub redriven: usize,
    /// The duration of the run.
    pub seconds: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { starts, kills: [kills, idle_kills], freezes: [freezes, idle_freezes], timeouts } = self;
        write!(
            f,
            "{starts} processes; {} kills, {kills} in an invocation; {} freezes, {freezes} in an invocation; \
             {timeouts} timeouts",
            kills + idle_kills,
            freezes + idle_freezes
        )
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duplicates = self.published - self.events;
        writeln!(f, "seed            {}", self.seed)?;
        writeln!(f, "webhooks        {}, in {} attempts", self.webhooks, self.attempts)?;
        writeln!(f, "acknowledged    {}; {} answered 5xx", self.acknowledged, self.failed)?;
        writeln!(f, "wrong token     {}", self.forged)?;
        writeln!(f, "receivers       {}", self.receivers)?;
        writeln!(f, "processors      {}; {} batches", self.processors, self.batches)?;
        writeln!(f, "messages        {}, {} received more than once", self.messages, self.redelivered)?;
        writeln!(f, "ledger          {} items, {} transitions", self.items, self.transitions)?;
        writeln!(f, "published       {}: {} events, {duplicates} duplicates", self.published, self.events)?;
        writeln!(f, "dead letters    {} unreadable, {} redriven", self.dead_letters, self.redriven)?;
        write!(f, "seconds         {}", self.seconds)
    }
}
