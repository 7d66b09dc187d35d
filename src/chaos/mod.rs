//! Chaos: which requests get which fault, decided from a seed.
//!
//! A decision is a pure function of (seed, rule, request key, attempt, purpose): see [`draw`]. There is no shared
//! stream of random numbers, so neither the order of requests nor another rule changes who is hit, and raising a
//! probability keeps every earlier victim.
//!
//! ```
//! use reprise::chaos::{Engine, LatencyRange, Plan, Probability, Rates, Seed};
//!
//! let plan = Plan::from_rates(
//!     Seed::from_text("42"),
//!     Rates {
//!         failure: Probability::new(0.05)?,
//!         latency: Probability::new(0.10)?,
//!         latency_range: LatencyRange::new(100, 5_000)?,
//!         kernel_kill: Probability::NEVER,
//!     },
//! );
//! let engine = Engine::new(plan);
//! let decision = engine.decide("key:order-17", 0);
//! assert_eq!(decision.victim, None);
//! # Ok::<(), reprise::chaos::PlanError>(())
//! ```
#![forbid(unsafe_code)]

mod decision;
pub mod draw;
mod engine;
mod ordinals;
mod plan;

pub use decision::{Decision, ERROR_STATUSES};
pub use draw::{Draws, Purpose, Seed};
pub use engine::{Engine, Injected, Metrics};
pub use ordinals::Ordinals;
pub use plan::{Fault, LatencyRange, Plan, PlanError, Probability, Rates, Rule};
