//! Who writes what is asked of this process, where no process can lead: it does. See `post`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::core::Core;

#[derive(Debug)]
pub(super) struct Post;

#[expect(clippy::unused_self, reason = "as where one can")]
impl Post {
    pub const fn new() -> Self {
        Self
    }

    pub const fn due(&self) -> usize {
        1
    }

    pub const fn send(&mut self, _: &Arc<Core>) -> bool {
        false
    }

    pub const fn find(&mut self, _: &Arc<Core>) -> bool {
        false
    }

    pub const fn end(&mut self) {}

    pub const fn resign(&mut self) {}
}
