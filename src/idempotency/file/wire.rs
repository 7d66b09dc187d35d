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
    /// It was not done, or its report is too large to be sent.
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
    bytes: Vec<u8>,
    message: PhantomData<T>,
}

impl<'a, T: DeserializeOwned> Frames<'a, T> {
    pub fn new(stream: &'a UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), message: PhantomData }
    }

    /// The next one; `None` if none has come in the time that the stream has.
    pub fn next(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some((length, rest)) = self.bytes.split_first_chunk() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > TOO_LONG {
                    return Err(ErrorKind::InvalidData.into());
                }
                if let Some(message) = rest.get(..length) {
                    let message = postcard::from_bytes(message).map_err(io::Error::other)?;
                    self.bytes.drain(..4 + length);
                    return Ok(Some(message));
                }
            }
            let known = self.bytes.len();
            self.bytes.resize(known + READ, 0);
            let read = self.stream.read(&mut self.bytes[known..]);
            self.bytes.truncate(known + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }
}
