//! Chaos: which requests get which fault, decided from a seed.
//!
//! A decision is a pure function of (seed, rule, request key, attempt, purpose): see [`draw`]. There is no shared
//! stream of random numbers, so neither the order of requests nor a rule added behind the others changes who is hit,
//! and raising a probability keeps every earlier victim.
//!
//! ```
//! use reprise::chaos::{Distribution, Engine, Fault, Plan, Probability, Request, Rule, Seed, Selection, When};
//!
//! let slow = Rule {
//!     name: "slow".to_owned(),
//!     fault: Fault::Latency(Distribution::uniform(100, 5_000)?),
//!     probability: Probability::new(0.10)?,
//!     when: When::default(),
//! };
//! let plan = Plan::new(Seed::from_text("42"), Selection::Exclusive, vec![slow])?;
//! let request = Request { key: "key:order-17", matched: 0b1, elapsed_ms: 0, asked: &[] };
//! let decided = Engine::new(plan).decide(request);
//! assert_eq!(decided.decision.kill, None);
//! # Ok::<(), reprise::chaos::PlanError>(())
//! ```
#![forbid(unsafe_code)]

mod decision;
pub mod distribution;
pub mod draw;
mod engine;
mod journal;
mod kernel_kills;
mod ordinals;
mod plan;
mod replay;

pub use decision::{Ask, Decision, Drawn, Gate, Hit, Slot, Verdict};
pub use distribution::Distribution;
pub use draw::{Draws, Purpose, RequestDigest, Seed};
pub use engine::{Decided, Engine, Explanation, Injected, Metrics, Reason, Request};
pub use journal::{Entry, Journal, Recorded};
pub use kernel_kills::{KernelKills, TimedKill, Victim};
pub use ordinals::Ordinals;
pub use plan::{Fault, Plan, PlanError, Probability, Ramp, Rule, Selection, Statuses, When, Window};
pub use replay::{Replay, Report};
