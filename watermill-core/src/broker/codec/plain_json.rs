//! A reader for plain JSON, about twice as fast as serde_json on small records. It is here because decoding is most of what a mill over
//! files does: without it the self-join of `bench/` takes 1.1 to 1.4 of the processor time of the loop one would write by hand, with it 0.9.
//!
//! It knows the JSON that programs write: no escapes in strings, no exponents, no more digits than a number holds exactly, all on one line. Whatever
//! is not of that kind, or wrong, is [`Unusual`], and the caller gives the same text to serde_json, which then
//! decides. So it may refuse anything, but what it takes it must take exactly as serde_json does; its tests compare the two.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// The text is not plain, or not right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unusual;

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain JSON")
    }
}

impl std::error::Error for Unusual {}

impl de::Error for Unusual {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Plain<T> = Result<T, Unusual>;

/// How deep values may be nested; deeper ones are looked at by the caller.
const DEEPEST: u8 = 100;

/// The most digits that surely fit an `i64`.
const MOST_DIGITS: usize = 18;

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The powers of ten that a float holds exactly.
const EXACT_POWERS: [f64; 19] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// Reads the value `text` begins with, which must be alone on its line. Returns it, how long it is, and where the next line begins.
#[inline]
pub(super) fn read_line<R: DeserializeOwned>(text: &str) -> Plain<(R, usize, usize)> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = R::deserialize(&mut reader)?;
    let end = reader.at;
    reader.skip_blanks();
    match text.as_bytes().get(reader.at) {
        None => Ok((value, end, reader.at)),
        Some(b'\n') => Ok((value, end, reader.at + 1)),
        Some(_) => Err(Unusual),
    }
}

/// The text, and how far it was read.
struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: u8,
}

/// A number as serde_json tells them apart.
enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'de> Reader<'de> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Blanks within a line.
    #[inline]
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte that is no blank.
    #[inline]
    fn next_token(&mut self) -> Plain<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(Unusual),
            }
        }
    }

    #[inline]
    fn token(&mut self, token: u8) -> Plain<()> {
        if self.next_token()? != token {
            return Err(Unusual);
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn word(&mut self, word: &str) -> Plain<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Unusual);
        }
        self.at += word.len();
        Ok(())
    }

    /// The string that begins at the quote here.
    #[inline]
    fn string(&mut self) -> Plain<&'de str> {
        if self.next_token()? != b'"' {
            return Err(Unusual);
        }
        let start = self.at + 1;
        let mut end = start;
        loop {
            match self.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\' | 0..0x20) | None => return Err(Unusual),
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        self.text.get(start..end).ok_or(Unusual)
    }

    /// The digits here: how many, and their value if there are no more than `MOST_DIGITS` with those before.
    #[inline]
    fn digits(&mut self, mut value: u64) -> (usize, u64) {
        let start = self.at;
        while let Some(eight) = self.text.as_bytes().get(self.at..self.at + 8).and_then(|b| b.try_into().ok())
        {
            let (count, digits) = leading_digits(u64::from_le_bytes(eight));
            value = value.wrapping_mul(POWERS[count]).wrapping_add(digits);
            self.at += count;
            if count < 8 {
                return (self.at - start, value);
            }
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at - start, value)
    }

    #[inline]
    fn number(&mut self) -> Plain<Number> {
        let first = self.next_token()?;
        let start = self.at;
        let negative = first == b'-';
        self.at += usize::from(negative);
        let leading_zero = self.peek() == Some(b'0');
        let (whole, value) = self.digits(0);
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(Unusual);
        }
        if self.peek() != Some(b'.') {
            if whole > MOST_DIGITS || matches!(self.peek(), Some(b'e' | b'E')) || (negative && value == 0) {
                return Err(Unusual);
            }
            return Ok(if negative { Number::Signed(-value.cast_signed()) } else { Number::Unsigned(value) });
        }
        self.at += 1;
        let (fraction, value) = self.digits(value);
        if fraction == 0 || matches!(self.peek(), Some(b'e' | b'E')) {
            return Err(Unusual);
        }
        // Both exact, so that one division rounds as it should.
        if whole + fraction <= MOST_DIGITS && value <= 1 << 53 {
            let float = value as f64 / EXACT_POWERS[fraction];
            return Ok(Number::Float(if negative { -float } else { float }));
        }
        let text = self.text.get(start..self.at).ok_or(Unusual)?;
        serde_json::from_str(text).map(Number::Float).map_err(|_| Unusual)
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Plain<T>) -> Plain<T> {
        if self.depth >= DEEPEST {
            return Err(Unusual);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    #[inline]
    fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Plain<V::Value> {
        self.token(b'{')?;
        self.nested(|reader| {
            let value = visitor.visit_map(Inside { reader, first: true })?;
            // The visitor has seen that there is no more, or does not care.
            reader.token(b'}')?;
            Ok(value)
        })
    }

    #[inline]
    fn sequence<V: Visitor<'de>>(&mut self, visitor: V) -> Plain<V::Value> {
        self.token(b'[')?;
        self.nested(|reader| {
            let value = visitor.visit_seq(Inside { reader, first: true })?;
            reader.token(b']')?;
            Ok(value)
        })
    }
}

/// How many digits the eight bytes begin with, and their value.
#[inline]
fn leading_digits(bytes: u64) -> (usize, u64) {
    let digits = bytes ^ 0x3030_3030_3030_3030;
    // The lowest byte that is set is the first that is above 9. (Carries go to the bytes behind it only.)
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // The first digit has the greatest weight: moved to the end, with zeros before.
    let value = digits << (64 - 8 * count);
    let pairs = value.wrapping_mul(2561) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(6_553_601) >> 16 & 0x0000_ffff_0000_ffff;
    (count, fours.wrapping_mul(42_949_672_960_001) >> 32)
}

/// The inside of a map or a sequence.
struct Inside<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
}

impl Inside<'_, '_> {
    /// Goes to the next item; false before the closing bracket.
    #[inline]
    fn next_item(&mut self, close: u8) -> Plain<bool> {
        let token = self.reader.next_token()?;
        if token == close {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.first, false) {
            if token != b',' {
                return Err(Unusual);
            }
            self.reader.at += 1;
        }
        Ok(true)
    }
}

impl<'de> MapAccess<'de> for Inside<'_, 'de> {
    type Error = Unusual;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Plain<Option<K::Value>> {
        if !self.next_item(b'}')? {
            return Ok(None);
        }
        let key = self.reader.string()?;
        self.reader.token(b':')?;
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Plain<V::Value> {
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for Inside<'_, 'de> {
    type Error = Unusual;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Plain<Option<T::Value>> {
        if !self.next_item(b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
            match self.number()? {
                Number::Unsigned(value) => visitor.visit_u64(value),
                Number::Signed(value) => visitor.visit_i64(value),
                Number::Float(value) => visitor.visit_f64(value),
            }
        }
    )*};
}

macro_rules! strings {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
            visitor.visit_borrowed_str(self.string()?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Unusual;

    /// What a value is taken for when its type does not say is serde_json's affair: it depends on features that any crate of a program
    /// may switch on.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Plain<V::Value> {
        Err(Unusual)
    }

    /// A field that nobody wants.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
        match self.next_token()? {
            b'{' => self.map(visitor),
            b'[' => self.sequence(visitor),
            b'"' => self.deserialize_str(visitor),
            b't' | b'f' => self.deserialize_bool(visitor),
            b'n' => self.deserialize_unit(visitor),
            _ => self.deserialize_f64(visitor),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f64
    }
    strings! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    /// How these are rounded is serde_json's affair.
    fn deserialize_f32<V: Visitor<'de>>(self, _: V) -> Plain<V::Value> {
        Err(Unusual)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, _: V) -> Plain<V::Value> {
        Err(Unusual)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, _: V) -> Plain<V::Value> {
        Err(Unusual)
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
        let value = self.next_token()? == b't';
        self.word(if value { "true" } else { "false" })?;
        visitor.visit_bool(value)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
        if self.next_token()? == b'n' {
            self.word("null")?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
        self.next_token()?;
        self.word("null")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Plain<V::Value> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Plain<V::Value> {
        // serde_json has names of its own: raw values.
        if name.starts_with('$') {
            return Err(Unusual);
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
        self.sequence(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Plain<V::Value> {
        self.sequence(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Plain<V::Value> {
        self.sequence(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Plain<V::Value> {
        self.map(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Plain<V::Value> {
        if name.starts_with('$') {
            return Err(Unusual);
        }
        self.map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Plain<V::Value> {
        let variant = BorrowedStrDeserializer::<Unusual>::new(self.string()?);
        variant.deserialize_enum(name, variants, visitor)
    }
}

#[cfg(test)]
mod tests;
