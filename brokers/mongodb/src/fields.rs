//! Which fields a record type is read from, asked of its own `Deserialize`: the names are those of the documents, after serde's renaming.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The fields of documents that `R` is read from; `None` where it takes any: a map, an untyped value, a struct with `serde(flatten)`.
pub(crate) fn fields_of<R: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let asked = Asked::default();
    // It fails for certain: there is nothing to be read.
    drop(R::deserialize(&asked));
    asked.fields.get()
}

/// Notes what a struct asks for, and gives nothing.
#[derive(Default)]
struct Asked {
    fields: Cell<Option<&'static [&'static str]>>,
}

#[derive(Debug)]
struct Nothing;

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is nothing to be read")
    }
}

impl std::error::Error for Nothing {}

impl Error for Nothing {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for &Asked {
    type Error = Nothing;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Nothing> {
        Err(Nothing)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.fields.set(Some(fields));
        Err(Nothing)
    }

    /// A struct around another one is read as that.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::fields_of;

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Reading {
        #[serde(rename = "t")]
        time: i64,
        #[serde(skip)]
        note: String,
        place: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Camel {
        some_time: i64,
        #[serde(alias = "old")]
        new: i64,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Around(Reading);

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Flat {
        time: i64,
        #[serde(flatten)]
        rest: BTreeMap<String, i64>,
    }

    #[test]
    fn the_names_are_those_of_documents() {
        assert_eq!(fields_of::<Reading>(), Some(&["t", "place"][..]));
        assert_eq!(fields_of::<Camel>().map(<[_]>::len), Some(3));
        assert_eq!(fields_of::<Around>(), Some(&["t", "place"][..]));
    }

    #[test]
    fn what_takes_any_field_needs_all() {
        assert_eq!(fields_of::<Flat>(), None);
        assert_eq!(fields_of::<BTreeMap<String, i64>>(), None);
        assert_eq!(fields_of::<serde_json::Value>(), None);
    }
}
