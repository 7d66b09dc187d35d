//! The core of **reprise**: safe retries for Node servers.
//!
//! The words of the domain, used the same in code, documents and errors:
//!
//! - A *key* names one intended operation. Its *scope* says whose key it is, its *identity* who is asking now.
//! - The *fingerprint* is a SHA-256 over what the request asks for: same key, other fingerprint, other request.
//! - A *record* is what a store keeps for one key: in progress, completed, not replayable or indeterminate.
//! - A *claim* is the atomic step that makes one request the owner of a key. Its *fence* grows by one with every
//!   claim of that key, and every later write names it. Its *lease* is how long it holds without renewal.
//! - A *fault* is what chaos does to a request; a *decision* says which, as a pure function of a seed.
//! - A *schedule* says how long a retry waits before each attempt.
//! - A *checkpoint* is how far a task has come, kept in its record under the claim that runs it.
//!
//! Everything outside of `binding` is plain Rust, knows nothing of Node, and holds no `unsafe`.

pub mod chaos;
pub mod checkpoint;
pub mod clock;
pub mod idempotency;
pub mod retry;

// The unit tests run without Node, so without the symbols that only Node provides.
#[cfg(not(test))]
mod binding;
