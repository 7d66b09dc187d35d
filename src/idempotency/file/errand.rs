//! What requests ask of the store: claims, and their ends. A process writes them by itself, or has them written by the one
//! that leads (`leader`).
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::error::FileStoreError;
use super::holds::Session;
use super::ledger::{ClaimName, Ledger};
use super::pending::Reply;
use super::queue::{Step, Told};
use super::strays::Strays;
use super::time::Ms;
use crate::idempotency::{Claim, Outcome, Settlement, Written};

/// A claim, or its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Errand {
    Claim(Claim),
    Settle { name: ClaimName, settlement: Settlement, retention: Ms },
}

/// What became of an errand.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    Claimed(Outcome),
    Settled(Written),
}

/// Whether an errand may have been done before.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    First,
    /// Another process may have done it without saying so, or may even be doing it.
    Again(Arc<Strays>),
}

impl Errand {
    /// Bytes that it carries.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Settle { settlement: Settlement::Complete(answer), .. } => answer.size(),
            _ => 0,
        }
    }

    pub fn run(&self, ledger: &mut Ledger<'_>) -> rusqlite::Result<Report> {
        Ok(match self {
            Self::Claim(claim) => Report::Claimed(ledger.claim(claim)?),
            Self::Settle { name, settlement, retention } => {
                Report::Settled(ledger.settle(name, settlement.clone(), *retention)?)
            }
        })
    }

    /// Runs it where it may have been done before.
    fn run_again(&self, ledger: &mut Ledger<'_>) -> rusqlite::Result<Report> {
        // A claim can be repeated by its owner as it is.
        let Self::Settle { name, settlement, .. } = self else { return self.run(ledger) };
        // Who did it may not have come to tell those who wait.
        ledger.tell_all(name.key);
        Ok(match (settlement, self.run(ledger)?) {
            // What is no longer claimed is released.
            (Settlement::Release, Report::Settled(Written::Lost)) => Report::Settled(Written::Done),
            (_, Report::Settled(Written::Lost)) if ledger.has_settled(name, settlement)? => {
                Report::Settled(Written::Done)
            }
            (_, report) => report,
        })
    }

    /// When its report may be told.
    pub fn told(&self, report: &Report) -> Told {
        match (self, report) {
            // A claim that was granted binds nobody but the process that made it; what is replayed must not be undone.
            (_, Report::Claimed(Outcome::Claimed { .. } | Outcome::InProgress { .. } | Outcome::Full))
            // Undone, a release leaves the claim of a process that is gone, which is as free.
            | (Self::Settle { settlement: Settlement::Release, .. }, _) => Told::Committed,
            _ => Told::Synced,
        }
    }
}

/// An errand of this process, and who waits for its report.
#[derive(Debug)]
pub(super) struct Asked {
    pub errand: Errand,
    pub attempt: Attempt,
    pub reply: To,
    pub report: Option<Report>,
}

/// Who waits.
#[derive(Debug)]
pub(super) enum To {
    Claimant(Reply<Outcome>, Option<Hold>),
    Owner(Reply<Written>),
}

/// For how long the store itself keeps up a claim that is granted, and for whom.
#[derive(Debug)]
pub(super) struct Hold {
    pub core: Arc<Core>,
    pub session: Session,
    pub time: Duration,
}

impl Asked {
    /// Whether a report is one on such an errand.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no process leads there"))]
    pub fn is_answered_by(&self, report: &Report) -> bool {
        matches!(
            (&self.errand, report),
            (Errand::Claim(_), Report::Claimed(_)) | (Errand::Settle { .. }, Report::Settled(_))
        )
    }

    /// Leaves the report; who waits for it is to be woken.
    pub fn tell(self, end: Result<Report, FileStoreError>) -> Option<Waker> {
        let Self { errand, attempt, reply, .. } = self;
        if let (Errand::Claim(claim), Attempt::Again(strays), Err(_)) = (&errand, &attempt, &end) {
            strays.add(claim.request.key, claim.owner);
        }
        match (reply, end) {
            (To::Claimant(reply, hold), Ok(Report::Claimed(outcome))) => {
                if let (Errand::Claim(claim), Outcome::Claimed { fence, .. }, Some(hold)) =
                    (errand, &outcome, hold)
                {
                    let name = ClaimName { key: claim.request.key, owner: claim.owner, fence: *fence };
                    hold.core.holds.add(name, hold.session, claim.lease, hold.time);
                }
                reply.send(Ok(outcome))
            }
            (To::Owner(reply), Ok(Report::Settled(written))) => reply.send(Ok(written)),
            (To::Claimant(reply, _), end) => reply.send(Err(end.err().unwrap_or(FileStoreError::Closed))),
            (To::Owner(reply), end) => reply.send(Err(end.err().unwrap_or(FileStoreError::Closed))),
        }
    }
}

impl Step for Asked {
    fn run(&mut self, ledger: &mut Ledger<'_>) -> rusqlite::Result<()> {
        self.report = Some(match self.attempt {
            Attempt::First => self.errand.run(ledger)?,
            Attempt::Again(_) => self.errand.run_again(ledger)?,
        });
        Ok(())
    }

    fn told(&self) -> Told {
        self.report.as_ref().map_or(Told::Synced, |report| self.errand.told(report))
    }

    fn answer(mut self: Box<Self>, end: Result<(), FileStoreError>) -> Option<Waker> {
        let report = self.report.take();
        self.tell(end.and_then(|()| report.ok_or(FileStoreError::Closed)))
    }
}
