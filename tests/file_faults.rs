//! The store in a file where something else than requests happens to it: files that are gone, exposed or strange, readers
//! that stay, and room that runs out.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reprise::idempotency::file::{
    Access, ClaimName, Durability, FileOptions, FileStore, FileStoreError, FileStores,
};
use reprise::idempotency::{
    Answer, Claim, Digest, DigestBuilder, Identified, Limits, Outcome, Owner, Settlement, Written,
};
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const LARGE: Limits = Limits { max_bytes: 1 << 30, max_entries: 1_000_000 };
const OPTIONS: FileOptions =
    FileOptions { durability: Durability::Os, access: Access::ReadWrite, limits: LARGE, allowed: None };

fn digest(text: &str) -> Digest {
    DigestBuilder::new("test").field(text.as_bytes()).finish()
}

fn claim_of(key: &str, owner: u128) -> Claim {
    let request = Identified {
        key: digest(key),
        fingerprint: digest("order"),
        identity: digest("alice"),
        name: digest(key),
    };
    Claim { request, owner: Owner(owner), lease: LEASE, retention: DAY, over_indeterminate: false }
}

fn name(key: &str, owner: u128, fence: u64) -> ClaimName {
    ClaimName { key: digest(key), owner: Owner(owner), fence }
}

fn fence(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Claimed { fence, .. } => *fence,
        other => panic!("not claimed: {other:?}"),
    }
}

fn open(folder: &TempDir, options: FileOptions) -> FileStore {
    FileStore::open(&folder.path().join("store"), options).unwrap()
}

fn claim(store: &FileStore, key: &str, owner: u128) -> Outcome {
    store.claim(&claim_of(key, owner), None).wait().unwrap()
}

fn complete(store: &FileStore, key: &str, fence: u64, body: &[u8]) -> Written {
    let settlement = Settlement::Complete(Answer::new(b"200", body));
    store.settle(name(key, 1, fence), settlement, DAY).wait().unwrap()
}

fn close(store: FileStore) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
}

fn assert_whole(store: &FileStore) {
    assert_eq!(store.verify().wait().unwrap(), Vec::<String>::new());
}

/// What each call says once the files are no longer those that were opened.
#[cfg(unix)]
fn assert_replaced(store: &FileStore, key: &str) {
    let replaced = |error| matches!(error, FileStoreError::Replaced(_));
    let settlement = Settlement::Complete(Answer::new(b"", b"late"));
    assert!(replaced(store.claim(&claim_of(key, 2), None).wait().unwrap_err()));
    assert!(replaced(store.settle(name(key, 1, 1), settlement, DAY).wait().unwrap_err()));
    assert!(replaced(store.renew(name(key, 1, 1), LEASE).wait().unwrap_err()));
    assert!(replaced(store.inspect(digest(key)).wait().unwrap_err()));
    assert!(replaced(store.list(None).wait().unwrap_err()));
    assert!(replaced(store.wait(digest(key)).wait().unwrap_err()));
    assert!(replaced(store.verify().wait().unwrap_err()));
    assert!(replaced(store.compact().wait().unwrap_err()));
}

#[cfg(unix)]
#[test]
fn a_store_whose_files_are_replaced_refuses_all_until_it_is_opened_again() {
    for gone in [&["store", "store-wal", "store-shm"][..], &["store-shm"], &["store-wal"], &["store"]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let stores = FileStores::default();
        let older = stores.open(&path, OPTIONS).unwrap();
        claim(&older, "k", 1);
        for file in gone {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        if gone.len() == 3 {
            // As another process would make it anew.
            let newer = FileStore::open(&path, OPTIONS).unwrap();
            assert_eq!(fence(&claim(&newer, "k", 2)), 1);
            assert_replaced(&older, "k");
            assert!(matches!(stores.open(&path, OPTIONS), Err(FileStoreError::Replaced(_))));
            // What it leaves behind is not in the way of those who use the new file.
            close(older);
            complete(&newer, "other", 1, b"");
            assert!(matches!(claim(&newer, "k", 3), Outcome::InProgress { .. }));
            assert_whole(&newer);
            let again = stores.open(&path, OPTIONS).unwrap();
            assert!(matches!(claim(&again, "k", 3), Outcome::InProgress { .. }));
        } else {
            assert_replaced(&older, "k");
            close(older);
        }
    }
}

#[cfg(unix)]
#[test]
fn who_waits_learns_that_the_file_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "k", 1);
    let waiting = store.wait(digest("k")).wait().unwrap().unwrap();
    fs::rename(folder.path().join("store"), folder.path().join("aside")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), waiting.done()).await.unwrap() });
    assert_replaced(&store, "k");
}

#[cfg(unix)]
#[test]
fn a_file_that_is_cut_short_or_written_over_in_its_place_is_damaged_and_kills_nobody() {
    for cut in ["store", "store-shm", "store-wal"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, OPTIONS);
        for key in ["a", "b", "c"] {
            claim(&store, key, 1);
        }
        fs::write(folder.path().join(cut), "").unwrap();
        let outcomes = ["d", "e"].map(|key| store.claim(&claim_of(key, 1), None).wait());
        if cut == "store-wal" {
            // A journal may begin anew. What cannot be read in it is an error.
            assert!(outcomes.iter().all(|outcome| !matches!(outcome, Ok(Outcome::Completed(_)))));
        } else {
            assert!(
                outcomes.iter().all(|outcome| matches!(outcome, Err(FileStoreError::Damaged { .. }))),
                "{outcomes:?}"
            );
        }
        close(store);
    }
}

#[cfg(unix)]
#[test]
fn what_others_own_or_may_write_to_is_refused_and_what_they_may_read_is_narrowed() {
    use std::os::unix::fs::PermissionsExt;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let refused = |path: &Path| match FileStore::open(path, OPTIONS) {
        Err(FileStoreError::NotPrivate { path, reason }) => (path, reason),
        other => panic!("{other:?}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for name in ["store", "store-wal", "store-shm", "store.locks/turn", "store.locks/bell"] {
        close(FileStore::open(&path, OPTIONS).unwrap());
        let file = folder.path().join(name);
        fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
        for open in [0o666, 0o620, 0o602] {
            set(&file, open);
            let (found, reason) = refused(&path);
            assert!(found.ends_with(name) && reason.contains(&format!("{open:03o}")), "{found:?} {reason}");
            assert_eq!(mode(&file), open, "nothing is changed");
        }
        set(&file, 0o600);
        if name != "store" && !name.contains('/') {
            fs::remove_file(file).unwrap();
        }
    }
    let locks = folder.path().join("store.locks");
    set(&locks, 0o777);
    assert!(refused(&path).0.ends_with("store.locks"));
    set(&locks, 0o755);
    set(&path, 0o644);
    set(folder.path(), 0o777);
    assert_eq!(refused(&path).0, folder.path().canonicalize().unwrap());
    set(folder.path(), 0o1777);
    let store = FileStore::open(&path, OPTIONS).unwrap();
    for (file, narrow) in
        [("store", 0o600), ("store-wal", 0o600), ("store-shm", 0o600), ("store.locks", 0o700)]
    {
        assert_eq!(mode(&folder.path().join(file)), narrow, "{file}");
    }
    close(store);
    fs::remove_dir_all(&locks).unwrap();
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &locks).unwrap();
    assert!(refused(&path).1.contains("is not a folder"));
    fs::remove_file(&locks).unwrap();
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        assert!(refused(&path).1.contains("belongs to user 65534"));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(65_534), None).unwrap();
        assert_eq!(refused(&path).0, folder.path().canonicalize().unwrap());
    }
}

#[test]
fn a_database_with_anything_that_is_not_ours_is_refused_at_the_start_and_later() {
    let strange = [
        "CREATE TRIGGER planted AFTER INSERT ON endings BEGIN DELETE FROM records; END",
        "CREATE VIEW planted AS SELECT 1",
        "CREATE TABLE planted (id)",
        "CREATE INDEX planted ON records (bytes)",
        "DROP INDEX keys",
    ];
    for sql in strange {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = open(&folder, OPTIONS);
        claim(&store, "k", 1);
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let is_foreign = |error: &FileStoreError| matches!(error, FileStoreError::Foreign { .. });
        let error = store.claim(&claim_of("k", 2), None).wait().unwrap_err();
        assert!(is_foreign(&error), "{sql}: {error}");
        close(store);
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = FileStore::open(&path, FileOptions { access, ..OPTIONS }).unwrap_err();
            assert!(is_foreign(&error), "{sql}: {error}");
            assert!(error.to_string().contains("planted") || sql.starts_with("DROP"), "{error}");
        }
    }
}

#[test]
fn a_file_that_is_slow_to_open_holds_up_nobody_who_opens_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FileStores::default();
    let slow = rusqlite::Connection::open(folder.path().join("slow")).unwrap();
    slow.execute_batch("BEGIN EXCLUSIVE").unwrap();
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| stores.open(&folder.path().join("slow"), OPTIONS));
        sleep(Duration::from_millis(300));
        let other = stores.open(&folder.path().join("other"), OPTIONS).unwrap();
        assert!(!opening.is_finished(), "the other one had to wait for it");
        assert_eq!(fence(&claim(&other, "k", 1)), 1);
        drop(slow);
        opening.join().unwrap().unwrap();
    });
}

#[test]
fn statistics_that_a_tool_of_the_database_has_made_are_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "k", 1);
    let analyze = "ANALYZE; SELECT count(*) FROM sqlite_stat1";
    rusqlite::Connection::open(folder.path().join("store")).unwrap().execute_batch(analyze).unwrap();
    assert!(matches!(claim(&store, "k", 2), Outcome::InProgress { .. }));
    close(store);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        close(open(&folder, FileOptions { access, ..OPTIONS }));
    }
}

#[test]
fn the_journal_stays_bounded_while_a_reader_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "first", 1);
    complete(&store, "first", 1, b"kept");
    claim(&store, "running", 1);
    let reader = rusqlite::Connection::open(folder.path().join("store")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let body = vec![7; 4 << 20];
    let mut number = 0;
    while let Outcome::Claimed { fence, .. } = claim(&store, &format!("{number}"), 1) {
        complete(&store, &format!("{number}"), fence, &body);
        number += 1;
        assert!(number < 100, "nothing bounds it");
    }
    let journal = || store.stats().wait().unwrap().journal_bytes;
    assert!((256 << 20..300 << 20).contains(&journal()), "{}", journal());
    // What runs is completed, and what is kept is replayed.
    assert!(matches!(claim(&store, "new", 1), Outcome::Full));
    assert_eq!(complete(&store, "running", 1, b"done"), Written::Done);
    assert!(matches!(claim(&store, "first", 2), Outcome::Completed(_)));
    drop(reader);
    let end = Instant::now() + Duration::from_secs(30);
    while matches!(claim(&store, "new", 1), Outcome::Full) {
        assert!(Instant::now() < end, "it does not begin anew");
        sleep(Duration::from_millis(50));
    }
    assert!(journal() < 64 << 20, "{}", journal());
    assert_whole(&store);
}

#[test]
fn indeterminate_records_have_room_of_their_own_and_are_never_dropped_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 1 << 20, max_entries: 3 };
    let store = open(&folder, FileOptions { limits, ..OPTIONS });
    let indeterminate = |key: &str| {
        let fence = fence(&claim(&store, key, 1));
        store.settle(name(key, 1, fence), Settlement::Indeterminate, DAY).wait().unwrap();
    };
    for key in ["a", "b", "c"] {
        indeterminate(key);
    }
    for key in ["d", "e", "f"] {
        assert_eq!(fence(&claim(&store, key, 1)), 1);
    }
    assert!(matches!(claim(&store, "g", 1), Outcome::Full));
    // Those beyond their room take that of claims.
    store.settle(name("d", 1, 1), Settlement::Indeterminate, DAY).wait().unwrap();
    assert!(matches!(claim(&store, "g", 1), Outcome::Full));
    assert_eq!(store.resolve(digest("a"), Settlement::Release, DAY).wait().unwrap(), Written::Done);
    assert_eq!(fence(&claim(&store, "g", 1)), 1);
    assert!(matches!(claim(&store, "b", 2), Outcome::Indeterminate));
    assert_whole(&store);
}

#[test]
fn a_full_store_drops_what_is_to_be_dropped_first_whenever_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 1 << 20, max_entries: 4 };
    let store = open(&folder, FileOptions { limits, ..OPTIONS });
    let answer = |key: &str, drops_first: bool| {
        let fence = fence(&claim(&store, key, 1));
        let answer = Answer::new(b"200", key.as_bytes()).dropped_first(drops_first);
        // The later ones expire first.
        let retention = if drops_first { DAY * 2 } else { DAY };
        store.settle(name(key, 1, fence), Settlement::Complete(answer), retention).wait().unwrap();
    };
    let is_kept = |key: &str| store.inspect(digest(key)).wait().unwrap().is_some();
    answer("paid", false);
    answer("paid too", false);
    for number in 0..50 {
        answer(&format!("derived {number}"), true);
    }
    // A freed key keeps nothing that anybody would miss.
    for number in 0..50 {
        let fence = fence(&claim(&store, &format!("freed {number}"), 1));
        let freed = name(&format!("freed {number}"), 1, fence);
        store.settle(freed, Settlement::Release, DAY).wait().unwrap();
    }
    assert!(is_kept("paid") && is_kept("paid too"));
    assert!(!is_kept("derived 0"));
    for key in ["x", "y"] {
        answer(key, false);
    }
    assert!(["paid", "paid too", "x", "y"].into_iter().all(is_kept));
    assert!(!is_kept("derived 49"));
    assert_whole(&store);
}

#[test]
fn a_claim_of_a_store_that_was_closed_keeps_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "k", 1);
    let lease = Duration::from_millis(700);
    store.claim(&Claim { lease, ..claim_of("short", 1) }, Some(DAY)).wait().unwrap();
    close(store);
    let again = open(&folder, OPTIONS);
    assert!(matches!(claim(&again, "k", 2), Outcome::InProgress { .. }));
    sleep(lease);
    assert_eq!(fence(&claim(&again, "short", 2)), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_is_closed_leaves_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    // Of this folder only: other tests run beside this one.
    let open_files = || {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.starts_with(folder.path())).count()
    };
    for durability in [Durability::Os, Durability::Fsync] {
        let stores = FileStores::default();
        let options = FileOptions { durability, ..OPTIONS };
        for round in 0..5 {
            let open = || stores.open(&folder.path().join("store"), options).unwrap();
            let (one, other) = (open(), open());
            let asked: Vec<_> =
                (0..100).map(|i| one.claim(&claim_of(&format!("{round}/{i}"), 1), Some(DAY))).collect();
            let verified = one.verify();
            close(one);
            // The other one keeps the file open, but nothing is left to be written.
            let end = Instant::now() + Duration::from_secs(10);
            for mut pending in asked {
                let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
                while !std::pin::Pin::new(&mut pending).poll(context).is_ready() {
                    assert!(Instant::now() < end, "what was asked before was never answered");
                    sleep(Duration::from_millis(5));
                }
            }
            assert!(open_files() > 0);
            close(other);
            assert_eq!(open_files(), 0);
            verified.wait().unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_whose_lock_is_removed_again_and_again_keeps_no_descriptor_of_those_that_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "held", 1);
    let removed = || {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let own = links.filter(|link| link.starts_with(folder.path().join("store.locks")));
        own.filter(|link| link.to_string_lossy().ends_with("(deleted)")).count()
    };
    let owner = || {
        let names = fs::read_dir(folder.path().join("store.locks")).unwrap();
        names.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains("/owner-"))
    };
    let within = |what: &str, is_so: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            sleep(Duration::from_millis(10));
        }
    };
    for _ in 0..3 {
        fs::remove_file(owner().unwrap()).unwrap();
        within("it does not go on", &|| owner().is_some());
    }
    within("what has no claims stays", &|| removed() == 1);
    assert!(matches!(claim(&store, "held", 2), Outcome::InProgress { .. }));
    complete(&store, "held", 1, b"");
    within("what has no claims any more stays", &|| removed() == 0);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_elsewhere_is_noticed_by_who_came_through_it() {
    // As deployments have it: current -> releases/1.
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("current");
    for release in ["1", "2"] {
        fs::create_dir(folder.path().join(release)).unwrap();
    }
    std::os::unix::fs::symlink("1", &link).unwrap();
    let stores = FileStores::default();
    let direct = FileStore::open(&folder.path().join("1/store"), OPTIONS).unwrap();
    let older = stores.open(&link.join("store"), OPTIONS).unwrap();
    claim(&older, "k", 1);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("2", &link).unwrap();
    let newer = stores.open(&link.join("store"), OPTIONS).unwrap();
    assert_eq!(fence(&claim(&newer, "k", 2)), 1);
    assert_replaced(&older, "k");
    assert!(matches!(claim(&direct, "k", 2), Outcome::InProgress { .. }));
}

#[cfg(unix)]
#[test]
fn a_link_is_of_no_concern_once_the_one_who_came_through_it_has_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("store"), folder.path().join("link"));
    let stores = FileStores::default();
    let direct = stores.open(&path, OPTIONS).unwrap();
    std::os::unix::fs::symlink("store", &link).unwrap();
    let through_link = stores.open(&link, OPTIONS).unwrap();
    claim(&through_link, "k", 1);
    close(through_link);
    fs::remove_file(&link).unwrap();
    assert!(matches!(claim(&direct, "k", 2), Outcome::InProgress { .. }));
    stores.open(&path, OPTIONS).unwrap();
}
