//! Chaos: which requests get which fault, decided from a seed.
#![forbid(unsafe_code)]
