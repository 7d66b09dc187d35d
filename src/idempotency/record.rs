//! What a store keeps for one key, and what it answers.
#![forbid(unsafe_code)]

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::request::Identified;

/// Tells one claimant from another, so that a claim can be repeated by its owner after a lost reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub u128);

/// A request to become the owner of a key.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Which key, for what, by whom.
    pub request: Identified,
    /// Who claims.
    pub owner: Owner,
    /// How long the claim holds without renewal.
    pub lease: Duration,
    /// How long what becomes of it is kept.
    pub retention: Duration,
    /// Whether an indeterminate record counts as free: the application knows that running again is right.
    pub over_indeterminate: bool,
}

/// How far a claim's owner has come: bytes of its own, kept when the claim ends without an answer, for the next one.
pub type Progress = Arc<[u8]>;

/// The answer to a [`Claim`].
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The claimant owns the key. The fence grows by one with every claim of it, as long as anything of it is kept.
    Claimed {
        /// Names this claim in every later write.
        fence: u64,
        /// What an earlier claim of the key saved of its progress.
        progress: Option<Progress>,
    },
    /// Answered before: replay this.
    Completed(Answer),
    /// Someone else owns the key.
    InProgress {
        /// What is left of the lease.
        lease_left: Duration,
    },
    /// It ran, and its answer was not kept.
    NotReplayable,
    /// It may have run; nobody can know.
    Indeterminate,
    /// The key was used for something else.
    Mismatch(Differs),
    /// Claims fill the store, and no claim is ever forgotten.
    Full,
}

/// What a mismatching request differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// It asks for something else.
    Fingerprint,
    /// Someone else asks, for whatever it is.
    Identity,
}

impl Differs {
    /// Compares a request with the one that a record belongs to. Who asks comes first: somebody else must not find out
    /// what was asked for by trying.
    pub(super) fn between(kept: &Identified, asked: &Identified) -> Option<Self> {
        if kept.identity != asked.identity {
            Some(Self::Identity)
        } else if kept.fingerprint == asked.fingerprint {
            None
        } else {
            Some(Self::Fingerprint)
        }
    }
}

/// A kept answer: bytes that the core never looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    bytes: Arc<[u8]>,
    head_length: usize,
    drops_first: bool,
}

impl Answer {
    /// Joins a head (status, headers) and a body.
    #[must_use]
    pub fn new(head: &[u8], body: &[u8]) -> Self {
        // One allocation, of the size that is kept: concatenated first, every byte would be copied twice.
        let mut bytes: Arc<[u8]> = iter::repeat_n(0, head.len() + body.len()).collect();
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            bytes[..head.len()].copy_from_slice(head);
            bytes[head.len()..].copy_from_slice(body);
        }
        Self { bytes, head_length: head.len(), drops_first: false }
    }

    /// The same answer, which a full store drops before those that are not so.
    #[must_use]
    pub fn dropped_first(self, drops_first: bool) -> Self {
        Self { drops_first, ..self }
    }

    /// Whether a full store drops it before others.
    #[must_use]
    pub fn drops_first(&self) -> bool {
        self.drops_first
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_length]
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head_length..]
    }

    /// The head, and the body behind it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of head and body.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// How a claim ends.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// With an answer to replay.
    Complete(Answer),
    /// With an answer that was not kept; it does not run again.
    NotReplayable,
    /// Without an answer. The key is free again, or indeterminate if the owner had passed its commit point.
    Release,
    /// As one of which nobody can know whether it ran.
    Indeterminate,
}

/// Whether a write named the current claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It did, and is done.
    Done,
    /// The claim was lost: nothing was written.
    Lost,
}

/// What an operator sees of a record.
#[derive(Clone, Debug)]
pub enum Inspection {
    /// A claim.
    InProgress {
        /// Its fence.
        fence: u64,
        /// What is left of its lease.
        lease_left: Duration,
    },
    /// A kept answer.
    Completed {
        /// The fence of the claim that completed it.
        fence: u64,
        /// The answer.
        answer: Answer,
        /// How long it is kept.
        expires_in: Duration,
    },
    /// An answer that was not kept.
    NotReplayable {
        /// The fence of the claim that it came from.
        fence: u64,
        /// How long that is remembered.
        expires_in: Duration,
    },
    /// An unknown end.
    Indeterminate {
        /// The fence of the claim that was lost.
        fence: u64,
        /// How long that is remembered.
        expires_in: Duration,
    },
}
