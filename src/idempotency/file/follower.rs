//! A process that has another one write for it.
//!
//! What it sends has a deadline. Who leads does nothing of it from then on; before, who follows does nothing of
//! it by itself, unless the leader is dead. So a leader that is stopped, or whose disk hangs, holds nobody up for long, and
//! no errand is done behind its owner's back when it goes on.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::errand::{Asked, Attempt, Errand, Report};
use super::error::FileStoreError;
use super::leader::socket;
use super::ledger::Party;
use super::owners::{Owners, Process};
use super::pending::Wakers;
use super::queue::Step;
use super::time::{Ms, Now, ms};
use super::wire::{self, Batch, End, Frames, Hello, Said, VERSION, Welcome};
use crate::idempotency::Written;

/// How long a leader may take with an errand.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long it may take to say that it leads.
const GREETING: Duration = Duration::from_millis(50);

/// How often it is looked whether the leader takes too long.
const LOOK: Duration = Duration::from_millis(20);

/// Who has had nothing to write for so long writes by itself again, at first: alone, that takes less.
const IDLE: Duration = Duration::from_secs(1);

/// A connection to the leader.
#[derive(Debug)]
pub(super) struct Following {
    stream: Arc<UnixStream>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    sent: BTreeMap<u64, Sent>,
    next: u64,
    last: Instant,
    is_over: bool,
}

#[derive(Debug)]
struct Sent {
    asked: Box<Asked>,
    deadline: Ms,
}

impl Default for State {
    fn default() -> Self {
        Self { sent: BTreeMap::new(), next: 0, last: Instant::now(), is_over: false }
    }
}

impl Following {
    /// Follows the process that leads, if one does and answers.
    pub fn begin(core: &Arc<Core>, party: Party) -> io::Result<Self> {
        let stream = UnixStream::connect(socket(&core.place))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(GREETING))?;
        wire::send(&stream, &Hello { version: VERSION.to_owned(), is_synced: core.is_synced(), party })?;
        let Welcome { leader } = Frames::new(&stream).next()?.ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(LOOK))?;
        let (stream, shared) = (Arc::new(stream), Arc::<Shared>::default());
        let (core, at, state) = (Arc::clone(core), Arc::clone(&stream), Arc::clone(&shared));
        let listen = move || {
            state.listen(&at, &core);
            state.give_up(&at, &core, leader);
        };
        let thread = thread::Builder::new().name("reprise-follower".to_owned()).spawn(listen)?;
        Ok(Self { stream, shared, thread })
    }

    pub fn is_over(&self) -> bool {
        self.shared.state.lock().is_over
    }

    /// Sends errands; they are given back if nobody is there any more.
    pub fn send(&self, asked: Vec<Box<Asked>>) -> Result<(), Vec<Box<Asked>>> {
        let mut state = self.shared.state.lock();
        if state.is_over {
            return Err(asked);
        }
        let deadline = Now::read().uptime.saturating_add(ms(PATIENCE));
        let errands = (state.next..).zip(asked.iter().map(|asked| &asked.errand)).collect();
        let Ok(frame) = wire::frame(&Batch::<&Errand> { deadline, errands }) else { return Err(asked) };
        for asked in asked {
            let number = state.next;
            state.next += 1;
            state.sent.insert(number, Sent { asked, deadline });
        }
        state.last = Instant::now();
        drop(state);
        if io::Write::write_all(&mut &*self.stream, &frame).is_err() {
            // Whoever listens learns that it is over.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        Ok(())
    }

    /// Ends when all that was sent is answered, or will be done by this process.
    pub fn end(self) {
        let mut state = self.shared.state.lock();
        while !state.sent.is_empty() && !state.is_over {
            self.shared.changed.wait(&mut state);
        }
        drop(state);
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

impl Shared {
    /// Takes what the leader says, until it says nothing any more.
    fn listen(&self, stream: &UnixStream, core: &Core) {
        let mut frames = Frames::<Vec<Said>>::new(stream);
        while let Ok(said) = frames.next() {
            if let Some(said) = said {
                self.take(said, core);
            }
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
        let (mut wakers, mut undone) = (Wakers::default(), Vec::new());
        let mut state = self.state.lock();
        for Said { number, end } in said {
            let Some(Sent { mut asked, .. }) = state.sent.remove(&number) else { continue };
            match end {
                End::Done(report) if asked.is_answered_by(&report) => {
                    if let (Errand::Settle { name, .. }, Report::Settled(Written::Done)) = (&asked.errand, &report) {
                        core.waiters.wake(&name.key);
                    }
                    asked.report = Some(report);
                    wakers.add(asked.answer(Ok(())));
                }
                End::Unsynced(reason) => {
                    let path = core.place.file.clone();
                    wakers.add(asked.answer(Err(FileStoreError::Unsynced { path, reason })));
                }
                End::Done(_) | End::NotDone => undone.push(asked),
            }
        }
        if state.sent.is_empty() {
            self.changed.notify_all();
        }
        drop(state);
        core.queue.take_back(undone);
        wakers.wake();
    }

    /// Has this process do what the leader has not answered, once it is sure that the leader will not do it.
    fn give_up(&self, stream: &UnixStream, core: &Core, leader: Process) {
        let _ = stream.shutdown(Shutdown::Both);
        let mut state = self.state.lock();
        state.is_over = true;
        let sent = mem::take(&mut state.sent);
        drop(state);
        if let Some(last) = sent.values().map(|sent| sent.deadline).max() {
            let is_dead = || !Owners::new(&core.place, core.process).is_alive(leader);
            while Now::read().uptime < last && !is_dead() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        core.queue.take_back(sent.into_values().map(|sent| sent.asked).collect());
        self.changed.notify_all();
    }
}

impl Asked {
    /// As it is when another process may have done it.
    pub fn again(mut self: Box<Self>) -> Box<Self> {
        self.attempt = Attempt::Again;
        self.report = None;
        self
    }
}
