//! Binding of [`crate::retry`].
//!
//! Free functions, not closures: they are called before a wait, never by a call that succeeds at once.

use napi::{Error, Result, Status};
use napi_derive::napi;

use crate::retry;

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
    let schedule = retry::Schedule::new(initial_delay_ms, max_delay_ms, exponential_base)
        .map_err(|invalid| Error::new(Status::InvalidArg, invalid.to_string()))?;
    Ok(retry::compute_delay(attempt, &schedule))
}
