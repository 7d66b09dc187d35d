//! Binding of [`crate::idempotency`].
