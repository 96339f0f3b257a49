//! Which lane a document belongs to.

use bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use watermill_core::error::BrokerError;

use crate::failure::{Told, failure};
use crate::place::raw_at;

/// How documents are divided into lanes that are walked side by side, by one process or by several.
///
/// All inputs that the broker reads are divided by the same field, so what is joined has to agree in it: join by a key that never meets another lane's
/// records, such as by `.and(robot, robot)` with lanes by `robot`.
///
/// ```
/// use watermill_mongodb::{Lanes, MongoBroker};
///
/// // Four lanes, by whatever the robots are called.
/// let lanes = Lanes::by_hash("robot", 4);
/// // Three: before "h", from "h" to before "p", from "p" on.
/// let ranges = Lanes::by_range("robot", ["h", "p"]);
/// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").application("speeds").lanes(lanes);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Lanes {
    field: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Hash(u32),
    Range(Vec<Bson>),
}

impl Lanes {
    /// So many lanes, by a hash of the value of `field` (a path). Numbers that are equal are in one lane, whatever their type. The documents are divided by
    /// this side, so every process that walks some of the lanes reads all documents: where that is too much, divide by ranges.
    ///
    /// Documents are joined within their lane: those that belong together must have the same value of the field.
    ///
    /// ```
    /// # use watermill_mongodb::Lanes;
    /// let lanes = Lanes::by_hash("robot.id", 8);
    /// ```
    #[must_use]
    pub fn by_hash(field: impl Into<String>, lanes: u32) -> Self {
        Self { field: field.into(), rule: Rule::Hash(lanes) }
    }

    /// One lane more than there are `bounds`, which go up and are of one type: what is below the first one, what is from there on and below the second, and so on.
    /// The server divides the documents; an index that begins with `field` lets each lane read only its own. What is of another type than the bounds, or missing, belongs to the
    /// first lane.
    ///
    /// ```
    /// # use watermill_mongodb::Lanes;
    /// let lanes = Lanes::by_range("customer", [10_000, 20_000, 30_000]);
    /// ```
    #[must_use]
    pub fn by_range<B: Into<Bson>>(field: impl Into<String>, bounds: impl IntoIterator<Item = B>) -> Self {
        Self { field: field.into(), rule: Rule::Range(bounds.into_iter().map(Into::into).collect()) }
    }

    pub(crate) fn count(&self) -> u32 {
        match &self.rule {
            Rule::Hash(count) => *count,
            Rule::Range(bounds) => u32::try_from(bounds.len()).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    pub(crate) fn field(&self) -> &str {
        &self.field
    }

    /// As positions remember it: lanes that are divided another way are others.
    pub(crate) fn text(&self) -> String {
        match &self.rule {
            Rule::Hash(count) => format!("hash of {} over {count}", self.field),
            Rule::Range(bounds) => {
                let bounds: Vec<String> =
                    bounds.iter().map(|bound| bound.clone().into_canonical_extjson().to_string()).collect();
                format!("{} at {}", self.field, bounds.join(", "))
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let refused = |cause: &str| {
            Err(failure("divide", format_args!("lanes by `{}`", self.field), Told(cause.to_owned())))
        };
        if self.field.is_empty() {
            return refused("they are divided by a field: name it");
        }
        match &self.rule {
            Rule::Hash(0) => refused("there must be one at least"),
            Rule::Range(bounds) => {
                let same = bounds.windows(2).all(|two| two[0].element_type() == two[1].element_type());
                if !same {
                    return refused("the bounds must be of one type");
                }
                let rising = bounds.windows(2).all(|two| goes_up(&two[0], &two[1]));
                if rising {
                    Ok(())
                } else {
                    refused("the bounds must go up, and be numbers, texts, dates or ObjectIds")
                }
            }
            Rule::Hash(_) => Ok(()),
        }
    }

    /// What the server is told so that it sends the documents of `lane`.
    pub(crate) fn filter(&self, lane: u32) -> Option<Document> {
        let Rule::Range(bounds) = &self.rule else { return None };
        let index = lane as usize;
        let field = self.field.as_str();
        if index == 0 {
            // All that the others do not take, whatever its type.
            let first = bounds.first()?;
            return Some(doc! { field: { "$not": { "$gte": first.clone() } } });
        }
        let from = bounds.get(index - 1)?.clone();
        Some(match bounds.get(index) {
            Some(to) => doc! { field: { "$gte": from, "$lt": to.clone() } },
            None => doc! { field: { "$gte": from } },
        })
    }

    /// Whether this side has to look at the documents, and finds `document` in `lane`.
    pub(crate) fn takes(&self, lane: u32, document: &RawDocument) -> bool {
        match self.rule {
            Rule::Range(_) => true,
            Rule::Hash(count) => {
                hash(raw_at(document, &self.field)) % u64::from(count.max(1)) == u64::from(lane)
            }
        }
    }
}

fn goes_up(low: &Bson, high: &Bson) -> bool {
    match (low, high) {
        (Bson::Int32(low), Bson::Int32(high)) => low < high,
        (Bson::Int64(low), Bson::Int64(high)) => low < high,
        (Bson::Double(low), Bson::Double(high)) => low < high,
        (Bson::String(low), Bson::String(high)) => low < high,
        (Bson::DateTime(low), Bson::DateTime(high)) => low < high,
        (Bson::ObjectId(low), Bson::ObjectId(high)) => low < high,
        _ => false,
    }
}

/// A hash that is the same in every process and version: positions depend on it. FNV-1a over the type and the bytes of the value.
fn hash(value: Option<RawBsonRef<'_>>) -> u64 {
    let number = |number: f64| -> Vec<u8> {
        let number = if number == 0.0 { 0.0 } else { number };
        number.to_bits().to_le_bytes().into()
    };
    // Integers that a double has exactly are as their double, the others are as they are.
    let integer = |integer: i64| -> (u8, Vec<u8>) {
        let double = integer as f64;
        if double as i128 == i128::from(integer) {
            (1, number(double))
        } else {
            (18, integer.to_le_bytes().into())
        }
    };
    let (kind, bytes): (u8, Vec<u8>) = match value {
        None | Some(RawBsonRef::Null | RawBsonRef::Undefined) => (10, Vec::new()),
        Some(RawBsonRef::Double(value)) => (1, number(value)),
        Some(RawBsonRef::Int32(value)) => integer(i64::from(value)),
        Some(RawBsonRef::Int64(value)) => integer(value),
        Some(RawBsonRef::String(value) | RawBsonRef::Symbol(value)) => (2, value.as_bytes().into()),
        Some(RawBsonRef::Boolean(value)) => (8, vec![u8::from(value)]),
        Some(RawBsonRef::ObjectId(value)) => (7, value.bytes().into()),
        Some(RawBsonRef::DateTime(value)) => (9, value.timestamp_millis().to_le_bytes().into()),
        Some(RawBsonRef::Binary(value)) => (5, value.bytes.into()),
        Some(RawBsonRef::Decimal128(value)) => (19, value.bytes().into()),
        Some(RawBsonRef::Document(value)) => (3, value.as_bytes().into()),
        Some(RawBsonRef::Array(value)) => (4, value.as_bytes().into()),
        Some(other) => (other.element_type() as u8, Vec::new()),
    };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in std::iter::once(kind).chain(bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of FNV alone are poor.
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use bson::RawDocumentBuf;

    use super::*;

    fn lane_of(lanes: &Lanes, document: Document) -> Vec<u32> {
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        (0..lanes.count()).filter(|lane| lanes.takes(*lane, &raw)).collect()
    }

    #[test]
    fn every_document_is_in_one_lane_and_equal_numbers_in_the_same() {
        let lanes = Lanes::by_hash("robot.id", 5);
        let mut seen = [0; 5];
        for id in 0..1000_i64 {
            let lane = lane_of(&lanes, doc! { "robot": { "id": id } });
            assert_eq!(lane.len(), 1);
            assert_eq!(lane, lane_of(&lanes, doc! { "robot": { "id": id as f64 } }));
            assert_eq!(lane, lane_of(&lanes, doc! { "robot": { "id": id as i32 } }));
            seen[lane[0] as usize] += 1;
        }
        assert!(seen.iter().all(|count| (150..250).contains(count)), "{seen:?}");
        assert_eq!(lane_of(&lanes, doc! {}), lane_of(&lanes, doc! { "robot": { "id": null } }));
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        let of = |value: Bson| {
            let raw = RawDocumentBuf::try_from(&doc! { "v": value }).unwrap();
            hash(raw_at(&raw, "v"))
        };
        assert_eq!(of(Bson::Int32(7)), of(Bson::Double(7.0)));
        assert_eq!(of(Bson::String("robot".to_owned())), 416_224_624_001_964_648);
    }

    #[test]
    fn bounds_must_be_in_order_and_of_one_type() {
        assert!(Lanes::by_range("a", [1, 2]).check().is_ok());
        assert!(Lanes::by_range("a", [2, 1]).check().is_err());
        assert!(Lanes::by_range("a", [Bson::Int32(1), Bson::String("b".to_owned())]).check().is_err());
        assert!(Lanes::by_hash("a", 0).check().is_err());
        assert_eq!(Lanes::by_range("a", [1, 2]).count(), 3);
        assert_eq!(Lanes::by_range("a", [1, 2]).filter(1), Some(doc! { "a": { "$gte": 1, "$lt": 2 } }));
    }
}
