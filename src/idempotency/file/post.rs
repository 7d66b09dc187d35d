//! Who writes what is asked of this process: it does, or another one that leads, or it leads and writes for others, too.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::follower::Following;
use super::leader::Leader;
use super::wire::LARGEST;

/// How long it is not tried to follow when that has failed.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) enum Post {
    /// It writes by itself, and nobody else's.
    #[default]
    Alone,
    /// So, too, and does not look for another one until then.
    AloneUntil(Instant),
    Following(Following),
    Leading(#[expect(dead_code, reason = "it leads until it is dropped")] Leader),
}

impl Post {
    /// Sends what another process can write; whether that was all.
    pub fn send(&mut self, core: &Arc<Core>) -> bool {
        let Self::Following(following) = self else { return false };
        let (asked, is_more) = core.queue.take_asked(LARGEST);
        if let Err(asked) = following.send(asked) {
            core.queue.take_back(asked);
            self.end();
            return false;
        }
        !is_more
    }

    /// Finds another process that leads, or leads; whether there is one.
    pub fn find(&mut self, core: &Arc<Core>) -> bool {
        match self {
            Self::Leading(_) => return false,
            Self::Following(following) if !following.is_over() => return false,
            Self::AloneUntil(then) if Instant::now() < *then => return false,
            _ => {}
        }
        self.end();
        *self = match Following::begin(core, core.party()) {
            Ok(following) => Self::Following(following),
            Err(_) => match Leader::begin(core, core.party().process) {
                Some(leader) => Self::Leading(leader),
                None => Self::AloneUntil(Instant::now() + PAUSE),
            },
        };
        matches!(self, Self::Following(_))
    }

    /// Ends following. What is not done comes back.
    pub fn end(&mut self) {
        if matches!(self, Self::Following(_))
            && let Self::Following(following) = std::mem::take(self)
        {
            following.end();
        }
    }
}
