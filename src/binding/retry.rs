//! Binding of [`crate::retry`].
//!
//! Delays are free functions, not closures: they are called before a wait, never by a call that succeeds at once. A
//! budget is asked by every call, so its calls are closures.
#![expect(clippy::needless_pass_by_value, reason = "napi hands over owned values")]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use napi::bindgen_prelude::{Function, FunctionCallContext, Object, ToNapiValue};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use parking_lot::Mutex;

use super::idempotency::{millis, whole};
use crate::retry::{self, BudgetPolicy, Budgets, Jitter, Schedule};

/// The budgets that have a name, for all threads of the process.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<Budgets>>>> = LazyLock::new(Mutex::default);

/// Keys of one budget that are told apart at a time.
const MOST_KEYS: u64 = 10_000;

/// The delay in milliseconds before retry number `attempt` (0 is the first): `min(initial · base^attempt, max)`.
///
/// # Errors
/// `InvalidArg` when the three numbers make no schedule; the wrapper refuses those before it calls.
#[napi(catch_unwind)]
pub fn compute_delay(
    attempt: u32,
    initial_delay_ms: f64,
    max_delay_ms: f64,
    exponential_base: f64,
) -> Result<f64> {
    Ok(retry::compute_delay(attempt, &schedule(initial_delay_ms, max_delay_ms, exponential_base)?))
}

/// The same with jitter: `none`, `full`, `equal` or `decorrelated`, which needs the delay before this one.
///
/// # Errors
/// As [`compute_delay`].
#[napi(catch_unwind)]
pub fn jittered_delay(
    attempt: u32,
    initial_delay_ms: f64,
    max_delay_ms: f64,
    exponential_base: f64,
    jitter: String,
    seed: f64,
    previous_ms: Option<f64>,
) -> Result<f64> {
    let schedule = schedule(initial_delay_ms, max_delay_ms, exponential_base)?;
    Ok(retry::jittered_delay(attempt, &schedule, jitter_of(&jitter), whole(seed), previous_ms))
}

/// The delays between `attempts` attempts: with a seed as they will be, without one the longest there can be.
///
/// # Errors
/// As [`compute_delay`].
#[napi(catch_unwind)]
pub fn retry_delays(
    attempts: u32,
    initial_delay_ms: f64,
    max_delay_ms: f64,
    exponential_base: f64,
    jitter: String,
    seed: Option<f64>,
) -> Result<Vec<f64>> {
    let schedule = schedule(initial_delay_ms, max_delay_ms, exponential_base)?;
    Ok(retry::delays(attempts, &schedule, jitter_of(&jitter), seed.map(whole)))
}

/// What a `Retry-After` header asks for, in milliseconds from `nowMs`; null for what is none.
#[napi(catch_unwind)]
#[must_use]
pub fn parse_retry_after(value: String, now_ms: f64) -> Option<f64> {
    retry::parse_retry_after(&value, now_ms)
}

/// What a `retry-after-ms` header asks for; null for what is none.
#[napi(catch_unwind)]
#[must_use]
pub fn parse_retry_after_ms(value: String) -> Option<f64> {
    retry::parse_retry_after_ms(&value)
}

/// A retry budget, as JavaScript holds it.
#[napi(js_name = "NativeRetryBudget")]
pub struct NativeRetryBudget {
    budgets: Arc<Budgets>,
}

#[napi]
impl NativeRetryBudget {
    /// Mode `throttle` with (most tokens, token ratio), or `ratio` with (retry ratio, retries each second, window in
    /// milliseconds). A name shares it with all that give this name, in all threads.
    ///
    /// # Errors
    /// `InvalidArg` where a budget of that name has other numbers.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        name: Option<String>,
        #[napi(ts_arg_type = "'throttle' | 'ratio'")] mode: String,
        first: f64,
        second: f64,
        window_ms: f64,
    ) -> Result<Self> {
        let policy = if mode == "throttle" {
            BudgetPolicy::Throttle { max_tokens: first, token_ratio: second }
        } else {
            BudgetPolicy::Ratio {
                retry_ratio: first,
                min_retries_per_second: second,
                window_ms: whole(window_ms),
            }
        };
        let Some(name) = name else {
            return Ok(Self { budgets: Arc::new(Budgets::new(policy, MOST_KEYS)) });
        };
        let mut named = NAMED.lock();
        named.retain(|_, budgets| budgets.strong_count() > 0);
        if let Some(budgets) = named.get(&name).and_then(Weak::upgrade) {
            return if budgets.policy() == policy {
                Ok(Self { budgets })
            } else {
                Err(Error::new(Status::InvalidArg, "a budget of that name has other numbers"))
            };
        }
        let budgets = Arc::new(Budgets::new(policy, MOST_KEYS));
        named.insert(name, Arc::downgrade(&budgets));
        Ok(Self { budgets })
    }

    /// The calls of every attempt, each with the key: `call`, `success` and `tryRetry`.
    ///
    /// # Errors
    /// What napi reports when a function cannot be made.
    #[napi(catch_unwind, ts_return_type = "BudgetCalls")]
    pub fn calls<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let mut calls = Object::new(env)?;
        let budgets = Arc::clone(&self.budgets);
        calls.set("call", function(env, "call", move |key| budgets.call(key))?)?;
        let budgets = Arc::clone(&self.budgets);
        calls.set("success", function(env, "success", move |key| budgets.success(key))?)?;
        let budgets = Arc::clone(&self.budgets);
        calls.set("tryRetry", function(env, "tryRetry", move |key| budgets.try_retry(key))?)?;
        Ok(calls)
    }

    /// What is left for a key: tokens, or retries.
    #[napi(catch_unwind)]
    #[must_use]
    pub fn balance(&self, key: String) -> f64 {
        self.budgets.balance(&key)
    }

    /// Moves the clock of this budget forward.
    #[napi(catch_unwind)]
    pub fn advance_clock(&self, by_ms: f64) {
        self.budgets.advance_clock(millis(by_ms));
    }
}

fn function<'env, R: ToNapiValue>(
    env: &'env Env,
    name: &str,
    body: impl Fn(&str) -> R + 'static,
) -> Result<Function<'env, (), R>> {
    env.create_function_from_closure(name, move |call: FunctionCallContext<'_>| {
        let key: String = call.get(0)?;
        Ok(body(&key))
    })
}

fn schedule(initial_delay_ms: f64, max_delay_ms: f64, exponential_base: f64) -> Result<Schedule> {
    Schedule::new(initial_delay_ms, max_delay_ms, exponential_base)
        .map_err(|invalid| Error::new(Status::InvalidArg, invalid.to_string()))
}

fn jitter_of(name: &str) -> Jitter {
    match name {
        "full" => Jitter::Full,
        "equal" => Jitter::Equal,
        "decorrelated" => Jitter::Decorrelated,
        _ => Jitter::None,
    }
}
