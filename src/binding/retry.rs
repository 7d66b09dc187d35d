//! Binding of [`crate::retry`].
