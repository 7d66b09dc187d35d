//! What happens to records, within one transaction.
#![forbid(unsafe_code)]

use rusqlite::Result;

use super::owners::{Owners, Process};
use super::rows::{Found, Row, Rows, State, Totals};
use super::time::{Ms, Now, left, ms};
use crate::idempotency::{
    Answer, Claim, Differs, Digest, Inspection, Limits, Outcome, Owner, Progress, Settlement, Written,
};

/// Bytes that a record costs beside its answer.
pub(super) const RECORD_OVERHEAD: usize = 512;

/// How long a claim whose owner lives stays as it is when its lease has run out and nobody asks for its key: an owner
/// that was held up, and its host asleep, may yet complete it.
const GRACE: Ms = 60_000;

/// How many records one step of tidying up looks at: few enough to hold nobody up.
const BATCH: i64 = 200;

/// The records of a store, in one transaction, at one moment.
pub(super) struct Ledger<'a> {
    pub rows: Rows<'a>,
    pub now: Now,
    owners: Owners<'a>,
    terms: Terms,
    totals: Totals,
    kept_totals: Totals,
    ended: Vec<Ended>,
    /// The number of the last record that was made.
    last_record: Option<i64>,
    /// The date and the number of the last ending: those of one moment mostly expire at one moment, too.
    last_ending: Option<(Ms, i64)>,
}

/// On which terms there are claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Which process it is that claims.
    pub process: Process,
    pub limits: Limits,
    /// Whether the journal has room for what new claims will write.
    pub has_room: bool,
}

/// A claim that has ended, if the transaction commits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub key: Digest,
    /// Whether other processes have to be told.
    pub waited: bool,
}

/// What a record is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Vacant,
    Claimed { lease_left: Ms },
    Completed,
    NotReplayable,
    Indeterminate,
}

/// A claim that can be waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub process: Process,
    pub fence: u64,
    pub lease_left: Ms,
}

/// Names a claim, in every write that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimName {
    /// The key that it is on.
    pub key: Digest,
    /// Who holds it.
    pub owner: Owner,
    /// Its fence.
    pub fence: u64,
}

impl<'a> Ledger<'a> {
    pub fn open(rows: Rows<'a>, owners: Owners<'a>, terms: Terms) -> Result<Self> {
        let totals = rows.totals()?;
        Ok(Self {
            rows,
            now: Now::read(),
            owners,
            terms,
            totals,
            kept_totals: totals,
            ended: Vec::new(),
            last_record: None,
            last_ending: None,
        })
    }

    /// Writes what was counted; the claims that have ended.
    pub fn close(self) -> Result<Vec<Ended>> {
        if self.totals != self.kept_totals {
            self.rows.put_totals(self.totals)?;
        }
        Ok(self.ended)
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn claim(&mut self, claim: &Claim) -> Result<Outcome> {
        let mut row = match self.rows.find(&claim.request.key)? {
            Found::Row(row) => *row,
            Found::Nothing => {
                let row = Row::new(self.number_record()?, claim.request);
                return self.grant(row, claim);
            }
            Found::Crowded => return Ok(Outcome::Full),
        };
        let standing = self.standing(&row);
        if standing == Standing::Vacant {
            return self.grant(row, claim);
        }
        if standing == Standing::Indeterminate && row.state == State::Claimed {
            // A lease that lapsed behind the commit point has an end from now on, which is final.
            self.end(&mut row, State::Indeterminate, None)?;
        }
        if let Some(differs) = Differs::between(&row.request, &claim.request) {
            return Ok(Outcome::Mismatch(differs));
        }
        Ok(match standing {
            Standing::Indeterminate if claim.over_indeterminate => return self.grant(row, claim),
            Standing::Indeterminate => Outcome::Indeterminate,
            Standing::NotReplayable => Outcome::NotReplayable,
            Standing::Completed => Outcome::Completed(self.answer(&row)?),
            Standing::Claimed { .. } if row.owner == claim.owner => {
                self.lease(&mut row, ms(claim.lease));
                self.rows.update(&row)?;
                Outcome::Claimed { fence: row.fence, progress: self.progress(&row)? }
            }
            Standing::Claimed { lease_left } => Outcome::InProgress { lease_left: left(lease_left, 0) },
            Standing::Vacant => return self.grant(row, claim),
        })
    }

    pub fn settle(&mut self, name: &ClaimName, settlement: Settlement, retention: Ms) -> Result<Written> {
        let Some(row) = self.claimed(name)? else { return Ok(Written::Lost) };
        self.settle_row(row, settlement, retention)?;
        Ok(Written::Done)
    }

    /// Ends a row, whoever has seen to it that it may be ended.
    pub fn settle_row(&mut self, mut row: Row, settlement: Settlement, retention: Ms) -> Result<()> {
        row.expires_at = self.now.date.saturating_add(retention);
        match settlement {
            Settlement::Complete(answer) if self.fits(&answer) => {
                self.end(&mut row, State::Completed, Some(&answer))?;
            }
            // An answer that could only be dropped again must not be forgotten: it ran.
            Settlement::Complete(_) | Settlement::NotReplayable => {
                self.end(&mut row, State::NotReplayable, None)?;
            }
            Settlement::Release if !row.committed => self.end(&mut row, State::Free, None)?,
            Settlement::Release | Settlement::Indeterminate => {
                self.end(&mut row, State::Indeterminate, None)?;
            }
        }
        Ok(())
    }

    pub fn renew(&mut self, name: &ClaimName, lease: Ms) -> Result<Written> {
        let Some(mut row) = self.claimed(name)? else { return Ok(Written::Lost) };
        self.lease(&mut row, lease);
        self.rows.update(&row)?;
        Ok(Written::Done)
    }

    pub fn commit_point(&mut self, name: &ClaimName) -> Result<Written> {
        let Some(mut row) = self.claimed(name)? else { return Ok(Written::Lost) };
        row.committed = true;
        self.rows.update(&row)?;
        Ok(Written::Done)
    }

    pub fn save(&mut self, name: &ClaimName, progress: &Progress) -> Result<Written> {
        let Some(mut row) = self.claimed(name)? else { return Ok(Written::Lost) };
        self.rows.put_progress(row.id, progress)?;
        if !row.has_progress {
            row.has_progress = true;
            self.rows.update(&row)?;
        }
        Ok(Written::Done)
    }

    /// The claim of a key that is in progress. If another process will end it, it is told to tell of that.
    pub fn wait(&mut self, key: &Digest) -> Result<Option<Awaited>> {
        let Found::Row(mut row) = self.rows.find(key)? else { return Ok(None) };
        let Standing::Claimed { lease_left } = self.standing(&row) else { return Ok(None) };
        if row.process != self.terms.process && !row.waited {
            row.waited = true;
            self.rows.update(&row)?;
        }
        Ok(Some(Awaited { process: row.process, fence: row.fence, lease_left }))
    }

    /// Whether a claim of a key is still in progress.
    pub fn is_in_progress(&mut self, key: &Digest, fence: u64) -> Result<bool> {
        let Found::Row(row) = self.rows.find(key)? else { return Ok(false) };
        Ok(row.fence == fence && matches!(self.standing(&row), Standing::Claimed { .. }))
    }

    pub fn inspect(&mut self, key: &Digest) -> Result<Option<Inspection>> {
        let Found::Row(row) = self.rows.find(key)? else { return Ok(None) };
        let (fence, expires_in) = (row.fence, left(row.expires_at, self.now.date));
        Ok(match self.standing(&row) {
            Standing::Vacant => None,
            Standing::Claimed { lease_left } => {
                Some(Inspection::InProgress { fence, lease_left: left(lease_left, 0) })
            }
            Standing::Completed => {
                Some(Inspection::Completed { fence, answer: self.answer(&row)?, expires_in })
            }
            Standing::NotReplayable => Some(Inspection::NotReplayable { fence, expires_in }),
            Standing::Indeterminate => Some(Inspection::Indeterminate { fence, expires_in }),
        })
    }

    pub fn forget(&mut self, key: &Digest) -> Result<bool> {
        let Found::Row(mut row) = self.rows.find(key)? else { return Ok(false) };
        let is_known = self.standing(&row) != Standing::Vacant;
        if row.has_progress {
            self.rows.delete_progress(row.id)?;
            row.has_progress = false;
        }
        // The row stays, for the next claim's fence must be higher.
        self.end(&mut row, State::Free, None)?;
        Ok(is_known)
    }

    /// Frees what dead processes have claimed, as much of it as one step does; whether there is more.
    pub fn free_dead(&mut self) -> Result<bool> {
        for process in self.rows.claimants()? {
            if !self.owners.may_live(process) && self.lapse(process, Ms::MAX)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Frees all claims, as much of it as one step does; whether there is more.
    pub fn free_all(&mut self) -> Result<bool> {
        for process in self.rows.claimants()? {
            if self.lapse(process, Ms::MAX)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes what has expired and frees what was abandoned, as much of it as one step does; whether there is more.
    pub fn sweep(&mut self) -> Result<bool> {
        let expired = self.rows.expired(self.now.date, BATCH)?;
        for row in &expired {
            self.count_off(row);
            self.rows.delete(row)?;
        }
        let is_full = i64::try_from(expired.len()).unwrap_or(BATCH) == BATCH;
        Ok(self.free_dead()? | self.free_lapsed(GRACE)? | is_full)
    }

    /// Frees claims of the living whose leases ran out so long ago.
    fn free_lapsed(&mut self, grace: Ms) -> Result<bool> {
        let mut is_more = false;
        for process in self.rows.claimants()? {
            is_more |= self.lapse(process, self.now.uptime.saturating_sub(grace))?;
        }
        Ok(is_more)
    }

    fn lapse(&mut self, process: Process, before: Ms) -> Result<bool> {
        let lapsed = self.rows.lapsed(process, before, BATCH)?;
        let is_full = i64::try_from(lapsed.len()).unwrap_or(BATCH) == BATCH;
        for mut row in lapsed {
            if row.expires_at <= self.now.date {
                self.tell(&row);
                self.count_off(&row);
                self.rows.delete(&row)?;
            } else if row.committed {
                self.end(&mut row, State::Indeterminate, None)?;
            } else {
                self.end(&mut row, State::Free, None)?;
            }
        }
        Ok(is_full)
    }

    pub fn standing(&mut self, row: &Row) -> Standing {
        let is_gone = row.expires_at <= self.now.date;
        match row.state {
            State::Claimed if row.lease_until > self.now.uptime && self.owners.may_live(row.process) => {
                Standing::Claimed { lease_left: row.lease_until - self.now.uptime }
            }
            _ if is_gone => Standing::Vacant,
            State::Claimed if row.committed => Standing::Indeterminate,
            State::Claimed | State::Free => Standing::Vacant,
            State::Completed => Standing::Completed,
            State::NotReplayable => Standing::NotReplayable,
            State::Indeterminate => Standing::Indeterminate,
        }
    }

    /// The row of a claim, if it still is that claim. One whose lease ran out is, as long as nobody took it over.
    fn claimed(&self, name: &ClaimName) -> Result<Option<Row>> {
        Ok(match self.rows.find(&name.key)? {
            Found::Row(row)
                if row.state == State::Claimed && row.owner == name.owner && row.fence == name.fence =>
            {
                Some(*row)
            }
            _ => None,
        })
    }

    fn grant(&mut self, mut row: Row, claim: &Claim) -> Result<Outcome> {
        if !self.terms.has_room {
            return Ok(Outcome::Full);
        }
        if row.state != State::Claimed && !self.has_room_for_claim() {
            // Claims that nobody holds any more take nobody's place. To free them may drop settled rows, this one too.
            self.free_dead()?;
            self.free_lapsed(0)?;
            if !self.has_room_for_claim() {
                return Ok(Outcome::Full);
            }
            row = self.rows.get(row.id)?.unwrap_or_else(|| Row::new(row.id, claim.request));
        }
        self.count_off(&row);
        self.totals.held += 1;
        if row.has_progress && row.expires_at <= self.now.date {
            self.rows.delete_progress(row.id)?;
            row.has_progress = false;
        }
        if let Some(ending) = row.ending.take() {
            self.rows.delete_ending(ending)?;
        }
        row.request = claim.request;
        row.state = State::Claimed;
        row.fence += 1;
        row.owner = claim.owner;
        row.committed = false;
        row.retention = ms(claim.retention);
        row.bytes = 0;
        self.lease(&mut row, ms(claim.lease));
        if row.fence == 1 {
            self.rows.insert(&row)?;
        } else {
            self.rows.update(&row)?;
        }
        Ok(Outcome::Claimed { fence: row.fence, progress: self.progress(&row)? })
    }

    fn lease(&self, row: &mut Row, lease: Ms) {
        // The name under which this process lives now, should it have lost an earlier one.
        row.process = self.terms.process;
        row.lease_until = self.now.uptime.saturating_add(lease);
        row.expires_at = self.now.date.saturating_add(lease).saturating_add(row.retention);
    }

    /// Gives a record its end. It is kept until `expires_at`.
    pub fn end(&mut self, row: &mut Row, state: State, answer: Option<&Answer>) -> Result<()> {
        if row.state == State::Claimed {
            self.tell(row);
            row.waited = false;
        }
        self.count_off(row);
        if let Some(ending) = row.ending.take() {
            self.rows.delete_ending(ending)?;
        }
        if row.has_progress && matches!(state, State::Completed | State::NotReplayable) {
            self.rows.delete_progress(row.id)?;
            row.has_progress = false;
        }
        row.state = state;
        let content = match answer {
            Some(answer) => answer.size(),
            None => self.progress(row)?.map_or(0, |progress| progress.len()),
        };
        row.bytes = i64::try_from(RECORD_OVERHEAD + content).unwrap_or(i64::MAX);
        if row.is_held() {
            self.totals.held += 1;
            self.totals.indeterminate += i64::from(state == State::Indeterminate);
        } else {
            self.make_room(row.bytes)?;
            self.totals.settled += 1;
            self.totals.bytes += row.bytes;
        }
        let ending = self.number_ending(row.expires_at)?;
        // A free row keeps nothing that somebody would miss, but for progress.
        let drops_first = match answer {
            Some(answer) => answer.drops_first(),
            None => state == State::Free && !row.has_progress,
        };
        self.rows.add_ending(ending, row.id, answer, drops_first)?;
        row.ending = Some(ending);
        self.rows.update(row)
    }

    fn number_record(&mut self) -> Result<i64> {
        let number = match self.last_record {
            Some(last) => last + 1,
            None => self.rows.free_record()?,
        };
        self.last_record = Some(number);
        Ok(number)
    }

    fn number_ending(&mut self, date: Ms) -> Result<i64> {
        let number = match self.last_ending {
            Some((last, number)) if last == date => number + 1,
            _ => self.rows.free_ending(date)?,
        };
        self.last_ending = Some((date, number));
        Ok(number)
    }

    fn tell(&mut self, row: &Row) {
        self.ended.push(Ended { key: row.request.key, waited: row.waited });
    }

    /// Takes a row out of the sums.
    fn count_off(&mut self, row: &Row) {
        if row.is_held() {
            self.totals.held -= 1;
            self.totals.indeterminate -= i64::from(row.state == State::Indeterminate);
        } else if row.ending.is_some() {
            self.totals.settled -= 1;
            self.totals.bytes -= row.bytes;
        }
    }

    /// Drops settled records, those that are to be dropped first and those that expire first before others, until one more of that size fits.
    fn make_room(&mut self, bytes: i64) -> Result<()> {
        while self.totals.settled >= signed(self.terms.limits.max_entries)
            || self.totals.bytes + bytes > signed(self.terms.limits.max_bytes)
        {
            let Some(row) = self.rows.first_to_go()? else { return Ok(()) };
            self.count_off(&row);
            self.rows.delete(&row)?;
            if row.expires_at > self.now.date {
                self.totals.evicted += 1;
            }
        }
        Ok(())
    }

    /// Indeterminate records have as much room as claims have, so that they do not keep new keys out. Those beyond it take
    /// the room of claims, for they are never dropped.
    fn has_room_for_claim(&self) -> bool {
        let most = self.most_held();
        let Totals { held, indeterminate, .. } = self.totals;
        held - indeterminate.min(most) < most
    }

    fn most_held(&self) -> i64 {
        signed(self.terms.limits.max_entries.min(self.terms.limits.max_bytes / RECORD_OVERHEAD as u64).max(1))
    }

    fn fits(&self, answer: &Answer) -> bool {
        (answer.size() + RECORD_OVERHEAD) as u64 <= self.terms.limits.max_bytes
    }

    fn answer(&self, row: &Row) -> Result<Answer> {
        self.rows.answer(row.ending.unwrap_or_default())
    }

    fn progress(&self, row: &Row) -> Result<Option<Progress>> {
        if row.has_progress { self.rows.progress(row.id) } else { Ok(None) }
    }
}

impl Row {
    /// Held records are never dropped to make room.
    fn is_held(&self) -> bool {
        matches!(self.state, State::Claimed | State::Indeterminate)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
