//! The client's key, as the header carries it.
#![forbid(unsafe_code)]

use std::borrow::Cow;

/// Why a key header is refused. The answer is 400, and the handler does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The header is there and says nothing: the client meant to send a key.
    #[error("the key is empty")]
    Empty,
    /// Longer than the limit.
    #[error("the key is too long")]
    TooLong,
    /// Something other than visible ASCII (two header lines, too: Node joins them with a comma and a space).
    #[error("the key has characters other than visible ASCII")]
    Character,
    /// Starts with a quote and is not a string of RFC 9651.
    #[error("the key is not a well-formed quoted string")]
    Quoting,
}

/// Reads the value of an `Idempotency-Key` header: a quoted string (RFC 9651 §3.3.3) or the same characters bare;
/// `"abc"` and `abc` are one key. 1 to `max_length` visible ASCII characters.
///
/// # Errors
///
/// [`InvalidKey`] says what is wrong with it.
///
/// # Examples
///
/// ```
/// use reprise::idempotency::{InvalidKey, parse_key};
///
/// assert_eq!(parse_key("\"abc\"", 255).unwrap(), "abc");
/// assert_eq!(parse_key("abc", 255).unwrap(), "abc");
/// assert_eq!(parse_key("", 255), Err(InvalidKey::Empty));
/// ```
pub fn parse_key(header: &str, max_length: usize) -> Result<Cow<'_, str>, InvalidKey> {
    let header = header.trim_matches([' ', '\t']);
    let key = match header.strip_prefix('"') {
        Some(rest) => unquote(rest)?,
        None => Cow::Borrowed(header),
    };
    if key.is_empty() {
        return Err(InvalidKey::Empty);
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(InvalidKey::Character);
    }
    if key.len() > max_length {
        return Err(InvalidKey::TooLong);
    }
    Ok(key)
}

fn unquote(rest: &str) -> Result<Cow<'_, str>, InvalidKey> {
    let inner = rest.strip_suffix('"').ok_or(InvalidKey::Quoting)?;
    if !inner.contains(['"', '\\']) {
        return Ok(Cow::Borrowed(inner));
    }
    let mut key = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err(InvalidKey::Quoting),
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(InvalidKey::Quoting),
            },
            _ => key.push(c),
        }
    }
    Ok(Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_are_one_key() {
        for (header, key) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("  abc\t", "abc"),
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("12345", "12345"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#"a"b\c"#, r#"a"b\c"#),
            ("~!@#", "~!@#"),
        ] {
            assert_eq!(parse_key(header, 255).as_deref(), Ok(key), "{header}");
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        for (header, reason) in [
            ("", InvalidKey::Empty),
            ("   ", InvalidKey::Empty),
            ("\"\"", InvalidKey::Empty),
            ("a b", InvalidKey::Character),
            ("a, b", InvalidKey::Character),
            ("\"a b\"", InvalidKey::Character),
            ("sch\u{f6}n", InvalidKey::Character),
            ("a\u{7f}", InvalidKey::Character),
            ("\"abc", InvalidKey::Quoting),
            ("\"", InvalidKey::Quoting),
            ("\"a\", \"b\"", InvalidKey::Quoting),
            (r#""a\b""#, InvalidKey::Quoting),
            (r#""a\""#, InvalidKey::Quoting),
        ] {
            assert_eq!(parse_key(header, 255), Err(reason), "{header}");
        }
        assert!(parse_key(&"k".repeat(255), 255).is_ok());
        assert_eq!(parse_key(&"k".repeat(256), 255), Err(InvalidKey::TooLong));
    }
}
