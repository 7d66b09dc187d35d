//! Strings across the seam without a detour over the heap.

use std::borrow::Cow;
use std::ffi::c_char;
use std::mem::MaybeUninit;

use napi::bindgen_prelude::{FromNapiValue, JsValue, Latin1String, Result, ToNapiValue, Unknown};
use napi::{Error, Status, sys};

/// What the strings of one call may take of the stack, in bytes of UTF-8: method, path, key, and most bodies.
const ROOM: usize = 4096;

/// Room on the stack for the strings of one call, one behind the other. Moving them costs more than reading them.
pub struct Room([MaybeUninit<u8>; ROOM]);

impl Room {
    /// All of it.
    pub fn new() -> Self {
        Self([MaybeUninit::uninit(); ROOM])
    }

    /// What reads the strings into it.
    pub fn reader(&mut self) -> Reader<'_> {
        Reader(&mut self.0)
    }
}

/// Reads strings of JavaScript.
pub struct Reader<'a>(&'a mut [MaybeUninit<u8>]);

/// A string from JavaScript.
pub enum Text<'a> {
    /// It was no string: `undefined`, or anything else.
    Absent,
    /// One that found room.
    Short(&'a str),
    /// One that did not.
    Long(String),
}

impl Text<'_> {
    /// The string, if it was one.
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Short(text) => Some(text),
            Self::Long(text) => Some(text),
        }
    }

    /// The string, or an error.
    pub fn required(&self) -> Result<&str> {
        self.get().ok_or_else(|| Error::new(Status::StringExpected, "a string is missing"))
    }

    /// The string, or an empty one.
    pub fn or_empty(&self) -> &str {
        self.get().unwrap_or_default()
    }
}

/// What came of reading a string into a room.
enum Read<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// There was no room.
    TooLong,
    /// It was no string.
    NoString,
}

/// One of Node's functions that write a string somewhere: value, place, its size, and how much was written.
type WriteString =
    unsafe fn(sys::napi_env, sys::napi_value, *mut c_char, usize, *mut usize) -> sys::napi_status;

impl<'a> Reader<'a> {
    /// Reads one.
    pub fn text(&mut self, value: Unknown<'_>) -> Result<Text<'a>> {
        match self.read(value, sys::napi_get_value_string_utf8, 4)? {
            // Node writes nothing but UTF-8.
            Read::Whole(bytes) => {
                std::str::from_utf8(bytes).map(Text::Short).map_err(|_| unreadable(Status::InvalidArg))
            }
            Read::TooLong => whole(value).map(Text::Long),
            Read::NoString => Ok(Text::Absent),
        }
    }

    /// Reads one of which each character is a byte.
    pub fn latin1(&mut self, value: Unknown<'_>) -> Result<Cow<'a, [u8]>> {
        match self.read(value, sys::napi_get_value_string_latin1, 1)? {
            Read::Whole(bytes) => Ok(Cow::Borrowed(bytes)),
            Read::TooLong => whole(value).map(|text: Latin1String| Cow::Owned(text.to_vec())),
            Read::NoString => Err(unreadable(Status::StringExpected)),
        }
    }

    /// `longest` is how many bytes a character may take.
    fn read(&mut self, value: Unknown<'_>, write: WriteString, longest: usize) -> Result<Read<'a>> {
        let raw = value.value();
        let room = std::mem::take(&mut self.0);
        let mut length = 0;
        // SAFETY: environment and value are those of a value that is alive; the pointer has room for so many bytes.
        let status =
            unsafe { write(raw.env, raw.value, room.as_mut_ptr().cast(), room.len(), &raw mut length) };
        // Filled to where another character, and the zero behind it, could have been left out?
        if status == sys::Status::napi_ok && length + longest < room.len() {
            let (text, rest) = room.split_at_mut(length);
            self.0 = rest;
            // SAFETY: exactly these bytes were written just now, and nobody else has them.
            return Ok(Read::Whole(unsafe { std::slice::from_raw_parts(text.as_ptr().cast(), text.len()) }));
        }
        self.0 = room;
        match status {
            sys::Status::napi_ok => Ok(Read::TooLong),
            sys::Status::napi_string_expected => Ok(Read::NoString),
            status => Err(unreadable(Status::from(status))),
        }
    }
}

/// Reads a value in the usual way, over the heap.
fn whole<T: FromNapiValue>(value: Unknown<'_>) -> Result<T> {
    let raw = value.value();
    // SAFETY: environment and value are those of a value that is alive.
    unsafe { T::from_napi_value(raw.env, raw.value) }
}

fn unreadable(status: Status) -> Error {
    Error::new(status, "a string could not be read")
}

/// Bytes that go to JavaScript as the string of the same code units: six times cheaper than a Buffer when short.
pub struct Latin1<'a>(pub &'a [u8]);

impl ToNapiValue for Latin1<'_> {
    unsafe fn to_napi_value(env: sys::napi_env, text: Self) -> Result<sys::napi_value> {
        let mut value = std::ptr::null_mut();
        let length = isize::try_from(text.0.len()).unwrap_or(isize::MAX);
        // SAFETY: `env` is valid by this function's contract; pointer and length are those of a slice.
        let status =
            unsafe { sys::napi_create_string_latin1(env, text.0.as_ptr().cast(), length, &raw mut value) };
        if status == sys::Status::napi_ok {
            Ok(value)
        } else {
            Err(Error::new(Status::from(status), "a string could not be made"))
        }
    }
}
