//! JSON read quickly: what is plain by hand, everything else by serde_json.
//!
//! [`read`] gives up on whatever is not plain (an escape in a string, a number with very many digits, deep nesting, a
//! type that asks for something rare) and on all that is wrong. The record is then read by serde_json from its beginning, which
//! also says what is wrong with it. So this reader needs no messages; it only has to agree with serde_json wherever it succeeds,
//! to the last bit of a number.

use std::fmt;
use std::sync::LazyLock;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Visitor};
use serde::forward_to_deserialize_any;

/// How deep records are followed; serde_json goes on to its own limit.
const DEPTH: u8 = 64;

/// How many digits always fit a `u64`.
const DIGITS: usize = 19;

/// The powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Integers up to this one are doubles.
const EXACT: u64 = 1 << 53;

/// How serde_json was built: its features are chosen by all crates of a program together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    /// Numbers of many digits are read quickly; the last bit may be off.
    Quick,
    /// `float_roundtrip`: they are exact.
    Exact,
    /// `arbitrary_precision`: numbers are text.
    Text,
}

static FLAVOUR: LazyLock<Flavour> = LazyLock::new(|| {
    let text_of =
        |number: &str| serde_json::from_str::<serde_json::Value>(number).map(|read| read.to_string());
    if text_of("1.10").is_ok_and(|text| text != "1.1") {
        return Flavour::Text;
    }
    // Dividing the digits by the power of ten is one bit off here.
    let exact = "9007199254740.995".parse().unwrap_or(f64::NAN);
    match serde_json::from_str::<f64>("9007199254740.995") {
        Ok(read) if read == exact => Flavour::Exact,
        _ => Flavour::Quick,
    }
});

/// Reads the value that `text` starts with; returns it and its length.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Option<(T, usize)> {
    let flavour = *FLAVOUR;
    if flavour == Flavour::Text {
        return None;
    }
    let mut reader = Reader { text, at: 0, depth: 0, flavour };
    let value = T::deserialize(&mut reader).ok()?;
    Some((value, reader.at))
}

/// Why a value was not read: it does not matter.
#[derive(Debug)]
struct GaveUp;

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("left to serde_json")
    }
}

impl std::error::Error for GaveUp {}

impl de::Error for GaveUp {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

enum Number {
    Positive(u64),
    Negative(i64),
    Float(f64),
}

struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: u8,
    flavour: Flavour,
}

impl<'de> Reader<'de> {
    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no blank, which is not gone over.
    #[inline]
    fn peek(&mut self) -> Result<u8, GaveUp> {
        loop {
            match self.byte().ok_or(GaveUp)? {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                byte => return Ok(byte),
            }
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), GaveUp> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(GaveUp)
        }
    }

    fn word(&mut self, word: &str) -> Result<(), GaveUp> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(GaveUp)
        }
    }

    /// A string without escapes.
    #[inline]
    fn string(&mut self) -> Result<&'de str, GaveUp> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.byte().ok_or(GaveUp)? {
                b'"' => break,
                b'\\' | 0..0x20 => return Err(GaveUp),
                _ => self.at += 1,
            }
        }
        let text = self.text.get(start..self.at).ok_or(GaveUp)?;
        self.at += 1;
        Ok(text)
    }

    /// Digits added to `value`; at least one.
    #[inline]
    fn digits(&mut self, mut value: u64) -> Result<u64, GaveUp> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            // Wraps only where there are too many, which is found out below.
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start { Err(GaveUp) } else { Ok(value) }
    }

    #[inline]
    fn number(&mut self) -> Result<Number, GaveUp> {
        let negative = self.byte() == Some(b'-');
        self.at += usize::from(negative);
        let start = self.at;
        let leading_zero = self.byte() == Some(b'0');
        let mut value = self.digits(0)?;
        let mut digits = self.at - start;
        if leading_zero && digits > 1 {
            return Err(GaveUp);
        }
        let mut decimals = 0;
        if self.byte() == Some(b'.') {
            self.at += 1;
            let behind_point = self.at;
            value = self.digits(value)?;
            decimals = self.at - behind_point;
            digits += decimals;
        }
        if digits > DIGITS || matches!(self.byte(), Some(b'e' | b'E')) {
            return Err(GaveUp);
        }
        if decimals > 0 {
            if value > EXACT && self.flavour == Flavour::Exact {
                return Err(GaveUp);
            }
            let float = value as f64 / POWERS[decimals];
            return Ok(Number::Float(if negative { -float } else { float }));
        }
        match (negative, i64::try_from(value)) {
            (false, _) => Ok(Number::Positive(value)),
            // Minus zero is a float.
            (true, Ok(value @ 1..)) => Ok(Number::Negative(-value)),
            _ => Err(GaveUp),
        }
    }

    #[inline]
    fn visit_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, GaveUp> {
        self.peek()?;
        match self.number()? {
            Number::Positive(value) => visitor.visit_u64(value),
            Number::Negative(value) => visitor.visit_i64(value),
            Number::Float(value) => visitor.visit_f64(value),
        }
    }

    fn enter(&mut self, open: u8) -> Result<(), GaveUp> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > DEPTH { Err(GaveUp) } else { Ok(()) }
    }

    fn leave(&mut self, close: u8) -> Result<(), GaveUp> {
        self.depth -= 1;
        self.expect(close)
    }
}

macro_rules! numbers {
    ($($method:ident)+) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
            self.visit_number(visitor)
        }
    )+};
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = GaveUp;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        match self.peek()? {
            b'"' => self.deserialize_str(visitor),
            b'{' => self.deserialize_map(visitor),
            b'[' => self.deserialize_seq(visitor),
            b't' | b'f' => self.deserialize_bool(visitor),
            b'n' => self.deserialize_unit(visitor),
            _ => self.visit_number(visitor),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        // Rounded once, not by way of a double, where serde_json is exact.
        if self.flavour == Flavour::Exact { Err(GaveUp) } else { self.visit_number(visitor) }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        visitor.visit_borrowed_str(self.string()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        if self.peek()? == b't' {
            self.word("true")?;
            visitor.visit_bool(true)
        } else {
            self.word("false")?;
            visitor.visit_bool(false)
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        if self.peek()? == b'n' {
            self.word("null")?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        self.peek()?;
        self.word("null")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, GaveUp> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, GaveUp> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        self.enter(b'[')?;
        let value = visitor.visit_seq(Elements { reader: self, first: true })?;
        self.leave(b']')?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, GaveUp> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, GaveUp> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GaveUp> {
        self.enter(b'{')?;
        let value = visitor.visit_map(Entries { reader: self, first: true })?;
        self.leave(b'}')?;
        Ok(value)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, GaveUp> {
        self.deserialize_map(visitor)
    }

    /// Variants without fields; the others are rare.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, GaveUp> {
        visitor.visit_enum(StrDeserializer::new(self.string()?))
    }

    forward_to_deserialize_any! { ignored_any }

    fn deserialize_bytes<V: Visitor<'de>>(self, _: V) -> Result<V::Value, GaveUp> {
        Err(GaveUp)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, _: V) -> Result<V::Value, GaveUp> {
        Err(GaveUp)
    }
}

/// The entries of an object.
struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
}

impl<'de> de::MapAccess<'de> for Entries<'_, 'de> {
    type Error = GaveUp;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, GaveUp> {
        if self.reader.peek()? == b'}' {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.first, false) {
            self.reader.expect(b',')?;
        }
        let key = self.reader.string()?;
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, GaveUp> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// The elements of an array.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = GaveUp;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, GaveUp> {
        if self.reader.peek()? == b']' {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.first, false) {
            self.reader.expect(b',')?;
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::Value;

    use super::read;

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Plain,
        #[serde(rename = "with text")]
        Text(String),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Record {
        time: i64,
        x: f64,
        small: Option<f32>,
        name: String,
        kind: Kind,
        #[serde(default)]
        pair: (u8, bool),
        #[serde(default)]
        counts: BTreeMap<u32, Vec<i16>>,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }

    /// Where the quick reader succeeds, serde_json reads the same; whether it did.
    fn agree(text: &str) -> bool {
        let value = read::<Value>(text);
        if let Some((value, end)) = &value {
            let same: Value =
                serde_json::from_str(&text[..*end]).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(same.to_string(), value.to_string(), "{text}");
        }
        let record = read::<Record>(text);
        if let Some((record, end)) = &record {
            let same: Record =
                serde_json::from_str(&text[..*end]).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(same.x.to_bits(), record.x.to_bits(), "{text}");
            assert_eq!(same, *record, "{text}");
        }
        value.is_some() || record.is_some()
    }

    const RECORDS: [&str; 4] = [
        r#"{"time":1700000000,"x":123.45678,"small":0.1,"name":"a","kind":"Plain","pair":[1,true]}"#,
        r#" { "time" : -5 , "x" : -0.0 , "small" : null , "name" : "\u00e9 é" , "kind" : "Plain" } "#,
        r#"{"time":0,"x":1e5,"name":"","kind":{"with text":"b"},"more":[1,2.5,{"deep":[null]}],"and":{}}"#,
        r#"{"time":9,"x":2.638344616030823,"name":"é","kind":"Plain","counts":{"1":[1,-2],"7":[]},"y":-0}"#,
    ];

    #[test]
    fn plain_values_are_read() {
        for text in
            ["1", "-1", "1.5", "\"a\"", "[]", "{}", "[1, 2]", "{\"a\": [true, false, null]}", RECORDS[0]]
        {
            assert!(agree(text), "{text}");
        }
    }

    #[test]
    fn whatever_is_read_serde_json_reads_the_same() {
        let mut state = 7_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let bytes = br#"0123456789-+.eE"\{}[]:, tfn"#;
        for text in RECORDS {
            agree(text);
            for _ in 0..20_000 {
                let mut changed = text.as_bytes().to_vec();
                for _ in 0..=random(3) {
                    let at = random(changed.len());
                    match random(3) {
                        0 => changed[at] = bytes[random(bytes.len())],
                        1 => changed.insert(at, bytes[random(bytes.len())]),
                        _ => drop(changed.remove(at)),
                    }
                }
                if let Ok(changed) = std::str::from_utf8(&changed) {
                    agree(changed);
                }
            }
        }
    }

    #[test]
    fn numbers_agree_to_the_last_bit() {
        let mut state = 3_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let digits = (state >> 7).to_string();
            let (digits, point) = (&digits[..1 + state as usize % digits.len()], (state >> 40) as usize % 20);
            let (whole, decimals) = digits.split_at(point.min(digits.len()));
            let whole = if whole.is_empty() { "0" } else { whole };
            for text in [format!("{whole}.{decimals}"), format!("-{whole}.{decimals}"), whole.to_owned()] {
                if let Some((read, _)) = read::<f64>(&text) {
                    let same: f64 = serde_json::from_str(&text).unwrap_or(f64::NAN);
                    assert_eq!(read.to_bits(), same.to_bits(), "{text}");
                }
            }
        }
    }
}
