//! The decision: what happens to one request, as a pure function of the plan and the request's draws.

use super::draw::{self, Draws, Purpose};
use super::plan::{Fault, Plan};

/// The statuses that an injected error answers with, each as likely as the others: Internal Server Error, Service
/// Unavailable, Gateway Timeout, Too Many Requests.
pub const ERROR_STATUSES: [u16; STATUS_COUNT as usize] = [500, 503, 504, 429];
const STATUS_COUNT: u32 = 4;

/// What happens to one request; nothing, most of the time. The faults are independent: a request may be held and
/// then fail, and each fault has exactly the rate of its rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decision {
    /// Hold it for so many milliseconds first.
    pub latency_ms: Option<u32>,
    /// Answer with this status instead of running the handler.
    pub status: Option<u16>,
    /// Kill the kernel with this place among the sorted ids.
    pub victim: Option<u32>,
}

impl Plan {
    /// Decides about the request whose draws these are, with `kernels` kernels registered.
    #[must_use]
    pub fn decide(&self, draws: &Draws, kernels: u32) -> Decision {
        let mut decision = Decision::default();
        for rule in &self.rules {
            if !rule.probability.fires(draws.draw(&rule.name, Purpose::Fire)) {
                continue;
            }
            let draw = |purpose| draws.draw(&rule.name, purpose);
            match rule.fault {
                Fault::Error => {
                    decision.status.get_or_insert_with(|| status(draw(Purpose::Status)));
                }
                Fault::Latency(range) => {
                    decision.latency_ms.get_or_insert_with(|| range.at(draw(Purpose::Latency)));
                }
                Fault::KernelKill if kernels > 0 => {
                    decision.victim.get_or_insert_with(|| draw::below(kernels, draw(Purpose::Victim)));
                }
                Fault::KernelKill => {}
            }
        }
        decision
    }
}

fn status(draw: u64) -> u16 {
    ERROR_STATUSES[draw::below(STATUS_COUNT, draw) as usize]
}
