//! Messages as JSON, and as values of BSON.

use std::fmt;

use bson::spec::BinarySubtype;
use bson::{Bson, RawArray, RawBsonRef, RawDocument};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A text that is no JSON is kept as it is, as binary of this subtype, which is free for users.
const TEXT: u8 = 0x80;

/// Writes a text as a value of BSON behind `out`, and returns its type.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) -> Result<u8, serde_json::Error> {
    let start = out.len();
    let mut reader = serde_json::Deserializer::from_slice(text);
    match (Value { out }).deserialize(&mut reader).and_then(|kind| reader.end().map(|()| kind)) {
        Ok(kind) => Ok(kind),
        Err(error) if error.is_data() => Err(error),
        Err(_) => {
            out.truncate(start);
            length(out, text.len());
            out.push(TEXT);
            out.extend_from_slice(text);
            Ok(0x05)
        }
    }
}

/// A length of less than 2 GiB: what is larger does not fit into a document anyway, and is refused before it is sent.
fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes());
}

/// A value of JSON that becomes one of BSON.
struct Value<'a> {
    out: &'a mut Vec<u8>,
}

impl Value<'_> {
    /// Writes documents and arrays, which begin with their length.
    fn framed<E>(self, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.out.len();
        length(self.out, 0);
        fill(self.out)?;
        self.out.push(0);
        let length = i32::try_from(self.out.len() - start).unwrap_or(i32::MAX);
        if let Some(at) = self.out.get_mut(start..start + 4) {
            at.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }
}

/// Writes a key, leaving a place for the type before it.
fn key<E: serde::de::Error>(out: &mut Vec<u8>, key: &str) -> Result<usize, E> {
    if key.contains('\0') {
        return Err(E::custom("a name of a field has the character U+0000 in it, which BSON does not allow"));
    }
    out.push(0);
    let kind = out.len() - 1;
    out.extend_from_slice(key.as_bytes());
    out.push(0);
    Ok(kind)
}

fn set(out: &mut [u8], at: usize, kind: u8) {
    if let Some(place) = out.get_mut(at) {
        *place = kind;
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = u8;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<u8, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = u8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<u8, E> {
        Ok(0x0a)
    }

    fn visit_bool<E>(self, value: bool) -> Result<u8, E> {
        self.out.push(value.into());
        Ok(0x08)
    }

    fn visit_i64<E>(self, value: i64) -> Result<u8, E> {
        if let Ok(short) = i32::try_from(value) {
            self.out.extend_from_slice(&short.to_le_bytes());
            return Ok(0x10);
        }
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(0x12)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u8, E> {
        let signed = i64::try_from(value).map_err(|_| {
            let most = i64::MAX;
            E::custom(format_args!(
                "{value} is more than {most}, the largest whole number in MongoDB: write it as text, or as a number with a fraction"
            ))
        })?;
        self.visit_i64(signed)
    }

    fn visit_f64<E>(self, value: f64) -> Result<u8, E> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(0x01)
    }

    fn visit_str<E>(self, value: &str) -> Result<u8, E> {
        length(self.out, value.len() + 1);
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(0);
        Ok(0x02)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u8, A::Error> {
        self.framed(|out| {
            let mut index = 0_usize;
            loop {
                let start = out.len();
                let kind = key::<A::Error>(out, &index.to_string())?;
                let Some(of) = items.next_element_seed(Value { out })? else {
                    out.truncate(start);
                    return Ok(());
                };
                set(out, kind, of);
                index += 1;
            }
        })?;
        Ok(0x04)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<u8, A::Error> {
        self.framed(|out| {
            while let Some(name) = fields.next_key::<std::borrow::Cow<'de, str>>()? {
                let kind = key::<A::Error>(out, &name)?;
                let of = fields.next_value_seed(Value { out })?;
                set(out, kind, of);
            }
            Ok::<_, A::Error>(())
        })?;
        Ok(0x03)
    }
}

/// Writes a value of BSON as text. What JSON has no values for becomes text, as the documentation of the store says.
pub(super) fn decode(value: RawBsonRef<'_>, out: &mut Vec<u8>) -> Result<(), bson::error::Error> {
    if let RawBsonRef::Binary(binary) = value
        && binary.subtype == BinarySubtype::UserDefined(TEXT)
    {
        out.extend_from_slice(binary.bytes);
        return Ok(());
    }
    json(value, out)
}

fn json(value: RawBsonRef<'_>, out: &mut Vec<u8>) -> Result<(), bson::error::Error> {
    match value {
        RawBsonRef::Document(document) => return object(document, out),
        RawBsonRef::Array(items) => return array(items, out),
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => quoted(text, out),
        RawBsonRef::Int32(number) => out.extend_from_slice(number.to_string().as_bytes()),
        RawBsonRef::Int64(number) => out.extend_from_slice(number.to_string().as_bytes()),
        RawBsonRef::Double(number) if number.is_finite() => drop(serde_json::to_writer(out, &number)),
        RawBsonRef::Double(_) | RawBsonRef::Null | RawBsonRef::Undefined => out.extend_from_slice(b"null"),
        RawBsonRef::Boolean(true) => out.extend_from_slice(b"true"),
        RawBsonRef::Boolean(false) => out.extend_from_slice(b"false"),
        RawBsonRef::ObjectId(id) => quoted(&id.to_hex(), out),
        RawBsonRef::DateTime(time) => match time.try_to_rfc3339_string() {
            Ok(text) => quoted(&text, out),
            // Beyond the year 9999.
            Err(_) => out.extend_from_slice(time.timestamp_millis().to_string().as_bytes()),
        },
        RawBsonRef::Decimal128(number) => quoted(&number.to_string(), out),
        RawBsonRef::Binary(binary) => {
            let extended = Bson::Binary(binary.to_binary()).into_relaxed_extjson();
            quoted(extended["$binary"]["base64"].as_str().unwrap_or_default(), out);
        }
        other => {
            let extended = Bson::try_from(other)?.into_relaxed_extjson();
            out.extend_from_slice(extended.to_string().as_bytes());
        }
    }
    Ok(())
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    drop(serde_json::to_writer(out, text));
}

fn object(document: &RawDocument, out: &mut Vec<u8>) -> Result<(), bson::error::Error> {
    out.push(b'{');
    for (at, field) in document.iter().enumerate() {
        let (name, value) = field?;
        if at > 0 {
            out.push(b',');
        }
        quoted(name.as_str(), out);
        out.push(b':');
        json(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn array(items: &RawArray, out: &mut Vec<u8>) -> Result<(), bson::error::Error> {
    out.push(b'[');
    for (at, value) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json(value?, out)?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::{Bson, DateTime, RawDocumentBuf, doc, oid::ObjectId, spec::BinarySubtype};

    use super::{decode, encode};
    use crate::store::mongodb::message::document;

    fn there_and_back(text: &str) -> (Bson, String) {
        let raw = document(ObjectId::new(), "s", 0, text.as_bytes(), None).unwrap();
        let data = raw.get("data").unwrap().unwrap();
        let mut back = Vec::new();
        decode(data, &mut back).unwrap();
        (Bson::try_from(data).unwrap(), String::from_utf8(back).unwrap())
    }

    #[test]
    fn texts_come_back_and_numbers_keep_their_kinds() {
        for (text, kept) in [
            (r#"{"a":1,"b":[true,null,"x\n\"\u00e4"],"c":{"d":{}}}"#, None),
            ("2147483648", Some(Bson::Int64(2_147_483_648))),
            ("-3", Some(Bson::Int32(-3))),
            ("1.0", Some(Bson::Double(1.0))),
            ("0.1", Some(Bson::Double(0.1))),
            ("9223372036854775807", Some(Bson::Int64(i64::MAX))),
            ("\"text\"", Some(Bson::String("text".to_owned()))),
            ("[]", Some(Bson::Array(Vec::new()))),
            ("no JSON", None),
            ("{\"a\":1} and more", None),
            ("", None),
        ] {
            let (value, back) = there_and_back(text);
            assert_eq!(back, text.replace("\\u00e4", "ä"));
            assert!(kept.is_none_or(|kept| kept == value), "{text}: {value:?}");
        }
        let mut out = Vec::new();
        let refused = encode(b"{\"a\":[9223372036854775808]}", &mut out).unwrap_err();
        assert!(refused.to_string().contains("the largest whole number in MongoDB"), "{refused}");
        assert!(encode(b"{\"a\\u0000b\":1}", &mut out).is_err());
    }

    #[test]
    fn what_json_does_not_know_becomes_text() {
        let id = ObjectId::from_bytes([7; 12]);
        let python = doc! {
            "date": DateTime::from_millis(1_700_000_000_123), "id": id, "decimal": "1.50".parse::<bson::Decimal128>().unwrap(),
            "bytes": bson::Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] }, "nan": f64::NAN, "long": 1_i64,
        };
        let raw = RawDocumentBuf::try_from(&python).unwrap();
        let mut text = Vec::new();
        decode(bson::RawBsonRef::Document(&raw), &mut text).unwrap();
        let expected = format!(
            r#"{{"date":"2023-11-14T22:13:20.123Z","id":"{}","decimal":"1.50","bytes":"AQID","nan":null,"long":1}}"#,
            "07".repeat(12)
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
