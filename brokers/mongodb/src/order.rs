//! From the keys of a mill to the fields by which a collection is read.

/// The fields whose order is that of these keys, which are told as `explain()` shows them: `time`, `at.minute`, `(day, minute)`. `known` are the names of
/// the fields in documents. No keys at all want no order.
///
/// # Errors
/// What to do, where a key does not say by which fields it goes.
pub(crate) fn order_of(orders: &[String], known: Option<&[&str]>) -> Result<Vec<String>, String> {
    let mut fields: Vec<String> = Vec::new();
    for order in orders {
        let inside = order.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(order);
        for path in inside.split(", ") {
            let plain = !path.is_empty()
                && path.split('.').all(|part| {
                    part.starts_with(|first: char| first.is_alphabetic() || first == '_')
                        && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
                });
            if !plain {
                return Err(format!(
                    "it is read in the order of the key `{order}`, and which fields that goes by cannot be told; name them by `ReadCollection::order_by`"
                ));
            }
            let top = path.split('.').next().unwrap_or_default();
            if known.is_some_and(|known| !known.contains(&top)) {
                return Err(format!(
                    "it is read in the order of the key `{order}`, and documents have no field `{top}`: serde calls it otherwise; name it as in the documents by `ReadCollection::order_by`"
                ));
            }
            if !fields.iter().any(|field| field == path) {
                fields.push(path.to_owned());
            }
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::order_of;

    fn of(orders: &[&str]) -> Result<Vec<String>, String> {
        let orders: Vec<String> = orders.iter().map(|order| (*order).to_owned()).collect();
        order_of(&orders, Some(&["time", "day", "at"]))
    }

    #[test]
    fn fields_tuples_of_them_and_several_keys() {
        assert_eq!(of(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(of(&["time"]).unwrap(), ["time"]);
        assert_eq!(of(&["(day, at.minute)", "day"]).unwrap(), ["day", "at.minute"]);
    }

    #[test]
    fn what_does_not_say_its_fields_is_refused() {
        for order in ["|Flight| ..", "-time", "time * 2", "time + day", "2", ""] {
            let told = of(&[order]).unwrap_err();
            assert!(told.contains("order_by"), "{told}");
        }
        assert!(of(&["minute"]).unwrap_err().contains("documents have no field `minute`"));
    }
}
