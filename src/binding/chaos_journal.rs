//! Binding of the journal of [`crate::chaos`], its replay and explanations.

use napi_derive::napi;

use super::chaos::to_js;
use crate::chaos::{
    Drawn, Entry, Explanation, Hit, PlanError, Reason, Recorded, Report, RequestDigest, Slot, Verdict,
};

/// What a journal keeps.
#[napi(object, object_from_js = false)]
pub struct ChaosRecord {
    pub entries: Vec<ChaosEntry>,
    /// How many entries it keeps no more.
    pub dropped: i64,
}

/// One request that was decided about.
#[napi(object)]
pub struct ChaosEntry {
    /// Which decision it is, from 0.
    pub number: i64,
    /// When, in milliseconds since arming.
    pub elapsed_ms: i64,
    /// Its key, digested under the seed: 32 hexadecimal digits.
    pub request: String,
    /// Which attempt of its key, from 1.
    pub attempt: u32,
    /// What happens to it; empty for most.
    pub faults: Vec<ChaosRecorded>,
}

/// One fault of one request. Exactly one of `status`, `ms`, `victim` and `cut` is what was drawn for it.
#[napi(object)]
pub struct ChaosRecorded {
    /// The name of the rule.
    pub rule: String,
    /// The status of an error.
    pub status: Option<u16>,
    /// The length of a delay.
    pub ms: Option<u32>,
    /// The victim of a kill, as a share of the way through the sorted kernels.
    pub victim: Option<f64>,
    /// For a fault of the connection or the answer: where, as a share.
    pub cut: Option<f64>,
    /// Whether it took effect.
    pub done: bool,
}

impl From<&Recorded> for ChaosRecorded {
    fn from(Recorded { rule, drawn, done }: &Recorded) -> Self {
        let mut recorded =
            Self { rule: rule.to_string(), status: None, ms: None, victim: None, cut: None, done: *done };
        match *drawn {
            Drawn::Status(status) => recorded.status = Some(status),
            Drawn::Ms(ms) => recorded.ms = Some(ms),
            Drawn::Victim(share) => recorded.victim = Some(share),
            Drawn::Cut(share) => recorded.cut = Some(share),
        }
        recorded
    }
}

impl TryFrom<ChaosRecorded> for Recorded {
    type Error = PlanError;

    fn try_from(recorded: ChaosRecorded) -> Result<Self, PlanError> {
        let drawn = match (recorded.status, recorded.ms, recorded.victim, recorded.cut) {
            (Some(status), None, None, None) => Drawn::Status(status),
            (None, Some(ms), None, None) => Drawn::Ms(ms),
            (None, None, Some(share), None) => Drawn::Victim(share),
            (None, None, None, Some(share)) => Drawn::Cut(share),
            _ => return Err(PlanError::Journal),
        };
        Ok(Self { rule: recorded.rule.into(), drawn, done: recorded.done })
    }
}

impl From<Entry> for ChaosEntry {
    fn from(entry: Entry) -> Self {
        Self {
            number: to_js(entry.number),
            elapsed_ms: to_js(entry.elapsed_ms),
            request: entry.request.to_hex(),
            attempt: entry.attempt.saturating_add(1),
            faults: entry.faults().map(Into::into).collect(),
        }
    }
}

impl TryFrom<ChaosEntry> for Entry {
    type Error = PlanError;

    fn try_from(entry: ChaosEntry) -> Result<Self, PlanError> {
        let natural = |number| u64::try_from(number).map_err(|_| PlanError::Journal);
        let mut faults = [None, None, None];
        for recorded in entry.faults {
            let recorded = Recorded::try_from(recorded)?;
            let slot = match recorded.drawn {
                Drawn::Ms(_) => Slot::Latency,
                Drawn::Status(_) | Drawn::Cut(_) => Slot::Fault,
                Drawn::Victim(_) => Slot::Kill,
            };
            if faults[slot as usize].replace(recorded).is_some() {
                return Err(PlanError::Journal);
            }
        }
        let [latency, fault, kill] = faults;
        Ok(Self {
            number: natural(entry.number)?,
            elapsed_ms: natural(entry.elapsed_ms)?,
            request: RequestDigest::from_hex(&entry.request).ok_or(PlanError::Journal)?,
            attempt: entry.attempt.checked_sub(1).ok_or(PlanError::Journal)?,
            latency,
            fault,
            kill,
        })
    }
}

/// How a replay went.
#[napi(object, object_from_js = false)]
pub struct ChaosReplayCounts {
    /// Requests that were recorded.
    pub recorded: i64,
    /// Those of them that came again.
    pub replayed: i64,
    /// Requests that came and were not recorded.
    pub unexpected: i64,
}

impl From<Report> for ChaosReplayCounts {
    fn from(report: Report) -> Self {
        Self {
            recorded: to_js(report.recorded),
            replayed: to_js(report.replayed),
            unexpected: to_js(report.unexpected),
        }
    }
}

/// What would be decided about a request, and why.
#[napi(object, object_from_js = false)]
pub struct ChaosExplanation {
    /// Its key, digested under the seed.
    pub request: String,
    /// Which attempt it would be, from 1.
    pub attempt: u32,
    /// The places of the rules that would fire.
    pub fires: Vec<u32>,
    /// By what it is decided.
    pub reason: ChaosReason,
    /// A verdict on each rule, if it is decided by them.
    pub verdicts: Vec<ChaosVerdict>,
}

/// By what a request is decided about.
#[napi(string_enum = "kebab-case")]
pub enum ChaosReason {
    Control,
    Recorded,
    NotRecorded,
    Rules,
}

/// What a rule comes to at one request.
#[napi(string_enum = "kebab-case")]
pub enum ChaosVerdict {
    NotMatched,
    OtherAttempt,
    NotItsTurn,
    OutsideWindow,
    NotDrawn,
    Taken,
    Spent,
    Fires,
}

impl From<Verdict> for ChaosVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::NotMatched => Self::NotMatched,
            Verdict::OtherAttempt => Self::OtherAttempt,
            Verdict::NotItsTurn => Self::NotItsTurn,
            Verdict::OutsideWindow => Self::OutsideWindow,
            Verdict::NotDrawn => Self::NotDrawn,
            Verdict::Taken => Self::Taken,
            Verdict::Spent => Self::Spent,
            Verdict::Fires(_) => Self::Fires,
        }
    }
}

impl From<Explanation> for ChaosExplanation {
    fn from(explanation: Explanation) -> Self {
        let decision = explanation.decision;
        let rule = |hit: Hit| u32::try_from(hit.rule).unwrap_or(u32::MAX);
        let (reason, verdicts) = match explanation.reason {
            Reason::Control => (ChaosReason::Control, Vec::new()),
            Reason::Replay { recorded: true } => (ChaosReason::Recorded, Vec::new()),
            Reason::Replay { recorded: false } => (ChaosReason::NotRecorded, Vec::new()),
            Reason::Rules(verdicts) => (ChaosReason::Rules, verdicts.into_iter().map(Into::into).collect()),
        };
        Self {
            request: explanation.request.to_hex(),
            attempt: explanation.attempt.saturating_add(1),
            fires: [decision.latency, decision.fault, decision.kill]
                .into_iter()
                .flatten()
                .map(rule)
                .collect(),
            reason,
            verdicts,
        }
    }
}
