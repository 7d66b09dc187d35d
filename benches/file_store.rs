//! What the store in a file does in a second, beside what its engine and its disk could do: `cargo bench --bench
//! file_store [seconds]`.
//!
//! A *pair* is a claim and its completion with 1 KiB. Ratios count, on a disk that others use too.
#![expect(clippy::unwrap_used, reason = "a program for developers")]

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reprise::idempotency::file::{Access, ClaimName, Durability, FileOptions, FileStore};
use reprise::idempotency::{Answer, Claim, DigestBuilder, Identified, Limits, Outcome, Owner, Settlement};
use rusqlite::{Connection, params};

const CALLERS: usize = 64;
const LIMITS: Limits = Limits { max_bytes: 4 << 30, max_entries: 10_000_000 };
const DAY: Duration = Duration::from_secs(86_400);
const BODY: [u8; 1024] = [7; 1024];

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let texts: Vec<&str> = args.iter().map(String::as_str).collect();
    // One measurement by itself, for those who compare with others of the same moment.
    let alone = match *texts.as_slice() {
        ["serve", path, durability, callers, seconds] => {
            serve(Path::new(path), durability, callers.parse().unwrap(), seconds.parse().unwrap())
        }
        ["plain", folder, group, seconds] => {
            plain(Path::new(folder), seconds.parse().unwrap(), group.parse().unwrap())
        }
        _ => return compare(&args),
    };
    println!("{alone}");
}

fn compare(args: &[String]) {
    let seconds: u64 = args.first().map_or(3, |text| text.parse().unwrap());
    let folder =
        tempfile::tempdir_in(env::var_os("REPRISE_BENCH_DIR").unwrap_or_else(|| ".".into())).unwrap();
    let folder = folder.path();
    report("disk: fdatasync after 4 KiB", "syncs", &[syncs(folder, seconds)]);
    report("plain SQLite, FULL, 1 caller", "pairs", &[plain(folder, seconds, 1)]);
    for group in [CALLERS, CALLERS / 4] {
        let what = format!("SQLite in groups of {group}, one fdatasync each");
        report(&what, "pairs", &[plain(folder, seconds, group)]);
    }
    for durability in ["os", "fsync"] {
        for processes in [1, 2, 4] {
            let counts = in_processes(folder, durability, processes, seconds);
            report(
                &format!("FileStore '{durability}', {processes} processes, {CALLERS} callers"),
                "pairs",
                &counts,
            );
        }
    }
    report("FileStore 'os', 1 process, 1 caller", "pairs", &[alone(folder, "os", seconds)]);
    report("FileStore 'fsync', 1 process, 1 caller", "pairs", &[alone(folder, "fsync", seconds)]);
}

fn report(what: &str, of: &str, counts: &[f64]) {
    let sum: f64 = counts.iter().sum();
    let least = counts.iter().copied().fold(f64::INFINITY, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let share = least / (sum / counts.len() as f64);
    println!("{what:58} {sum:9.0} {of}/s   least share {share:.2}");
}

fn syncs(folder: &Path, seconds: u64) -> f64 {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("raw")).unwrap();
    rate(seconds, || {
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        1
    })
}

/// What the engine does without any of ours around it: one process, so many pairs in one commit.
fn plain(folder: &Path, seconds: u64, group: usize) -> f64 {
    let path = folder.join(format!("plain {group}"));
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    // One sync by ourselves for a group, as the engine does it for each commit.
    connection.pragma_update(None, "synchronous", if group == 1 { "full" } else { "normal" }).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE records (id INTEGER PRIMARY KEY, key BLOB, state INTEGER, fence INTEGER, owner BLOB);
             CREATE TABLE bodies (id INTEGER PRIMARY KEY, content BLOB);",
        )
        .unwrap();
    let mut journal = None;
    rate(seconds, || {
        let keys: Vec<[u8; 32]> = (0..group).map(|_| rand::random()).collect();
        let id = |key: &[u8; 32]| i64::from_le_bytes(key[..8].try_into().unwrap());
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for key in &keys {
            connection
                .prepare_cached("INSERT INTO records VALUES (?1, ?2, 1, 1, ?2)")
                .unwrap()
                .execute(params![id(key), key])
                .unwrap();
        }
        connection.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
        for key in &keys {
            connection
                .prepare_cached("UPDATE records SET state = 2 WHERE id = ?1 AND owner = ?2 AND fence = 1")
                .unwrap()
                .execute(params![id(key), key])
                .unwrap();
            connection
                .prepare_cached("INSERT INTO bodies (content) VALUES (?1)")
                .unwrap()
                .execute([BODY])
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        if group > 1 {
            let wal = format!("{}-wal", path.display());
            journal
                .get_or_insert_with(|| OpenOptions::new().write(true).open(wal).unwrap())
                .sync_data()
                .unwrap();
        }
        group
    })
}

fn rate(seconds: u64, mut step: impl FnMut() -> usize) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        count += step();
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = count as f64;
    count / start.elapsed().as_secs_f64()
}

fn in_processes(folder: &Path, durability: &str, processes: usize, seconds: u64) -> Vec<f64> {
    let path = folder.join(format!("{durability} {processes}"));
    let callers = (CALLERS / processes).to_string();
    let children: Vec<_> = (0..processes)
        .map(|_| {
            Command::new(env::current_exe().unwrap())
                .args(["serve", path.to_str().unwrap(), durability, &callers, &seconds.to_string()])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let output =
        |child: std::process::Child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    children.into_iter().map(|child| output(child).trim().parse().unwrap()).collect()
}

fn alone(folder: &Path, durability: &str, seconds: u64) -> f64 {
    serve(&folder.join(format!("{durability} alone")), durability, 1, seconds)
}

/// So many callers, each with one request at a time.
fn serve(path: &Path, durability: &str, callers: usize, seconds: u64) -> f64 {
    let durability = if durability == "fsync" { Durability::Fsync } else { Durability::Os };
    let store = FileStore::open(
        path,
        FileOptions { durability, access: Access::ReadWrite, limits: LIMITS, allowed: None },
    )
    .unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pairs: usize = runtime.block_on(async {
        let tasks = (0..callers).map(|_| async {
            let mut pairs = 0;
            while Instant::now() < end {
                pair(&store).await;
                pairs += 1;
            }
            pairs
        });
        futures_of(tasks).await.into_iter().sum()
    });
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = pairs as f64 / Duration::from_secs(seconds).as_secs_f64();
    rate
}

async fn pair(store: &FileStore) {
    let key = DigestBuilder::new("bench").field(&rand::random::<[u8; 16]>()).finish();
    let request = Identified { key, fingerprint: key, identity: key, name: key };
    let owner = Owner(rand::random());
    let lease = Duration::from_secs(30);
    let claim = Claim { request, owner, lease, retention: DAY, over_indeterminate: false };
    let Outcome::Claimed { fence, .. } = store.claim(&claim, Some(DAY)).await.unwrap() else {
        panic!("not claimed")
    };
    let settlement = Settlement::Complete(Answer::new(b"200", &BODY));
    store.settle(ClaimName { key, owner, fence }, settlement, DAY).await.unwrap();
}

/// All of them at once, on this thread.
async fn futures_of<T>(tasks: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut tasks: Vec<_> = tasks.map(|task| (Box::pin(task), None)).collect();
    std::future::poll_fn(|context| {
        for (task, result) in &mut tasks {
            if result.is_none()
                && let std::task::Poll::Ready(value) = task.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        if tasks.iter().all(|(_, result)| result.is_some()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    tasks.into_iter().filter_map(|(_, result)| result).collect()
}
