//! What operators ask of the records, within one transaction.
#![forbid(unsafe_code)]

use std::time::Duration;

use rusqlite::Result;

use super::ledger::{Ledger, RECORD_OVERHEAD, Standing};
use super::rows::{Found, State};
use super::time::{Ms, left};
use crate::idempotency::{Digest, Settlement, Written};

/// How many rows one page of a list reads: few enough to hold nobody up.
const PAGE: i64 = 500;

/// Some records, and where the next ones begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records; free ones are left out.
    pub records: Vec<Listed>,
    /// What to ask for next; `None` at the end.
    pub next: Option<i64>,
}

/// A record in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: Digest,
    /// What it is.
    pub state: ListedState,
    /// The fence of the claim that it is or comes from.
    pub fence: u64,
    /// What is left of the lease, or until it is forgotten.
    pub left: Duration,
    /// Bytes of its answer, or of the progress of an ended claim.
    pub bytes: u64,
}

/// The state of a record in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedState {
    /// Claimed, by an owner that lives.
    InProgress,
    /// Answered.
    Completed,
    /// Ran, without an answer that was kept.
    NotReplayable,
    /// Nobody knows whether it ran.
    Indeterminate,
}

impl Ledger<'_> {
    /// The records from that number on; `i64::MIN` for the first ones.
    pub fn list(&mut self, from: i64) -> Result<Page> {
        let rows = self.rows.from(from, PAGE)?;
        let is_full = i64::try_from(rows.len()).unwrap_or(PAGE) == PAGE;
        let next = rows.last().filter(|_| is_full).map(|row| row.id + 1);
        let records = rows.into_iter().filter_map(|row| {
            let expires_in = left(row.expires_at, self.now.date);
            let (state, remaining) = match self.standing(&row) {
                Standing::Vacant => return None,
                Standing::Claimed { lease_left } => (ListedState::InProgress, left(lease_left, 0)),
                Standing::Completed => (ListedState::Completed, expires_in),
                Standing::NotReplayable => (ListedState::NotReplayable, expires_in),
                Standing::Indeterminate => (ListedState::Indeterminate, expires_in),
            };
            let bytes = u64::try_from(row.bytes).unwrap_or(0).saturating_sub(RECORD_OVERHEAD as u64);
            Some(Listed { key: row.request.key, state, fence: row.fence, left: remaining, bytes })
        });
        Ok(Page { records: records.collect(), next })
    }

    /// Ends an indeterminate record as its owner would have ended its claim; `Lost` if it is none.
    pub fn resolve(&mut self, key: &Digest, settlement: Settlement, retention: Ms) -> Result<Written> {
        let Found::Row(mut row) = self.rows.find(key)? else { return Ok(Written::Lost) };
        if self.standing(&row) != Standing::Indeterminate {
            return Ok(Written::Lost);
        }
        row.committed = false;
        if row.state == State::Claimed {
            // Its owner has lost it before it ends.
            self.end(&mut row, State::Indeterminate, None)?;
        }
        self.settle_row(*row, settlement, retention)?;
        Ok(Written::Done)
    }
}
