//! Results that come later, and how those who wait for them hear of it.
#![forbid(unsafe_code)]

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use super::error::FileStoreError;

/// A result that comes when the transaction that it belongs to is written.
#[derive(Debug)]
#[must_use = "the step is done in any case, but whether it succeeded is not known"]
pub struct Pending<T>(Arc<Slot<T>>);

/// The other end of a [`Pending`]. Dropped without a result, it says that the store is closed.
#[derive(Debug)]
pub(super) struct Reply<T>(Option<Arc<Slot<T>>>);

type Answer<T> = Result<T, FileStoreError>;
type Slot<T> = Mutex<State<T>>;

enum State<T> {
    Open,
    Waited(Waker),
    /// What takes the result, and says who is to be woken for it.
    Taken(Box<dyn FnOnce(Answer<T>) -> Waker + Send>),
    Answered(Answer<T>),
    Over,
}

pub(super) fn pending<T>() -> (Reply<T>, Pending<T>) {
    let slot = Arc::new(Mutex::new(State::Open));
    (Reply(Some(Arc::clone(&slot))), Pending(slot))
}

impl<T> Pending<T> {
    /// Blocks until it is there. Not for threads that run asynchronous tasks.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn wait(mut self) -> Result<T, FileStoreError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match self.poll_with(&waker) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Gives the result to `take`, on the thread that has it, before any of its group is woken. `take` says who is.
    pub fn take_with(self, take: impl FnOnce(Result<T, FileStoreError>) -> Waker + Send + 'static) {
        let mut state = self.0.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => {
                drop(state);
                take(answer).wake();
            }
            _ => *state = State::Taken(Box::new(take)),
        }
    }

    /// The result, if it is there.
    pub(super) fn poll_now(&mut self) -> Option<Result<T, FileStoreError>> {
        match self.poll_with(Waker::noop()) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn poll_with(&mut self, waker: &Waker) -> Poll<Answer<T>> {
        let mut state = self.0.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Poll::Ready(answer),
            State::Over => Poll::Ready(Err(FileStoreError::Closed)),
            State::Waited(known) if known.will_wake(waker) => {
                *state = State::Waited(known);
                Poll::Pending
            }
            State::Open | State::Waited(_) | State::Taken(_) => {
                *state = State::Waited(waker.clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, FileStoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(context.waker())
    }
}

impl<T> Reply<T> {
    /// Leaves the result; who waits for it is to be woken.
    pub fn send(mut self, answer: Answer<T>) -> Option<Waker> {
        self.0.take().and_then(|slot| leave(&slot, answer))
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take().and_then(|slot| leave(&slot, Err(FileStoreError::Closed))) {
            waker.wake();
        }
    }
}

fn leave<T>(slot: &Slot<T>, answer: Answer<T>) -> Option<Waker> {
    let mut state = slot.lock();
    match mem::replace(&mut *state, State::Over) {
        State::Waited(waker) => {
            *state = State::Answered(answer);
            Some(waker)
        }
        State::Taken(take) => {
            drop(state);
            Some(take(answer))
        }
        _ => {
            *state = State::Answered(answer);
            None
        }
    }
}

/// Those who are to be woken, each of them once, when all results of a group are there: woken by the first one, a thread
/// would look for the others too early, and again for each.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub fn add(&mut self, waker: Option<Waker>) {
        // Mostly all of a group are of one thread.
        if let Some(waker) =
            waker.filter(|waker| !self.0.iter().rev().take(8).any(|known| known.will_wake(waker)))
        {
            self.0.push(waker);
        }
    }

    pub fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}

impl<T> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Waited(_) => "Waited",
            Self::Taken(_) => "Taken",
            Self::Answered(_) => "Answered",
            Self::Over => "Over",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_once_for_all_results_of_a_group() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let (replies, mut results): (Vec<_>, Vec<_>) = (0..64).map(|_| pending::<u32>()).unzip();
        for pending in &mut results {
            assert!(pending.poll_with(&waker).is_pending());
        }
        let mut wakers = Wakers::default();
        for (number, reply) in (0..).zip(replies) {
            wakers.add(reply.send(Ok(number)));
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        wakers.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let results: Vec<_> = results.into_iter().map(|pending| pending.wait().unwrap()).collect();
        assert_eq!(results, (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn a_result_is_taken_whenever_it_comes() {
        let count = Arc::new(Count::default());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let take = || {
            let (taken, waker) = (Arc::clone(&taken), Waker::from(Arc::clone(&count)));
            move |answer| {
                taken.lock().push(answer);
                waker
            }
        };
        let (reply, early) = pending();
        assert!(reply.send(Ok(1)).is_none());
        early.take_with(take());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let (reply, late) = pending();
        late.take_with(take());
        reply.send(Ok(2)).unwrap().wake();
        let (reply, never) = pending();
        never.take_with(take());
        drop(reply);
        assert_eq!(count.0.load(Ordering::SeqCst), 3);
        assert_eq!(*taken.lock(), [Ok(1), Ok(2), Err(FileStoreError::Closed)]);
    }

    #[test]
    fn a_thread_waits_until_its_result_is_there_or_will_never_be() {
        let (reply, result) = pending();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| result.wait());
            if let Some(waker) = reply.send(Ok(7)) {
                waker.wake();
            }
            assert_eq!(waiting.join().unwrap(), Ok(7));
        });
        let (reply, result) = pending::<()>();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| result.wait());
            drop(reply);
            assert_eq!(waiting.join().unwrap(), Err(FileStoreError::Closed));
        });
    }
}
