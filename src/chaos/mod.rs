//! Chaos: which requests get which fault, decided from a seed.
//!
//! A decision is a pure function of (seed, rule, request key, attempt, purpose): see [`draw`]. There is no shared
//! stream of random numbers, so neither the order of requests nor a rule added behind the others changes who is hit,
//! and raising a probability keeps every earlier victim.
//!
//! ```
//! use reprise::chaos::{Distribution, Engine, Fault, Plan, Probability, Rule, Seed, Selection, When};
//!
//! let slow = Rule {
//!     name: "slow".to_owned(),
//!     fault: Fault::Latency(Distribution::uniform(100, 5_000)?),
//!     probability: Probability::new(0.10)?,
//!     when: When::default(),
//! };
//! let plan = Plan::new(Seed::from_text("42"), Selection::Exclusive, vec![slow])?;
//! let decided = Engine::new(plan).decide("key:order-17", 0b1, 0);
//! assert_eq!(decided.kill, None);
//! # Ok::<(), reprise::chaos::PlanError>(())
//! ```
#![forbid(unsafe_code)]

mod decision;
pub mod distribution;
pub mod draw;
mod engine;
mod kernel_kills;
mod ordinals;
mod plan;

pub use decision::{Ask, Decision, Drawn, Gate, Hit};
pub use distribution::Distribution;
pub use draw::{Draws, Purpose, RequestDigest, Seed};
pub use engine::{Engine, Injected, Metrics};
pub use kernel_kills::{KernelKills, TimedKill, Victim};
pub use ordinals::Ordinals;
pub use plan::{Fault, Plan, PlanError, Probability, Ramp, Rule, Selection, Statuses, When, Window};
