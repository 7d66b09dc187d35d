//! The decision: what happens to one request, as a pure function of the plan and the request's draws.

use super::draw::{self, Draws, Purpose};
use super::plan::{Fault, Plan, Probability, Rule, Selection};

/// Where rules exclude each other, one draw is made for all: under the empty name, which no rule has.
const ALL_RULES: &str = "";

/// What is known of a request when it is decided about.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// A bit for each rule of the plan: whether the request is one of those that the rule is for.
    pub matched: u32,
    /// Which attempt of its key it is, from 0.
    pub attempt: u32,
    /// How long the plan has been armed, in milliseconds.
    pub elapsed_ms: u64,
    /// For each rule, what the caller asked for: it can only lower the probability. Empty if nobody may ask.
    pub asked: &'a [Probability],
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

    /// Where a fault of this kind goes.
    pub(super) fn slot(&mut self, slot: Slot) -> &mut Option<Hit> {
        match slot {
            Slot::Latency => &mut self.latency,
            Slot::Fault => &mut self.fault,
            Slot::Kill => &mut self.kill,
        }
    }
}

/// The kinds of faults of which a request has at most one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It, or its answer, is held.
    Latency,
    /// It is answered with an error, or something is done to its connection or its answer.
    Fault,
    /// A kernel is killed.
    Kill,
}

impl Fault {
    /// Of which kind it is.
    #[must_use]
    pub fn slot(&self) -> Slot {
        match self {
            Self::Latency(_) => Slot::Latency,
            Self::Error(_) | Self::Wire => Slot::Fault,
            Self::KernelKill => Slot::Kill,
        }
    }

    /// Whether this is what would be drawn for it.
    pub(super) fn fits(&self, drawn: Drawn) -> bool {
        matches!(
            (self, drawn),
            (Self::Error(_), Drawn::Status(_))
                | (Self::Latency(_), Drawn::Ms(_))
                | (Self::KernelKill, Drawn::Victim(_))
                | (Self::Wire, Drawn::Cut(_))
        )
    }
}

/// What a rule comes to at one request: it fires, or the first reason why not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It is not for this request.
    NotMatched,
    /// It is for other attempts.
    OtherAttempt,
    /// `first` are over, or `every` is not here yet.
    NotItsTurn,
    /// It is outside of its window.
    OutsideWindow,
    /// The draw did not fire.
    NotDrawn,
    /// A rule before it does something of the same kind.
    Taken,
    /// It has fired `max` times.
    Spent,
    /// It fires, with this.
    Fires(Drawn),
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
    pub fn decide(&self, draws: &Draws, ask: Ask<'_>, gate: &impl Gate) -> Decision {
        self.judge(draws, ask, gate, |_, _| ())
    }

    /// Whether the request whose draws these are belongs to the share of traffic that is never faulted.
    #[must_use]
    pub fn is_control(&self, draws: &Draws) -> bool {
        self.control.fires(draws.draw(ALL_RULES, Purpose::Control))
    }

    /// Decides, and tells the verdict on every rule; on none of them for a request of the control share.
    pub fn judge(
        &self,
        draws: &Draws,
        ask: Ask<'_>,
        gate: &impl Gate,
        mut tell: impl FnMut(usize, Verdict),
    ) -> Decision {
        let mut decision = Decision::default();
        if self.is_control(draws) {
            return decision;
        }
        let mut before = Probability::NEVER;
        for (index, rule) in self.rules.iter().enumerate() {
            let verdict = self.verdict(index, before, &mut decision, draws, ask, gate);
            if let Verdict::Fires(drawn) = verdict {
                *decision.slot(rule.fault.slot()) = Some(Hit { rule: index, drawn });
            }
            if !matches!(verdict, Verdict::NotMatched | Verdict::OtherAttempt) {
                before = before.plus(rule.share());
            }
            tell(index, verdict);
        }
        decision
    }

    fn verdict(
        &self,
        index: usize,
        before: Probability,
        decision: &mut Decision,
        draws: &Draws,
        ask: Ask<'_>,
        gate: &impl Gate,
    ) -> Verdict {
        let rule = &self.rules[index];
        if ask.matched & (1 << index) == 0 {
            return Verdict::NotMatched;
        }
        if !rule.admits(ask.attempt) {
            return Verdict::OtherAttempt;
        }
        if !gate.reaches(index) {
            return Verdict::NotItsTurn;
        }
        if rule.when.window.is_some_and(|window| !window.is_open(ask.elapsed_ms)) {
            return Verdict::OutsideWindow;
        }
        let asked = ask.asked.get(index).copied().unwrap_or(Probability::ALWAYS);
        let probability = rule.probability_at(ask.elapsed_ms).min(asked);
        let fires = match self.selection {
            Selection::Exclusive => probability.fires_after(before, draws.draw(ALL_RULES, Purpose::Fire)),
            Selection::Independent => probability.fires(draws.draw(&rule.name, Purpose::Fire)),
        };
        if !fires {
            return Verdict::NotDrawn;
        }
        if decision.slot(rule.fault.slot()).is_some() {
            return Verdict::Taken;
        }
        if gate.takes(index) { Verdict::Fires(rule.draw(draws)) } else { Verdict::Spent }
    }

    /// How often each rule takes effect at a request that all rules are for, with its ramp at the end: its
    /// probability, less what the control share and the rules before it take away.
    #[must_use]
    pub fn effective_rates(&self) -> Vec<f64> {
        let faulted = 1.0 - self.control.as_f64();
        let rate = |(index, rule): (usize, &Rule)| {
            let before = self.rules[..index].iter().filter(|earlier| earlier.can_meet(rule));
            let own = match self.selection {
                Selection::Exclusive => {
                    let taken = before.fold(Probability::NEVER, |sum, earlier| sum.plus(earlier.share()));
                    taken.plus(rule.probability).as_f64() - taken.as_f64()
                }
                Selection::Independent => before
                    .filter(|earlier| earlier.fault.slot() == rule.fault.slot())
                    .fold(rule.probability.as_f64(), |rate, earlier| {
                        rate * (1.0 - earlier.probability.as_f64())
                    }),
            };
            own * faulted
        };
        self.rules.iter().enumerate().map(rate).collect()
    }
}

impl Rule {
    /// Whether it is for this attempt, which counts from 0.
    fn admits(&self, attempt: u32) -> bool {
        self.when.attempts.is_empty() || self.when.attempts.contains(&attempt.saturating_add(1))
    }

    /// Whether some attempt is one for both.
    fn can_meet(&self, other: &Self) -> bool {
        let (one, other) = (&self.when.attempts, &other.when.attempts);
        one.is_empty() || other.is_empty() || one.iter().any(|attempt| other.contains(attempt))
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
