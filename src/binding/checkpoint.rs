//! Binding of [`crate::checkpoint`].
#![expect(clippy::needless_pass_by_value, reason = "napi hands over owned values")]

use napi::bindgen_prelude::{Buffer, BufferSlice};
use napi::{Error, Result, Status};
use napi_derive::napi;

use crate::checkpoint::Record;
use crate::idempotency::DigestBuilder;

/// What a store keeps of a task; see the fields of the core's record. Values are JSON texts.
#[napi(object)]
pub struct NativeCheckpoint {
    /// Attempts that were begun in this run.
    pub attempts: u32,
    /// Whether the last one has not been seen to end.
    pub is_running: bool,
    /// Not before then, in milliseconds since 1970.
    pub next_attempt_at_ms: f64,
    /// Grows with every write.
    pub sequence: u32,
    /// What the task was called with.
    pub fingerprint: String,
    /// What was saved last, or the result.
    pub state: Option<String>,
    /// Name and result of each step.
    #[napi(ts_type = "[name: string, result: string][]")]
    pub steps: Vec<Vec<String>>,
}

/// The bytes of a record.
#[napi(catch_unwind)]
#[must_use]
pub fn encode_checkpoint(record: NativeCheckpoint) -> Buffer {
    let steps = record.steps.into_iter().map(|step| {
        let mut parts = step.into_iter();
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    Record {
        attempts: record.attempts,
        is_running: record.is_running,
        next_attempt_at_ms: record.next_attempt_at_ms,
        sequence: record.sequence,
        fingerprint: record.fingerprint,
        state: record.state,
        steps: steps.collect(),
    }
    .encode()
    .into()
}

/// Reads what `encodeCheckpoint` wrote.
///
/// # Errors
/// `InvalidArg` for bytes that are damaged or of another format; the message says which.
#[napi(catch_unwind)]
pub fn decode_checkpoint(bytes: BufferSlice<'_>) -> Result<NativeCheckpoint> {
    let record =
        Record::decode(&bytes).map_err(|corrupt| Error::new(Status::InvalidArg, corrupt.to_string()))?;
    Ok(NativeCheckpoint {
        attempts: record.attempts,
        is_running: record.is_running,
        next_attempt_at_ms: record.next_attempt_at_ms,
        sequence: record.sequence,
        fingerprint: record.fingerprint,
        state: record.state,
        steps: record.steps.into_iter().map(|(name, value)| vec![name, value]).collect(),
    })
}

/// A digest over the parts, in hexadecimal: under what name a store knows a task, and what it was called with.
#[napi(catch_unwind)]
#[must_use]
pub fn checkpoint_digest(purpose: String, parts: Vec<String>) -> String {
    let tuple = DigestBuilder::new(&format!("checkpoint/{purpose}"));
    parts.iter().fold(tuple, |tuple, part| tuple.field(part.as_bytes())).finish().to_hex()
}
