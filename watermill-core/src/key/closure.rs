//! Closures and tuples as key expressions.

use std::fmt;

use super::{KeyExpr, KeyFault, KeyValue, written};

impl<R, K, F> KeyExpr<R> for F
where
    F: Fn(&R) -> K + Send + Sync + 'static,
    K: KeyValue,
{
    type Value = K;

    #[inline]
    fn key<'a>(&'a self, record: &'a R) -> Result<Option<K::View<'a>>, KeyFault> {
        self(record).into_view()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "|{}| ..", short_type_name::<R>())
    }
}

/// The name of `T` without the paths: `Reading<Celsius>`.
fn short_type_name<T: ?Sized>() -> String {
    let mut short = String::new();
    for piece in
        std::any::type_name::<T>().split_inclusive(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
    {
        short.push_str(piece.rsplit("::").next().unwrap_or(piece));
    }
    short
}

macro_rules! tuple_expr {
    ($($part:ident $name:ident),+) => {
        impl<R, $($part: KeyExpr<R>),+> KeyExpr<R> for ($($part,)+) {
            type Value = ($($part::Value,)+);

            #[inline]
            fn key<'a>(&'a self, record: &'a R) -> Result<Option<<Self::Value as KeyValue>::View<'a>>, KeyFault> {
                let ($($name,)+) = self;
                match ($($name.key(record)?,)+) {
                    ($(Some($name),)+) => Ok(Some(($($name,)+))),
                    _ => Ok(None),
                }
            }

            fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let ($($name,)+) = self;
                let mut tuple = f.debug_tuple("");
                $(tuple.field(&format_args!("{}", written(|f| $name.describe(f))));)+
                tuple.finish()
            }
        }
    };
}

tuple_expr! { A a }
tuple_expr! { A a, B b }
tuple_expr! { A a, B b, C c }
tuple_expr! { A a, B b, C c, D d }
tuple_expr! { A a, B b, C c, D d, E e }
tuple_expr! { A a, B b, C c, D d, E e, F f }
