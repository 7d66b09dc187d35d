//! What processes say to each other: frames, each a length and a message.
#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::errand::{Errand, Report};
use super::ledger::Party;
use super::owners::Process;
use super::time::Ms;

/// Who says something else is of another version, and both write by themselves.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How much goes into one frame before the next one is begun.
pub(super) const FRAME: usize = 4 << 20;

/// Longer than any frame.
const TOO_LONG: usize = 4 * FRAME;

const READ: usize = 64 << 10;

/// What a follower says first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub version: String,
    pub is_synced: bool,
    pub party: Party,
}

/// What a leader answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub leader: Process,
}

/// Errands, each with a number; not to be done when that uptime is reached.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch<E = Errand> {
    pub deadline: Ms,
    pub errands: Vec<(u64, E)>,
}

/// What is said of an errand, by its number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub number: u64,
    pub end: End,
}

/// How an errand ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum End {
    Done(Report),
    /// It was not done, or its report is too large to be sent: then it is to be done again.
    NotDone,
    /// It was done, and may not survive a power cut.
    Unsynced(String),
}

/// A message as it is sent.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

pub(super) fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&frame(message)?)
}

/// The messages of one kind that come from a stream.
#[derive(Debug)]
pub(super) struct Frames<'a, T> {
    stream: &'a UnixStream,
    /// What has been read and belongs to no message yet, and behind it room for more.
    bytes: Vec<u8>,
    known: usize,
    message: PhantomData<T>,
}

impl<'a, T: DeserializeOwned> Frames<'a, T> {
    pub fn new(stream: &'a UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), known: 0, message: PhantomData }
    }

    /// The next one; `None` if none has come in the time that the stream has.
    pub fn next(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some((length, rest)) = self.bytes[..self.known].split_first_chunk() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > TOO_LONG {
                    return Err(ErrorKind::InvalidData.into());
                }
                if let Some(message) = rest.get(..length) {
                    let message = postcard::from_bytes(message).map_err(io::Error::other)?;
                    self.bytes.copy_within(4 + length..self.known, 0);
                    self.known -= 4 + length;
                    return Ok(Some(message));
                }
            }
            if self.bytes.len() < self.known + READ {
                self.bytes.resize(self.known + READ, 0);
            }
            match self.stream.read(&mut self.bytes[self.known..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.known += read,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::idempotency::{Answer, Outcome, Written};

    fn said() -> impl Strategy<Value = Said> {
        let end = prop_oneof![
            Just(()).prop_map(|()| End::NotDone),
            ".{0,40}".prop_map(End::Unsynced),
            any::<bool>().prop_map(|is_done| End::Done(Report::Settled(if is_done {
                Written::Done
            } else {
                Written::Lost
            }))),
            (any::<Vec<u8>>(), proptest::collection::vec(any::<u8>(), 0..70_000)).prop_map(|(head, body)| {
                End::Done(Report::Claimed(Outcome::Completed(Answer::new(&head, &body))))
            }),
            (any::<u64>(), any::<Option<Vec<u8>>>()).prop_map(|(fence, progress)| {
                End::Done(Report::Claimed(Outcome::Claimed { fence, progress: progress.map(Into::into) }))
            }),
        ];
        (any::<u64>(), end).prop_map(|(number, end)| Said { number, end })
    }

    proptest! {
        #[test]
        fn messages_arrive_as_they_were_sent_however_they_are_cut(
            messages in proptest::collection::vec(proptest::collection::vec(said(), 0..4), 1..4),
            cut in 1..90_000_usize,
        ) {
            let (one, other) = UnixStream::pair().unwrap();
            let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(message).unwrap()).collect();
            let received: Vec<Vec<Said>> = thread::scope(|scope| {
                scope.spawn(|| for piece in bytes.chunks(cut) { (&one).write_all(piece).unwrap() });
                let mut frames = Frames::new(&other);
                messages.iter().map(|_| frames.next().unwrap().unwrap()).collect()
            });
            prop_assert_eq!(format!("{received:?}"), format!("{messages:?}"));
        }

        #[test]
        fn what_is_no_message_is_an_error_and_nothing_else(bytes in any::<Vec<u8>>()) {
            let (one, other) = UnixStream::pair().unwrap();
            (&one).write_all(&bytes).unwrap();
            drop(one);
            let mut frames = Frames::<Batch>::new(&other);
            // It ends, at the latest where the stream does.
            while frames.next().is_ok() {}
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(Frames::<Batch>::new(&other).next().unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_message_that_does_not_come_is_none() {
        let (_one, other) = UnixStream::pair().unwrap();
        other.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(Frames::<Batch>::new(&other).next().unwrap().is_none());
    }
}
