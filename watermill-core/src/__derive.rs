//! What the code of the derives names. No part of the API: it changes with the derives.

pub use crate::key::{Field, KeyFault, KeyValue, Place};
pub use crate::record::StreamRecord;

use std::fmt;

/// Writes the path of the field `name` of the record at the place `P`.
///
/// # Errors
/// As the formatter says.
pub fn write_path_below<P: Place>(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let above = crate::key::written(P::write_path).to_string();
    if !above.is_empty() {
        write!(f, "{above}.")?;
    }
    f.write_str(name)
}
