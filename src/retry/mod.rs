//! Retry: how long to wait before each attempt, and whether there may be one.
//!
//! Decisions only. Nothing here sleeps, counts attempts or draws from a hidden source of chance, so that every host
//! (Node, and later Python) keeps its own timers and gets the same delays from the same numbers.
#![forbid(unsafe_code)]

mod budget;
mod jitter;
mod retry_after;
mod schedule;

pub use budget::{Budget, BudgetPolicy, Budgets};
pub use jitter::{Jitter, delays, jittered_delay};
pub use retry_after::{parse_retry_after, parse_retry_after_ms};
pub use schedule::{InvalidSchedule, Schedule, compute_delay};
