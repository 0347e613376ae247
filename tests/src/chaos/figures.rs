//! Figures: how often what happened.

use std::fmt;

/// What happened to the sandboxes of one function.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Processes that were started.
    pub starts: usize,
    /// Kills: in the midst of an invocation, and between two.
    pub kills: [usize; 2],
    /// Freezes, in the same way.
    pub freezes: [usize; 2],
    /// Invocations that took longer than the function may.
    pub timeouts: usize,
}

/// All figures of a run.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// What was drawn.
    pub seed: u64,
    /// Webhooks that Xendit had to send, a provider's duplicates among them.
    pub webhooks: usize,
    /// Requests with the right token.
    pub attempts: usize,
    /// Those that were answered 200.
    pub acknowledged: usize,
    /// Those that were answered 5xx.
    pub failed: usize,
    /// Requests with a wrong token.
    pub forged: usize,
    /// The receiver.
    pub receivers: Tally,
    /// The processor.
    pub processors: Tally,
    /// Invocations of the processor.
    pub batches: usize,
    /// Messages that were on the queue.
    pub messages: usize,
    /// Those that were handed out more than once.
    pub messages_again: usize,
    /// Items in the ledger.
    pub items: usize,
    /// Changes that they have seen.
    pub transitions: usize,
    /// Events on the bus, as often as they were there.
    pub published: usize,
    /// Different ones.
    pub events: usize,
    /// Dead letters that nobody can read.
    pub letters: usize,
    /// Dead letters that were sent back.
    pub redriven: usize,
    /// How long everything took.
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
        writeln!(f, "messages        {}, {} received more than once", self.messages, self.messages_again)?;
        writeln!(f, "ledger          {} items, {} transitions", self.items, self.transitions)?;
        writeln!(f, "published       {}: {} events, {duplicates} duplicates", self.published, self.events)?;
        writeln!(f, "dead letters    {} unreadable, {} redriven", self.letters, self.redriven)?;
        write!(f, "seconds         {}", self.seconds)
    }
}
