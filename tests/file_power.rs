//! The store in a file, when the power is cut: of what was written since the last sync, any part may be missing or torn.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reprise::idempotency::file::{Access, ClaimName, Durability, FileOptions, FileStore};
use reprise::idempotency::{
    Answer, Claim, Digest, DigestBuilder, Identified, Inspection, Limits, Outcome, Owner, Settlement,
};

const DAY: Duration = Duration::from_secs(86_400);
const SECTOR: usize = 512;
/// Of the journal; it says with two numbers, the salts, which of its pages are of this time.
const HEAD: usize = 32;

const OPTIONS: FileOptions = FileOptions {
    durability: Durability::Fsync,
    access: Access::ReadWrite,
    limits: Limits { max_bytes: 1 << 30, max_entries: 1_000_000 },
    allowed: None,
};

fn open(path: &Path) -> FileStore {
    FileStore::open(path, OPTIONS).unwrap()
}

fn key_of(number: usize) -> Digest {
    DigestBuilder::new("test").field(&number.to_le_bytes()).finish()
}

fn answer_of(number: usize) -> Answer {
    Answer::new(b"head", &number.to_le_bytes().repeat(256 + number % 2000))
}

/// Requests that are answered, in one group.
fn answer(store: &FileStore, numbers: std::ops::Range<usize>) {
    let owner = Owner(1);
    let claims: Vec<_> = numbers
        .clone()
        .map(|number| {
            let key = key_of(number);
            let request = Identified { key, fingerprint: key, identity: key, name: key };
            let claim = Claim { request, owner, lease: DAY, retention: DAY, over_indeterminate: false };
            store.claim(&claim, None)
        })
        .collect();
    for claim in claims {
        assert!(matches!(claim.wait().unwrap(), Outcome::Claimed { .. }));
    }
    let ends: Vec<_> = numbers
        .map(|number| {
            let name = ClaimName { key: key_of(number), owner, fence: 1 };
            store.settle(name, Settlement::Complete(answer_of(number)), DAY)
        })
        .collect();
    for end in ends {
        end.wait().unwrap();
    }
}

/// The file and its journal, as they are.
struct Image {
    file: Vec<u8>,
    journal: Vec<u8>,
}

impl Image {
    fn of(path: &Path) -> Self {
        Self { file: fs::read(path).unwrap(), journal: fs::read(journal_of(path)).unwrap() }
    }

    fn write(&self, path: &Path) {
        fs::write(path, &self.file).unwrap();
        fs::write(journal_of(path), &self.journal).unwrap();
    }

    /// What may be on the disk when the power goes between two images. All of the first was synced. The engine syncs the
    /// journal before it copies from it into the file, and the file before the journal begins anew.
    fn cut(before: &Self, after: &Self, random: &mut StdRng) -> Self {
        let is_same_file = before.file == after.file;
        let is_same_journal = before.journal[..HEAD] == after.journal[..HEAD];
        let file =
            if is_same_journal { torn(&before.file, &after.file, 0, random) } else { after.file.clone() };
        let journal = if is_same_file || !is_same_journal {
            torn(&before.journal, &after.journal, HEAD, random)
        } else {
            after.journal.clone()
        };
        Self { file, journal }
    }
}

/// Sector by sector the old, the new, or nothing; its length any between the two.
fn torn(before: &[u8], after: &[u8], synced: usize, random: &mut StdRng) -> Vec<u8> {
    let length = random.random_range(before.len().min(after.len())..=before.len().max(after.len()));
    let mut torn = after.to_vec();
    torn.resize(length, 0);
    for (i, sector) in torn.chunks_mut(SECTOR).enumerate() {
        let start = i * SECTOR;
        let old = before.get(start..(start + sector.len()).min(before.len())).unwrap_or(&[]);
        if old == sector || random.random() {
            continue;
        }
        sector[..old.len()].copy_from_slice(old);
        sector[old.len()..].fill(0);
    }
    let synced = synced.min(torn.len());
    torn[..synced].copy_from_slice(&after[..synced]);
    torn
}

fn journal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

#[test]
fn the_journal_is_synced_before_an_answer_is_acknowledged_and_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"));
    for number in 0..10 {
        let before = store.stats().wait().unwrap().syncs;
        answer(&store, number..number + 1);
        assert_eq!(store.stats().wait().unwrap().syncs, before + 1);
        // What is replayed must not be undone either: another process may have written it a moment ago.
        let kept = store.inspect(key_of(number)).wait().unwrap();
        assert!(matches!(kept, Some(Inspection::Completed { .. })));
        assert_eq!(store.stats().wait().unwrap().syncs, before + 2);
    }
    let options = FileOptions { durability: Durability::Os, ..OPTIONS };
    let store = FileStore::open(&folder.path().join("other"), options).unwrap();
    answer(&store, 0..1);
    assert_eq!(store.stats().wait().unwrap().syncs, 0);
}

#[test]
fn it_opens_whole_and_with_every_answer_that_was_acknowledged() {
    let mut random = StdRng::seed_from_u64(20_261_127);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path);
    let (mut answered, mut cuts) = (0, [0; 3]);
    for round in 0..16 {
        let next = answered + random.random_range(5..60);
        answer(&store, answered..next);
        answered = next;
        let before = Image::of(&path);
        let under_way = answered + random.random_range(1..40);
        answer(&store, answered..under_way);
        let after = Image::of(&path);
        let kind = match (before.journal[..HEAD] == after.journal[..HEAD], before.file == after.file) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        cuts[kind] += 1;
        for number in 0..2 {
            let path = folder.path().join(format!("cut {round}.{number}"));
            Image::cut(&before, &after, &mut random).write(&path);
            let restored = open(&path);
            assert_eq!(restored.verify().wait().unwrap(), Vec::<String>::new(), "round {round}");
            let kept: Vec<_> = (0..answered).map(|number| restored.inspect(key_of(number))).collect();
            for (number, kept) in kept.into_iter().enumerate() {
                let Some(Inspection::Completed { answer, .. }) = kept.wait().unwrap() else {
                    panic!("round {round}: the answer to {number} of {answered} is lost");
                };
                assert_eq!(answer, answer_of(number));
            }
        }
        answered = under_way;
    }
    println!(
        "{cuts:?} between commits, in the middle of a copy into the file, at the beginning of a new journal"
    );
}
