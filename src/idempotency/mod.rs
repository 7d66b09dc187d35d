//! Idempotency: keys, fingerprints, records and the stores that keep them.
#![forbid(unsafe_code)]
