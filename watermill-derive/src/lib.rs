//! The derives of [watermill](https://docs.rs/watermill): `StreamRecord` and `StreamKey`.
//!
//! A derive goes through the same steps, a file each: `ast` sorts what it was put on, `attr` reads the
//! `#[watermill(..)]` attributes, `valid` finds the mistakes, `expand` or `key` writes the code. Mistakes are
//! collected in a `Mistakes` and reported all at once; `fallback` then writes an impl that is enough for the rest of the
//! user's code, so that one mistake is one error.

mod ast;
mod attr;
mod expand;
mod fallback;
mod generics;
mod key;
mod mistakes;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields a record that streams are made of.
///
/// It implements the trait `StreamRecord`, and with it `fields()`: an expression for each field, of which the keys of
/// joins and windows are made. A field is as visible there as it is in the struct. A field whose type is a record as
/// well leads on to that record's fields: `Robot::fields().pose.x`.
///
/// ```
/// use watermill::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Robot { time: i64, pose: Pose }
///
/// #[derive(StreamRecord)]
/// #[watermill(name = "position")]
/// struct Pose { x: f64, y: f64 }
///
/// assert_eq!((Robot::fields().time + 10).to_string(), "time + 10");
/// assert_eq!((Robot::fields().pose.x * 2.0).to_string(), "pose.x * 2.0");
/// assert_eq!((Robot::NAME, Pose::NAME), ("Robot", "position"));
/// ```
///
/// A record owns its data (no lifetimes) and has a size, because records are told apart by their place in memory.
/// It may be generic; it is a record for those arguments that make it `Send + Sync + 'static`.
///
/// Attributes on the struct:
///
/// - `#[watermill(name = "robot")]`: the name that messages show, instead of the struct's own.
/// - `#[watermill(crate = path::to::watermill)]`: where the crate is, if not at `::watermill`.
#[proc_macro_derive(StreamRecord, attributes(watermill))]
pub fn stream_record(input: TokenStream) -> TokenStream {
    expand::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Makes a struct or enum with an order of its own a key.
///
/// The order is that of its `Ord`; `Hash`, `Clone` and `Debug` are needed as well:
/// `#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, StreamKey)]`.
///
/// ```
/// use watermill::key::KeyExpr;
/// # use watermill_derive::{StreamKey, StreamRecord};
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, StreamKey)]
/// struct Version { major: u16, minor: u16 }
///
/// #[derive(StreamRecord)]
/// struct Release { version: Version }
///
/// # use watermill::record::StreamRecord;
/// fn is_key(_: impl KeyExpr<Release>) {}
/// is_key(Release::fields().version);
/// ```
///
/// `#[watermill(crate = path::to::watermill)]` says where the crate is, if not at `::watermill`.
#[proc_macro_derive(StreamKey, attributes(watermill))]
pub fn stream_key(input: TokenStream) -> TokenStream {
    key::derive(&parse_macro_input!(input as DeriveInput)).into()
}
