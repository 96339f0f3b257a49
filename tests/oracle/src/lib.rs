//! The engine against an oracle.
//!
//! - [`row`]: what streams are made of, once as plain rows for the oracle and once as typed records for the engine.
//! - [`case`]: one experiment: a join tree with its matches and keeps, the rows of every stream, how they are cut into
//!   batches. Seeded strategies make them.
//! - [`oracle`]: what must come out, by a nested loop over everything. Knows nothing of the engine.
//! - [`shape`]: typed functions for many tree shapes, which record everything they see; [`shape::check`] compares.
//! - [`script`]: a broker that plays scripts: any batch boundaries, faults, sources that must never be asked.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

extern crate watermill_core as watermill;

pub mod case;
pub mod oracle;
pub mod row;
pub mod script;
pub mod shape;
