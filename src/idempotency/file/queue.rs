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

/// Answers all of them, and then wakes those who asked; how many there were.
pub(super) fn answer_all(steps: Vec<Box<dyn Step>>, end: &Result<(), FileStoreError>) -> usize {
    let count = steps.len();
    let mut wakers = Wakers::default();
    for step in steps {
        wakers.add(step.answer(end.clone()));
    }
    wakers.wake();
    count
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
    /// At so many steps the writer is woken.
    wanted: usize,
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
            if state.steps.len() >= state.wanted {
                self.added.notify_one();
            }
        }
        pending
    }

    /// Blocks until there are steps; false when the queue is closed and empty.
    pub fn wait(&self) -> bool {
        let mut state = self.state.lock();
        state.wanted = 1;
        while state.steps.is_empty() && !state.is_closed {
            self.added.wait(&mut state);
        }
        !state.steps.is_empty()
    }

    /// Blocks until there are so many steps, for so long at most; whether there are any.
    pub fn gather(&self, wanted: usize, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.state.lock();
        state.wanted = wanted;
        while state.steps.len() < wanted && !state.is_closed {
            if self.added.wait_until(&mut state, end).timed_out() {
                break;
            }
        }
        !state.steps.is_empty()
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
    fn those_who_were_answered_are_waited_for_but_not_for_long() {
        let queue = Queue::default();
        assert!(!queue.gather(1, Duration::from_millis(1)), "nobody came");
        add(&queue);
        assert!(queue.gather(2, Duration::from_millis(1)), "one of two");
        let long = Duration::from_secs(600);
        std::thread::scope(|scope| {
            scope.spawn(|| add(&queue));
            assert!(queue.gather(2, long));
        });
        assert_eq!(queue.take().len(), 2);
        queue.close();
        assert!(!queue.gather(1, long), "nobody will come");
    }

    #[test]
    fn a_step_that_comes_alone_wakes_the_writer_whatever_it_waited_for_before() {
        let queue = Queue::default();
        assert!(!queue.gather(64, Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.wait());
            add(&queue);
            assert!(waiting.join().unwrap());
        });
    }
}
