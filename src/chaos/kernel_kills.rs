//! Kernel kills that no request asks for: by time, and at the boundaries of checkpoints.
//!
//! They are drawn as requests are, under keys that no request has: `kills` for those by time, `task:` and the task for
//! those at its checkpoints. No method is one of these words, and a key of a request has a space or `key:`.

use super::draw::{self, Draws, Purpose, RequestDigest, Seed};
use super::{Distribution, Probability};

/// The rule that kills by time are drawn for.
const BY_TIME: &str = "by-time";

/// Who dies: this share of the way through the sorted ids, from 0 to below 1.
pub type Victim = f64;

/// One kill by time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedKill {
    /// How long after the one before it, or after arming; in milliseconds.
    pub after_ms: u32,
    /// Who dies.
    pub victim: Victim,
}

/// When kernels die without a request.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelKills {
    seed: Seed,
    by_time: (RequestDigest, Option<Distribution>),
    at_checkpoints: Probability,
}

impl KernelKills {
    /// Kills with these gaps, where there are any, and at this share of the boundaries of checkpoints.
    #[must_use]
    pub fn new(seed: Seed, gaps: Option<Distribution>, at_checkpoints: Probability) -> Self {
        Self { seed, by_time: (seed.request("kills"), gaps), at_checkpoints }
    }

    /// The `n`th kill by time, from 0; none without a law of the gaps.
    #[must_use]
    pub fn timed(&self, n: u32) -> Option<TimedKill> {
        let (request, gaps) = &self.by_time;
        let draws = Draws::new(*request, n);
        gaps.as_ref().map(|law| TimedKill {
            after_ms: law.at(draws.draw(BY_TIME, Purpose::Latency)),
            victim: draw::unit(draws.draw(BY_TIME, Purpose::Victim)),
        })
    }

    /// Whether somebody dies at this boundary of a task: its `point`, before or in the write that is the `sequence`th
    /// of its record. The same in whatever order tasks run, and in whatever process.
    #[must_use]
    pub fn at_checkpoint(&self, task_id: &str, point: &str, sequence: u32) -> Option<Victim> {
        let draws = Draws::new(self.seed.request(&format!("task:{task_id}")), sequence);
        self.at_checkpoints
            .fires(draws.draw(point, Purpose::Fire))
            .then(|| draw::unit(draws.draw(point, Purpose::Victim)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kills(gaps: Option<Distribution>, share: f64) -> KernelKills {
        KernelKills::new(Seed::from_text("42"), gaps, Probability::new(share).unwrap())
    }

    #[test]
    fn the_sequence_of_gaps_is_the_same_again_and_never_below_the_least() {
        let law = || Distribution::exponential(250.0, 1_000.0).ok();
        let run = || (0..1_000).map(|n| kills(law(), 0.0).timed(n).unwrap()).collect::<Vec<_>>();
        assert_eq!(run(), run());
        assert!(run().iter().all(|kill| kill.after_ms >= 250 && (0.0..1.0).contains(&kill.victim)));
        let sum: u64 = run().iter().map(|kill| u64::from(kill.after_ms)).sum();
        assert!((900_000..1_100_000).contains(&sum), "{sum}");
        assert_eq!(kills(None, 1.0).timed(0), None);
    }

    #[test]
    fn a_boundary_is_one_task_one_point_one_write() {
        let hits = |task: &str, point| {
            let kills = kills(None, 0.5);
            (0..64).map(|sequence| kills.at_checkpoint(task, point, sequence).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(hits("a", "before-save"), hits("a", "before-save"));
        assert_ne!(hits("a", "before-save"), hits("a", "during-save"));
        assert_ne!(hits("a", "before-save"), hits("b", "before-save"));
        assert_eq!(kills(None, 0.0).at_checkpoint("a", "before-save", 1), None);
        assert!(kills(None, 1.0).at_checkpoint("a", "before-save", 1).is_some());
    }
}
