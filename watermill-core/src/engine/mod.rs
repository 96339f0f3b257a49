//! The engine: cursors and merges, the walk of the join tree, and the loop that feeds it.
//!
//! From the inside out: a [`Tape`] holds the batches of one stream; an [`Edge`] finds the right records that match a left one; the
//! [`walk`] asks the edges of a tree about one master after the other, without ever waiting; the [`lane`] reads what the walk
//! needs, calls the function, and commits. Only the lane knows of brokers and waiting.

mod admit;
mod ahead;
mod also_index;
mod any_edge;
mod bookmark;
mod buffer;
mod check;
mod custom;
mod edge;
mod fill;
mod held;
mod keep;
mod keyed;
mod keyless;
pub(crate) mod lane;
mod late;
mod leak;
mod letters;
mod marks;
mod matching;
mod node;
mod point;
mod read_log;
mod reorder;
mod resume;
mod silence;
mod sliding;
mod span;
mod tape;
mod trace;
pub(crate) mod walk;
mod windowed;

pub(crate) use any_edge::AnyEdge;
pub(crate) use check::{KeyCheck, PairCheck, RoleCheck, Rule, describe};
pub(crate) use edge::Edge;
pub(crate) use keep::Keep;
pub(crate) use keyed::key_of;
pub(crate) use late::{AnyDecided, late};
pub(crate) use letters::LetterPort;
pub(crate) use matching::{Also, AlsoKeys, BothAlso, Bounds, Matching, Tolerance};
pub(crate) use node::{MakeNode, NodeParts, make_node};
pub(crate) use silence::Silence;
pub(crate) use tape::Tape;
pub(crate) use trace::{Seen, SeenStream};
