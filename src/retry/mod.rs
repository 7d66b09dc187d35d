//! Retry: how long to wait before each attempt.
#![forbid(unsafe_code)]
