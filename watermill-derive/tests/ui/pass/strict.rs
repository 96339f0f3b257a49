//! A crate that allows itself nothing.
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, private_interfaces, private_bounds)]
#![deny(unused_qualifications, unnameable_types, single_use_lifetimes, trivial_casts, unused_lifetimes, dead_code)]
#![deny(nonstandard_style, rust_2018_idioms, let_underscore, variant_size_differences, unit_bindings)]
#![forbid(unsafe_code)]

use watermill::key::KeyExpr;
use watermill::record::StreamRecord as _;

/// Names of the prelude that mean something else here.
pub mod shadowed {
    #![allow(missing_docs, missing_debug_implementations, dead_code, non_camel_case_types)]

    use watermill_derive::{StreamKey, StreamRecord};

    pub struct Option;
    pub struct Result;
    pub struct Some;
    pub struct Ok;
    pub struct String;
    pub struct str;
    pub struct usize;
    pub mod std {}
    pub mod core {}
    pub mod watermill {}
    pub trait Clone {}
    pub trait Send {}

    #[derive(StreamRecord, Debug)]
    pub struct Record {
        pub time: i64,
    }

    #[derive(StreamKey, Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Key(i64);
}

/// A record with documented and deprecated fields.
#[derive(Debug, watermill_derive::StreamRecord)]
pub struct Robot<T> {
    /// When.
    pub time: T,
    #[deprecated]
    old: i64,
    hidden: Hidden,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, watermill_derive::StreamKey)]
struct Hidden(i64);

fn is_key<R>(_: impl KeyExpr<R>) {}

fn main() {
    is_key(Robot::<u8>::fields().time + 1);
    is_key(Robot::<u8>::fields().hidden);
    let _ = shadowed::Record { time: 1 };
    let _ = Robot { time: 1, #[allow(deprecated)] old: 1, hidden: Hidden(1) };
}
