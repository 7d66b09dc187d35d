//! The store in a file, between processes that are killed and stopped. Each child is this program again, in a role that
//! the environment gives it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::collections::HashMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use reprise::idempotency::file::{Access, ClaimName, Durability, FileOptions, FileStore};
use reprise::idempotency::{
    Answer, Claim, Digest, DigestBuilder, Identified, Inspection, Limits, Outcome, Owner, Settlement, Written,
};

const DAY: Duration = Duration::from_secs(86_400);
const OPTIONS: FileOptions = FileOptions {
    durability: Durability::Os,
    access: Access::ReadWrite,
    limits: Limits { max_bytes: 1 << 30, max_entries: 1_000_000 },
    allowed: None,
};

const ROLE: &str = "REPRISE_TEST_ROLE";
const FOLDER: &str = "REPRISE_TEST_FOLDER";

fn digest(text: &str) -> Digest {
    DigestBuilder::new("test").field(text.as_bytes()).finish()
}

fn claim_of(key: &str, lease: Duration) -> Claim {
    let key = digest(key);
    let request = Identified { key, fingerprint: key, identity: key, name: key };
    Claim { request, owner: Owner(rand::random()), lease, retention: DAY, over_indeterminate: false }
}

fn name_of(claim: &Claim, fence: u64) -> ClaimName {
    ClaimName { key: claim.request.key, owner: claim.owner, fence }
}

fn open(folder: &Path) -> FileStore {
    FileStore::open(&folder.join("store"), OPTIONS).unwrap()
}

/// Starts a child in a role.
fn child(folder: &Path, role: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["in_a_role", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a child says something that begins so; all of it.
fn hear(lines: &mut impl BufRead, start: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child has ended without saying {start:?}");
        // The test harness speaks, too, and does not end its lines.
        if let Some((_, said)) = line.split_once(start) {
            return said.trim().to_owned();
        }
    }
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// What a child does; without a role it is no test.
#[test]
fn in_a_role() {
    let (Ok(role), Ok(folder)) = (env::var(ROLE), env::var(FOLDER)) else { return };
    let folder = PathBuf::from(folder);
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("holds", lease) => hold(&folder, Duration::from_millis(lease.parse().unwrap())),
        #[cfg(target_os = "linux")]
        ("opens", "with few descriptors") => open_with_few_descriptors(&folder),
        ("serves", place) => serve(&folder, place.parse().unwrap()),
        (other, _) => panic!("no such role: {other}"),
    }
}

/// Holds claims of two keys, one of them behind its commit point, and tries to complete them when it is told to.
fn hold(folder: &Path, lease: Duration) {
    let store = open(folder);
    let claims = [claim_of("held", lease), claim_of("committed", lease)];
    for claim in &claims {
        assert!(matches!(store.claim(claim, None).wait().unwrap(), Outcome::Claimed { fence: 1, .. }));
    }
    store.commit_point(name_of(&claims[1], 1)).wait().unwrap();
    println!("said: holds");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let complete = |claim| {
        let settlement = Settlement::Complete(Answer::new(b"", b"of one who was away"));
        store.settle(name_of(claim, 1), settlement, DAY).wait().unwrap()
    };
    println!("said: {:?} {:?}", complete(&claims[0]), complete(&claims[1]));
}

/// Opens the store with one descriptor more each time, until that succeeds, and says whether its journal is looked after.
#[cfg(target_os = "linux")]
fn open_with_few_descriptors(folder: &Path) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let in_use = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    for spare in 0..64 {
        let current = Some(in_use + spare);
        setrlimit(Resource::Nofile, rustix::process::Rlimit { current, ..limits }).unwrap();
        let opened = FileStore::open(&folder.join("store"), OPTIONS);
        if opened.is_ok() {
            // A thread that finds nothing to work with ends at once.
            sleep(Duration::from_millis(300));
        }
        setrlimit(Resource::Nofile, limits).unwrap();
        let Ok(_store) = opened else { continue };
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let names = threads.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        println!("said: journal {}", names.filter(|name| name.starts_with("reprise-journal")).count());
        return;
    }
    panic!("it never opens");
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_cannot_look_after_its_journal_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut opener = child(folder.path(), "opens with few descriptors");
    let mut lines = BufReader::new(opener.stdout.take().unwrap());
    assert_eq!(hear(&mut lines, "said: journal"), "1");
    opener.wait().unwrap();
}

#[test]
fn what_a_killed_process_held_is_free_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut owner = child(folder.path(), "holds 600000");
    hear(&mut BufReader::new(owner.stdout.take().unwrap()), "said: holds");
    let claim = claim_of("held", DAY);
    assert!(matches!(store.claim(&claim, None).wait().unwrap(), Outcome::InProgress { .. }));
    let waiting = store.wait(digest("held")).wait().unwrap().unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let patience = Duration::from_secs(60);
    // Far before its lease is over.
    runtime.block_on(async { tokio::time::timeout(patience, waiting.done()).await.unwrap() });
    assert!(matches!(store.claim(&claim, None).wait().unwrap(), Outcome::Claimed { fence: 2, .. }));
    // But where nobody can know what it has done.
    let committed = claim_of("committed", DAY);
    assert!(matches!(store.claim(&committed, None).wait().unwrap(), Outcome::Indeterminate));
}

#[test]
fn a_stopped_process_keeps_its_lease_until_it_runs_out_and_is_fenced_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut owner = child(folder.path(), "holds 3000");
    let mut lines = BufReader::new(owner.stdout.take().unwrap());
    hear(&mut lines, "said: holds");
    {
        // Not in the middle of a commit, which would hold up this process, too.
        let turn = OpenOptions::new().write(true).open(folder.path().join("store.locks/turn")).unwrap();
        turn.lock().unwrap();
        signal(&owner, "-STOP");
    }
    let claim = claim_of("held", DAY);
    let began = Instant::now();
    let mut kept = None;
    loop {
        match store.claim(&claim, None).wait().unwrap() {
            Outcome::InProgress { lease_left } => kept = kept.or(Some(lease_left)),
            Outcome::Claimed { fence, .. } => {
                assert_eq!(fence, 2);
                break;
            }
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(50));
    }
    // On a machine that is too slow to see it, there was nothing to keep.
    let kept = kept.unwrap_or_default();
    assert!(began.elapsed() + Duration::from_millis(5) >= kept, "{kept:?} of its lease were left");
    signal(&owner, "-CONT");
    owner.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    // Nobody has asked for the other key: the lease ran out, and nobody minds.
    assert_eq!(hear(&mut lines, "said: "), "Lost Done");
    owner.wait().unwrap();
    assert!(matches!(
        store.inspect(claim.request.key).wait().unwrap(),
        Some(Inspection::InProgress { fence: 2, .. })
    ));
}

/// Each key is asked for so many times, by each process.
const DUPLICATES: usize = 16;
const PROCESSES: usize = 4;
/// How many keys are asked for at once.
const WINDOW: usize = 8;

fn keys() -> usize {
    // All of the 2,000 by hand: they take minutes.
    env::var("REPRISE_TEST_KEYS").map_or(300, |text| text.parse().unwrap())
}

/// Serves the requests of its place, in a file of answers what its clients have received. Goes on where that ends.
fn serve(folder: &Path, place: usize) {
    let log = folder.join(format!("answers {place}"));
    let received = fs::read_to_string(&log).unwrap_or_default();
    // A line that was cut short by the kill has not been received.
    let done = received.lines().filter(|line| line.ends_with('.')).count();
    let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    if !received.is_empty() && !received.ends_with('\n') {
        writeln!(log).unwrap();
    }
    let store = open(folder);
    let requests = keys() * DUPLICATES;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for start in (done..requests).step_by(WINDOW * DUPLICATES) {
            let end = (start + WINDOW * DUPLICATES).min(requests);
            let mut asked: Vec<_> =
                (start..end).map(|i| Box::pin(request(&store, folder, i / DUPLICATES))).collect();
            let mut answers: Vec<Option<String>> = vec![None; asked.len()];
            std::future::poll_fn(|context| {
                for (request, answer) in asked.iter_mut().zip(&mut answers) {
                    if answer.is_none()
                        && let std::task::Poll::Ready(found) = request.as_mut().poll(context)
                    {
                        *answer = Some(found);
                    }
                }
                if answers.iter().all(Option::is_some) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
            for answer in answers.into_iter().flatten() {
                log.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
}

/// One request and its retries; the line of the client who got the answer: key, answer, milliseconds.
async fn request(store: &FileStore, folder: &Path, key: usize) -> String {
    let began = Instant::now();
    let mut claim = claim_of(&key.to_string(), Duration::from_secs(30));
    let answer = loop {
        match store.claim(&claim, Some(DAY)).await.unwrap() {
            Outcome::Claimed { fence, .. } => break run(store, folder, key, name_of(&claim, fence)).await,
            Outcome::Completed(answer) => break String::from_utf8(answer.body().to_vec()).unwrap(),
            Outcome::InProgress { .. } => {
                if let Some(waiting) = store.wait(claim.request.key).await.unwrap() {
                    waiting.done().await;
                }
            }
            // Its handler can tell whether it has had its effect.
            Outcome::Indeterminate => claim.over_indeterminate = true,
            other => panic!("{other:?}"),
        }
    };
    format!("{key} {answer} {}.\n", began.elapsed().as_millis())
}

/// A handler with an effect, which is to happen once whenever it is killed.
async fn run(store: &FileStore, folder: &Path, key: usize, name: ClaimName) -> String {
    assert_eq!(store.commit_point(name).await.unwrap(), Written::Done);
    let effect = folder.join(format!("effect {key}"));
    if !effect.exists() {
        // In one step, which a kill cannot cut in half. It fails if another one has it at the same time.
        File::create_new(effect).unwrap();
    }
    let answer = format!("{}-{}", std::process::id(), name.fence);
    let settlement = Settlement::Complete(Answer::new(b"", answer.as_bytes()));
    assert_eq!(store.settle(name, settlement, DAY).await.unwrap(), Written::Done);
    answer
}

#[test]
fn of_four_processes_killed_again_and_again_each_key_has_one_effect_and_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let start = |place: usize| child(folder, &format!("serves {place}"));
    let logged =
        |place: usize| fs::metadata(folder.join(format!("answers {place}"))).map_or(0, |log| log.len());
    let mut running: Vec<Child> = (0..PROCESSES).map(start).collect();
    let mut seen = [0; PROCESSES];
    let mut kills = 0;
    let mut is_over = [false; PROCESSES];
    while is_over.contains(&false) {
        sleep(Duration::from_millis(100));
        for place in 0..PROCESSES {
            if let Some(status) = running[place].try_wait().unwrap() {
                assert!(status.success(), "a child failed: {status}");
                is_over[place] = true;
            }
        }
        // One that has got on since it was started, so that on a slow machine all end some time.
        let victim = (0..PROCESSES).find(|place| !is_over[*place] && logged(*place) > seen[*place]);
        if let Some(victim) = victim {
            running[victim].kill().unwrap();
            running[victim].wait().unwrap();
            kills += 1;
            seen[victim] = logged(victim);
            running[victim] = start(victim);
        }
    }
    let store = open(folder);
    assert_eq!(store.verify().wait().unwrap(), Vec::<String>::new());
    let mut longest = 0;
    let mut answers: HashMap<usize, String> = HashMap::new();
    for place in 0..PROCESSES {
        let log = fs::read_to_string(folder.join(format!("answers {place}"))).unwrap();
        let lines: Vec<_> = log.lines().filter_map(|line| line.strip_suffix('.')).collect();
        assert_eq!(lines.len(), keys() * DUPLICATES);
        for line in lines {
            let mut parts = line.split(' ');
            let mut next = || parts.next().unwrap();
            let (key, answer, millis) = (next().parse().unwrap(), next(), next().parse::<u64>().unwrap());
            assert_eq!(answers.entry(key).or_insert_with(|| answer.to_owned()), answer, "key {key}");
            longest = longest.max(millis);
        }
    }
    for key in 0..keys() {
        assert!(folder.join(format!("effect {key}")).exists(), "key {key}");
        let kept = store.inspect(digest(&key.to_string())).wait().unwrap();
        let Some(Inspection::Completed { answer, .. }) = kept else { panic!("key {key}: {kept:?}") };
        assert_eq!(answer.body(), answers[&key].as_bytes());
    }
    println!("{kills} kills, {} requests, the longest waited {longest} ms", keys() * DUPLICATES * PROCESSES);
    // Nobody has waited for a lease to run out.
    assert!(longest < 20_000, "{longest} ms");
}
