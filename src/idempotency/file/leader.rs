//! The process that writes for others.
//!
//! Where several processes write at once, each of them would forget at each turn what it knows of the file's pages, since
//! another one has written, and all wait for each other's turns. So one of them leads: the others send it
//! their errands, by a socket beside the file. It puts them among its own. Nobody depends on it: who hears nothing from
//! it in time writes by itself (`follower`), and what it had sent must not be done any more then.
#![forbid(unsafe_code)]

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::core::{Core, named_thread};
use super::errand::{Errand, Report};
use super::error::FileStoreError;
use super::ledger::{Ledger, Party};
use super::owners::Process;
use super::place::Place;
use super::queue::{LARGEST, Step, Told};
use super::time::Ms;
use super::wire::{self, Batch, End, FRAME, Frames, Hello, Said, VERSION, Welcome};
use crate::idempotency::Outcome;

/// How often who listens for followers looks whether the store is closed, should nobody wake it.
const LOOK: Duration = Duration::from_secs(1);

/// How long it is not tried to accept anybody when that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a follower may take to read what it is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// The path of the socket.
pub(super) fn socket(place: &Place) -> PathBuf {
    place.locks.join("leader.socket")
}

/// This process leads, until this is dropped.
#[derive(Debug)]
pub(super) struct Leader {
    socket: PathBuf,
    shared: Arc<Shared>,
    _lock: File,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    /// The followers' ends that are open.
    followers: Mutex<Vec<Arc<Follower>>>,
}

impl Leader {
    /// Leads, if nobody else does.
    pub fn begin(core: &Arc<Core>) -> Option<Self> {
        let process = core.process?;
        let lock = core.place.lock_file("leader").ok()?;
        lock.try_lock().ok()?;
        let socket = socket(&core.place);
        // What a leader that was killed has left.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).ok()?;
        fs::set_permissions(&socket, Permissions::from_mode(0o600)).ok()?;
        let shared = Arc::<Shared>::default();
        let (followed, core) = (Arc::clone(&shared), Arc::clone(core));
        let listen = move || followed.listen(&listener, &core, process);
        named_thread("reprise-leader", listen).ok()?;
        Some(Self { socket, shared, _lock: lock })
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Who listens is woken.
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
        for follower in mem::take(&mut *self.shared.followers.lock()) {
            // What it has been answered is still sent.
            let _ = follower.stream.shutdown(Shutdown::Read);
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &UnixListener, core: &Arc<Core>, process: Process) {
        let look = Timespec::try_from(LOOK).ok();
        while !self.is_over.load(Ordering::Acquire) {
            let accepted = match poll(&mut [PollFd::new(listener, PollFlags::IN)], look.as_ref()) {
                Ok(0) => continue,
                Ok(_) => listener.accept(),
                Err(error) => Err(error.into()),
            };
            let Ok((stream, _)) = accepted else {
                // Without files to be had it would be ready to be accepted again and again.
                thread::sleep(PAUSE);
                continue;
            };
            let (shared, core) = (Arc::clone(self), Arc::clone(core));
            let serve = move || {
                let _ = shared.serve(stream, &core, process);
            };
            // Without a thread the follower finds the stream closed, and writes by itself.
            drop(named_thread("reprise-leader", serve));
        }
    }

    /// Takes what a follower sends, until it is gone.
    fn serve(&self, stream: UnixStream, core: &Arc<Core>, process: Process) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let hello: Hello = Frames::new(&stream).next()?.ok_or(ErrorKind::TimedOut)?;
        if hello.version != VERSION || hello.is_synced != core.is_synced() {
            return Ok(());
        }
        stream.set_read_timeout(None)?;
        wire::send(&stream, &Welcome { leader: process })?;
        let follower = Arc::new(Follower { stream, state: Mutex::default(), changed: Condvar::new() });
        let telling = Arc::clone(&follower);
        let tell = named_thread("reprise-leader", move || telling.tell())?;
        self.followers.lock().push(Arc::clone(&follower));
        if !self.is_over.load(Ordering::Acquire) {
            let mut batches = Frames::<Batch>::new(&follower.stream);
            while let Ok(Some(Batch { deadline, errands })) = batches.next() {
                core.queue.add_all(errands.into_iter().map(|(number, errand)| {
                    let ordered = Ordered {
                        errand,
                        deadline,
                        party: hello.party,
                        number,
                        follower: Arc::clone(&follower),
                        report: None,
                    };
                    let bytes = ordered.errand.bytes();
                    (Box::new(ordered) as Box<dyn Step>, bytes)
                }));
            }
        }
        follower.end();
        self.followers.lock().retain(|other| !Arc::ptr_eq(other, &follower));
        let _ = tell.join();
        Ok(())
    }
}

/// The leader's end of a stream.
#[derive(Debug)]
struct Follower {
    stream: UnixStream,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    said: Vec<Said>,
    is_over: bool,
}

impl Wake for Follower {
    fn wake(self: Arc<Self>) {
        self.changed.notify_one();
    }
}

impl Follower {
    fn end(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_one();
    }

    /// Tells the follower what became of its errands.
    fn tell(&self) {
        loop {
            let mut state = self.state.lock();
            while state.said.is_empty() && !state.is_over {
                self.changed.wait(&mut state);
            }
            let said = mem::take(&mut state.said);
            if said.is_empty() {
                break;
            }
            drop(state);
            if self.send(said).is_err() {
                break;
            }
        }
        // Whoever reads from it learns that it is over.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn send(&self, said: Vec<Said>) -> io::Result<()> {
        let (mut some, mut bytes) = (Vec::new(), 0);
        for said in said {
            bytes += said.end.bytes();
            some.push(said);
            if bytes >= FRAME {
                wire::send(&self.stream, &mem::take(&mut some))?;
                bytes = 0;
            }
        }
        if some.is_empty() { Ok(()) } else { wire::send(&self.stream, &some) }
    }
}

impl End {
    fn bytes(&self) -> usize {
        match self {
            Self::Done(Report::Claimed(Outcome::Completed(answer))) => answer.size(),
            Self::Done(Report::Claimed(Outcome::Claimed { progress: Some(progress), .. })) => progress.len(),
            _ => 0,
        }
    }
}

/// A follower's errand.
#[derive(Debug)]
struct Ordered {
    errand: Errand,
    deadline: Ms,
    party: Party,
    number: u64,
    follower: Arc<Follower>,
    report: Option<Report>,
}

impl Step for Ordered {
    fn run(&mut self, ledger: &mut Ledger<'_>) -> rusqlite::Result<()> {
        // Later, the follower may have done it by itself. It has not yet: it would need the lock that is held here.
        self.report = if ledger.now.uptime < self.deadline {
            Some(ledger.act_for(self.party, |ledger| self.errand.run(ledger))?)
        } else {
            None
        };
        Ok(())
    }

    fn told(&self) -> Told {
        self.report.as_ref().map_or(Told::Committed, |report| self.errand.told(report))
    }

    fn answer(self: Box<Self>, end: Result<(), FileStoreError>) -> Option<Waker> {
        let Self { number, follower, report, .. } = *self;
        let end = match (end, report) {
            (Ok(()), Some(report)) => End::Done(report),
            (Err(FileStoreError::Unsynced { reason, .. }), Some(_)) => End::Unsynced(reason),
            _ => End::NotDone,
        };
        let end = if end.bytes() > LARGEST { End::NotDone } else { end };
        follower.state.lock().said.push(Said { number, end });
        Some(follower.into())
    }
}
