//! Binding of [`crate::chaos`].

use std::sync::Arc;

use napi::bindgen_prelude::{FnArgs, Function};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;

use crate::chaos::{Decision, Engine, Injected, LatencyRange, Plan, PlanError, Probability, Rates, Seed};

/// What an engine decides by. Probabilities are from 0 to 1; the latency is uniform, both ends included.
#[napi(object)]
pub struct ChaosPlan {
    pub seed: String,
    pub failure_probability: f64,
    pub latency_probability: f64,
    pub latency_min_ms: u32,
    pub latency_max_ms: u32,
    pub kernel_kill_probability: f64,
}

impl TryFrom<ChaosPlan> for Plan {
    type Error = PlanError;

    fn try_from(plan: ChaosPlan) -> std::result::Result<Self, PlanError> {
        let rates = Rates {
            failure: Probability::new(plan.failure_probability)?,
            latency: Probability::new(plan.latency_probability)?,
            latency_range: LatencyRange::new(plan.latency_min_ms, plan.latency_max_ms)?,
            kernel_kill: Probability::new(plan.kernel_kill_probability)?,
        };
        Ok(Self::from_rates(Seed::from_text(&plan.seed), rates))
    }
}

/// What happens to one request; an absent field is a fault that it does not get.
#[napi(object, object_from_js = false)]
pub struct ChaosDecision {
    /// Hold it for so long first.
    pub latency_ms: Option<u32>,
    /// Answer with this status instead of running the handler.
    pub status: Option<u16>,
    /// Kill the kernel with this place among the sorted ids.
    pub victim: Option<u32>,
}

impl From<Decision> for ChaosDecision {
    fn from(Decision { latency_ms, status, victim }: Decision) -> Self {
        Self { latency_ms, status, victim }
    }
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
        let plan = Plan::try_from(plan).map_err(|error| Error::new(Status::InvalidArg, error.to_string()))?;
        Ok(Self { engine: Arc::new(Engine::new(plan)) })
    }

    /// The call for every request, as a closure: (request key, kernels registered) to the decision, null for the
    /// many requests to which nothing happens. Take it once.
    #[napi(catch_unwind)]
    #[allow(clippy::type_complexity, reason = "napi writes the type for TypeScript from this one")]
    pub fn decider<'env>(
        &self,
        env: &'env Env,
    ) -> Result<Function<'env, FnArgs<(String, u32)>, Option<ChaosDecision>>> {
        let engine = Arc::clone(&self.engine);
        env.create_function_from_closure("decide", move |call| {
            let request_key: String = call.get(0)?;
            let decision = engine.decide(&request_key, call.get(1)?);
            Ok((decision != Decision::default()).then(|| decision.into()))
        })
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

    /// The counts as they stand.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> ChaosMetrics {
        let metrics = self.engine.metrics();
        ChaosMetrics {
            total_requests: number(metrics.total_requests),
            failures_injected: number(metrics.failures_injected),
            latencies_injected: number(metrics.latencies_injected),
            kernels_killed: number(metrics.kernels_killed),
            failure_rate: metrics.failure_rate(),
            latency_rate: metrics.latency_rate(),
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
