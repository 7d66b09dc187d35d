//! The database: its tables, its settings, and how to tell it from another one.
#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::FileStoreError;
use super::place::Place;

/// `rprs`, where a database says which program it belongs to.
const APPLICATION: i32 = 0x7270_7273;

/// The format of the tables. Processes that share a file must agree on it.
const FORMAT: i32 = 2;

/// How long `SQLite` asks again for a lock that a program outside of the queue holds.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The journal is cut to this size when it begins anew. It seldom is so long: to write over what is there costs, and to
/// sync it, about half of making it longer.
const JOURNAL_BYTES: u32 = 32 << 20;

/// - `records`: one small row per key, in the order in which keys come: so those that are claimed and completed together lie
///   on few pages, and each is found by the `hash` of its key, on small ones. `state` is 0 free, 1 claimed, 2
///   completed, 3 not replayable, 4 indeterminate.
/// - `endings`: what became of a claim, with the answer if there is one. Its `id` is the time when it expires, in
///   milliseconds since 1970, times 2^20, plus a counter: so it is written in order, and swept in order. `dropped_first`
///   finds those that a full store drops before others.
/// - `progress`: what owners have saved, which most never do.
/// - `claims` finds what is in progress, by process.
const TABLES: &str = "
CREATE TABLE records (
  id INTEGER PRIMARY KEY,
  hash INTEGER NOT NULL,
  key BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  identity BLOB NOT NULL,
  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
  fence INTEGER NOT NULL,
  owner BLOB NOT NULL,
  process INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  committed INTEGER NOT NULL,
  waited INTEGER NOT NULL,
  has_progress INTEGER NOT NULL,
  retention INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  ending INTEGER,
  bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX keys ON records (hash);
CREATE INDEX claims ON records (process, lease_until) WHERE state = 1;
CREATE TABLE endings (
  id INTEGER PRIMARY KEY,
  record INTEGER NOT NULL,
  head_length INTEGER NOT NULL,
  drops_first INTEGER NOT NULL,
  content BLOB NOT NULL
) STRICT;
CREATE INDEX dropped_first ON endings (id) WHERE drops_first = 1;
CREATE TABLE progress (record INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE totals (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  held INTEGER NOT NULL,
  indeterminate INTEGER NOT NULL,
  settled INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  evicted INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0);
";

/// Opens the file to write, and makes the tables in an empty one.
pub(super) fn open(place: &Place) -> Result<Connection, FileStoreError> {
    let fail = |error| FileStoreError::sqlite(&place.file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&place.file, flags).map_err(fail)?;
    settle(&connection).map_err(fail)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(fail)?;
    let is_new = contents(&connection, place)? == Contents::None;
    // Not before it is known whose file it is.
    let write = |connection: &mut Connection| {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
        if is_new {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have made them by now.
            if transaction.query_row("PRAGMA application_id", [], |row| row.get(0)) == Ok(0) {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
            }
            transaction.commit()?;
        }
        Ok(())
    };
    write(&mut connection).map_err(fail)?;
    check_tables(&connection, place)?;
    place.narrow()?;
    Ok(connection)
}

/// Opens the file to read, while others may write.
pub(super) fn open_to_read(place: &Place) -> Result<Connection, FileStoreError> {
    let fail = |error| FileStoreError::sqlite(&place.file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&place.file, flags).map_err(fail)?;
    settle(&connection).map_err(fail)?;
    match contents(&connection, place)? {
        Contents::Ours => {
            check_tables(&connection, place)?;
            Ok(connection)
        }
        Contents::None => Err(foreign(place, "nothing".to_owned())),
    }
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Contents {
    None,
    Ours,
}

fn contents(connection: &Connection, place: &Place) -> Result<Contents, FileStoreError> {
    let number = |sql: &str| -> Result<i32, FileStoreError> {
        connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| FileStoreError::sqlite(&place.file, &error))
    };
    let application = number("PRAGMA application_id")?;
    let format = number("PRAGMA user_version")?;
    match (application, format) {
        (APPLICATION, FORMAT) => Ok(Contents::Ours),
        (APPLICATION, _) => {
            let found =
                format!("records in format {format}, and this version of reprise reads format {FORMAT}");
            Err(foreign(place, found))
        }
        (0, 0) if number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(Contents::None),
        _ => Err(foreign(place, "the database of another program".to_owned())),
    }
}

/// What is in a schema: kind, name, table and statement of each entry.
type Entry = (String, String, String, Option<String>);

/// Refuses a file that holds anything but the tables and indexes of this format: triggers and views of somebody else would
/// run in the middle of what is written here.
pub(super) fn check_tables(connection: &Connection, place: &Place) -> Result<(), FileStoreError> {
    let check = || {
        let (found, known) = (entries(connection)?, known()?);
        let stranger = found.iter().find(|entry| !known.contains(entry));
        Ok(match stranger {
            Some((kind, name, ..)) => {
                Some(format!("a {} {name:?} that reprise has not made", kind.escape_debug()))
            }
            None if found.len() < known.len() => Some("not all tables and indexes of reprise".to_owned()),
            None => None,
        })
    };
    match check().map_err(|error| FileStoreError::sqlite(&place.file, &error))? {
        Some(found) => Err(foreign(place, found)),
        None => Ok(()),
    }
}

/// The entries of this format.
fn known() -> rusqlite::Result<&'static [Entry]> {
    static KNOWN: OnceLock<Vec<Entry>> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known);
    }
    let made = Connection::open_in_memory()?;
    made.execute_batch(TABLES)?;
    let known = entries(&made)?;
    Ok(KNOWN.get_or_init(|| known))
}

/// All entries but the tables of statistics that `ANALYZE` and `PRAGMA optimize` make. Only `SQLite` itself can give a table
/// such a name, and nothing of them runs.
fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    connection
        .prepare(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema
             WHERE NOT (type = 'table' AND name GLOB 'sqlite_stat[1-4]') ORDER BY type, name",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect()
}

/// A number that changes with the schema, within a transaction.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

fn foreign(place: &Place, found: String) -> FileStoreError {
    FileStoreError::Foreign { path: place.file.clone(), found }
}
