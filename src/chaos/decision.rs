//! The decision: what happens to one request, as a pure function of the plan and the request's draws.

use super::draw::{self, Draws, Purpose};
use super::plan::{Fault, Plan, Probability, Rule, Selection};

/// Where rules exclude each other, one draw is made for all: under the empty name, which no rule has.
const ALL_RULES: &str = "";

/// What is known of a request when it is decided about.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// A bit for each rule of the plan: whether the request is one of those that the rule is for.
    pub matched: u32,
    /// Which attempt of its key it is, from 0.
    pub attempt: u32,
    /// How long the plan has been armed, in milliseconds.
    pub elapsed_ms: u64,
}

/// One fault of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Which rule of the plan.
    pub rule: usize,
    /// What was drawn for it.
    pub drawn: Drawn,
}

/// What was drawn for a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drawn {
    /// The status of an error.
    Status(u16),
    /// The length of a delay, in milliseconds.
    Ms(u32),
    /// The victim of a kill: this share of the way through the sorted ids, from 0 to below 1.
    Victim(f64),
    /// Where an answer is cut, as a share from 0 to below 1.
    Cut(f64),
}

/// What happens to one request; nothing, most of the time. At most one fault of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Decision {
    /// It is held first, or its answer is.
    pub latency: Option<Hit>,
    /// It is answered with an error, or something is done to its connection or the bytes of its answer.
    pub fault: Option<Hit>,
    /// A kernel is killed.
    pub kill: Option<Hit>,
}

impl Decision {
    /// Whether nothing happens.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a fault of this kind can still be added.
    fn slot(&mut self, fault: &Fault) -> &mut Option<Hit> {
        match fault {
            Fault::Latency(_) => &mut self.latency,
            Fault::Error(_) | Fault::Wire => &mut self.fault,
            Fault::KernelKill => &mut self.kill,
        }
    }
}

/// Counts what depends on the order of requests. `()` lets everything pass: what is left is a pure function.
pub trait Gate {
    /// One more request that this rule is for; whether it may fire at it.
    fn reaches(&self, rule: usize) -> bool;
    /// The rule is about to fire; whether it still may.
    fn takes(&self, rule: usize) -> bool;
}

impl Gate for () {
    fn reaches(&self, _: usize) -> bool {
        true
    }

    fn takes(&self, _: usize) -> bool {
        true
    }
}

impl Plan {
    /// Decides about the request whose draws these are.
    #[must_use]
    pub fn decide(&self, draws: &Draws, ask: Ask, gate: &impl Gate) -> Decision {
        let mut decision = Decision::default();
        let mut before = Probability::NEVER;
        for (index, rule) in self.rules.iter().enumerate() {
            if ask.matched & (1 << index) == 0 || !rule.admits(ask.attempt) {
                continue;
            }
            let reached = gate.reaches(index);
            let fires = self.fires(rule, before, draws, ask.elapsed_ms);
            before = before.plus(rule.share());
            if reached && fires && decision.slot(&rule.fault).is_none() && gate.takes(index) {
                *decision.slot(&rule.fault) = Some(Hit { rule: index, drawn: rule.draw(draws) });
            }
        }
        decision
    }

    /// Whether the draw of a rule fires, with `before` taken by the rules before it.
    pub(super) fn fires(&self, rule: &Rule, before: Probability, draws: &Draws, elapsed_ms: u64) -> bool {
        let probability = rule.probability_at(elapsed_ms);
        if probability == Probability::NEVER
            || rule.when.window.is_some_and(|window| !window.is_open(elapsed_ms))
        {
            return false;
        }
        match self.selection {
            Selection::Exclusive => probability.fires_after(before, draws.draw(ALL_RULES, Purpose::Fire)),
            Selection::Independent => probability.fires(draws.draw(&rule.name, Purpose::Fire)),
        }
    }
}

impl Rule {
    /// Whether it is for this attempt, which counts from 0.
    pub(super) fn admits(&self, attempt: u32) -> bool {
        self.when.attempts.is_empty() || self.when.attempts.contains(&attempt.saturating_add(1))
    }

    fn draw(&self, draws: &Draws) -> Drawn {
        let draw = |purpose| draws.draw(&self.name, purpose);
        match &self.fault {
            Fault::Error(statuses) => Drawn::Status(statuses.at(draw(Purpose::Status))),
            Fault::Latency(law) => Drawn::Ms(law.at(draw(Purpose::Latency))),
            Fault::KernelKill => Drawn::Victim(draw::unit(draw(Purpose::Victim))),
            Fault::Wire => Drawn::Cut(draw::unit(draw(Purpose::Cut))),
        }
    }
}
