//! The store in a file against `docs/semantics.md` §6, within one process.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use reprise::idempotency::file::{
    Access, ClaimName, Durability, FileOptions, FileStore, FileStoreError, FileStores, FileSystem,
};
use reprise::idempotency::{
    Answer, Claim, Digest, DigestBuilder, Identified, Inspection, Limits, MemoryStore, Outcome, Owner,
    Settlement, Written,
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

#[derive(Clone, Debug)]
enum Step {
    Claim { over_indeterminate: bool, other_body: bool },
    Settle(Settlement),
    Renew,
    CommitPoint,
    Save(Vec<u8>),
    Inspect,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<(usize, u128, Step)>> {
    let settlement = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|body| Settlement::Complete(Answer::new(b"h", &body))),
        1 => Just(Settlement::NotReplayable),
        2 => Just(Settlement::Release),
        1 => Just(Settlement::Indeterminate),
    ];
    let step = prop_oneof![
        4 => any::<(bool, bool)>().prop_map(|(over_indeterminate, other)| Step::Claim { over_indeterminate, other_body: other }),
        3 => settlement.prop_map(Step::Settle),
        1 => Just(Step::Renew),
        1 => Just(Step::CommitPoint),
        1 => proptest::collection::vec(any::<u8>(), 0..9).prop_map(Step::Save),
        1 => Just(Step::Inspect),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec((0..3_usize, 0..2_u128, step), 1..60)
}

fn told(outcome: &Outcome) -> String {
    // What is left of a lease differs from one look to the next.
    if matches!(outcome, Outcome::InProgress { .. }) { "in progress".into() } else { format!("{outcome:?}") }
}

fn seen(inspection: Option<Inspection>) -> String {
    match inspection {
        Some(Inspection::Completed { fence, answer, .. }) => format!("completed {fence} {answer:?}"),
        Some(Inspection::InProgress { fence, .. }) => format!("in progress {fence}"),
        Some(Inspection::NotReplayable { fence, .. }) => format!("not replayable {fence}"),
        Some(Inspection::Indeterminate { fence, .. }) => format!("indeterminate {fence}"),
        None => "nothing".into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_answers_as_the_store_in_memory_does(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let (file, memory) = (open(&folder, OPTIONS), MemoryStore::new(LARGE));
        let keys = ["a", "b", "c"];
        let mut fences = [0; 3];
        for (which, owner, step) in steps {
            let key = keys[which];
            let name = name(key, owner, fences[which]);
            match step {
                Step::Claim { over_indeterminate, other_body } => {
                    let mut claim = Claim { over_indeterminate, ..claim_of(key, owner) };
                    if other_body {
                        claim.request.fingerprint = digest("another order");
                    }
                    let outcome = file.claim(&claim, None).wait().unwrap();
                    if let Outcome::Claimed { fence, .. } = outcome {
                        fences[which] = fence;
                    }
                    prop_assert_eq!(told(&outcome), told(&memory.claim(&claim)));
                }
                Step::Settle(end) => prop_assert_eq!(
                    file.settle(name, end.clone(), DAY).wait().unwrap(),
                    memory.settle(&name.key, name.owner, name.fence, end, DAY)
                ),
                Step::Renew => prop_assert_eq!(
                    file.renew(name, LEASE).wait().unwrap(),
                    memory.renew(&name.key, name.owner, name.fence, LEASE)
                ),
                Step::CommitPoint => prop_assert_eq!(
                    file.commit_point(name).wait().unwrap(),
                    memory.commit_point(&name.key, name.owner, name.fence)
                ),
                Step::Save(bytes) => prop_assert_eq!(
                    file.save(name, bytes.as_slice().into()).wait().unwrap(),
                    memory.save(&name.key, name.owner, name.fence, bytes.into())
                ),
                Step::Inspect => prop_assert_eq!(
                    seen(file.inspect(name.key).wait().unwrap()),
                    seen(memory.inspect(&name.key))
                ),
                Step::Forget => prop_assert_eq!(file.forget(name.key).wait().unwrap(), memory.forget(&name.key)),
            }
        }
        prop_assert_eq!(file.verify().wait().unwrap(), Vec::<String>::new());
        prop_assert_eq!(file.stats().wait().unwrap().held, memory.stats().held);
    }
}

#[test]
fn records_outlast_the_process_that_wrote_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "done", 1);
    complete(&store, "done", 1, b"answer");
    close(store);
    let store = open(&folder, OPTIONS);
    assert!(matches!(claim(&store, "done", 2), Outcome::Completed(kept) if kept.body() == b"answer"));
}

#[test]
fn what_a_closed_store_still_holds_keeps_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "k", 1);
    close(store);
    // The handler that it was claimed for may still be running: this process lives.
    let store = open(&folder, OPTIONS);
    assert!(matches!(claim(&store, "k", 2), Outcome::InProgress { .. }));
}

#[test]
fn what_is_to_be_kept_for_ever_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    let ever = Duration::MAX;
    for key in ["a", "b", "c"] {
        let claim = Claim { lease: ever, retention: ever, ..claim_of(key, 1) };
        store.claim(&claim, Some(ever)).wait().unwrap();
        assert!(matches!(self::claim(&store, key, 2), Outcome::InProgress { .. }));
        let end = Settlement::Complete(Answer::new(b"", b"answer"));
        assert_eq!(store.settle(name(key, 1, 1), end, ever).wait().unwrap(), Written::Done);
        assert!(matches!(self::claim(&store, key, 2), Outcome::Completed(_)));
    }
    assert_whole(&store);
}

#[test]
fn a_lease_is_renewed_for_as_long_as_the_claim_is_to_be_held() {
    let folder = tempfile::tempdir().unwrap();
    let (store, peer) = (open(&folder, OPTIONS), open(&folder, OPTIONS));
    let lease = Duration::from_secs(2);
    let short = |key| Claim { lease, ..claim_of(key, 1) };
    store.claim(&short("held"), Some(DAY)).wait().unwrap();
    store.claim(&short("held for a while"), Some(Duration::from_secs(1))).wait().unwrap();
    store.claim(&short("not held"), None).wait().unwrap();
    sleep(Duration::from_secs(5));
    assert!(matches!(claim(&peer, "held", 2), Outcome::InProgress { .. }));
    assert_eq!(fence(&claim(&peer, "held for a while", 2)), 2);
    assert_eq!(fence(&claim(&peer, "not held", 2)), 2);
    // An owner that has tried to end its claim does not hold it, whatever became of that.
    let wrong = ClaimName { fence: 9, ..name("held", 1, 1) };
    store.settle(wrong, Settlement::Release, DAY).wait().unwrap();
    assert!(matches!(claim(&peer, "held", 2), Outcome::InProgress { .. }));
    store.settle(name("held", 1, 1), Settlement::Release, DAY).wait().unwrap();
    assert_eq!(fence(&claim(&peer, "held", 2)), 2);
}

#[test]
fn with_its_last_user_in_a_process_the_holds_end() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FileStores::default();
    let open = || stores.open(&folder.path().join("store"), OPTIONS).unwrap();
    let (one, other) = (open(), open());
    let lease = Duration::from_millis(400);
    one.claim(&Claim { lease, ..claim_of("k", 1) }, Some(DAY)).wait().unwrap();
    // As when a worker thread ends.
    drop(one);
    sleep(lease * 2);
    assert_eq!(fence(&claim(&other, "k", 2)), 2);
}

#[test]
fn a_full_store_drops_what_expires_first_and_counts_it_but_never_a_claim() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 1 << 20, max_entries: 3 };
    let store = open(&folder, FileOptions { limits, ..OPTIONS });
    claim(&store, "held", 1);
    for key in ["a", "b", "c", "d", "e"] {
        claim(&store, key, 1);
        // Two that expire in the same millisecond are in no order.
        sleep(Duration::from_millis(2));
        complete(&store, key, 1, key.as_bytes());
    }
    let stats = store.stats().wait().unwrap();
    assert_eq!((stats.held, stats.settled, stats.evicted), (1, 3, 2));
    let kept = ["a", "b", "c", "d", "e"].map(|key| store.inspect(digest(key)).wait().unwrap().is_some());
    assert_eq!(kept, [false, false, true, true, true]);
    assert_whole(&store);
}

#[test]
fn a_store_full_of_claims_refuses_new_ones_until_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 1 << 20, max_entries: 2 };
    let store = open(&folder, FileOptions { limits, ..OPTIONS });
    claim(&store, "a", 1);
    store.claim(&Claim { lease: Duration::from_millis(50), ..claim_of("b", 1) }, None).wait().unwrap();
    assert!(matches!(claim(&store, "c", 1), Outcome::Full));
    sleep(Duration::from_millis(100));
    // A lapsed one takes nobody's place.
    assert_eq!(fence(&claim(&store, "c", 1)), 1);
    assert!(matches!(claim(&store, "d", 1), Outcome::Full));
    complete(&store, "a", 1, b"");
    assert_eq!(fence(&claim(&store, "d", 1)), 1);
    assert_whole(&store);
}

#[test]
fn an_answer_larger_than_the_store_is_not_replayable_rather_than_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 4096, max_entries: 10 };
    let store = open(&folder, FileOptions { limits, ..OPTIONS });
    claim(&store, "k", 1);
    assert_eq!(complete(&store, "k", 1, &[0; 5000]), Written::Done);
    assert!(matches!(claim(&store, "k", 2), Outcome::NotReplayable));
}

#[test]
fn what_has_expired_is_swept_and_its_space_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let body = [7; 8 * 1024];
    let mut sizes = Vec::new();
    for round in 0..4 {
        let store = open(&folder, OPTIONS);
        for i in 0..200 {
            let key = format!("{round}/{i}");
            drop(store.claim(&claim_of(&key, 1), None));
            let settlement = Settlement::Complete(Answer::new(b"", &body));
            let settled = store.settle(name(&key, 1, 1), settlement, Duration::from_millis(300));
            assert_eq!(settled.wait().unwrap(), Written::Done);
        }
        let end = Instant::now() + Duration::from_secs(20);
        while store.stats().wait().unwrap().settled > 0 {
            assert!(Instant::now() < end, "nothing sweeps");
            sleep(Duration::from_millis(100));
        }
        close(store);
        sizes.push(fs::metadata(folder.path().join("store")).unwrap().len());
    }
    // Room for what is kept at once, not for all that ever was.
    assert!(sizes.iter().all(|size| *size < 2 * 200 * 10 * 1024), "{sizes:?}");
    let store = open(&folder, OPTIONS);
    assert_whole(&store);
    store.compact().wait().unwrap();
    let stats = store.stats().wait().unwrap();
    assert!(stats.file_bytes < 256 * 1024 && stats.journal_bytes == 0, "{stats:?}");
    assert_whole(&store);
}

#[test]
fn a_copy_is_a_store_of_that_moment_in_which_nobody_holds_anything() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    claim(&store, "done", 1);
    complete(&store, "done", 1, b"answer");
    claim(&store, "running", 1);
    claim(&store, "committed", 1);
    store.commit_point(name("committed", 1, 1)).wait().unwrap();
    let copy = folder.path().join("copy");
    store.backup(&copy).wait().unwrap();
    claim(&store, "after", 1);
    assert!(store.backup(&copy).wait().is_err(), "nothing is overwritten");
    let copy = FileStore::open(&copy, OPTIONS).unwrap();
    assert_whole(&copy);
    assert!(matches!(claim(&copy, "done", 2), Outcome::Completed(_)));
    assert_eq!(fence(&claim(&copy, "running", 2)), 2);
    assert!(matches!(claim(&copy, "committed", 2), Outcome::Indeterminate));
    assert_eq!(fence(&claim(&copy, "after", 2)), 1);
}

#[test]
fn it_is_read_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let options = FileOptions { access: Access::ReadOnly, ..OPTIONS };
    let path = folder.path().join("store");
    assert!(FileStore::open(&path, options).is_err(), "there is nothing to read");
    assert!(!path.exists());
    let store = open(&folder, OPTIONS);
    let reader = FileStore::open(&path, options).unwrap();
    claim(&store, "k", 1);
    assert!(matches!(reader.inspect(digest("k")).wait().unwrap(), Some(Inspection::InProgress { .. })));
    complete(&store, "k", 1, b"answer");
    assert!(matches!(reader.inspect(digest("k")).wait().unwrap(), Some(Inspection::Completed { .. })));
    assert_eq!(reader.stats().wait().unwrap().settled, 1);
    assert_whole(&reader);
    assert_eq!(reader.claim(&claim_of("k", 2), None).wait().unwrap_err(), FileStoreError::ReadOnly);
    assert_eq!(reader.forget(digest("k")).wait().unwrap_err(), FileStoreError::ReadOnly);
    assert_eq!(reader.compact().wait().unwrap_err(), FileStoreError::ReadOnly);
}

#[cfg(unix)]
#[test]
fn all_its_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, FileOptions { durability: Durability::Fsync, ..OPTIONS });
    claim(&store, "k", 1);
    complete(&store, "k", 1, b"secret");
    store.backup(&folder.path().join("copy")).wait().unwrap();
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder.path()).unwrap().chain(fs::read_dir(folder.path().join("store.locks")).unwrap())
    {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let is_folder = entry.file_type().unwrap().is_dir();
        assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    for expected in ["store", "store-wal", "store-shm", "store.locks", "copy", "turn", "gate", "bell"] {
        assert!(names.iter().any(|name| name == expected), "{expected}: {names:?}");
    }
}

#[test]
fn a_file_of_another_program_or_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE orders (id)").unwrap();
    drop(foreign);
    let before = fs::read(&path).unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let error = FileStore::open(&path, FileOptions { access, ..OPTIONS }).unwrap_err();
        assert!(
            matches!(&error, FileStoreError::Foreign { found, .. } if found.contains("another program")),
            "{error}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    close(open(&folder, OPTIONS));
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
    let error = FileStore::open(&path, OPTIONS).unwrap_err();
    assert!(matches!(&error, FileStoreError::Foreign { found, .. } if found.contains("format 9")), "{error}");
}

#[test]
fn a_damaged_file_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::write(&path, "this is no database, and it is longer than the head of one ".repeat(4)).unwrap();
    assert!(matches!(FileStore::open(&path, OPTIONS), Err(FileStoreError::Damaged { .. })));
    fs::remove_file(&path).unwrap();

    let store = open(&folder, OPTIONS);
    for i in 0..200 {
        let key = format!("{i}");
        drop(store.claim(&claim_of(&key, 1), None));
        complete(&store, &key, 1, &[7; 1000]);
    }
    close(store);
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    for page in bytes.chunks_mut(4096).skip(length / 4096 / 2) {
        page.fill(0xA5);
    }
    fs::write(&path, bytes).unwrap();
    // Its beginning is whole: that it opens is luck, that it is noticed must not be.
    match FileStore::open(&path, OPTIONS) {
        Err(error) => assert!(matches!(error, FileStoreError::Damaged { .. }), "{error}"),
        Ok(store) => assert_ne!(store.verify().wait().unwrap(), Vec::<String>::new()),
    }
}

#[test]
fn a_folder_that_is_missing_or_not_ours_is_said() {
    for path in ["/no/such/folder/store", "/proc/store"] {
        let error = FileStore::open(Path::new(path), OPTIONS).unwrap_err();
        assert!(matches!(error, FileStoreError::System { .. }), "{error}");
    }
}

#[test]
fn one_file_is_one_store_within_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let stores = FileStores::default();
    let one = stores.open(&path, OPTIONS).unwrap();
    let other = stores.open(&path, OPTIONS).unwrap();
    claim(&one, "k", 1);
    let owners = || {
        let names = fs::read_dir(folder.path().join("store.locks")).unwrap();
        names
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("owner-"))
            .count()
    };
    assert_eq!(owners(), 1);
    let limits = Limits { max_entries: 5, ..LARGE };
    let error = stores.open(&path, FileOptions { limits, ..OPTIONS }).unwrap_err();
    assert!(matches!(error, FileStoreError::OptionsDiffer(_)), "{error}");
    // What file systems it may be on has been asked, and is no property of the store.
    let allowed = Some(FileSystem::Fuse);
    close(stores.open(&path, FileOptions { allowed, ..OPTIONS }).unwrap());
    complete(&other, "k", 1, b"");
    close(one);
    assert!(matches!(claim(&other, "k", 2), Outcome::Completed(_)));
    close(other);
    assert_eq!(owners(), 0);
}

#[test]
fn nothing_is_left_unanswered_when_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, OPTIONS);
    let asked: Vec<_> = (0..500).map(|i| store.claim(&claim_of(&format!("{i}"), 1), None)).collect();
    close(store);
    // What was asked before is done.
    for pending in asked {
        assert_eq!(fence(&pending.wait().unwrap()), 1);
    }
}
