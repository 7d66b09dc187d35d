//! A process that has another one write for it.
//!
//! What it sends has a deadline. Who leads does nothing of it from then on; who follows does nothing of it by itself
//! before, unless the leader is dead. So a leader that is stopped, or whose disk hangs, holds nobody up for long, and when
//! it goes on, nothing is done behind its owner's back.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::errand::{Asked, Errand, Report};
use super::error::FileStoreError;
use super::leader::socket;
use super::owners::{Owners, Process};
use super::pending::Wakers;
use super::time::{Ms, Now, ms};
use super::wire::{self, Batch, End, Frames, Hello, Said, VERSION, Welcome};
use crate::idempotency::Written;

/// How long a leader may take with an errand.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long it may take to say that it leads.
const GREETING: Duration = Duration::from_millis(50);

/// How often it is looked whether the leader takes too long.
const LOOK: Duration = Duration::from_millis(20);

/// Who has had nothing to write for so long writes by itself again: alone, that takes less.
const IDLE: Duration = Duration::from_secs(1);

/// A connection to the process that leads.
#[derive(Debug)]
pub(super) struct Following {
    stream: Arc<UnixStream>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// How it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// There was nothing to write, or the leader is gone.
    Gone,
    /// The leader did not answer in time.
    Silent,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    under_way: AtomicUsize,
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
    /// Follows the process that leads, if one does and answers.
    pub fn begin(core: &Arc<Core>) -> io::Result<Self> {
        let stream = UnixStream::connect(socket(&core.place))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(GREETING))?;
        let hello = Hello { version: VERSION.to_owned(), is_synced: core.is_synced(), party: core.party() };
        wire::send(&stream, &hello)?;
        let Welcome { leader } = Frames::new(&stream).next()?.ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(LOOK))?;
        let stream = Arc::new(stream);
        let shared = Arc::new(Shared::new());
        let (core, from, followed) = (Arc::clone(core), Arc::clone(&stream), Arc::clone(&shared));
        let listen = move || {
            followed.listen(&from, &core);
            followed.give_up(&from, &core, leader);
        };
        let thread = thread::Builder::new().name("reprise-follower".to_owned()).spawn(listen)?;
        Ok(Self { stream, shared, thread })
    }

    /// How it was over, if it is.
    pub fn over(&self) -> Option<Over> {
        self.shared.state.lock().over
    }

    /// How many errands are under way.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::Acquire)
    }

    /// Sends errands. If nobody is there any more, they are back in the queue.
    pub fn send(&self, asked: Vec<Asked>, core: &Core) -> bool {
        let deadline = Now::read().uptime.saturating_add(ms(PATIENCE));
        let mut state = self.shared.state.lock();
        let errands = (state.next..).zip(asked.iter().map(|asked| &asked.errand)).collect();
        let frame = wire::frame(&Batch::<&Errand> { deadline, errands });
        let (None, Ok(frame)) = (state.over, frame) else {
            drop(state);
            core.queue.take_back(asked);
            return false;
        };
        for asked in asked {
            let number = state.next;
            state.next += 1;
            state.sent.insert(number, Sent { asked, deadline });
        }
        state.last = Instant::now();
        self.shared.count(&state);
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

impl Shared {
    fn new() -> Self {
        let state = State { sent: BTreeMap::new(), next: 0, last: Instant::now(), over: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), under_way: AtomicUsize::new(0) }
    }

    fn count(&self, state: &State) {
        self.under_way.store(state.sent.len(), Ordering::Release);
    }

    /// Takes what the leader says, until it has said nothing for too long, or is gone.
    fn listen(&self, stream: &UnixStream, core: &Core) {
        let mut frames = Frames::<Vec<Said>>::new(stream);
        while let Ok(said) = frames.next() {
            self.take(said.unwrap_or_default(), core);
            let state = self.state.lock();
            let is_over = match state.sent.first_key_value() {
                Some((_, sent)) => sent.deadline <= Now::read().uptime,
                None => state.last.elapsed() > IDLE,
            };
            if is_over {
                return;
            }
        }
    }

    fn take(&self, said: Vec<Said>, core: &Core) {
        if said.is_empty() {
            return;
        }
        let (mut wakers, mut undone) = (Wakers::default(), Vec::new());
        let mut state = self.state.lock();
        for Said { number, end } in said {
            let Some(Sent { asked, .. }) = state.sent.remove(&number) else { continue };
            match end {
                End::Done(report) if asked.is_answered_by(&report) => {
                    if let (Errand::Settle { name, .. }, Report::Settled(Written::Done)) =
                        (&asked.errand, &report)
                    {
                        core.waiters.wake(&name.key);
                    }
                    wakers.add(asked.tell(Ok(report)));
                }
                End::Unsynced(reason) => {
                    let path = core.place.file.clone();
                    wakers.add(asked.tell(Err(FileStoreError::Unsynced { path, reason })));
                }
                End::Done(_) | End::NotDone => undone.push(asked),
            }
        }
        self.count(&state);
        self.changed.notify_all();
        drop(state);
        core.queue.take_back(undone);
        core.queue.look();
        wakers.wake();
    }

    /// Has this process do what the leader has not answered, once it is sure that the leader will not do it.
    fn give_up(&self, stream: &UnixStream, core: &Core, leader: Process) {
        let _ = stream.shutdown(Shutdown::Both);
        let mut state = self.state.lock();
        state.over = Some(Over::Gone);
        let sent = mem::take(&mut state.sent);
        self.count(&state);
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
        core.queue.take_back(sent.into_values().map(|sent| sent.asked).collect());
        self.changed.notify_all();
    }
}
