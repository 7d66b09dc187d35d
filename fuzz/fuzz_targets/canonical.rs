//! Any text: canonical JSON takes what serde_json takes (and what that refuses for want of range or of Unicode), its
//! own output is canonical, and says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reprise::idempotency::canonical::canonicalize;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let canonical = canonicalize(text);
    let value: Result<Value, _> = serde_json::from_str(text);
    match (&canonical, &value) {
        (Ok(canonical), Ok(value)) => {
            let again: Value = serde_json::from_slice(canonical).expect("canonical JSON is JSON");
            assert!(same(value, &again), "{text}");
        }
        (Err(_), Ok(_)) => panic!("refused: {text}"),
        // Lone surrogates, numbers beyond the doubles and deep nesting are taken here alone.
        (_, Err(_)) => {}
    }
    if let Ok(canonical) = canonical {
        let text = String::from_utf8(canonical).expect("canonical JSON is UTF-8");
        if !text.contains("Infinity") {
            assert_eq!(canonicalize(&text).expect("canonical JSON is JSON"), text.as_bytes());
        }
    }
});

/// Equal as `JSON.parse` has it: all numbers are doubles.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
