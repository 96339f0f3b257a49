//! Where a document stands among the others of its collection, in the order in which they are read: its key and its `_id`.

use bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use serde_json::Value;

/// The fields by whose values a collection is read, `_id` behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// Paths, without `_id`; empty where documents are read in the order of their `_id`s alone.
    pub(crate) fields: Vec<String>,
}

/// The values of one document in these fields, and its `_id`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) key: Vec<Bson>,
    pub(crate) id: Bson,
}

impl Order {
    /// How it is told to the server.
    pub(crate) fn sort(&self, direction: i32) -> Document {
        let mut sort = Document::new();
        for field in &self.fields {
            sort.insert(field, direction);
        }
        sort.insert("_id", direction);
        sort
    }

    /// Where `document` stands.
    pub(crate) fn place(&self, document: &RawDocument) -> Place {
        Place {
            key: self.fields.iter().map(|field| value_at(document, field)).collect(),
            id: value_at(document, "_id"),
        }
    }

    /// A place as a document, a field each.
    pub(crate) fn document(&self, place: &Place) -> Document {
        let mut all = Document::new();
        for (field, value) in self.fields.iter().zip(&place.key) {
            all.insert(field, value.clone());
        }
        all.insert("_id", place.id.clone());
        all
    }

    /// The place that [`document`](Self::document) has made this of; `None` of one that has other fields.
    pub(crate) fn read(&self, mut document: Document) -> Option<Place> {
        let key = self.fields.iter().map(|field| document.remove(field)).collect::<Option<Vec<_>>>()?;
        let id = document.remove("_id")?;
        document.is_empty().then_some(Place { key, id })
    }
}

/// The value at `path`; null where there is none, as in an index.
pub(crate) fn value_at(document: &RawDocument, path: &str) -> Bson {
    raw_at(document, path).and_then(|raw| Bson::try_from(raw).ok()).unwrap_or(Bson::Null)
}

/// The same, as it stands in the document.
pub(crate) fn raw_at<'a>(document: &'a RawDocument, path: &str) -> Option<RawBsonRef<'a>> {
    match path.split_once('.') {
        None => document.get(path).ok().flatten(),
        Some((first, rest)) => match document.get(first).ok().flatten()? {
            RawBsonRef::Document(below) => raw_at(below, rest),
            _ => None,
        },
    }
}

/// A token of a position: canonical extended JSON, so that it can be read by people, and nothing of a value is lost.
pub(crate) fn token(kind: &str, value: impl Into<Bson>) -> String {
    Bson::Document(doc! { kind: value.into() }).into_canonical_extjson().to_string()
}

/// What a token says.
pub(crate) fn read_token(text: &str) -> Option<Document> {
    let value: Value = serde_json::from_str(text).ok()?;
    match Bson::try_from(value).ok()? {
        Bson::Document(document) => Some(document),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::{DateTime, Decimal128, RawDocumentBuf, Timestamp};

    use super::*;

    #[test]
    fn a_token_gives_back_every_kind_of_value() {
        let decimal: Decimal128 = "12.50".parse().unwrap();
        for value in [
            Bson::Int32(7),
            Bson::Int64(1 << 60),
            Bson::Double(0.1),
            Bson::Double(f64::NEG_INFINITY),
            Bson::String("a \"b\" \u{1f600}".to_owned()),
            Bson::DateTime(DateTime::from_millis(1_754_035_200_123)),
            Bson::DateTime(DateTime::from_millis(-5)),
            Bson::ObjectId(ObjectId::new()),
            Bson::Decimal128(decimal),
            Bson::Timestamp(Timestamp { time: 9, increment: 3 }),
            Bson::Null,
            Bson::Boolean(true),
            Bson::Document(doc! { "a": 1, "b": { "$weird": 2_i64 } }),
        ] {
            let order = Order { fields: vec!["time".to_owned(), "at.x".to_owned()] };
            let place = Place { key: vec![value.clone(), Bson::Int64(3)], id: value.clone() };
            let text = token("after", order.document(&place));
            let read = read_token(&text).and_then(|mut token| match token.remove("after") {
                Some(Bson::Document(after)) => order.read(after),
                _ => None,
            });
            assert_eq!(read, Some(place), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_null_as_in_an_index() {
        let raw = RawDocumentBuf::try_from(&doc! { "_id": 1, "at": { "x": 5 }, "flat": 2 }).unwrap();
        let order = Order { fields: ["at.x", "at.y", "flat.z", "none"].map(str::to_owned).into() };
        let place = order.place(&raw);
        assert_eq!(place.key, [Bson::Int32(5), Bson::Null, Bson::Null, Bson::Null]);
    }

    #[test]
    fn text_that_is_no_token_is_none() {
        for text in ["", "{", "7", "{\"after\":{\"$oid\":7}}"] {
            assert!(read_token(text).is_none_or(|token| token.get_document("after").is_err()), "{text}");
        }
    }
}
