//! The rows of the database, and the statements that read and write them.
#![forbid(unsafe_code)]

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, Row as SqlRow, params};

use super::owners::Process;
use super::time::Ms;
use crate::idempotency::{Answer, Digest, Identified, Owner, Progress};

/// How many keys of one hash may be kept at once. Of two that meet by chance there is one in some billions of years; of
/// five that somebody made to meet, the fifth is refused.
const NEIGHBOURS: usize = 4;

/// Bits of an ending's number that count those which expire in the same millisecond.
const COUNTER_BITS: u32 = 20;

/// The place of the key in `records`.
const KEY: usize = 2;

/// A row of `records`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub id: i64,
    pub request: Identified,
    pub state: State,
    pub fence: u64,
    pub owner: Owner,
    pub process: Process,
    /// When a claim's lease ends, by the uptime; behind it the record is what `standing` says.
    pub lease_until: Ms,
    /// Whether the owner has passed its commit point.
    pub committed: bool,
    /// Whether someone in another process waits for its end.
    pub waited: bool,
    pub has_progress: bool,
    pub retention: Ms,
    /// By the date.
    pub expires_at: Ms,
    pub ending: Option<i64>,
    /// What it counts for, once it is settled.
    pub bytes: i64,
}

/// What a row says; what it means now depends on the time, and on whether its owner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Claimed,
    Completed,
    NotReplayable,
    Indeterminate,
}

/// What there is for a key.
pub(super) enum Found {
    Row(Box<Row>),
    Nothing,
    /// Nothing, and nothing can be: the key has too many neighbours.
    Crowded,
}

/// Sums over all rows, kept so that nobody has to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Claims and indeterminate records.
    pub held: i64,
    /// Of these, the indeterminate ones.
    pub indeterminate: i64,
    pub settled: i64,
    pub bytes: i64,
    pub evicted: i64,
}

/// The tables, within a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a>(pub &'a Connection);

impl Rows<'_> {
    pub fn find(self, key: &Digest) -> Result<Found> {
        let mut statement = self.0.prepare_cached("SELECT * FROM records WHERE hash = ?1")?;
        let mut rows = statement.query([hash(key)])?;
        let mut neighbours = 0;
        while let Some(row) = rows.next()? {
            if row.get::<_, Digest>(KEY)? == *key {
                return Ok(Found::Row(Box::new(Row::read(row)?)));
            }
            neighbours += 1;
        }
        Ok(if neighbours < NEIGHBOURS { Found::Nothing } else { Found::Crowded })
    }

    pub fn get(self, id: i64) -> Result<Option<Row>> {
        self.0.prepare_cached("SELECT * FROM records WHERE id = ?1")?.query_row([id], Row::read).optional()
    }

    pub fn insert(self, row: &Row) -> Result<()> {
        self.write(
            row,
            "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )
    }

    /// Writes a row that is there already. Its key stays.
    pub fn update(self, row: &Row) -> Result<()> {
        self.write(
            row,
            "UPDATE records SET fingerprint = ?4, identity = ?5, state = ?6, fence = ?7, owner = ?8,
             process = ?9, lease_until = ?10, committed = ?11, waited = ?12, has_progress = ?13, retention = ?14,
             expires_at = ?15, ending = ?16, bytes = ?17 WHERE id = ?1",
        )
    }

    fn write(self, row: &Row, sql: &str) -> Result<()> {
        self.0.prepare_cached(sql)?.execute(params![
            row.id,
            hash(&row.request.key),
            row.request.key,
            row.request.fingerprint,
            row.request.identity,
            row.state,
            row.fence.cast_signed(),
            row.owner,
            row.process.0,
            row.lease_until,
            row.committed,
            row.waited,
            row.has_progress,
            row.retention,
            row.expires_at,
            row.ending,
            row.bytes,
        ])?;
        Ok(())
    }

    /// Deletes a row with all that hangs on it.
    pub fn delete(self, row: &Row) -> Result<()> {
        if let Some(ending) = row.ending {
            self.delete_ending(ending)?;
        }
        if row.has_progress {
            self.delete_progress(row.id)?;
        }
        self.0.prepare_cached("DELETE FROM records WHERE id = ?1")?.execute([row.id])?;
        Ok(())
    }

    /// A number for a record, above those that are taken.
    pub fn free_record(self) -> Result<i64> {
        self.0.prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM records")?.query_row([], |row| row.get(0))
    }

    /// A number for an ending that expires at that date, above those that are taken.
    pub fn free_ending(self, date: Ms) -> Result<i64> {
        let first = first_ending(date);
        self.0
            .prepare_cached("SELECT coalesce(max(id) + 1, ?1) FROM endings WHERE id BETWEEN ?1 AND ?2")?
            .query_row([first, first | ((1 << COUNTER_BITS) - 1)], |row| row.get(0))
    }

    pub fn add_ending(
        self,
        ending: i64,
        record: i64,
        answer: Option<&Answer>,
        drops_first: bool,
    ) -> Result<()> {
        let (head, content) =
            answer.map_or((0, [].as_slice()), |answer| (answer.head().len(), answer.bytes()));
        let head = i64::try_from(head).unwrap_or(i64::MAX);
        self.0.prepare_cached("INSERT INTO endings VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            ending,
            record,
            head,
            drops_first,
            content
        ])?;
        Ok(())
    }

    pub fn answer(self, ending: i64) -> Result<Answer> {
        self.0.prepare_cached("SELECT head_length, content FROM endings WHERE id = ?1")?.query_row(
            [ending],
            |row| {
                let head: u32 = row.get(0)?;
                let content = row.get_ref(1)?.as_blob()?;
                let (head, body) = content
                    .split_at_checked(head as usize)
                    .ok_or_else(|| FromSqlError::Other("the head is longer than the whole".into()))?;
                Ok(Answer::new(head, body))
            },
        )
    }

    pub fn delete_ending(self, ending: i64) -> Result<()> {
        self.0.prepare_cached("DELETE FROM endings WHERE id = ?1")?.execute([ending])?;
        Ok(())
    }

    pub fn progress(self, record: i64) -> Result<Option<Progress>> {
        self.0
            .prepare_cached("SELECT content FROM progress WHERE record = ?1")?
            .query_row([record], |row| Ok(Progress::from(row.get_ref(0)?.as_blob()?)))
            .optional()
    }

    pub fn put_progress(self, record: i64, progress: &[u8]) -> Result<()> {
        self.0.prepare_cached("REPLACE INTO progress VALUES (?1, ?2)")?.execute(params![record, progress])?;
        Ok(())
    }

    pub fn delete_progress(self, record: i64) -> Result<()> {
        self.0.prepare_cached("DELETE FROM progress WHERE record = ?1")?.execute([record])?;
        Ok(())
    }

    /// Records in the order of their numbers, from one on.
    pub fn from(self, first: i64, most: i64) -> Result<Vec<Row>> {
        self.list("SELECT * FROM records WHERE id >= ?1 ORDER BY id LIMIT ?2", [first, most])
    }

    /// Records whose retention is over by that date, the longest over first.
    pub fn expired(self, date: Ms, most: i64) -> Result<Vec<Row>> {
        self.list(
            "SELECT r.* FROM endings e JOIN records r ON r.id = e.record WHERE e.id < ?1 ORDER BY e.id LIMIT ?2",
            [first_ending(date.saturating_add(1)), most],
        )
    }

    /// The settled record that expires first, of those that are dropped before others if there are any. An indeterminate one
    /// counts as held.
    pub fn first_to_go(self) -> Result<Option<Row>> {
        let dropped_first = self
            .0
            .prepare_cached(
                "SELECT r.* FROM endings e INDEXED BY dropped_first JOIN records r ON r.id = e.record
                 WHERE e.drops_first = 1 ORDER BY e.id LIMIT 1",
            )?
            .query_row([], Row::read)
            .optional()?;
        if dropped_first.is_some() {
            return Ok(dropped_first);
        }
        self.0
            .prepare_cached(
                "SELECT r.* FROM endings e JOIN records r ON r.id = e.record WHERE r.state <> 4 ORDER BY e.id LIMIT 1",
            )?
            .query_row([], Row::read)
            .optional()
    }

    /// The processes that have claimed something.
    pub fn claimants(self) -> Result<Vec<Process>> {
        let mut statement =
            self.0.prepare_cached("SELECT min(process) FROM records WHERE state = 1 AND process > ?1")?;
        let mut found = Vec::new();
        let mut last = -1;
        while let Some(next) = statement.query_row([last], |row| row.get::<_, Option<i64>>(0))? {
            found.push(Process(next));
            last = next;
        }
        Ok(found)
    }

    /// Claims of a process whose leases ended before then.
    pub fn lapsed(self, process: Process, uptime: Ms, most: i64) -> Result<Vec<Row>> {
        self.list(
            "SELECT * FROM records WHERE state = 1 AND process = ?1 AND lease_until < ?2 LIMIT ?3",
            [process.0, uptime, most],
        )
    }

    /// Whether there is a claim that a process has made, and that nobody has ended.
    pub fn has_claims(self, process: Process) -> Result<bool> {
        self.0
            .prepare_cached("SELECT 1 FROM records WHERE state = 1 AND process = ?1 LIMIT 1")?
            .exists([process.0])
    }

    pub fn totals(self) -> Result<Totals> {
        self.0.prepare_cached("SELECT held, indeterminate, settled, bytes, evicted FROM totals")?.query_row(
            [],
            |row| {
                Ok(Totals {
                    held: row.get(0)?,
                    indeterminate: row.get(1)?,
                    settled: row.get(2)?,
                    bytes: row.get(3)?,
                    evicted: row.get(4)?,
                })
            },
        )
    }

    pub fn put_totals(self, totals: Totals) -> Result<()> {
        self.0
            .prepare_cached(
                "UPDATE totals SET held = ?1, indeterminate = ?2, settled = ?3, bytes = ?4, evicted = ?5",
            )?
            .execute([totals.held, totals.indeterminate, totals.settled, totals.bytes, totals.evicted])?;
        Ok(())
    }

    fn list<const N: usize>(self, sql: &str, values: [i64; N]) -> Result<Vec<Row>> {
        self.0.prepare_cached(sql)?.query_map(rusqlite::params_from_iter(values), Row::read)?.collect()
    }
}

impl Row {
    /// The row of a key that has none.
    pub fn new(id: i64, request: Identified) -> Self {
        Self {
            id,
            request,
            state: State::Free,
            fence: 0,
            owner: Owner(0),
            process: Process(0),
            lease_until: 0,
            committed: false,
            waited: false,
            has_progress: false,
            retention: 0,
            expires_at: 0,
            ending: None,
            bytes: 0,
        }
    }

    /// By their places, which costs a fraction of looking for seventeen names.
    fn read(row: &SqlRow<'_>) -> Result<Self> {
        let key = row.get(KEY)?;
        Ok(Self {
            id: row.get(0)?,
            // The name is known to whoever made the key; a file does not keep it.
            request: Identified { key, fingerprint: row.get(3)?, identity: row.get(4)?, name: key },
            state: row.get(5)?,
            fence: row.get::<_, i64>(6)?.cast_unsigned(),
            owner: row.get(7)?,
            process: Process(row.get(8)?),
            lease_until: row.get(9)?,
            committed: row.get(10)?,
            waited: row.get(11)?,
            has_progress: row.get(12)?,
            retention: row.get(13)?,
            expires_at: row.get(14)?,
            ending: row.get(15)?,
            bytes: row.get(16)?,
        })
    }
}

/// Spreads what differs over all bits; odd, so that nothing is lost.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// By what a key is found: a hash of its own, since a store's user may have keys that are no digests. Part of the format.
fn hash(key: &Digest) -> i64 {
    let mut hash = 0_u64;
    for word in key.0.as_chunks().0 {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER);
        hash ^= hash >> 32;
    }
    hash.cast_signed()
}

/// Where the numbers begin of endings that expire at that date. Those that expire after the year 2248 are swept then.
fn first_ending(date: Ms) -> i64 {
    date.clamp(0, i64::MAX >> COUNTER_BITS) << COUNTER_BITS
}

impl ToSql for Digest {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Digest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(<[u8; 32]>::column_result(value)?))
    }
}

impl ToSql for Owner {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Blob(self.0.to_le_bytes().to_vec())))
    }
}

impl FromSql for Owner {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(u128::from_le_bytes(<[u8; 16]>::column_result(value)?)))
    }
}

impl ToSql for State {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self {
            Self::Free => 0,
            Self::Claimed => 1,
            Self::Completed => 2,
            Self::NotReplayable => 3,
            Self::Indeterminate => 4,
        }))
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Free),
            1 => Ok(Self::Claimed),
            2 => Ok(Self::Completed),
            3 => Ok(Self::NotReplayable),
            4 => Ok(Self::Indeterminate),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::super::schema;
    use super::*;

    /// A key of that hash: its last word undoes what the others came to.
    fn key_of(hash: u64, number: u64) -> Digest {
        let inverse = (0..6).fold(MULTIPLIER, |inverse, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(MULTIPLIER.wrapping_mul(inverse)))
        });
        let mut before = 0_u64;
        for word in [number, 0, 0] {
            before = (before ^ word).wrapping_mul(MULTIPLIER);
            before ^= before >> 32;
        }
        let last = before ^ (hash ^ (hash >> 32)).wrapping_mul(inverse);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[24..].copy_from_slice(&last.to_le_bytes());
        Digest(bytes)
    }

    #[test]
    fn keys_of_one_hash_are_told_apart_and_the_fifth_is_refused() {
        let (_folder, place) = Place::of_a_test();
        let connection = schema::open(&place).unwrap();
        let rows = Rows(&connection);
        let keys: Vec<_> = (0..5).map(|number| key_of(4711, number)).collect();
        for key in &keys[..4] {
            assert_eq!(hash(key), 4711);
            assert!(matches!(rows.find(key).unwrap(), Found::Nothing));
            let request = Identified { key: *key, fingerprint: *key, identity: *key, name: *key };
            rows.insert(&Row::new(rows.free_record().unwrap(), request)).unwrap();
        }
        for (id, key) in (1..).zip(&keys[..4]) {
            let Found::Row(row) = rows.find(key).unwrap() else { panic!("it is there") };
            assert_eq!((row.id, row.request.key), (id, *key));
        }
        assert!(matches!(rows.find(&keys[4]).unwrap(), Found::Crowded));
    }
}
