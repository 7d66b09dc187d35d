//! Steps that wait for the writer.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::errand::{Asked, Attempt, Errand, To};
use super::error::FileStoreError;
use super::ledger::Ledger;
use super::pending::{Pending, Reply, Wakers, pending};
use super::strays::Strays;

/// How much one transaction takes: enough to share the cost of a commit, little enough to let others have their turn.
const MOST_STEPS: usize = 512;
const MOST_BYTES: usize = 4 << 20;

/// The largest answer, or progress, that one process sends to another.
pub(super) const LARGEST: usize = 256 << 10;

/// When a result may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// When the transaction is committed: a power cut that undoes it ends all who rely on it, too.
    Committed,
    /// When the transaction would survive a power cut, where the store promises that.
    Synced,
}

/// A step of one transaction.
pub(super) trait Step: Send {
    fn run(&mut self, ledger: &mut Ledger<'_>) -> rusqlite::Result<()>;
    fn told(&self) -> Told;
    /// Leaves the result; who waits for it is to be woken.
    fn answer(self: Box<Self>, end: Result<(), FileStoreError>) -> Option<Waker>;
}

struct Job<T, F> {
    step: Option<F>,
    result: Option<T>,
    told: fn(&T) -> Told,
    reply: Reply<T>,
}

impl<T: Send, F: FnOnce(&mut Ledger<'_>) -> rusqlite::Result<T> + Send> Step for Job<T, F> {
    fn run(&mut self, ledger: &mut Ledger<'_>) -> rusqlite::Result<()> {
        if let Some(step) = self.step.take() {
            self.result = Some(step(ledger)?);
        }
        Ok(())
    }

    fn told(&self) -> Told {
        self.result.as_ref().map_or(Told::Synced, self.told)
    }

    fn answer(self: Box<Self>, end: Result<(), FileStoreError>) -> Option<Waker> {
        let Self { result, reply, .. } = *self;
        reply.send(end.and_then(|()| result.ok_or(FileStoreError::Closed)))
    }
}

/// Answers all of them, and then wakes those who asked.
pub(super) fn answer_all(steps: Vec<Box<dyn Step>>, end: &Result<(), FileStoreError>) {
    let mut wakers = Wakers::default();
    for step in steps {
        wakers.add(step.answer(end.clone()));
    }
    wakers.wake();
}

/// The steps that wait for the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    steps: VecDeque<Queued>,
    /// How many of them no other process can do.
    own: usize,
    /// With how many steps it is time for the writer.
    due: usize,
    is_closed: bool,
}

struct Queued {
    work: Work,
    bytes: usize,
    since: Instant,
}

enum Work {
    Asked(Box<Asked>),
    Step(Box<dyn Step>),
}

impl Queue {
    /// Adds a step that carries so many bytes.
    pub fn add<T: Send + 'static>(
        &self,
        bytes: usize,
        told: fn(&T) -> Told,
        step: impl FnOnce(&mut Ledger<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (reply, pending) = pending();
        self.put(Work::Step(Box::new(Job { step: Some(step), result: None, told, reply })), bytes);
        pending
    }

    /// Adds an errand. Who waits for it is told in any case.
    pub fn ask(&self, errand: Errand, reply: To) {
        let bytes = errand.bytes();
        self.put(
            Work::Asked(Box::new(Asked { errand, attempt: Attempt::First, reply, report: None })),
            bytes,
        );
    }

    fn put(&self, work: Work, bytes: usize) {
        let mut state = self.state.lock();
        if !state.is_closed {
            state.push(work, bytes);
            self.tell(&state);
        }
    }

    /// Adds steps with their bytes. They are answered if nobody will do them.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no process leads there"))]
    pub fn add_all(&self, steps: impl Iterator<Item = (Box<dyn Step>, usize)>) {
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            return answer_all(steps.map(|(step, _)| step).collect(), &Err(FileStoreError::Closed));
        }
        for (step, bytes) in steps {
            state.push(Work::Step(step), bytes);
        }
        self.tell(&state);
    }

    /// Takes errands back that another process has not answered, even when it is closed: this one has to do them.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no process leads there"))]
    pub fn take_back(&self, asked: Vec<Asked>, strays: &Arc<Strays>) {
        let mut state = self.state.lock();
        for mut asked in asked {
            asked.attempt = Attempt::Again(Arc::clone(strays));
            let bytes = asked.errand.bytes();
            state.push(Work::Asked(Box::new(asked)), bytes);
        }
        self.tell(&state);
    }

    /// Wakes the writer, if it has something to do.
    fn tell(&self, state: &State) {
        if state.is_due() {
            self.changed.notify_one();
        }
    }

    /// Blocks until there are so many steps, or one that no other process can do; false when the queue is closed and
    /// empty.
    pub fn wait(&self, due: impl Fn() -> usize) -> bool {
        let mut state = self.state.lock();
        loop {
            state.due = due().max(1);
            if state.is_due() {
                return !state.steps.is_empty();
            }
            self.changed.wait(&mut state);
        }
    }

    /// Has the writer look again with how many steps it is time.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no process leads there"))]
    pub fn look(&self) {
        // Otherwise it could have looked, and not wait yet.
        drop(self.state.lock());
        self.changed.notify_one();
    }

    /// Whether there is nothing in it that no other process can do.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no process leads there"))]
    pub fn has_no_own(&self) -> bool {
        self.state.lock().own == 0
    }

    pub fn is_empty(&self) -> bool {
        self.state.lock().steps.is_empty()
    }

    /// The steps of the next transaction, in their order.
    pub fn take(&self) -> Vec<Box<dyn Step>> {
        let mut state = self.state.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < MOST_STEPS && bytes < MOST_BYTES {
            let Some(queued) = state.pop() else { break };
            bytes += queued.bytes;
            taken.push(queued.into_step());
        }
        taken
    }

    /// What another process can do, in its order.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no process leads there"))]
    pub fn take_asked(&self) -> Vec<Asked> {
        let mut state = self.state.lock();
        let (mut taken, mut left, mut bytes) = (Vec::new(), VecDeque::new(), 0);
        for queued in mem::take(&mut state.steps) {
            let is_one = !queued.is_own() && taken.len() < MOST_STEPS && bytes < MOST_BYTES;
            match queued.work {
                Work::Asked(asked) if is_one => {
                    bytes += queued.bytes;
                    taken.push(*asked);
                }
                work => left.push_back(Queued { work, ..queued }),
            }
        }
        state.steps = left;
        taken
    }

    /// The steps that have waited for longer than that: nobody will do them in time.
    pub fn take_overdue(&self, patience: Duration) -> Vec<Box<dyn Step>> {
        let mut state = self.state.lock();
        let overdue = state.steps.iter().take_while(|queued| queued.since.elapsed() > patience).count();
        (0..overdue).filter_map(|_| state.pop()).map(Queued::into_step).collect()
    }

    /// What is queued is still done; what comes later is answered with [`FileStoreError::Closed`].
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}

impl State {
    fn push(&mut self, work: Work, bytes: usize) {
        let queued = Queued { work, bytes, since: Instant::now() };
        self.own += usize::from(queued.is_own());
        self.steps.push_back(queued);
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.steps.pop_front()?;
        self.own -= usize::from(queued.is_own());
        Some(queued)
    }

    fn is_due(&self) -> bool {
        self.is_closed || self.own > 0 || self.steps.len() >= self.due
    }
}

impl Queued {
    /// Whether no other process can do it.
    fn is_own(&self) -> bool {
        match &self.work {
            Work::Asked(asked) => matches!(asked.attempt, Attempt::Again(_)) || self.bytes > LARGEST,
            Work::Step(_) => true,
        }
    }

    fn into_step(self) -> Box<dyn Step> {
        match self.work {
            Work::Asked(asked) => asked,
            Work::Step(step) => step,
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { steps, is_closed, .. } = &*self.state.lock();
        write!(f, "Queue({} steps{})", steps.len(), if *is_closed { ", closed" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(queue: &Queue) {
        drop(queue.add(0, |()| Told::Committed, |_| Ok(())));
    }

    #[test]
    fn the_writer_is_woken_by_a_step_and_by_the_end_but_not_before_all_is_done() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.wait(|| 1));
            add(&queue);
            assert!(waiting.join().unwrap());
            queue.close();
            assert!(queue.wait(|| 1), "what is queued is still done");
            assert_eq!(queue.take().len(), 1);
            assert!(queue.is_empty());
            assert!(!queue.wait(|| 1));
        });
    }
}
