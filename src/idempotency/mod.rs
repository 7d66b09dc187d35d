//! Idempotency: keys, fingerprints, records and the stores that keep them.
//!
//! A request becomes an [`Identified`] by [`identify`]; a store answers a [`Claim`] of it with an [`Outcome`].
#![forbid(unsafe_code)]

pub mod canonical;
mod digest;
pub mod file;
mod key;
mod memory;
mod record;
mod registry;
mod request;
mod waiting;

pub use digest::{Digest, DigestBuilder};
pub use key::{InvalidKey, parse_key};
pub use memory::{Hold, Holder, Limits, MemoryStore, Stats};
pub use record::{Answer, Claim, Differs, Inspection, Outcome, Owner, Progress, Settlement, Written};
pub use registry::{OptionsDiffer, Registry};
pub use request::{Body, Identified, Request, identify, name};
pub use waiting::Waiting;
