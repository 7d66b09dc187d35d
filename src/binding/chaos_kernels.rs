//! Binding of [`crate::chaos::KernelKills`].

use napi::{Error, Result, Status};
use napi_derive::napi;

use crate::chaos::{Distribution, KernelKills, PlanError, Probability, Seed};

/// What kernels die by besides requests.
#[napi(object)]
pub struct ChaosKernelKillPlan {
    pub seed: String,
    pub gaps: Option<ChaosKernelKillGaps>,
    /// The share of the boundaries of checkpoints at which one dies.
    pub at_checkpoints: f64,
}

#[napi(object)]
#[allow(clippy::struct_field_names, reason = "the unit is part of a number's name")]
pub struct ChaosKernelKillGaps {
    pub min_ms: f64,
    pub mean_ms: f64,
}

/// One kill by time.
#[napi(object, object_from_js = false)]
pub struct ChaosTimedKill {
    /// How long after the one before it, in milliseconds.
    pub after_ms: u32,
    /// Which of the sorted kernels, as a share from 0 to below 1.
    pub victim: f64,
}

/// Draws the kernel kills that no request asks for.
#[napi]
pub struct ChaosKernelKills {
    kills: KernelKills,
}

#[napi]
impl ChaosKernelKills {
    /// Fails for a plan that the wrapper should have refused.
    #[napi(constructor, catch_unwind)]
    pub fn new(plan: ChaosKernelKillPlan) -> Result<Self> {
        let invalid = |error: PlanError| Error::new(Status::InvalidArg, error.to_string());
        let law = |gaps: ChaosKernelKillGaps| Distribution::exponential(gaps.min_ms, gaps.mean_ms);
        let gaps = plan.gaps.map(law).transpose().map_err(invalid)?;
        let at_checkpoints = Probability::new(plan.at_checkpoints).map_err(invalid)?;
        Ok(Self { kills: KernelKills::new(Seed::from_text(&plan.seed), gaps, at_checkpoints) })
    }

    /// The nth kill by time, from 0; null without gaps.
    #[napi(catch_unwind)]
    pub fn timed(&self, n: u32) -> Option<ChaosTimedKill> {
        self.kills.timed(n).map(|kill| ChaosTimedKill { after_ms: kill.after_ms, victim: kill.victim })
    }

    /// Which of the sorted kernels dies at this boundary, as a share; null where none does.
    #[napi(catch_unwind)]
    #[allow(clippy::needless_pass_by_value, reason = "napi hands texts over by value")]
    pub fn at_checkpoint(&self, task_id: String, point: String, sequence: u32) -> Option<f64> {
        self.kills.at_checkpoint(&task_id, &point, sequence)
    }
}
