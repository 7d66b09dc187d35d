//! A process that has another one write for it.
//!
//! What it sends has a deadline. Who leads does nothing of it from then on; who follows does nothing of it by itself
//! before, unless the leader is dead, or has said that it has not done it. So a leader that is stopped, or whose disk
//! hangs, holds nobody up for long, and when it goes on, nothing is done behind its owner's back.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};

use super::core::{Core, named_thread};
use super::errand::{Asked, Errand, Report};
use super::error::FileStoreError;
use super::leader::socket;
use super::owners::{Owners, Process};
use super::pending::Wakers;
use super::time::{Ms, Now, ms};
use super::wire::{self, Batch, End, Frames, Hello, Said, VERSION, Welcome};
use crate::idempotency::Written;

/// How long a leader may take with an errand.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// How often it is looked whether the leader takes too long.
const LOOK: Duration = Duration::from_millis(20);

/// Who has had nothing to write for so long writes by itself again: alone, that takes less.
const IDLE: Duration = Duration::from_secs(1);

/// A connection to the process that leads.
#[derive(Debug)]
pub(super) struct Following {
    patience: Duration,
    stream: Arc<UnixStream>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// How it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// There was nothing to write, or the leader is gone.
    Gone,
    /// The leader lives, and did not answer in time.
    Silent,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    sent: BTreeMap<u64, Sent>,
    next: u64,
    last: Instant,
    over: Option<Over>,
}

/// An errand that is under way.
#[derive(Debug)]
struct Sent {
    asked: Asked,
    deadline: Ms,
}

impl Following {
    /// Follows the process that leads, if one does and answers. It may take so long with an errand, and a fifth of that to
    /// say that it leads.
    pub fn begin(core: &Arc<Core>, patience: Duration) -> io::Result<Self> {
        let stream = connect(&socket(&core.place))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_read_timeout(Some(patience / 5))?;
        let hello = Hello { version: VERSION.to_owned(), is_synced: core.is_synced(), party: core.party() };
        wire::send(&stream, &hello)?;
        let Welcome { leader } = Frames::new(&stream).next()?.ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(LOOK))?;
        let stream = Arc::new(stream);
        let shared = Arc::new(Shared::new());
        let (core, from, followed) = (Arc::clone(core), Arc::clone(&stream), Arc::clone(&shared));
        let listen = move || {
            // Who waits must be answered, whatever happens.
            let _ = catch_unwind(AssertUnwindSafe(|| followed.listen(&from, &core)));
            followed.give_up(&from, &core, leader);
        };
        let thread = named_thread("reprise-follower", listen)?;
        Ok(Self { patience, stream, shared, thread })
    }

    /// How it was over, if it is.
    pub fn over(&self) -> Option<Over> {
        self.shared.state.lock().over
    }

    /// How many errands are under way; none when it is over.
    pub fn under_way(&self) -> usize {
        self.shared.state.lock().sent.len()
    }

    /// Sends errands. If nobody is there any more, they are back in the queue.
    pub fn send(&self, asked: Vec<Asked>, core: &Core) -> bool {
        let deadline = Now::read().uptime.saturating_add(ms(self.patience));
        let mut state = self.shared.state.lock();
        let errands = (state.next..).zip(asked.iter().map(|asked| &asked.errand)).collect();
        let frame = wire::frame(&Batch::<&Errand> { deadline, errands });
        let (None, Ok(frame)) = (state.over, frame) else {
            drop(state);
            core.queue.take_back(asked, &core.strays);
            return false;
        };
        for asked in asked {
            let number = state.next;
            state.next += 1;
            state.sent.insert(number, Sent { asked, deadline });
        }
        state.last = Instant::now();
        drop(state);
        if (&*self.stream).write_all(&frame).is_err() {
            // Who listens learns that it is over.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        true
    }

    /// Ends when all that was sent is answered, or back in the queue.
    pub fn end(self) -> Over {
        let mut state = self.shared.state.lock();
        while !state.sent.is_empty() && state.over.is_none() {
            self.shared.changed.wait(&mut state);
        }
        drop(state);
        let _ = self.stream.shutdown(Shutdown::Both);
        // That it panicked, if it did, has been said where panics are said.
        let _ = self.thread.join();
        self.shared.state.lock().over.unwrap_or(Over::Gone)
    }
}

/// Connects without waiting: a leader that is stopped accepts nobody, and who waits for it has no limit.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    ioctl_fionbio(&socket, false)?;
    Ok(socket.into())
}

impl Shared {
    fn new() -> Self {
        let state = State { sent: BTreeMap::new(), next: 0, last: Instant::now(), over: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes what the leader says, until it has said nothing for too long, or is gone.
    fn listen(&self, stream: &UnixStream, core: &Core) {
        let mut frames = Frames::<Vec<Said>>::new(stream);
        while let Ok(said) = frames.next() {
            self.take(said.unwrap_or_default(), core);
            let mut state = self.state.lock();
            match state.sent.first_key_value() {
                Some((_, sent)) if sent.deadline <= Now::read().uptime => return,
                // Nothing is sent from here on.
                None if state.last.elapsed() > IDLE => return state.over = Some(Over::Gone),
                _ => {}
            }
        }
    }

    fn take(&self, said: Vec<Said>, core: &Core) {
        if said.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let ends: Vec<_> = said
            .into_iter()
            .filter_map(|said| Some((state.sent.remove(&said.number)?.asked, said.end)))
            .collect();
        self.changed.notify_all();
        drop(state);
        let (mut wakers, mut undone) = (Wakers::default(), Vec::new());
        for (asked, end) in ends {
            let end = match end {
                End::Done(report) if asked.is_answered_by(&report) => Ok(report),
                End::Unsynced(reason) => {
                    Err(FileStoreError::Unsynced { path: core.place.file.clone(), reason })
                }
                End::Done(_) | End::NotDone => {
                    undone.push(asked);
                    continue;
                }
            };
            if let Errand::Settle { name, .. } = &asked.errand
                && !matches!(end, Ok(Report::Settled(Written::Lost)))
            {
                core.waiters.wake(&name.key);
            }
            wakers.add(asked.tell(end));
        }
        if !undone.is_empty() {
            core.queue.take_back(undone, &core.strays);
        }
        core.queue.look();
        wakers.wake();
    }

    /// Has this process do what the leader has not answered, once it is sure that the leader will not do it.
    fn give_up(&self, stream: &UnixStream, core: &Core, leader: Process) {
        let _ = stream.shutdown(Shutdown::Both);
        let mut state = self.state.lock();
        state.over = Some(Over::Gone);
        let sent = mem::take(&mut state.sent);
        drop(state);
        if let Some(deadline) = sent.values().map(|sent| sent.deadline).max() {
            let is_alive = || Owners::new(&core.place, core.process).is_alive(leader);
            while is_alive() {
                if Now::read().uptime >= deadline {
                    self.state.lock().over = Some(Over::Silent);
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        core.queue.take_back(sent.into_values().map(|sent| sent.asked).collect(), &core.strays);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::leader::Leader;
    use super::super::ledger::{Awaited, ClaimName};
    use super::super::owners::Life;
    use super::super::pending::{Pending, pending};
    use super::super::place::Place;
    use super::super::queue::Told;
    use super::super::rows::{Found, Rows};
    use super::super::{Access, Durability, FileOptions, schema};
    use super::*;
    use crate::idempotency::file::errand::{Attempt, To};
    use crate::idempotency::{Answer, Claim, DigestBuilder, Identified, Limits, Outcome, Owner, Settlement};

    const DAY: Duration = Duration::from_secs(86_400);
    const OPTIONS: FileOptions = FileOptions {
        durability: Durability::Os,
        access: Access::ReadWrite,
        limits: Limits { max_bytes: 1 << 30, max_entries: 1_000 },
    };

    fn claim_of(key: &str) -> Claim {
        let key = DigestBuilder::new("test").field(key.as_bytes()).finish();
        let request = Identified { key, fingerprint: key, identity: key, name: key };
        Claim { request, owner: Owner(1), lease: DAY, retention: DAY, over_indeterminate: false }
    }

    fn asked<T>(
        errand: Errand,
        to: impl FnOnce(super::super::pending::Reply<T>) -> To,
    ) -> (Asked, Pending<T>) {
        let (reply, pending) = pending();
        (Asked { errand, attempt: Attempt::First, reply: to(reply), report: None }, pending)
    }

    fn claiming(key: &str) -> (Asked, Pending<Outcome>) {
        asked(Errand::Claim(claim_of(key)), |reply| To::Claimant(reply, None))
    }

    fn settling(key: &str, settlement: Settlement) -> (Asked, Pending<Written>) {
        let Claim { request, owner, .. } = claim_of(key);
        let name = ClaimName { key: request.key, owner, fence: 1 };
        asked(Errand::Settle { name, settlement, retention: ms(DAY) }, To::Owner)
    }

    fn assert_claimed(outcome: Pending<Outcome>) {
        let outcome = outcome.wait().unwrap();
        assert!(matches!(outcome, Outcome::Claimed { fence: 1, .. }), "{outcome:?}");
    }

    /// One that leads as the test says, with the store of a process that follows it.
    struct Fake {
        follower: Arc<Core>,
        following: Following,
        stream: UnixStream,
        _folder: tempfile::TempDir,
    }

    impl Fake {
        fn of(is_alive: bool, patience: Duration) -> (Self, Option<Life>) {
            let (folder, place) = Place::of_a_test();
            let follower = Core::open(&place, OPTIONS).unwrap();
            let listener = UnixListener::bind(socket(&place)).unwrap();
            let life = is_alive.then(|| Life::begin(&place).unwrap());
            let leader = life.as_ref().map_or(Process(7), |life| life.process);
            let (following, stream) = thread::scope(|scope| {
                let begun = scope.spawn(|| Following::begin(&follower, patience).unwrap());
                let (stream, _) = listener.accept().unwrap();
                let hello: Hello = Frames::new(&stream).next().unwrap().unwrap();
                assert_eq!(hello.party, follower.party());
                wire::send(&stream, &Welcome { leader }).unwrap();
                (begun.join().unwrap(), stream)
            });
            (Self { follower, following, stream, _folder: folder }, life)
        }

        fn send(&self, asked: Asked) {
            assert!(self.following.send(vec![asked], &self.follower));
        }

        /// Answers all that has been sent.
        fn answer(&self, end: impl Fn(&Errand) -> End) {
            let Batch { errands, .. } = Frames::<Batch>::new(&self.stream).next().unwrap().unwrap();
            let said: Vec<_> =
                errands.iter().map(|(number, errand)| Said { number: *number, end: end(errand) }).collect();
            wire::send(&self.stream, &said).unwrap();
        }

        fn over(&self) -> Over {
            loop {
                if let Some(over) = self.following.over() {
                    return over;
                }
                thread::yield_now();
            }
        }
    }

    /// Greets who leads as a process of that version, one that does not sync; what it answers.
    fn greet(core: &Core, version: &str) -> (UnixStream, io::Result<Option<Welcome>>) {
        let stream = UnixStream::connect(socket(&core.place)).unwrap();
        let hello = Hello { version: version.to_owned(), is_synced: false, party: core.party() };
        wire::send(&stream, &hello).unwrap();
        let answer = Frames::new(&stream).next();
        (stream, answer)
    }

    #[test]
    fn who_leads_does_it_in_the_name_of_who_follows() {
        let (_folder, place) = Place::of_a_test();
        let (leading, follower) =
            (Core::open(&place, OPTIONS).unwrap(), Core::open(&place, OPTIONS).unwrap());
        let leader = Leader::begin(&leading).unwrap();
        assert!(Leader::begin(&follower).is_none(), "there is one");
        let following = Following::begin(&follower, DAY).unwrap();
        let (claim, outcome) = claiming("k");
        assert!(following.send(vec![claim], &follower));
        assert_claimed(outcome);
        let connection = schema::open_to_read(&place).unwrap();
        let kept = || match Rows(&connection).find(&claim_of("k").request.key).unwrap() {
            Found::Row(row) => row,
            _ => panic!("it is there"),
        };
        assert_eq!(Some(kept().process), follower.process);
        let (end, written) = settling("k", Settlement::Complete(Answer::new(b"200", b"body")));
        assert!(following.send(vec![end], &follower));
        assert_eq!(written.wait().unwrap(), Written::Done);
        assert_eq!(Rows(&connection).answer(kept().ending.unwrap()).unwrap(), Answer::new(b"200", b"body"));
        // With the leader gone, it is over, and another one may lead.
        drop(leader);
        assert_eq!(following.end(), Over::Gone);
        assert!(Following::begin(&follower, DAY).is_err());
        let _leader = Leader::begin(&follower).unwrap();
    }

    #[test]
    fn who_keeps_other_promises_or_is_of_another_version_is_not_led() {
        let (_folder, place) = Place::of_a_test();
        let leading = Core::open(&place, OPTIONS).unwrap();
        let synced = Core::open(&place, FileOptions { durability: Durability::Fsync, ..OPTIONS }).unwrap();
        let _leader = Leader::begin(&leading).unwrap();
        assert!(Following::begin(&synced, DAY).is_err());
        let greet = |version| greet(&synced, version).1;
        assert!(greet("0.0.0").is_err());
        assert!(greet(VERSION).is_ok());
    }

    #[test]
    fn an_errand_is_not_done_behind_its_deadline() {
        let (_folder, place) = Place::of_a_test();
        let leading = Core::open(&place, OPTIONS).unwrap();
        let _leader = Leader::begin(&leading).unwrap();
        let (stream, _) = greet(&leading, VERSION);
        let mut frames = Frames::<Vec<Said>>::new(&stream);
        let mut ask = |number, deadline| {
            let errands = vec![(number, Errand::Claim(claim_of("k")))];
            wire::send(&stream, &Batch { deadline, errands }).unwrap();
            frames.next().unwrap().unwrap().remove(0)
        };
        let now = Now::read().uptime;
        assert!(matches!(ask(1, now), Said { number: 1, end: End::NotDone }));
        let later = now + ms(DAY);
        assert!(matches!(
            ask(2, later),
            Said { number: 2, end: End::Done(Report::Claimed(Outcome::Claimed { .. })) }
        ));
    }

    #[test]
    fn what_a_dead_leader_has_not_answered_is_done_at_once() {
        let (fake, _) = Fake::of(false, DAY);
        let (claim, outcome) = claiming("k");
        fake.send(claim);
        fake.stream.shutdown(Shutdown::Both).unwrap();
        assert_claimed(outcome);
        // Not because it had taken too long.
        assert_eq!(fake.over(), Over::Gone);
    }

    #[test]
    fn a_leader_that_is_silent_or_gone_but_alive_is_waited_for_until_the_deadline() {
        for is_gone in [false, true] {
            let (fake, _life) = Fake::of(true, PATIENCE);
            let (claim, outcome) = claiming("k");
            let began = Now::read().uptime;
            fake.send(claim);
            if is_gone {
                fake.stream.shutdown(Shutdown::Both).unwrap();
            }
            assert_claimed(outcome);
            assert!(Now::read().uptime >= began + ms(PATIENCE), "it could have been done twice");
            assert_eq!(fake.over(), Over::Silent);
            let (claim, outcome) = claiming("other");
            assert!(!fake.following.send(vec![claim], &fake.follower));
            assert_claimed(outcome);
        }
    }

    #[test]
    fn what_a_leader_has_not_done_or_answers_beside_the_point_is_done_here() {
        let (fake, _) = Fake::of(false, DAY);
        for (key, end) in [("a", None), ("b", Some(Report::Settled(Written::Done)))] {
            let (claim, outcome) = claiming(key);
            fake.send(claim);
            let end = std::cell::Cell::new(Some(end.map_or(End::NotDone, End::Done)));
            fake.answer(|_| end.take().unwrap());
            assert_claimed(outcome);
        }
    }

    #[test]
    fn an_answer_that_may_not_survive_is_no_answer_here_either() {
        let (fake, _) = Fake::of(false, DAY);
        let (claim, outcome) = claiming("k");
        fake.send(claim);
        fake.answer(|_| End::Unsynced("disk".to_owned()));
        assert!(matches!(outcome.wait(), Err(FileStoreError::Unsynced { reason, .. }) if reason == "disk"));
    }

    #[test]
    fn a_claim_that_a_leader_has_ended_without_saying_so_is_ended_once() {
        let (_folder, place) = Place::of_a_test();
        let core = Core::open(&place, OPTIONS).unwrap();
        let again = |asked| core.queue.take_back(vec![asked], &core.strays);
        for (key, settlement, other) in [
            (
                "completed",
                Settlement::Complete(Answer::new(b"", b"1")),
                Settlement::Complete(Answer::new(b"", b"2")),
            ),
            ("not replayable", Settlement::NotReplayable, Settlement::Indeterminate),
            ("released", Settlement::Release, Settlement::NotReplayable),
            ("indeterminate", Settlement::Indeterminate, Settlement::NotReplayable),
        ] {
            let (claim, outcome) = claiming(key);
            again(claim);
            assert_claimed(outcome);
            let (first, done) = settling(key, settlement.clone());
            again(first);
            assert_eq!(done.wait().unwrap(), Written::Done);
            // Who waits for it here has not heard of it.
            let awaited = Awaited { process: core.party().process, fence: 1, lease_left: ms(DAY) };
            let waiting = core.waiters.enter(claim_of(key).request.key, awaited);
            let (second, done) = settling(key, settlement);
            again(second);
            assert_eq!(done.wait().unwrap(), Written::Done);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(60), waiting.done()).await.unwrap();
            });
            let (third, lost) = settling(key, other);
            again(third);
            assert_eq!(lost.wait().unwrap(), Written::Lost, "{key}");
        }
    }

    #[test]
    fn who_has_nothing_to_write_does_not_follow_for_ever() {
        let (fake, _) = Fake::of(false, DAY);
        assert_eq!(fake.over(), Over::Gone);
        assert_eq!(fake.following.end(), Over::Gone);
    }

    #[test]
    fn a_claim_that_was_told_to_have_failed_and_is_made_all_the_same_is_freed() {
        let (_folder, place) = Place::of_a_test();
        let core = Core::open(&place, OPTIONS).unwrap();
        let inspect = || {
            core.queue.add(0, |_| Told::Committed, |ledger| ledger.inspect(&claim_of("k").request.key)).wait()
        };
        let failing = || {
            let (mut claim, outcome) = claiming("k");
            claim.attempt = Attempt::Again(Arc::clone(&core.strays));
            assert!(claim.tell(Err(FileStoreError::Busy(place.file.clone()))).is_none());
            assert!(matches!(outcome.wait(), Err(FileStoreError::Busy(_))));
        };
        // The leader made it.
        let (claim, outcome) = claiming("k");
        core.queue.ask(claim.errand, claim.reply);
        assert_claimed(outcome);
        failing();
        while inspect().unwrap().is_some() {
            thread::yield_now();
        }
        while core.strays.is_one(claim_of("k").request.key, Owner(1)) {
            thread::yield_now();
        }
        // Its claimant tries again: it is theirs.
        failing();
        core.strays.take_up(claim_of("k").request.key, Owner(1));
        let (claim, outcome) = claiming("k");
        core.queue.ask(claim.errand, claim.reply);
        assert!(matches!(outcome.wait().unwrap(), Outcome::Claimed { fence: 2, .. }));
        thread::sleep(2 * super::super::keeper::IDLE);
        assert!(inspect().unwrap().is_some());
    }

    #[test]
    fn a_leader_that_accepts_nobody_is_not_waited_for() {
        let (_folder, place) = Place::of_a_test();
        let listener = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        net::bind(&listener, &SocketAddrUnix::new(socket(&place)).unwrap()).unwrap();
        net::listen(&listener, 1).unwrap();
        let mut connected = Vec::new();
        let error = loop {
            match connect(&socket(&place)) {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
        };
        // What each system says of a queue that is full.
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused), "{error}");
        assert!(!connected.is_empty());
    }
}
