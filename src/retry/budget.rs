use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

use crate::clock::{Clock, Millis};

/// How a budget fills, and what a retry costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BudgetPolicy {
    /// As gRPC throttles retries (gRFC A6): a failure takes one token, a success gives `token_ratio` back, and
    /// retries are allowed while more than half of `max_tokens` are left.
    Throttle {
        /// Tokens at the start, and at most.
        max_tokens: f64,
        /// What a success gives back.
        token_ratio: f64,
    },
    /// As Finagle budgets retries: every call allows `retry_ratio` of a retry for `window_ms`, on top of a reserve
    /// of `min_retries_per_second`.
    Ratio {
        /// Retries that one call pays for.
        retry_ratio: f64,
        /// Retries each second that nobody need pay for.
        min_retries_per_second: f64,
        /// How long a call's share can be spent, in milliseconds.
        window_ms: u64,
    },
}

/// The budget of one key.
#[derive(Debug)]
pub struct Budget(Mutex<State>);

#[derive(Debug)]
enum State {
    Throttle { tokens: f64 },
    Ratio { slices: [f64; SLICES], newest: u64 },
}

/// A window forgets in tenths.
const SLICES: usize = 10;

impl BudgetPolicy {
    fn full(&self, now: Millis) -> State {
        match *self {
            Self::Throttle { max_tokens, .. } => State::Throttle { tokens: max_tokens },
            Self::Ratio { window_ms, .. } => {
                State::Ratio { slices: [0.0; SLICES], newest: now / slice_ms(window_ms) }
            }
        }
    }
}

fn slice_ms(window_ms: u64) -> u64 {
    window_ms.div_ceil(SLICES as u64).max(1)
}

/// The budgets of any number of keys, under one policy; shared by all threads. The keys used least recently are
/// forgotten beyond a bound: their budgets are full again.
#[derive(Debug)]
pub struct Budgets {
    policy: BudgetPolicy,
    clock: Clock,
    by_key: Cache<Box<str>, Arc<Budget>>,
}

impl Budgets {
    /// Full budgets, for at most `max_keys` keys at a time.
    #[must_use]
    pub fn new(policy: BudgetPolicy, max_keys: u64) -> Self {
        let by_key = Cache::builder().max_capacity(max_keys).eviction_policy(EvictionPolicy::lru()).build();
        Self { policy, clock: Clock::new(), by_key }
    }

    /// The policy of all of these.
    #[must_use]
    pub fn policy(&self) -> BudgetPolicy {
        self.policy
    }

    /// A new call was made, which is no retry.
    pub fn call(&self, key: &str) {
        if let BudgetPolicy::Ratio { retry_ratio, .. } = self.policy {
            self.with(key, |_, slices| *slices.0 += retry_ratio, |_| ());
        }
    }

    /// A call succeeded.
    pub fn success(&self, key: &str) {
        if let BudgetPolicy::Throttle { max_tokens, token_ratio } = self.policy {
            self.with(key, |_, _| (), |tokens| *tokens = (*tokens + token_ratio).min(max_tokens));
        }
    }

    /// A call failed in a way that would be retried: whether it may be. Takes what it costs; never waits.
    pub fn try_retry(&self, key: &str) -> bool {
        match self.policy {
            BudgetPolicy::Throttle { max_tokens, .. } => self.with(
                key,
                |_, _| true,
                |tokens| {
                    *tokens = (*tokens - 1.0).max(0.0);
                    *tokens > max_tokens / 2.0
                },
            ),
            BudgetPolicy::Ratio { .. } => self.with(
                key,
                |balance, slices| {
                    let allowed = balance >= 1.0;
                    if allowed {
                        *slices.0 -= 1.0;
                    }
                    allowed
                },
                |_| true,
            ),
        }
    }

    /// What is left for a key: tokens, or retries.
    pub fn balance(&self, key: &str) -> f64 {
        self.with(key, |balance, _| balance, |tokens| *tokens)
    }

    /// Moves the clock forward, for tests.
    pub fn advance_clock(&self, by: std::time::Duration) {
        self.clock.advance(by);
    }

    fn with<R>(
        &self,
        key: &str,
        ratio: impl FnOnce(f64, Newest<'_>) -> R,
        throttle: impl FnOnce(&mut f64) -> R,
    ) -> R {
        let now = self.clock.now();
        let full = || Arc::new(Budget(Mutex::new(self.policy.full(now))));
        let budget = self.by_key.get(key).unwrap_or_else(|| self.by_key.get_with(key.into(), full));
        let mut state = budget.0.lock();
        match &mut *state {
            State::Throttle { tokens } => throttle(tokens),
            State::Ratio { slices, newest } => {
                let BudgetPolicy::Ratio { min_retries_per_second, window_ms, .. } = self.policy else {
                    unreachable!("a budget is made by its policy")
                };
                turn(slices, newest, now / slice_ms(window_ms));
                #[expect(clippy::cast_precision_loss, reason = "a window stays far below 2^53 milliseconds")]
                let reserve = min_retries_per_second * window_ms as f64 / 1_000.0;
                let balance = slices.iter().sum::<f64>() + reserve;
                let index = usize::try_from(*newest % SLICES as u64).unwrap_or_default();
                ratio(balance, Newest(&mut slices[index]))
            }
        }
    }
}

/// The slice of the window that is being written.
struct Newest<'a>(&'a mut f64);

/// Forgets the slices that have left the window.
fn turn(slices: &mut [f64; SLICES], newest: &mut u64, now: u64) {
    for slice in (*newest + 1..=now).rev().take(SLICES) {
        slices[usize::try_from(slice % SLICES as u64).unwrap_or_default()] = 0.0;
    }
    *newest = now.max(*newest);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn throttle(max_tokens: f64, token_ratio: f64) -> Budgets {
        Budgets::new(BudgetPolicy::Throttle { max_tokens, token_ratio }, 100)
    }

    fn ratio(retry_ratio: f64, min_retries_per_second: f64) -> Budgets {
        Budgets::new(BudgetPolicy::Ratio { retry_ratio, min_retries_per_second, window_ms: 10_000 }, 100)
    }

    fn retries(budgets: &Budgets, key: &str) -> usize {
        (0..1_000).take_while(|_| budgets.try_retry(key)).count()
    }

    #[test]
    fn a_throttle_allows_retries_while_more_than_half_of_the_tokens_are_left() {
        let budgets = throttle(10.0, 0.5);
        assert_eq!(retries(&budgets, ""), 4);
        // Failures below half go on taking tokens, down to none.
        assert_eq!((0..20).filter(|_| budgets.try_retry("")).count(), 0);
        assert_eq!(budgets.balance("").to_bits(), 0.0_f64.to_bits());
        (0..12).for_each(|_| budgets.success(""));
        assert!(!budgets.try_retry(""), "6 tokens, of which this failure takes one, leave half");
        (0..3).for_each(|_| budgets.success(""));
        assert!(budgets.try_retry(""), "6.5 tokens leave more than half");
    }

    #[test]
    fn a_throttle_never_holds_more_than_its_most() {
        let budgets = throttle(10.0, 3.0);
        (0..100).for_each(|_| budgets.success(""));
        assert_eq!(retries(&budgets, ""), 4);
    }

    #[test]
    fn a_ratio_allows_a_share_of_the_calls_and_a_reserve() {
        let budgets = ratio(0.25, 0.0);
        assert!(!budgets.try_retry(""));
        (0..100).for_each(|_| budgets.call(""));
        assert_eq!(retries(&budgets, ""), 25);
        assert_eq!(retries(&ratio(0.25, 1.0), ""), 10);
    }

    #[test]
    fn a_calls_share_is_forgotten_with_the_window_and_so_is_a_retry() {
        let budgets = ratio(0.5, 1.0);
        (0..40).for_each(|_| budgets.call(""));
        assert_eq!(retries(&budgets, ""), 30);
        budgets.advance_clock(Duration::from_secs(11));
        assert_eq!(retries(&budgets, ""), 10);
    }

    #[test]
    fn keys_have_budgets_of_their_own() {
        let budgets = throttle(10.0, 0.1);
        assert_eq!(retries(&budgets, "a"), 4);
        assert_eq!(retries(&budgets, "b"), 4);
    }

    #[test]
    fn threads_spend_one_budget() {
        let budgets = ratio(1.0, 0.0);
        (0..1_000).for_each(|_| budgets.call(""));
        let spent: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| budgets.try_retry("")).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(spent, 1_000);
    }
}
