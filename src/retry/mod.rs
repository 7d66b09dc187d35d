//! Retry: how long to wait before each attempt.
//!
//! Decisions only. Nothing here sleeps, counts attempts or reads a clock, so that every host (Node, and later Python)
//! keeps its own timers and gets the same delays from the same numbers.
#![forbid(unsafe_code)]

mod schedule;

pub use schedule::{InvalidSchedule, Schedule, compute_delay};
