//! The only code that knows napi: short functions that convert and delegate.
//!
//! A class serves life and cold calls; per-request calls are closures that it hands out once, since a class method
//! costs ten times a closure and serialises worker threads on a process-wide lock (measured with napi 3.16).

mod answers;
mod chaos;
mod chaos_journal;
mod chaos_kernels;
mod checkpoint;
mod file_store;
mod idempotency;
mod retry;
mod store_contract;
mod text;

use napi::bindgen_prelude::create_custom_tokio_runtime;
use napi_derive::{module_init, napi};

/// Two threads that share a memory store free what the other allocated, for which glibc has them wait for each other:
/// together they did less than one of them alone. Other C libraries keep their own allocator, of which nothing was measured,
/// and so does a fuzzed build, whose sanitizer has to see what is allocated.
#[cfg(all(target_os = "linux", target_env = "gnu", not(fuzzing)))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The version of the crate that this binary was built from; the wrapper refuses a binary of another version.
#[napi(catch_unwind)]
#[must_use]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Only waiting is asynchronous: one thread with a timer does, where the default would start one for each core.
#[module_init]
fn runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("reprise")
        .enable_time()
        .build();
    // Without it napi makes its own at the first asynchronous call.
    if let Ok(runtime) = runtime {
        create_custom_tokio_runtime(runtime);
    }
}
