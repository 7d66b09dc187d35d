//! The keyed draw: 64 uniform bits that depend on what is asked, never on when.
//!
//! Written out, so that another implementation gives the same numbers:
//!
//! ```text
//! seed key    = first 16 bytes of SHA-256(seed as UTF-8 text)
//! request key = SipHash-2-4-128(key: seed key, message: request key as UTF-8 text), its two words (h1, h2)
//! draw        = SipHash-2-4-64(key: (h1, h2), message: purpose as u8, attempt as u32 little endian, rule name as UTF-8)
//! ```
//!
//! `SipHash` because it is a keyed function with published test vectors, the same on every platform and version, and
//! costs some tens of nanoseconds: a client that does not know the seed cannot choose a key that is spared.

use std::hash::Hasher as _;

use sha2::{Digest as _, Sha256};
use siphasher::{sip::SipHasher24, sip128};

/// Where a run starts from: two runs with the same seed make the same decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 16]);

impl Seed {
    /// A seed from its text; the number 42 and the text `42` are one seed.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// What stands for one request key under this seed. The key itself is not kept anywhere.
    #[must_use]
    pub fn request(&self, request_key: &str) -> RequestDigest {
        let hash = sip128::SipHasher24::new_with_key(&self.0).hash(request_key.as_bytes());
        RequestDigest(hash.h1, hash.h2)
    }
}

/// A request key, digested under a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestDigest(u64, u64);

impl RequestDigest {
    /// As 32 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        format!("{:016x}{:016x}", self.0, self.1)
    }

    /// From 32 hexadecimal digits.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let word = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let is_hex = hex.len() == 32 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_hex { Some(Self(word(&hex[..16])?, word(&hex[16..])?)) } else { None }
    }
}

/// What a draw is for. Each purpose has draws of its own, so that "does it fire" says nothing about "for how long".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Whether the rule fires.
    Fire = 0,
    /// Which status an error answers with.
    Status = 1,
    /// How long a delay is.
    Latency = 2,
    /// Which kernel is killed.
    Victim = 3,
    /// Where an answer is cut.
    Cut = 4,
    /// Whether the request is one of those that are never faulted.
    Control = 5,
}

/// All draws of one attempt of one request.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    keyed: SipHasher24,
    attempt: u32,
}

impl Draws {
    /// The draws of the `attempt`th request (from 0) with this key.
    #[must_use]
    pub fn new(request: RequestDigest, attempt: u32) -> Self {
        Self { keyed: SipHasher24::new_with_keys(request.0, request.1), attempt }
    }

    /// 64 uniform bits for one purpose of one rule.
    #[must_use]
    pub fn draw(&self, rule: &str, purpose: Purpose) -> u64 {
        let mut hasher = self.keyed;
        let [a, b, c, d] = self.attempt.to_le_bytes();
        // The part of variable length comes last, so that no two messages are the same bytes.
        hasher.write(&[purpose as u8, a, b, c, d]);
        hasher.write(rule.as_bytes());
        hasher.finish()
    }
}

/// A whole number from 0 to `n - 1`, by multiplication: every value is reachable, and none is likelier than another
/// by more than `n / 2^64`. Zero for `n` = 0.
#[must_use]
pub fn below(n: u32, draw: u64) -> u32 {
    let scaled = (u128::from(draw) * u128::from(n)) >> 64;
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// A number from 0 to below 1: the upper 53 bits of a draw.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number above 0 and below 1: the middle of one of 2^52 equal parts.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub fn open_unit(draw: u64) -> f64 {
    ((draw >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_reaches_both_ends_and_nothing_outside() {
        assert_eq!(below(7, 0), 0);
        assert_eq!(below(7, u64::MAX), 6);
        assert_eq!(below(u32::MAX, u64::MAX), u32::MAX - 1);
        assert_eq!(below(1, u64::MAX), 0);
        assert_eq!(below(0, u64::MAX), 0);
    }

    /// The vectors were worked out by an independent implementation of the definition above; the TypeScript tests
    /// hold another one against the same file. A change here changes every recorded run.
    #[test]
    fn golden_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/chaos-draws.json")).unwrap();
        for vector in vectors.as_array().unwrap() {
            let text = |field: &str| vector[field].as_str().unwrap();
            let purpose = match text("purpose") {
                "fire" => Purpose::Fire,
                "status" => Purpose::Status,
                "latency" => Purpose::Latency,
                "victim" => Purpose::Victim,
                "cut" => Purpose::Cut,
                other => panic!("no such purpose: {other}"),
            };
            let attempt = u32::try_from(vector["attempt"].as_u64().unwrap()).unwrap();
            let request = Seed::from_text(text("seed")).request(text("requestKey"));
            let draw = Draws::new(request, attempt).draw(text("rule"), purpose);
            assert_eq!(format!("{draw:016x}"), text("draw"), "{vector}");
        }
    }
}
