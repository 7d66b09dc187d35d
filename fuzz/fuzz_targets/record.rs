//! Any bytes as an answer and as names: what comes out of a record is what went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reprise::idempotency::{Answer, Digest, DigestBuilder};

fuzz_target!(|parts: (&[u8], &[u8], &str)| {
    let (head, body, text) = parts;
    let answer = Answer::new(head, body);
    assert_eq!((answer.head(), answer.body(), answer.size()), (head, body, head.len() + body.len()));
    let digest = DigestBuilder::new("fuzz").field(head).field(body).finish();
    assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
    if let Some(digest) = Digest::from_hex(text) {
        assert_eq!(digest.to_hex(), text);
    }
});
