//! The engine: a plan, the attempts seen so far, and what was done.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::decision::{Ask, Gate};
use super::{Decision, Draws, Ordinals, Plan};

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
#[derive(Debug, Clone, Copy, PartialEq)]
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
    reached: AtomicU64,
    fired: AtomicU64,
}

/// A plan with the counts of its rules.
#[derive(Debug)]
struct Running {
    plan: Plan,
    counts: Vec<RuleCount>,
}

impl Running {
    fn new(plan: Plan) -> Self {
        Self { counts: plan.rules.iter().map(|_| RuleCount::default()).collect(), plan }
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

impl Gate for Running {
    fn reaches(&self, rule: usize) -> bool {
        let ordinal = self.counts[rule].reached.fetch_add(1, Ordering::Relaxed);
        let when = &self.plan.rules[rule].when;
        when.first.is_none_or(|first| ordinal < first)
            && when.every.is_none_or(|every| (ordinal + 1).is_multiple_of(every))
    }

    fn takes(&self, rule: usize) -> bool {
        let max = self.plan.rules[rule].when.max.unwrap_or(u64::MAX);
        let one_more = |fired| (fired < max).then(|| fired + 1);
        self.counts[rule].fired.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

/// Decides about requests under one plan, and counts. Shared freely between threads.
#[derive(Debug)]
pub struct Engine {
    running: RwLock<Running>,
    ordinals: Mutex<Ordinals>,
    requests: AtomicU64,
    failures: AtomicU64,
    latencies: AtomicU64,
    kernel_kills: AtomicU64,
}

impl Engine {
    /// Starts at zero: no attempt seen, nothing counted.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            running: RwLock::new(Running::new(plan)),
            ordinals: Mutex::new(Ordinals::new(REMEMBERED_KEYS)),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            latencies: AtomicU64::new(0),
            kernel_kills: AtomicU64::new(0),
        }
    }

    /// Decides about the next request with this key; `matched` has a bit for each rule that it is for. Every call is
    /// one more attempt of its key, so that a retry can fare better than the request that it repeats.
    pub fn decide(&self, request_key: &str, matched: u32, elapsed_ms: u64) -> Decision {
        let running = self.running.read();
        let plan = &running.plan;
        let request = plan.seed.request(request_key);
        let attempt = self.ordinals.lock().next(request);
        self.requests.fetch_add(1, Ordering::Relaxed);
        plan.decide(&Draws::new(request, attempt), Ask { matched, attempt, elapsed_ms }, &*running)
    }

    /// Decides by another plan from now on. What was counted stays, and so do the attempts of each key under the same
    /// seed, and the counts (`first`, `every`, `max`) of each rule whose name is in both plans.
    pub fn update(&self, plan: Plan) {
        let mut running = self.running.write();
        *running = running.replaced_by(plan);
    }

    /// Starts at zero again, under the same plan: no attempt seen, nothing counted.
    pub fn reset(&self) {
        let mut running = self.running.write();
        running.counts.iter_mut().for_each(|count| *count = RuleCount::default());
        *self.ordinals.lock() = Ordinals::new(REMEMBERED_KEYS);
        for counter in [&self.requests, &self.failures, &self.latencies, &self.kernel_kills] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Counts one fault that took effect.
    pub fn count(&self, injected: Injected) {
        let counter = match injected {
            Injected::Failure => &self.failures,
            Injected::Latency => &self.latencies,
            Injected::KernelKill => &self.kernel_kills,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts as they stand.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics {
            total_requests: self.requests.load(Ordering::Relaxed),
            failures_injected: self.failures.load(Ordering::Relaxed),
            latencies_injected: self.latencies.load(Ordering::Relaxed),
            kernels_killed: self.kernel_kills.load(Ordering::Relaxed),
        }
    }
}
