//! Binding of [`crate::chaos`].
