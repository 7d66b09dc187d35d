//! Checkpoints: what a task's record holds, and the bytes that a store keeps of it.
//!
//! Stores never look into these bytes; the claim, the fence and the lease around them are those of
//! [`crate::idempotency`].
#![forbid(unsafe_code)]

mod record;

pub use record::{Corrupt, Record};
