//! The engine: a plan, the attempts seen so far, and what was done.

use std::cell::Cell;
use std::sync::Arc;

use parking_lot::Mutex;

use super::decision::{Ask, Gate, Hit, Slot, Verdict};
use super::journal::{Entry, Journal, Recorded};
use super::plan::{PlanError, Probability, When};
use super::replay::{Replay, Report};
use super::{Decision, Draws, Ordinals, Plan, RequestDigest, Seed};

/// How many request keys are remembered; see [`Ordinals`]. Some 3 MiB when full.
const REMEMBERED_KEYS: usize = 65_536;

/// What is counted when it was done, not when it was decided: a client may leave before its error is written, and a
/// kernel may refuse to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// A request failed: answered with an error, or its connection or answer was broken.
    Failure,
    /// A request or its answer was held.
    Latency,
    /// A kernel was killed.
    KernelKill,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Requests that were decided about. The denominator of both rates.
    pub total_requests: u64,
    /// Requests that were made to fail.
    pub failures_injected: u64,
    /// Requests that were held.
    pub latencies_injected: u64,
    /// Kernels that were killed.
    pub kernels_killed: u64,
}

impl Metrics {
    /// Failures per request decided about; zero where there was none.
    #[must_use]
    pub fn failure_rate(&self) -> f64 {
        rate(self.failures_injected, self.total_requests)
    }

    /// Delays per request decided about; zero where there was none.
    #[must_use]
    pub fn latency_rate(&self) -> f64 {
        rate(self.latencies_injected, self.total_requests)
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
fn rate(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What depends on the order of requests, for one rule.
#[derive(Debug, Default)]
struct RuleCount {
    reached: Cell<u64>,
    fired: Cell<u64>,
}

/// A plan with the counts of its rules.
#[derive(Debug)]
struct Running {
    plan: Plan,
    counts: Vec<RuleCount>,
    /// For the journal, whose entries outlive a plan.
    names: Vec<Arc<str>>,
}

impl Running {
    fn new(plan: Plan) -> Self {
        let counts = plan.rules.iter().map(|_| RuleCount::default()).collect();
        let names = plan.rules.iter().map(|rule| Arc::from(rule.name.as_str())).collect();
        Self { plan, counts, names }
    }

    fn entry(
        &self,
        number: u64,
        elapsed_ms: u64,
        request: RequestDigest,
        attempt: u32,
        Decision { latency, fault, kill }: Decision,
    ) -> Entry {
        let record = |hit: Option<Hit>| {
            hit.map(|Hit { rule, drawn }| Recorded {
                rule: Arc::clone(&self.names[rule]),
                drawn,
                done: false,
            })
        };
        let (latency, fault, kill) = (record(latency), record(fault), record(kill));
        Entry { number, elapsed_ms, request, attempt, latency, fault, kill }
    }

    /// Another plan in place of this one. A rule that has the name of an earlier one goes on with its counts.
    fn replaced_by(&mut self, plan: Plan) -> Self {
        let mut next = Self::new(plan);
        for (rule, count) in next.plan.rules.iter().zip(&mut next.counts) {
            if let Some(place) = self.plan.rules.iter().position(|earlier| earlier.name == rule.name) {
                *count = std::mem::take(&mut self.counts[place]);
            }
        }
        next
    }
}

/// Whether the request with this ordinal, from 0, is one of the first, or one of each so many.
fn is_turn(when: &When, ordinal: u64) -> bool {
    when.first.is_none_or(|first| ordinal < first)
        && when.every.is_none_or(|every| (ordinal + 1).is_multiple_of(every))
}

/// Whether a rule that has fired so often still may.
fn is_left(when: &When, fired: u64) -> bool {
    when.max.is_none_or(|max| fired < max)
}

impl Gate for Running {
    fn reaches(&self, rule: usize) -> bool {
        let RuleCount { reached, .. } = &self.counts[rule];
        is_turn(&self.plan.rules[rule].when, reached.replace(reached.get() + 1))
    }

    fn takes(&self, rule: usize) -> bool {
        let RuleCount { fired, .. } = &self.counts[rule];
        let takes = is_left(&self.plan.rules[rule].when, fired.get());
        if takes {
            fired.set(fired.get() + 1);
        }
        takes
    }
}

/// Sees what the counts would let pass, and counts nothing.
struct Peek<'a>(&'a Running);

impl Gate for Peek<'_> {
    fn reaches(&self, rule: usize) -> bool {
        is_turn(&self.0.plan.rules[rule].when, self.0.counts[rule].reached.get())
    }

    fn takes(&self, rule: usize) -> bool {
        is_left(&self.0.plan.rules[rule].when, self.0.counts[rule].fired.get())
    }
}

/// A request, as an engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Names it: the attempts of one key are counted.
    pub key: &'a str,
    /// A bit for each rule that it is for.
    pub matched: u32,
    /// How long the plan has been armed, in milliseconds.
    pub elapsed_ms: u64,
    /// For each rule, what its caller asked for; empty if nobody may ask. See [`Ask::asked`].
    pub asked: &'a [Probability],
}

/// What was decided about one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decided {
    /// What happens to it.
    pub decision: Decision,
    /// Which decision of this engine it is, from 0: its place in the journal.
    pub number: u64,
}

/// What would be decided about a request, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Its key, as it stands in the journal.
    pub request: RequestDigest,
    /// Which attempt it would be, from 0.
    pub attempt: u32,
    /// What would happen to it.
    pub decision: Decision,
    /// By what.
    pub reason: Reason,
}

/// By what a request is decided about.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It belongs to the share of traffic that is never faulted.
    Control,
    /// A journal is replayed; whether the request is in it.
    Replay {
        /// Whether this attempt of it was recorded, and is still to come.
        recorded: bool,
    },
    /// The rules: a verdict on each.
    Rules(Vec<Verdict>),
}

/// What is decided by, and what was seen and counted so far.
#[derive(Debug)]
struct State {
    running: Running,
    ordinals: Ordinals,
    journal: Journal,
    replay: Option<Replay>,
    metrics: Metrics,
}

impl State {
    fn reset(&mut self) {
        self.running.counts.fill_with(RuleCount::default);
        self.ordinals = Ordinals::new(REMEMBERED_KEYS);
        self.journal.clear();
        self.replay = None;
        self.metrics = Metrics::default();
    }
}

/// Decides about requests under one plan, and counts. Shared freely between threads.
#[derive(Debug)]
pub struct Engine {
    state: Mutex<State>,
}

impl Engine {
    /// Starts at zero: no attempt seen, nothing counted, no journal kept.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            state: Mutex::new(State {
                running: Running::new(plan),
                ordinals: Ordinals::new(REMEMBERED_KEYS),
                journal: Journal::new(0),
                replay: None,
                metrics: Metrics::default(),
            }),
        }
    }

    /// Decides about the next request. Every call is one more attempt of its key, so that a retry can fare better than
    /// the request that it repeats.
    pub fn decide(&self, asked: Request<'_>) -> Decided {
        let State { running, ordinals, journal, replay, metrics } = &mut *self.state.lock();
        let request = running.plan.seed.request(asked.key);
        let attempt = ordinals.next(request);
        let decision = match replay {
            Some(replay) => replay.decide(request, attempt),
            None => running.plan.decide(&Draws::new(request, attempt), asked.at(attempt), running),
        };
        metrics.total_requests += 1;
        let number =
            journal.push_with(|number| running.entry(number, asked.elapsed_ms, request, attempt, decision));
        Decided { decision, number }
    }

    /// What [`Engine::decide`] would decide about this request now, and why. Nothing is counted.
    #[must_use]
    pub fn explain(&self, asked: Request<'_>) -> Explanation {
        let State { running, ordinals, replay, .. } = &*self.state.lock();
        let request = running.plan.seed.request(asked.key);
        let attempt = ordinals.seen(request);
        if let Some(replay) = replay {
            let recorded = replay.peek(request, attempt);
            let reason = Reason::Replay { recorded: recorded.is_some() };
            return Explanation { request, attempt, decision: recorded.unwrap_or_default(), reason };
        }
        let draws = Draws::new(request, attempt);
        let mut verdicts = Vec::with_capacity(running.plan.rules.len());
        let decision = running.plan.judge(&draws, asked.at(attempt), &Peek(running), |_, verdict| {
            verdicts.push(verdict);
        });
        let is_control = running.plan.is_control(&draws);
        let reason = if is_control { Reason::Control } else { Reason::Rules(verdicts) };
        Explanation { request, attempt, decision, reason }
    }

    /// Decides by another plan from now on. What was counted stays, and so do the attempts of each key under the same
    /// seed, and the counts (`first`, `every`, `max`) of each rule whose name is in both plans. Another seed begins
    /// another journal. A replay is over.
    pub fn update(&self, plan: Plan) {
        let mut state = self.state.lock();
        if plan.seed != state.running.plan.seed {
            state.journal.clear();
        }
        state.replay = None;
        state.running = state.running.replaced_by(plan);
    }

    /// Starts at zero again, under the same plan: no attempt seen, nothing counted, an empty journal. A replay is over.
    pub fn reset(&self) {
        self.state.lock().reset();
    }

    /// Starts at zero again under the seed of a journal, and forces its faults upon the requests that they were recorded
    /// of, whatever the rates are, until [`Engine::update`], [`Engine::reset`] or [`Engine::end_replay`].
    ///
    /// # Errors
    ///
    /// [`PlanError::Journal`] if the entries are none of this plan; nothing is changed then.
    pub fn replay(&self, seed: Seed, entries: &[Entry]) -> Result<(), PlanError> {
        let mut state = self.state.lock();
        let replay = Replay::new(&state.running.plan, entries)?;
        state.reset();
        state.running.plan.seed = seed;
        state.replay = Some(replay);
        Ok(())
    }

    /// How the replay stands, if there is one.
    #[must_use]
    pub fn replay_report(&self) -> Option<Report> {
        self.state.lock().replay.as_ref().map(Replay::report)
    }

    /// Decides by the plan again, and says how the replay went.
    pub fn end_replay(&self) -> Option<Report> {
        self.state.lock().replay.take().map(|replay| replay.report())
    }

    /// How often each rule takes effect; see [`Plan::effective_rates`].
    #[must_use]
    pub fn effective_rates(&self) -> Vec<f64> {
        self.state.lock().running.plan.effective_rates()
    }

    /// Keeps up to so many entries in the journal from now on.
    pub fn keep_journal(&self, capacity: usize) {
        self.state.lock().journal.resize(capacity);
    }

    /// The entries that the journal keeps, oldest first, and how many it keeps no more.
    #[must_use]
    pub fn journal(&self) -> (Vec<Entry>, u64) {
        let state = self.state.lock();
        (state.journal.entries(), state.journal.dropped())
    }

    /// Counts one fault that took effect.
    pub fn count(&self, injected: Injected) {
        let metrics = &mut self.state.lock().metrics;
        let counter = match injected {
            Injected::Failure => &mut metrics.failures_injected,
            Injected::Latency => &mut metrics.latencies_injected,
            Injected::KernelKill => &mut metrics.kernels_killed,
        };
        *counter += 1;
    }

    /// The fault of this kind of the decision with this number took effect: the journal shall say so.
    pub fn done(&self, number: u64, slot: Slot) {
        self.state.lock().journal.done(number, slot);
    }

    /// The counts as they stand.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.state.lock().metrics
    }
}

impl<'a> Request<'a> {
    fn at(self, attempt: u32) -> Ask<'a> {
        Ask { matched: self.matched, attempt, elapsed_ms: self.elapsed_ms, asked: self.asked }
    }
}
