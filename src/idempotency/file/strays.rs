//! Claims that nobody waits for any more, and that another process may yet have made: it was asked for them, did not answer, and
//! this process could not make them either, since the other one still held the file. Nobody would end them.
#![forbid(unsafe_code)]

use std::mem;

use parking_lot::Mutex;

use crate::idempotency::{Digest, Owner};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Strays(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    claims: Vec<(Digest, Owner)>,
    is_freeing: bool,
}

impl Strays {
    pub fn add(&self, key: Digest, owner: Owner) {
        self.0.lock().claims.push((key, owner));
    }

    /// The claimant tries again: it is nobody's any more.
    pub fn take_up(&self, key: Digest, owner: Owner) {
        self.0.lock().claims.retain(|stray| *stray != (key, owner));
    }

    pub fn is_one(&self, key: Digest, owner: Owner) -> bool {
        self.0.lock().claims.contains(&(key, owner))
    }

    /// Those that are to be freed, unless that is under way.
    pub fn due(&self) -> Vec<(Digest, Owner)> {
        let mut state = self.0.lock();
        if state.claims.is_empty() || mem::replace(&mut state.is_freeing, true) {
            return Vec::new();
        }
        state.claims.clone()
    }

    /// These are free; none if that has failed, and is to be tried again.
    pub fn freed(&self, claims: &[(Digest, Owner)]) {
        let mut state = self.0.lock();
        state.is_freeing = false;
        state.claims.retain(|stray| !claims.contains(stray));
    }
}
