//! The order of values as the server has it, in which an index has them: by type first, and numbers by their value whatever their type.

use std::cmp::Ordering;

use bson::{Bson, Document};

use crate::place::Place;

/// How two places of one order stand to each other.
pub(crate) fn places(left: &Place, right: &Place) -> Ordering {
    let keys = left.key.iter().zip(&right.key).map(|(left, right)| values(left, right));
    keys.chain([values(&left.id, &right.id)]).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// How two values stand to each other.
pub(crate) fn values(left: &Bson, right: &Bson) -> Ordering {
    class(left).cmp(&class(right)).then_with(|| within_class(left, right))
}

/// The place of a value's type among the others.
pub(crate) fn class(value: &Bson) -> usize {
    match value {
        Bson::MinKey => 0,
        Bson::Null | Bson::Undefined => 1,
        Bson::Double(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Decimal128(_) => 2,
        Bson::String(_) | Bson::Symbol(_) => 3,
        Bson::Document(_) => 4,
        Bson::Array(_) => 5,
        Bson::Binary(_) => 6,
        Bson::ObjectId(_) => 7,
        Bson::Boolean(_) => 8,
        Bson::DateTime(_) => 9,
        Bson::Timestamp(_) => 10,
        Bson::RegularExpression(_) => 11,
        Bson::MaxKey => 13,
        _ => 12,
    }
}

fn within_class(left: &Bson, right: &Bson) -> Ordering {
    match (left, right) {
        (Bson::Int32(left), Bson::Int32(right)) => left.cmp(right),
        (Bson::Int64(left), Bson::Int64(right)) => left.cmp(right),
        (Bson::Int32(left), Bson::Int64(right)) => i64::from(*left).cmp(right),
        (Bson::Int64(left), Bson::Int32(right)) => left.cmp(&i64::from(*right)),
        (Bson::String(left) | Bson::Symbol(left), Bson::String(right) | Bson::Symbol(right)) => {
            left.cmp(right)
        }
        (Bson::Document(left), Bson::Document(right)) => documents(left, right),
        (Bson::Array(left), Bson::Array(right)) => {
            let each = left.iter().zip(right).map(|(left, right)| values(left, right));
            each.chain([left.len().cmp(&right.len())]).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }
        (Bson::Binary(left), Bson::Binary(right)) => {
            let lengths = left.bytes.len().cmp(&right.bytes.len());
            lengths
                .then_with(|| u8::from(left.subtype).cmp(&u8::from(right.subtype)))
                .then_with(|| left.bytes.cmp(&right.bytes))
        }
        (Bson::ObjectId(left), Bson::ObjectId(right)) => left.bytes().cmp(&right.bytes()),
        (Bson::Boolean(left), Bson::Boolean(right)) => left.cmp(right),
        (Bson::DateTime(left), Bson::DateTime(right)) => left.cmp(right),
        (Bson::Timestamp(left), Bson::Timestamp(right)) => {
            (left.time, left.increment).cmp(&(right.time, right.increment))
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => numbers(left, right),
            _ => Ordering::Equal,
        },
    }
}

fn documents(left: &Document, right: &Document) -> Ordering {
    let each = left.iter().zip(right).map(|((left_name, left), (right_name, right))| {
        class(left)
            .cmp(&class(right))
            .then_with(|| left_name.cmp(right_name))
            .then_with(|| values(left, right))
    });
    each.chain([left.len().cmp(&right.len())]).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// A number as a double and what that lacks: integers of more than 53 bits.
fn number(value: &Bson) -> Option<(f64, i64)> {
    match value {
        Bson::Int32(number) => Some((f64::from(*number), 0)),
        Bson::Int64(number) => {
            let double = *number as f64;
            Some((double, (i128::from(*number) - double as i128) as i64))
        }
        Bson::Double(number) => Some((*number, 0)),
        Bson::Decimal128(number) => Some((number.to_string().parse().unwrap_or(f64::NAN), 0)),
        _ => None,
    }
}

fn numbers((left, left_rest): (f64, i64), (right, right_rest): (f64, i64)) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (false, false) => {
            left.partial_cmp(&right).unwrap_or(Ordering::Equal).then(left_rest.cmp(&right_rest))
        }
        // A NaN is below all other numbers.
        (left, right) => right.cmp(&left),
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::{DateTime, doc};

    use super::*;

    #[test]
    fn values_are_in_the_order_of_the_server() {
        let id = |byte| Bson::ObjectId(ObjectId::from_bytes([byte; 12]));
        let sorted = [
            Bson::MinKey,
            Bson::Null,
            Bson::Double(f64::NAN),
            Bson::Double(f64::NEG_INFINITY),
            Bson::Int64(i64::MIN),
            Bson::Int32(-1),
            Bson::Double(0.5),
            Bson::Int64(1),
            Bson::Decimal128("1.5".parse().unwrap()),
            Bson::Int32(2),
            Bson::Double(9_007_199_254_740_992.0),
            Bson::Int64(9_007_199_254_740_993),
            Bson::String("A".to_owned()),
            Bson::String("a".to_owned()),
            Bson::String("aa".to_owned()),
            Bson::Document(doc! { "a": 1 }),
            Bson::Document(doc! { "a": 2 }),
            Bson::Document(doc! { "a": 2, "b": 0 }),
            Bson::Array(vec![Bson::Int32(1)]),
            id(1),
            id(2),
            Bson::Boolean(false),
            Bson::Boolean(true),
            Bson::DateTime(DateTime::from_millis(-7)),
            Bson::DateTime(DateTime::from_millis(7)),
            Bson::MaxKey,
        ];
        for (at, left) in sorted.iter().enumerate() {
            for (other, right) in sorted.iter().enumerate() {
                assert_eq!(values(left, right), at.cmp(&other), "{left} and {right}");
            }
        }
        assert_eq!(values(&Bson::Int32(3), &Bson::Double(3.0)), Ordering::Equal);
        assert_eq!(values(&Bson::Int64(3), &Bson::Decimal128("3.0".parse().unwrap())), Ordering::Equal);
    }
}
