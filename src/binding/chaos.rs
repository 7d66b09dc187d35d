//! Binding of [`crate::chaos`].

use std::sync::Arc;

use napi::bindgen_prelude::{FnArgs, Function};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;

use super::chaos_journal::{ChaosEntry, ChaosExplanation, ChaosRecord, ChaosReplayCounts};
use super::text::Room;
use crate::chaos::{
    Decided, Decision, Distribution, Drawn, Engine, Entry, Fault, Hit, Injected, Plan, PlanError,
    Probability, Ramp, Request, Rule, Seed, Selection, Slot, Statuses, When, Window,
};

/// What an engine decides by.
#[napi(object)]
pub struct ChaosPlan {
    pub seed: String,
    /// Whether one draw picks at most one rule; else each rule is drawn by itself.
    pub exclusive: bool,
    /// The share of requests that no rule is for.
    pub control_share: f64,
    pub rules: Vec<ChaosPlanRule>,
}

/// One rule. Exactly one of `statuses`, `latency` and `kernelKill` says what is drawn for it; none for a fault of the
/// connection or the answer.
#[napi(object)]
pub struct ChaosPlanRule {
    pub name: String,
    pub probability: f64,
    /// Statuses of an error, in pairs of status and weight.
    pub statuses: Option<Vec<u32>>,
    pub latency: Option<ChaosLatency>,
    pub kernel_kill: bool,
    pub first: Option<u32>,
    pub every: Option<u32>,
    /// From 1.
    pub attempts: Option<Vec<u32>>,
    pub max: Option<u32>,
    /// The probability when armed, and how many milliseconds it takes from there to `probability`.
    pub ramp: Option<ChaosRamp>,
    pub window: Option<ChaosWindow>,
}

/// A law of delays and its parameters, in the order of the functions of `chaos::Distribution`.
#[napi(object)]
pub struct ChaosLatency {
    pub law: String,
    pub parameters: Vec<f64>,
    pub max_ms: u32,
}

#[napi(object)]
pub struct ChaosRamp {
    pub from: f64,
    pub over_ms: u32,
}

#[napi(object)]
#[allow(clippy::struct_field_names, reason = "the unit is part of a number's name")]
pub struct ChaosWindow {
    pub from_ms: u32,
    pub for_ms: u32,
    pub every_ms: Option<u32>,
}

impl TryFrom<ChaosPlan> for Plan {
    type Error = PlanError;

    fn try_from(plan: ChaosPlan) -> std::result::Result<Self, PlanError> {
        let selection = if plan.exclusive { Selection::Exclusive } else { Selection::Independent };
        let rules = plan.rules.into_iter().map(Rule::try_from).collect::<std::result::Result<_, _>>()?;
        let control = Probability::new(plan.control_share)?;
        Ok(Self { control, ..Self::new(Seed::from_text(&plan.seed), selection, rules)? })
    }
}

impl TryFrom<ChaosPlanRule> for Rule {
    type Error = PlanError;

    fn try_from(rule: ChaosPlanRule) -> std::result::Result<Self, PlanError> {
        let ramp = |ramp: ChaosRamp| {
            Ok(Ramp { from: Probability::new(ramp.from)?, over_ms: u64::from(ramp.over_ms) })
        };
        let window = |window: ChaosWindow| {
            Window::new(u64::from(window.from_ms), u64::from(window.for_ms), window.every_ms.map(u64::from))
        };
        let when = When {
            first: rule.first.map(u64::from),
            every: rule.every.map(u64::from),
            attempts: rule.attempts.unwrap_or_default(),
            ramp: rule.ramp.map(ramp).transpose()?,
            window: rule.window.map(window).transpose()?,
            max: rule.max.map(u64::from),
        };
        let fault = match (rule.statuses, rule.latency, rule.kernel_kill) {
            (Some(pairs), ..) => {
                let status = |pair: &[u32]| (u16::try_from(pair[0]).unwrap_or(0), pair[1]);
                Fault::Error(Statuses::new(
                    pairs.as_chunks::<2>().0.iter().map(|pair| status(pair)).collect(),
                )?)
            }
            (None, Some(latency), _) => Fault::Latency(distribution(&latency)?),
            (None, None, true) => Fault::KernelKill,
            (None, None, false) => Fault::Wire,
        };
        Ok(Self { name: rule.name, fault, probability: Probability::new(rule.probability)?, when })
    }
}

fn distribution(latency: &ChaosLatency) -> std::result::Result<Distribution, PlanError> {
    let max_ms = latency.max_ms;
    match (latency.law.as_str(), latency.parameters.as_slice()) {
        ("uniform", &[min_ms]) => Distribution::uniform(whole(min_ms), max_ms),
        ("normal", &[mean_ms, deviation_ms]) => Distribution::normal(mean_ms, deviation_ms, max_ms),
        ("lognormal", &[median_ms, sigma]) => Distribution::log_normal(median_ms, sigma, max_ms),
        ("pareto", &[min_ms, alpha]) => Distribution::pareto(min_ms, alpha, max_ms),
        ("percentiles", pairs) => {
            Distribution::percentiles(pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
        }
        _ => Err(PlanError::Distribution("unknown")),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked by the wrapper; else refused"
)]
fn whole(ms: f64) -> u32 {
    ms as u32
}

/// One fault of one request.
#[napi(object, object_from_js = false)]
pub struct ChaosHit {
    /// The place of the rule in the plan.
    pub rule: u32,
    /// A status, a delay in milliseconds, or for a kill or a cut a share from 0 to below 1.
    pub drawn: f64,
}

impl From<Hit> for ChaosHit {
    fn from(Hit { rule, drawn }: Hit) -> Self {
        let drawn = match drawn {
            Drawn::Status(status) => f64::from(status),
            Drawn::Ms(ms) => f64::from(ms),
            Drawn::Victim(share) | Drawn::Cut(share) => share,
        };
        Self { rule: u32::try_from(rule).unwrap_or(u32::MAX), drawn }
    }
}

/// What happens to one request; an absent field is a fault that it does not get.
#[napi(object, object_from_js = false)]
pub struct ChaosDecision {
    /// Hold it, or its answer.
    pub latency: Option<ChaosHit>,
    /// Answer with an error, or break the connection or the answer.
    pub fault: Option<ChaosHit>,
    /// Kill a kernel.
    pub kill: Option<ChaosHit>,
    /// Which decision it is: what `done` is told.
    pub number: i64,
}

impl From<Decided> for ChaosDecision {
    fn from(Decided { decision: Decision { latency, fault, kill }, number }: Decided) -> Self {
        Self {
            latency: latency.map(Into::into),
            fault: fault.map(Into::into),
            kill: kill.map(Into::into),
            number: to_js(number),
        }
    }
}

/// The field of a decision that a fault is in.
#[napi(string_enum = "kebab-case")]
#[derive(Clone, Copy)]
pub enum ChaosSlot {
    Latency,
    Fault,
    Kill,
}

/// What is counted when it was done.
#[napi(string_enum = "kebab-case")]
#[derive(Clone, Copy)]
pub enum ChaosInjected {
    Failure,
    Latency,
    KernelKill,
}

/// What has happened so far.
#[napi(object, object_from_js = false)]
pub struct ChaosMetrics {
    /// Requests that the engine decided about; excluded ones are not among them.
    pub total_requests: i64,
    /// Requests that were answered with an injected error.
    pub failures_injected: i64,
    /// Requests that were held for an injected delay.
    pub latencies_injected: i64,
    /// Kernels that were killed: the kill was called, and neither threw, rejected nor returned false.
    pub kernels_killed: i64,
    /// `failuresInjected / totalRequests`, 0 before the first request.
    pub failure_rate: f64,
    /// `latenciesInjected / totalRequests`, 0 before the first request.
    pub latency_rate: f64,
}

/// Decides about requests, and counts.
#[napi]
pub struct ChaosEngine {
    engine: Arc<Engine>,
}

#[napi]
impl ChaosEngine {
    /// Fails for a plan that the wrapper should have refused.
    #[napi(constructor, catch_unwind)]
    pub fn new(plan: ChaosPlan) -> Result<Self> {
        Ok(Self { engine: Arc::new(Engine::new(checked(plan)?)) })
    }

    /// The call for every request, as a closure: (request key, a bit for each rule that it is for, milliseconds since
    /// arming, for each rule the probability that the caller asks for) to the decision, null for the many requests to
    /// which nothing happens. Take it once.
    #[napi(catch_unwind)]
    #[allow(clippy::type_complexity, reason = "napi writes the type for TypeScript from this one")]
    pub fn decider<'env>(
        &self,
        env: &'env Env,
    ) -> Result<Function<'env, FnArgs<(String, u32, f64, Option<Vec<f64>>)>, Option<ChaosDecision>>> {
        let engine = Arc::clone(&self.engine);
        env.create_function_from_closure("decide", move |call| {
            let mut room = Room::new();
            let key = room.reader().text(call.get(0)?)?;
            let asked = asked(call.get(3)?);
            let request = Request {
                key: key.or_empty(),
                matched: call.get(1)?,
                elapsed_ms: whole_ms(call.get(2)?),
                asked: &asked,
            };
            let decided = engine.decide(request);
            Ok((!decided.decision.is_nothing()).then(|| decided.into()))
        })
    }

    /// What the decider would decide now, and why; nothing is counted.
    #[napi(catch_unwind)]
    #[allow(clippy::needless_pass_by_value, reason = "napi hands texts over by value")]
    pub fn explain(
        &self,
        request_key: String,
        matched: u32,
        elapsed_ms: f64,
        for_each_rule: Option<Vec<f64>>,
    ) -> ChaosExplanation {
        let asked = asked(for_each_rule);
        let elapsed_ms = whole_ms(elapsed_ms);
        let request = Request { key: &request_key, matched, elapsed_ms, asked: &asked };
        self.engine.explain(request).into()
    }

    /// Keeps up to so many entries in the journal from now on.
    #[napi(catch_unwind)]
    pub fn keep_journal(&self, entries: u32) {
        self.engine.keep_journal(entries as usize);
    }

    /// What the journal keeps.
    #[napi(catch_unwind)]
    pub fn journal(&self) -> ChaosRecord {
        let (entries, dropped) = self.engine.journal();
        ChaosRecord { entries: entries.into_iter().map(Into::into).collect(), dropped: to_js(dropped) }
    }

    /// Starts at zero under this seed, and forces these faults upon the requests that they were recorded of. Fails, with nothing
    /// changed, if a rule is not there or does something else, or an entry cannot be read.
    #[napi(catch_unwind)]
    #[allow(clippy::needless_pass_by_value, reason = "napi hands texts over by value")]
    pub fn replay(&self, seed: String, entries: Vec<ChaosEntry>) -> Result<()> {
        let entries = entries.into_iter().map(Entry::try_from).collect::<std::result::Result<Vec<_>, _>>();
        let replayed = entries.and_then(|entries| self.engine.replay(Seed::from_text(&seed), &entries));
        replayed.map_err(|error| Error::new(Status::InvalidArg, error.to_string()))
    }

    /// How the replay stands; null without one.
    #[napi(catch_unwind)]
    pub fn replay_report(&self) -> Option<ChaosReplayCounts> {
        self.engine.replay_report().map(Into::into)
    }

    /// Decides by the plan again, and says how the replay went; null without one.
    #[napi(catch_unwind)]
    pub fn end_replay(&self) -> Option<ChaosReplayCounts> {
        self.engine.end_replay().map(Into::into)
    }

    /// How often each rule takes effect at a request that all of them are for.
    #[napi(catch_unwind)]
    pub fn effective_rates(&self) -> Vec<f64> {
        self.engine.effective_rates()
    }

    /// Decides by another plan from now on; counts, attempts under the same seed, and the counts of rules of the same
    /// name stay. Fails, with nothing changed, for a plan that the wrapper should have refused.
    #[napi(catch_unwind)]
    pub fn update(&self, plan: ChaosPlan) -> Result<()> {
        self.engine.update(checked(plan)?);
        Ok(())
    }

    /// Starts at zero again, under the same plan: no attempt seen, nothing counted.
    #[napi(catch_unwind)]
    pub fn reset(&self) {
        self.engine.reset();
    }

    /// Counts one fault that took effect.
    #[napi(catch_unwind)]
    pub fn count(&self, injected: ChaosInjected) {
        self.engine.count(match injected {
            ChaosInjected::Failure => Injected::Failure,
            ChaosInjected::Latency => Injected::Latency,
            ChaosInjected::KernelKill => Injected::KernelKill,
        });
    }

    /// The fault of this kind of the decision with this number took effect.
    #[napi(catch_unwind)]
    pub fn done(&self, number: i64, slot: ChaosSlot) {
        let slot = match slot {
            ChaosSlot::Latency => Slot::Latency,
            ChaosSlot::Fault => Slot::Fault,
            ChaosSlot::Kill => Slot::Kill,
        };
        if let Ok(number) = u64::try_from(number) {
            self.engine.done(number, slot);
        }
    }

    /// The counts as they stand.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> ChaosMetrics {
        let metrics = self.engine.metrics();
        ChaosMetrics {
            total_requests: to_js(metrics.total_requests),
            failures_injected: to_js(metrics.failures_injected),
            latencies_injected: to_js(metrics.latencies_injected),
            kernels_killed: to_js(metrics.kernels_killed),
            failure_rate: metrics.failure_rate(),
            latency_rate: metrics.latency_rate(),
        }
    }
}

fn checked(plan: ChaosPlan) -> Result<Plan> {
    Plan::try_from(plan).map_err(|error| Error::new(Status::InvalidArg, error.to_string()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates at 0")]
fn whole_ms(elapsed_ms: f64) -> u64 {
    elapsed_ms as u64
}

/// What is no probability asks for nothing.
fn asked(for_each_rule: Option<Vec<f64>>) -> Vec<Probability> {
    let probability = |p| Probability::new(p).unwrap_or(Probability::NEVER);
    for_each_rule.into_iter().flatten().map(probability).collect()
}

pub(super) fn to_js(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
