//! Long work on a whole file, on threads and connections of its own.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use super::core::{Core, named_thread};
use super::error::FileStoreError;
use super::ledger::{Ledger, Terms};
use super::owners::{Owners, Process};
use super::pending::{Pending, pending};
use super::place::private_file;
use super::rows::Rows;
use super::schema;
use super::turn::Turn;
use crate::idempotency::Limits;

/// What must hold between the tables: a line, and a query that counts what breaks it.
const RULES: [(&str, &str); 7] = [
    ("records of no known state", "SELECT count(*) FROM records WHERE state NOT BETWEEN 0 AND 4"),
    (
        "settled records without their ending",
        "SELECT count(*) FROM records r LEFT JOIN endings e ON e.id = r.ending AND e.record = r.id
         WHERE r.state <> 1 AND e.id IS NULL",
    ),
    ("claims with an ending", "SELECT count(*) FROM records WHERE state = 1 AND ending IS NOT NULL"),
    (
        "endings without their record",
        "SELECT count(*) FROM endings e LEFT JOIN records r ON r.id = e.record AND r.ending = e.id WHERE r.id IS NULL",
    ),
    (
        "records that say otherwise than the saved progress",
        "SELECT count(*) FROM records r LEFT JOIN progress p ON p.record = r.id
         WHERE r.has_progress <> (p.record IS NOT NULL)",
    ),
    (
        "progress without its record",
        "SELECT count(*) FROM progress p LEFT JOIN records r ON r.id = p.record WHERE r.id IS NULL",
    ),
    (
        "sums that are wrong",
        "SELECT count(*) FROM totals WHERE
           held <> (SELECT count(*) FROM records WHERE state IN (1, 4)) OR
           indeterminate <> (SELECT count(*) FROM records WHERE state = 4) OR
           settled <> (SELECT count(*) FROM records WHERE state IN (0, 2, 3)) OR
           bytes <> (SELECT coalesce(sum(bytes), 0) FROM records WHERE state IN (0, 2, 3))",
    ),
];

pub(super) fn verify(core: &Arc<Core>) -> Pending<Vec<String>> {
    on_its_own(core, |core| {
        let find = || {
            let connection = schema::open_to_read(&core.place)?;
            faults(&connection).map_err(|error| FileStoreError::sqlite(&core.place.file, &error))
        };
        match find() {
            // What keeps it from being read is what is wrong with it.
            Err(FileStoreError::Damaged { reason, .. }) => Ok(vec![reason]),
            found => found,
        }
    })
}

fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // One moment for all of it.
    let snapshot = connection.unchecked_transaction()?;
    let mut faults: Vec<String> = snapshot
        .prepare("PRAGMA integrity_check")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    faults.retain(|fault| fault != "ok");
    if faults.is_empty() {
        for (what, count) in RULES {
            let count: i64 = snapshot.query_row(count, [], |row| row.get(0))?;
            if count > 0 {
                faults.push(format!("{what}: {count}"));
            }
        }
    }
    Ok(faults)
}

pub(super) fn backup(core: &Arc<Core>, to: &Path) -> Pending<()> {
    let to = to.to_owned();
    on_its_own(core, move |core| {
        // First under another name: what has the name of a backup is whole.
        let unfinished = with_suffix(&to, ".part");
        let result = copy(core, &unfinished, &to);
        if result.is_err() {
            // What is left of it is in nobody's way.
            let _ = fs::remove_file(&unfinished);
        }
        result
    })
}

fn copy(core: &Core, unfinished: &Path, to: &Path) -> Result<(), FileStoreError> {
    let fail = |error| FileStoreError::system(to, &error);
    if fs::exists(to).map_err(fail)? {
        return Err(fail(ErrorKind::AlreadyExists.into()));
    }
    // SQLite takes an empty file, which is of the right mode then.
    private_file().create(true).truncate(true).open(unfinished).map_err(fail)?;
    let connection = schema::open_to_read(&core.place)?;
    let name = unfinished.to_string_lossy();
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| FileStoreError::sqlite(to, &error))?;
    free_claims(core, unfinished)?;
    File::open(unfinished).and_then(|file| file.sync_all()).map_err(fail)?;
    fs::rename(unfinished, to).map_err(fail)
}

/// Nobody holds anything in a copy.
fn free_claims(core: &Core, copy: &Path) -> Result<(), FileStoreError> {
    // Nothing is dropped for what is freed.
    let limits = Limits { max_bytes: u64::MAX, max_entries: u64::MAX };
    let terms = Terms { process: Process(0), limits, has_room: false };
    let free = || {
        let mut connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "journal_mode", "memory")?;
        let transaction = connection.transaction()?;
        let mut ledger = Ledger::open(Rows(&transaction), Owners::new(&core.place, &[]), terms)?;
        while ledger.free_all()? {}
        ledger.close()?;
        transaction.commit()
    };
    free().map_err(|error| FileStoreError::sqlite(copy, &error))
}

pub(super) fn compact(core: &Arc<Core>) -> Pending<()> {
    on_its_own(core, |core| {
        let mut turn = Turn::new(&core.place)?;
        let connection = schema::open(&core.place)?;
        let taken = turn.take(&core.place);
        let compact = connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);");
        drop(taken);
        compact.map_err(|error| FileStoreError::sqlite(&core.place.file, &error))
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Runs it on a thread, which a panic ends as an error of who waits for it.
fn on_its_own<T: Send + 'static>(
    core: &Arc<Core>,
    work: impl FnOnce(&Core) -> Result<T, FileStoreError> + Send + 'static,
) -> Pending<T> {
    let (reply, pending) = pending();
    let core = Arc::clone(core);
    let worked = Arc::clone(&core);
    let spawned = named_thread("reprise-upkeep", move || {
        // The files by these names may no longer be those of the store.
        let result = worked.guard.check().and_then(|()| work(&worked));
        drop(worked);
        if let Some(waker) = reply.send(result) {
            waker.wake();
        }
    });
    // Without a thread the reply is dropped, and who waits is told.
    if let Ok(thread) = spawned {
        core.add_helper(thread);
    }
    pending
}
