//! The only code that knows napi: short functions that convert and delegate.
//!
//! A class serves life and cold calls; per-request calls are closures that it hands out once, since a class method
//! costs ten times a closure and serialises worker threads on a process-wide lock (measured with napi 3.16).

mod chaos;
mod idempotency;
mod retry;

use napi_derive::napi;

/// The version of the crate that this binary was built from; the wrapper refuses a binary of another version.
#[napi(catch_unwind)]
#[must_use]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
