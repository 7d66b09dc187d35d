//! Steps that wait for the writer.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::error::FileStoreError;
use super::ledger::Ledger;
use super::pending::{Pending, Reply, Wakers, pending};

/// How much one transaction takes: enough to share the cost of a commit, little enough to let others have their turn.
const MOST_STEPS: usize = 512;
const MOST_BYTES: usize = 4 << 20;

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
    added: Condvar,
}

#[derive(Default)]
struct State {
    steps: VecDeque<Queued>,
    is_closed: bool,
}

struct Queued {
    step: Box<dyn Step>,
    bytes: usize,
    since: Instant,
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
        let mut state = self.state.lock();
        if !state.is_closed {
            let step = Box::new(Job { step: Some(step), result: None, told, reply });
            state.steps.push_back(Queued { step, bytes, since: Instant::now() });
            self.added.notify_one();
        }
        pending
    }

    /// Blocks until there are steps; false when the queue is closed and empty.
    pub fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while state.steps.is_empty() && !state.is_closed {
            self.added.wait(&mut state);
        }
        !state.steps.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.state.lock().steps.is_empty()
    }

    /// The steps of the next transaction, in their order.
    pub fn take(&self) -> Vec<Box<dyn Step>> {
        let mut state = self.state.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < MOST_STEPS && bytes < MOST_BYTES {
            let Some(queued) = state.steps.pop_front() else { break };
            bytes += queued.bytes;
            taken.push(queued.step);
        }
        taken
    }

    /// The steps that have waited for longer than that: nobody will do them in time.
    pub fn take_overdue(&self, patience: Duration) -> Vec<Box<dyn Step>> {
        let mut state = self.state.lock();
        let overdue = state.steps.iter().take_while(|queued| queued.since.elapsed() > patience).count();
        state.steps.drain(..overdue).map(|queued| queued.step).collect()
    }

    /// What is queued is still done; what comes later is answered with [`FileStoreError::Closed`].
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.added.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().is_closed
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
            let waiting = scope.spawn(|| queue.wait());
            add(&queue);
            assert!(waiting.join().unwrap());
            queue.close();
            assert!(queue.wait(), "what is queued is still done");
            assert_eq!(queue.take().len(), 1);
            assert!(queue.is_empty());
            assert!(!queue.wait());
        });
    }
}
