use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// What a store keeps of a task: how often it was tried, when it may be tried again, and how far it came. Values are
/// JSON texts; an empty one stands for "no value", as JavaScript's `undefined`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Attempts that were begun in this run.
    pub attempts: u32,
    /// Whether the last of them may still be running: it has not been seen to end.
    pub is_running: bool,
    /// Not before then, in milliseconds since 1970; 0 is at once.
    pub next_attempt_at_ms: f64,
    /// Grows by one with every write.
    pub sequence: u32,
    /// A digest of what the task was called with; another call under the same name is told apart by it.
    pub fingerprint: String,
    /// What the task saved last, or its result once it is completed; `None` if nothing was saved.
    pub state: Option<String>,
    /// The results of its steps, by name, in the order in which they were done.
    pub steps: Vec<(String, String)>,
}

/// Why bytes are no record. They are kept: whoever knows better may still read them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Corrupt {
    /// They are not as they were written.
    #[error("the bytes are damaged, or are no checkpoint")]
    Damaged,
    /// They were written by a version that this one does not know.
    #[error("it has format {0}; this version of reprise reads format 1")]
    UnknownFormat(u8),
}

const MAGIC: &[u8; 3] = b"RCP";
const FORMAT: u8 = 1;
const CHECKSUM_LENGTH: usize = 8;

impl Record {
    /// The bytes of a record: `RCP`, the format, eight bytes of a SHA-256 over the rest, and the rest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        rest.extend(self.attempts.to_le_bytes());
        rest.push(u8::from(self.is_running) | u8::from(self.state.is_some()) << 1);
        rest.extend(self.next_attempt_at_ms.to_le_bytes());
        rest.extend(self.sequence.to_le_bytes());
        put(&mut rest, &self.fingerprint);
        put(&mut rest, self.state.as_deref().unwrap_or_default());
        for (name, value) in &self.steps {
            put(&mut rest, name);
            put(&mut rest, value);
        }
        let mut bytes = Vec::with_capacity(MAGIC.len() + 1 + CHECKSUM_LENGTH + rest.len());
        bytes.extend(MAGIC);
        bytes.push(FORMAT);
        bytes.extend(checksum(&rest));
        bytes.extend(rest);
        bytes
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// [`Corrupt`] says whether the bytes are damaged or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let (format, rest) =
            bytes.strip_prefix(MAGIC.as_slice()).and_then(<[u8]>::split_first).ok_or(Corrupt::Damaged)?;
        if *format != FORMAT {
            return Err(Corrupt::UnknownFormat(*format));
        }
        let (sum, rest) = rest.split_at_checked(CHECKSUM_LENGTH).ok_or(Corrupt::Damaged)?;
        if sum != checksum(rest) {
            return Err(Corrupt::Damaged);
        }
        Reader(rest).record().ok_or(Corrupt::Damaged)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut sum = [0; CHECKSUM_LENGTH];
    sum.copy_from_slice(&digest[..CHECKSUM_LENGTH]);
    sum
}

/// A text behind its length. Lengths are bounded by the wrapper, far below 4 GiB.
fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn record(mut self) -> Option<Record> {
        let attempts = u32::from_le_bytes(self.array()?);
        let [flags] = self.array()?;
        let next_attempt_at_ms = f64::from_le_bytes(self.array()?);
        let sequence = u32::from_le_bytes(self.array()?);
        let fingerprint = self.text()?;
        let state = self.text()?;
        let mut steps = Vec::new();
        while !self.0.is_empty() {
            steps.push((self.text()?, self.text()?));
        }
        Some(Record {
            attempts,
            is_running: flags & 1 != 0,
            next_attempt_at_ms,
            sequence,
            fingerprint,
            state: (flags & 2 != 0).then_some(state),
            steps,
        })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let steps = proptest::collection::vec(any::<(String, String)>(), 0..5);
        (any::<(u32, bool, u32, String, Option<String>)>(), 0.0..1e15_f64, steps).prop_map(
            |((attempts, is_running, sequence, fingerprint, state), next_attempt_at_ms, steps)| Record {
                attempts,
                is_running,
                next_attempt_at_ms,
                sequence,
                fingerprint,
                state,
                steps,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(record in records()) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn a_changed_byte_is_noticed(record in records(), place: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = record.encode();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(Record::decode(&bytes).is_err());
        }

        #[test]
        fn a_record_cut_short_is_noticed(record in records(), length: prop::sample::Index) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes[..length.index(bytes.len())]), Err(Corrupt::Damaged));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            prop_assert!(Record::decode(&bytes).is_err());
        }
    }

    #[test]
    fn the_format_is_the_one_that_was_written_before() {
        let record = Record {
            attempts: 2,
            is_running: true,
            next_attempt_at_ms: 1.5,
            sequence: 3,
            fingerprint: "f".into(),
            state: Some("{}".into()),
            steps: vec![("a".into(), String::new())],
        };
        assert_eq!(
            record.encode(),
            b"RCP\x01\x22\xdd\x3f\xce\x58\x05\xb5\x07\x02\0\0\0\x03\0\0\0\0\0\0\xf8\x3f\x03\0\0\0\x01\0\0\0f\x02\0\0\0{}\x01\0\0\0a\0\0\0\0"
        );
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = Record::default().encode();
        bytes[3] = 9;
        assert_eq!(Record::decode(&bytes), Err(Corrupt::UnknownFormat(9)));
    }
}
