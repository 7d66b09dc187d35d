//! Who writes what is asked of this process: it does, or another one, that leads; or it leads, and writes for others, too.
//!
//! It is alone as long as it never has to wait for its turn.
#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::follower::{Following, Over, PATIENCE};
use super::leader::Leader;

/// How long it is not tried to follow who did not answer.
const LONG: Duration = Duration::from_secs(1);

/// The same, where somebody is just about to lead.
const SHORT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) enum Post {
    /// It writes by itself, and looks for another one when it has to wait, but not before that.
    Alone(Option<Instant>),
    Following(Following),
    Leading(#[expect(dead_code, reason = "it leads until this is dropped")] Leader),
}

impl Post {
    pub const fn new() -> Self {
        Self::Alone(None)
    }

    /// With how many errands it is time to do something about them.
    pub fn due(&self) -> usize {
        match self {
            // The more is under way, the more goes into the next batch: batches cost.
            Self::Following(following) => following.under_way(),
            _ => 1,
        }
    }

    /// Sends what another process can do; false if there is nobody, or if there is more.
    pub fn send(&mut self, core: &Arc<Core>) -> bool {
        let Self::Following(following) = self else { return false };
        let is_sent = following.over().is_none() && {
            let asked = core.queue.take_asked();
            asked.is_empty() || following.send(asked, core)
        };
        if !is_sent {
            self.end();
        }
        is_sent && core.queue.has_no_own()
    }

    /// Finds somebody who leads, or leads; whether there is somebody.
    pub fn find(&mut self, core: &Arc<Core>) -> bool {
        if core.syncer.failure().is_some() {
            return false;
        }
        match self {
            Self::Alone(Some(then)) if Instant::now() < *then => return false,
            Self::Alone(_) => {}
            Self::Following(_) | Self::Leading(_) => return false,
        }
        let alone_for = |time| Self::Alone(Some(Instant::now() + time));
        *self = match Following::begin(core, PATIENCE) {
            Ok(following) => Self::Following(following),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Leader::begin(core).map_or_else(|| alone_for(SHORT), Self::Leading)
            }
            Err(_) => alone_for(LONG),
        };
        matches!(self, Self::Following(_))
    }

    /// Follows no longer. What was not done is back in the queue then.
    pub fn end(&mut self) {
        if !matches!(self, Self::Following(_)) {
            return;
        }
        if let Self::Following(following) = mem::replace(self, Self::new())
            && following.end() == Over::Silent
        {
            *self = Self::Alone(Some(Instant::now() + LONG));
        }
    }

    /// Leads no longer. What was done for others is told them; they look for another one.
    pub fn resign(&mut self) {
        if matches!(self, Self::Leading(_)) {
            *self = Self::new();
        }
    }
}
