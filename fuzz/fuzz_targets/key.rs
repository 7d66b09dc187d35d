//! A key header of any bytes: read or refused, never a panic, and the quoted form of a key is the same key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reprise::idempotency::parse_key;

fuzz_target!(|header: &str| {
    let Ok(key) = parse_key(header, 255) else { return };
    assert!((1..=255).contains(&key.len()));
    assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
    let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
    assert_eq!(parse_key(&quoted, 255), Ok(key));
});
