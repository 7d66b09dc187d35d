//! SHA-256 over tuples.
#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: the only form in which a store sees a key, an identity or a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

/// What each byte is worth as a lower-case hexadecimal digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 16;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl Digest {
    /// The digest in lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
            .collect()
    }

    /// Reads what [`Digest::to_hex`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        // Without a branch for each digit: which it is cannot be foreseen, and stores read three of these for a claim.
        let mut digest = [0; 32];
        let mut all = 0;
        for (byte, [high, low]) in digest.iter_mut().zip(text.as_chunks().0) {
            let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        (all < NO_DIGIT).then_some(Self(digest))
    }

    /// Eight bytes of the digest as a number: uniform, so good enough to choose a shard or a bucket.
    #[must_use]
    pub fn bucket(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(first)
    }

    /// One of so many places. It goes by all bytes: a digest is uniform in each, but see [`DigestHasher::finish`].
    pub(super) fn place_of(&self, places: usize) -> usize {
        let words = self.0.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let all = words.fold(0, |all: u64, word| all.rotate_left(7) ^ word);
        // Other bits than those that choose a bucket of a table.
        let mixed = (all ^ (all >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        usize::try_from(mixed).unwrap_or_default() % places
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex()[..12])
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bucket());
    }
}

/// Hashes a [`Digest`] by taking it as it is: it came out of SHA-256, hashing it again adds nothing.
pub(super) type BuildDigestHasher = BuildHasherDefault<DigestHasher>;

#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        // Digests are uniform, but nothing keeps a user of the store contract from numbering keys: without this, a
        // hundred thousand of those took one table twelve seconds to grow. The multiplier is 2^64 over the golden ratio.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    }
}

/// SHA-256 over a tuple of fields. Each field goes in behind its length, so that no two different tuples give the
/// same bytes (`("ab", "c")` and `("a", "bc")` differ).
#[derive(Clone)]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// Starts a tuple; `purpose` keeps digests that serve different ends apart.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        Self(Sha256::new()).field(purpose.as_bytes())
    }

    /// Adds one field.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest of all fields.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tuples_give_the_same_bytes() {
        let of = |fields: &[&str]| {
            fields.iter().fold(DigestBuilder::new("t"), |d, field| d.field(field.as_bytes())).finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
        assert_ne!(of(&["a:b", "c"]), of(&["a", "b:c"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }

    #[test]
    fn hex_round_trips() {
        let digest = DigestBuilder::new("t").finish();
        assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!(Digest::from_hex(&digest.to_hex().to_uppercase()), None);
        assert_eq!(Digest::from_hex("00"), None);
        for wrong in ['/', ':', '`', 'g', ' ', '\u{7f}'] {
            assert_eq!(Digest::from_hex(&digest.to_hex().replacen(|_| true, &wrong.to_string(), 1)), None);
        }
    }
}
