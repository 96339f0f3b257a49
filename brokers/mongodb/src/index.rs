//! The index by which a collection is read in order: found, or asked for.

use bson::{Bson, Document, doc};
use watermill_core::error::BrokerError;

use crate::driver::Driver;
use crate::failure::{Told, code, driver_failure, failure};
use crate::place::{Order, Place};

/// An index that has the documents in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Index {
    pub(crate) name: String,
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq)]
enum Key {
    /// The filter fixes it.
    Fixed(String, Bson),
    /// The field of the order with this index.
    Ordered(usize),
    Id,
}

/// How the documents from a place on are asked for.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// A bound of the index, which includes the place itself.
    pub(crate) min: Option<Document>,
    /// What is asked of the documents besides.
    pub(crate) filter: Option<Document>,
}

impl Index {
    /// What asks for the documents behind `place`, whatever the types of their keys: a bound of the index, which, unlike an operator, goes over all types. `_id`s alone, which
    /// hardly are of several types, are asked for by operators.
    pub(crate) fn behind(&self, order: &Order, place: &Place) -> Behind {
        if order.fields.is_empty() {
            return Behind { min: None, filter: Some(behind_id(&place.id)) };
        }
        Behind { min: Some(self.bound(order, place, None)), filter: None }
    }

    /// The bound of the index at a place, with `id` in the place of its `_id` where there is one.
    pub(crate) fn bound(&self, order: &Order, place: &Place, id: Option<Bson>) -> Document {
        let mut bound = Document::new();
        for key in &self.keys {
            match key {
                Key::Fixed(field, value) => bound.insert(field, value.clone()),
                Key::Ordered(at) => bound.insert(
                    order.fields.get(*at).map_or("", String::as_str),
                    place.key.get(*at).cloned().unwrap_or(Bson::Null),
                ),
                Key::Id => bound.insert("_id", id.clone().unwrap_or_else(|| place.id.clone())),
            };
        }
        bound
    }
}

/// The `_id`s behind this one: those of its type that are greater, and those of the types that come after it.
fn behind_id(id: &Bson) -> Document {
    // In the order of `compare::class`; an array cannot be an `_id`.
    const TYPES: [&[&str]; 14] = [
        &["minKey"],
        &["null"],
        &["double", "int", "long", "decimal"],
        &["symbol", "string"],
        &["object"],
        &[],
        &["binData"],
        &["objectId"],
        &["bool"],
        &["date"],
        &["timestamp"],
        &["regex"],
        &["javascript"],
        &["maxKey"],
    ];
    let own = crate::compare::class(id);
    let later: Vec<&str> = TYPES.iter().skip(own + 1).flat_map(|types| types.iter().copied()).collect();
    // Of a NaN nothing is greater to an operator, and all numbers are to the index.
    let greater = match id {
        Bson::Double(number) if number.is_nan() => doc! { "$gte": f64::NEG_INFINITY },
        id => doc! { "$gt": id.clone() },
    };
    doc! { "$or": [{ "_id": greater }, { "_id": { "$type": later } }] }
}

/// Finds the index by which `collection` is read in this order.
pub(crate) async fn find(
    driver: &Driver,
    collection: &str,
    order: &Order,
    filter: Option<&Document>,
    create: bool,
) -> Result<Index, BrokerError> {
    let location = || format!("collection `{collection}` of database `{}`", driver.database);
    let listed = driver.db().run_command(doc! { "listIndexes": collection }).await;
    let listed = listed.map_err(|error| match code(&error) {
        Some(26) => failure(
            "read",
            location(),
            Told(
                "it is not there: check its name, or make it first; an empty one is an empty stream"
                    .to_owned(),
            ),
        ),
        _ => driver_failure("look at the indexes of", location(), error),
    })?;
    let batch = listed.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let all = batch.map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().filter_map(Bson::as_document).find_map(|index| fits(index, order, filter));
    if create && found.is_none() {
        return make(driver, collection, order).await;
    }
    found.ok_or_else(|| {
        let cause = format!(
            "it has no index that has the documents in the order of {}; make one by `{}` or by `MongoBroker::create_indexes`, or read in another order by `ReadCollection::order_by`",
            order.fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", "),
            command(collection, order)
        );
        failure("read", location(), Told(cause))
    })
}

/// Makes the index.
async fn make(driver: &Driver, collection: &str, order: &Order) -> Result<Index, BrokerError> {
    let location = || format!("an index of collection `{collection}` of database `{}`", driver.database);
    tracing::info!(target: "watermill", collection, command = command(collection, order), "an index is made");
    let key = order.sort(1);
    let name: Vec<String> = key.keys().map(|field| format!("{field}_1")).collect();
    let index = doc! { "key": key, "name": name.join("_") };
    let made =
        driver.db().run_command(doc! { "createIndexes": collection, "indexes": [index.clone()] }).await;
    made.map_err(|cause| driver_failure("make", location(), cause))?;
    fits(&index, order, None)
        .ok_or_else(|| failure("make", location(), "it does not have the documents in order"))
}

/// What makes the index, for the shell.
fn command(collection: &str, order: &Order) -> String {
    let mut keys: Vec<String> = order
        .fields
        .iter()
        .map(|field| {
            let plain = field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if plain { format!("{field}: 1") } else { format!("\"{field}\": 1") }
        })
        .collect();
    keys.push("_id: 1".to_owned());
    format!("db.getCollection(\"{collection}\").createIndex({{{}}})", keys.join(", "))
}

/// The index, if it has every document and has them in order.
fn fits(index: &Document, order: &Order, filter: Option<&Document>) -> Option<Index> {
    let partial = ["partialFilterExpression", "collation", "hidden"]
        .iter()
        .any(|name| index.get(name).is_some_and(|value| *value != Bson::Boolean(false)));
    if partial || index.get_bool("sparse").unwrap_or(false) {
        return None;
    }
    let name = index.get_str("name").ok()?.to_owned();
    let mut keys = Vec::new();
    let mut next = 0;
    for (field, direction) in index.get_document("key").ok()? {
        if !rises(direction) || keys.last() == Some(&Key::Id) {
            return None;
        }
        if order.fields.get(next) == Some(field) {
            keys.push(Key::Ordered(next));
            next += 1;
        } else if field == "_id" && next == order.fields.len() {
            keys.push(Key::Id);
        } else if next == 0 {
            keys.push(Key::Fixed(field.clone(), fixed(filter?, field)?));
        } else {
            return None;
        }
    }
    (keys.last() == Some(&Key::Id)).then_some(Index { name, keys })
}

fn rises(direction: &Bson) -> bool {
    match direction {
        Bson::Int32(direction) => *direction > 0,
        Bson::Int64(direction) => *direction > 0,
        Bson::Double(direction) => *direction > 0.0,
        _ => false,
    }
}

/// The value that `filter` fixes `field` at.
fn fixed(filter: &Document, field: &str) -> Option<Bson> {
    match filter.get(field)? {
        Bson::Document(operators) => operators.get("$eq").filter(|_| operators.len() == 1).cloned(),
        Bson::RegularExpression(_) | Bson::Array(_) | Bson::Null => None,
        value => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(fields: &[&str]) -> Order {
        Order { fields: fields.iter().map(|field| (*field).to_owned()).collect() }
    }

    fn index(key: Document) -> Document {
        doc! { "name": "i", "key": key }
    }

    #[test]
    fn what_has_the_documents_in_order_fits() {
        let time = order(&["time"]);
        assert!(fits(&index(doc! { "time": 1, "_id": 1 }), &time, None).is_some());
        assert!(fits(&index(doc! { "time": 1.0, "_id": 1_i64 }), &time, None).is_some());
        assert!(fits(&index(doc! { "_id": 1 }), &order(&[]), None).is_some());
        assert!(
            fits(&index(doc! { "day": 1, "at.minute": 1, "_id": 1 }), &order(&["day", "at.minute"]), None)
                .is_some()
        );
        for other in [
            doc! { "time": 1 },
            doc! { "time": -1, "_id": 1 },
            doc! { "time": "hashed", "_id": 1 },
            doc! { "time": 1, "x": 1, "_id": 1 },
            doc! { "_id": 1, "time": 1 },
            doc! { "robot": 1, "time": 1, "_id": 1 },
            doc! { "time": 1, "_id": 1, "x": 1 },
        ] {
            assert_eq!(fits(&index(other.clone()), &time, None), None, "{other}");
        }
        let mut partial = index(doc! { "time": 1, "_id": 1 });
        partial.insert("partialFilterExpression", doc! { "x": 1 });
        assert_eq!(fits(&partial, &time, None), None);
    }

    #[test]
    fn an_index_may_begin_with_what_the_filter_fixes() {
        let time = order(&["time"]);
        let with_robot = index(doc! { "robot": 1, "time": 1, "_id": 1 });
        for filter in [doc! { "robot": "R2" }, doc! { "robot": { "$eq": "R2" }, "x": 1 }] {
            let found = fits(&with_robot, &time, Some(&filter)).unwrap();
            let place = Place { key: vec![Bson::Int32(5)], id: Bson::Int32(9) };
            assert_eq!(found.bound(&time, &place, None), doc! { "robot": "R2", "time": 5, "_id": 9 });
            assert_eq!(
                found.bound(&time, &place, Some(Bson::MaxKey)),
                doc! { "robot": "R2", "time": 5, "_id": Bson::MaxKey }
            );
        }
        assert_eq!(fits(&with_robot, &time, Some(&doc! { "robot": { "$gt": "R2" } })), None);
    }

    #[test]
    fn the_command_makes_the_index() {
        let told = command("x-y", &order(&["day", "at.minute"]));
        assert_eq!(told, r#"db.getCollection("x-y").createIndex({day: 1, "at.minute": 1, _id: 1})"#);
    }
}
