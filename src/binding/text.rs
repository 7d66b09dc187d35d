//! Strings across the seam without a detour over the heap.

use std::mem::MaybeUninit;

use napi::bindgen_prelude::{FromNapiValue, Result, ToNapiValue};
use napi::{Error, Status, sys};

/// Strings up to this many bytes of UTF-8 are read onto the stack: methods, paths, keys, most credentials.
const INLINE: usize = 512;

/// A string from JavaScript. `undefined` (or anything else that is no string) is [`Text::Absent`].
#[expect(clippy::large_enum_variant, reason = "the point is to stay on the stack")]
pub enum Text {
    /// It was no string.
    Absent,
    /// A short one.
    Inline {
        /// Where it is.
        buffer: [MaybeUninit<u8>; INLINE],
        /// How much of the buffer it fills.
        length: usize,
    },
    /// A long one.
    Heap(String),
}

impl Text {
    /// The string, if it was one.
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Heap(text) => Some(text),
            Self::Inline { buffer, length } => {
                // SAFETY: `from_napi_value` had exactly `length` bytes of the buffer written.
                let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), *length) };
                std::str::from_utf8(bytes).ok()
            }
        }
    }

    /// The string, or an empty one.
    pub fn or_empty(&self) -> &str {
        self.get().unwrap_or_default()
    }
}

impl FromNapiValue for Text {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        let mut buffer = [MaybeUninit::uninit(); INLINE];
        let mut length = 0;
        // SAFETY: `env` and `value` are valid by this function's contract; the buffer has INLINE bytes.
        let status = unsafe {
            sys::napi_get_value_string_utf8(env, value, buffer.as_mut_ptr().cast(), INLINE, &raw mut length)
        };
        match status {
            sys::Status::napi_ok if length < INLINE - 4 => Ok(Self::Inline { buffer, length }),
            // Filled to where another character could have been left out: read it again, whole.
            // SAFETY: the contract is the same.
            sys::Status::napi_ok => unsafe { String::from_napi_value(env, value) }.map(Self::Heap),
            sys::Status::napi_string_expected => Ok(Self::Absent),
            status => Err(Error::new(Status::from(status), "a string could not be read")),
        }
    }
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
