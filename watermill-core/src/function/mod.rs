//! Functions: from the type of a plain function to what a mill needs to know of it.
//!
//! # How a function's type becomes a specification
//!
//! A mill accepts any `fn` or closure whose parameters say what it wants. Three questions are asked of it, by three
//! sets of bounds on [`Mill::new`](crate::Mill::new), so that each mistake gets its own message:
//!
//! 1. *Is it a function at all?* [`Shape`] is implemented for every `Fn(P1, .., Pn) -> O` up to 12 parameters. The marker
//!    `fn(P1, .., Pn) -> O` is what lets one trait be implemented for many arities of `Fn` at once: without it the
//!    implementations would overlap, since one type could implement `Fn` several times over.
//! 2. *Is each parameter something a mill can give, and the result something it can take?* [`Master`] for the
//!    first parameter, [`Params`] for the rest, [`Outcome`] for the result.
//! 3. *Can it be called with arguments of any lifetime?* `Call` is implemented for every function that is also
//!    `for<'w> Fn(P1::Item<'w>, ..)`. `P1` itself is only a stand-in with a `'static` lifetime: `&'static Flight` stands for
//!    `&'w Flight`. [`Unchanging`] asks beside it that the function is `Fn`, so that a closure that is not is told where it belongs.
//!
//! Everything behind this folder is erased: the engine sees a `Stage`, never a function's type.

mod ack;
mod inject;
mod master;
mod meta;
mod out;
mod outcome;
mod param;
mod stage;
mod tuples;

pub use ack::{Ack, AckError};
pub use inject::Inject;
pub use master::Master;
pub use meta::{Meta, RecordMeta};
pub use out::Out;
pub use outcome::{Flow, Outcome};
pub use param::{Param, Params};
pub use tuples::{AsyncCall, Call, CallMut, Shape, Unchanging};

pub(crate) use ack::{AckRef, Ticket};
pub(crate) use inject::Injections;
pub(crate) use master::{Masters, Single};
pub(crate) use out::{AnyOutlet, PortSpec};
pub(crate) use outcome::Control;
pub(crate) use param::{OutRef, ParamKind, ParamNeeds, ParamSpec, Slot};
pub(crate) use stage::{
    AnyFunction, AnyStage, AsyncFunction, CallResult, Called, Kind, LaneFunction, Stage, SyncFunction,
    panicked,
};
