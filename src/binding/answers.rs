//! Answers on their way to JavaScript, a group at a time. A promise of the runtime's own is a function to call from
//! another thread, made anew for each; here there is one for a store, which is called once for all that have been
//! answered, and JavaScript keeps the promises.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use napi::bindgen_prelude::{Either4, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use parking_lot::Mutex;

use super::file_store::NativeFailure;
use super::store_contract::NativeClaimOutcome;

/// What is answered: a fence, whether something was done, an outcome or a failure. Tickets are numbers, too.
pub type Answer = Either4<f64, bool, NativeClaimOutcome, NativeFailure>;

/// Called from any thread, it brings what has gathered by the time that JavaScript runs it; these stay until then, though
/// the store may be gone.
type Settle = ThreadsafeFunction<Arc<Answers>, (), Vec<Answer>, Status, false, true>;

/// The answers that JavaScript has not heard yet.
pub struct Answers {
    /// Tickets and answers in turn.
    gathered: Mutex<Vec<Answer>>,
    /// How many are asked for. While there are any, Node must not end.
    expected: AtomicUsize,
    settle: Mutex<Settle>,
}

/// Where the answer for a ticket goes.
pub struct Reply {
    answers: Arc<Answers>,
    ticket: u32,
}

impl Answers {
    /// Those that `settle` is called with.
    pub fn new(settle: &Function<'_, Vec<Answer>, ()>) -> Result<Arc<Self>> {
        let settle = settle
            .build_threadsafe_function::<Arc<Self>>()
            .weak::<true>()
            .callee_handled::<false>()
            .build_callback(|context| context.value.take(context.env))?;
        let settle = Mutex::new(settle);
        Ok(Arc::new(Self { gathered: Mutex::default(), expected: AtomicUsize::new(0), settle }))
    }

    /// Expects the answer for a ticket.
    pub fn expect(self: &Arc<Self>, env: Env, ticket: u32) -> Result<Reply> {
        if self.expected.fetch_add(1, Ordering::Relaxed) == 0 {
            self.keep_alive(env, true)?;
        }
        Ok(Reply { answers: Arc::clone(self), ticket })
    }

    fn take(&self, env: Env) -> Result<Vec<Answer>> {
        let answers = mem::take(&mut *self.gathered.lock());
        let count = answers.len() / 2;
        if count > 0 && self.expected.fetch_sub(count, Ordering::Relaxed) == count {
            self.keep_alive(env, false)?;
        }
        Ok(answers)
    }

    #[expect(deprecated, reason = "what is named instead, to drop it and make it again, is what costs")]
    fn keep_alive(&self, env: Env, is_needed: bool) -> Result<()> {
        let mut settle = self.settle.lock();
        if is_needed { settle.refer(&env) } else { settle.unref(&env) }
    }
}

impl Reply {
    /// Leaves the answer; who is to be woken when all of its group are there.
    pub fn answer(self, answer: Answer) -> Waker {
        let Self { answers, ticket } = self;
        answers.gathered.lock().extend([Answer::A(f64::from(ticket)), answer]);
        Waker::from(answers)
    }
}

impl Wake for Answers {
    fn wake(self: Arc<Self>) {
        // When Node is about to end, nobody listens any more.
        let _ = self.settle.lock().call(Arc::clone(&self), ThreadsafeFunctionCallMode::NonBlocking);
    }
}
