//! The replay: a recorded run forced upon the same requests, whatever the rates are.

use std::collections::HashMap;

use super::decision::{Decision, Hit};
use super::draw::RequestDigest;
use super::journal::{Entry, Recorded};
use super::plan::{Plan, PlanError};

/// How far a replay has come, and where it differs from what was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that were recorded.
    pub recorded: u64,
    /// Those of them that came again.
    pub replayed: u64,
    /// Requests that came and were not recorded: nothing happens to them.
    pub unexpected: u64,
}

/// A recorded run.
#[derive(Debug)]
pub struct Replay {
    decisions: HashMap<(RequestDigest, u32), Decision>,
    report: Report,
}

impl Replay {
    /// The run that these entries are of. The rules are those of this plan, by name.
    ///
    /// # Errors
    ///
    /// [`PlanError::Journal`] if a rule is not there, or does another kind of fault than was recorded, or the same
    /// attempt of a request is there twice.
    pub fn new(plan: &Plan, entries: &[Entry]) -> Result<Self, PlanError> {
        let hit = |recorded: &Recorded| {
            let rule = plan.rules.iter().position(|rule| *rule.name == *recorded.rule);
            match rule {
                Some(rule) if plan.rules[rule].fault.fits(recorded.drawn) => {
                    Ok(Hit { rule, drawn: recorded.drawn })
                }
                _ => Err(PlanError::Journal),
            }
        };
        let mut decisions = HashMap::with_capacity(entries.len());
        for entry in entries {
            let mut decision = Decision::default();
            for recorded in entry.faults() {
                let hit = hit(recorded)?;
                let slot = decision.slot(plan.rules[hit.rule].fault.slot());
                if slot.replace(hit).is_some() {
                    return Err(PlanError::Journal);
                }
            }
            if decisions.insert((entry.request, entry.attempt), decision).is_some() {
                return Err(PlanError::Journal);
            }
        }
        let report = Report { recorded: decisions.len() as u64, ..Report::default() };
        Ok(Self { decisions, report })
    }

    /// What was recorded for this attempt of this request; nothing, and a divergence, if it was not.
    pub fn decide(&mut self, request: RequestDigest, attempt: u32) -> Decision {
        let Some(decision) = self.decisions.remove(&(request, attempt)) else {
            self.report.unexpected += 1;
            return Decision::default();
        };
        self.report.replayed += 1;
        decision
    }

    /// What would be decided, without a trace.
    #[must_use]
    pub fn peek(&self, request: RequestDigest, attempt: u32) -> Option<Decision> {
        self.decisions.get(&(request, attempt)).copied()
    }

    /// How far it has come.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report
    }
}
