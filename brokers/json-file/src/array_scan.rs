//! Finds the elements of a JSON array, piece by piece, without reading them.
//!
//! The scanner is strict about what is between the elements (brackets, commas, blanks) and knows of the elements
//! only where they end: brackets that match, strings. What is inside them is the codec's affair.

use std::ops::Range;

/// How deep the kinds of open brackets are compared. JSON decoders refuse deeper values anyway.
const DEPTH_COMPARED: usize = 128;

/// Where the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the `[`.
    Start,
    /// Behind the `[`.
    ElementOrEnd,
    /// Behind a comma.
    Element,
    /// Inside an element, outside its strings; `depth` brackets are open in it.
    Nested,
    /// Inside a string of an element.
    String,
    /// Behind a backslash in a string.
    Escape,
    /// Inside a number, `true`, `false`, `null`, or garbage like them.
    Scalar,
    /// Behind an element.
    Between,
    /// Taking up again at an offset of an earlier run: at an element, or behind one.
    Resumed,
    /// Behind the `]`.
    Done,
}

/// What ended a scan before the end of the piece: the structure is broken at `at`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) what: String,
}

/// The scanner: its state between two pieces.
#[derive(Debug, Clone)]
pub(crate) struct ArrayScan {
    at: At,
    /// How many brackets are open inside the element.
    depth: usize,
    /// Their kinds, the innermost in the lowest bit: 1 for `{`.
    kinds: u128,
    /// Whether `kinds` still holds all of them.
    kinds_known: bool,
}

impl ArrayScan {
    /// At the beginning of a text.
    pub(crate) fn new() -> Self {
        Self { at: At::Start, depth: 0, kinds: 0, kinds_known: true }
    }

    /// At an element, or behind one.
    pub(crate) fn resumed() -> Self {
        Self { at: At::Resumed, ..Self::new() }
    }

    /// Whether a piece of an element has been seen, and its end has not.
    pub(crate) fn inside_element(&self) -> bool {
        matches!(self.at, At::Nested | At::String | At::Escape | At::Scalar)
    }

    /// Whether the `]` has been seen.
    pub(crate) fn done(&self) -> bool {
        self.at == At::Done
    }

    /// Scans `text` from `from` on and adds the elements that end in it to `elements`, until there are `most`. `start`
    /// is where the element that is open began; on return it is where the one now open began. Returns how far it went.
    pub(crate) fn scan(
        &mut self,
        text: &[u8],
        from: usize,
        start: &mut usize,
        elements: &mut Vec<Range<usize>>,
        most: usize,
    ) -> Result<usize, Broken> {
        let mut i = from;
        while let Some(&byte) = text.get(i)
            && elements.len() < most
        {
            match self.at {
                At::String => match text[i..].iter().position(|b| matches!(b, b'"' | b'\\')) {
                    None => return Ok(text.len()),
                    Some(plain) => {
                        i += plain;
                        if text[i] == b'\\' {
                            self.at = At::Escape;
                        } else if self.depth > 0 {
                            self.at = At::Nested;
                        } else {
                            elements.push(*start..i + 1);
                            self.at = At::Between;
                        }
                    }
                },
                At::Escape => self.at = At::String,
                At::Nested => {
                    i = self.nested(text, i)?;
                    if self.depth == 0 {
                        elements.push(*start..i);
                        self.at = At::Between;
                    }
                    continue;
                }
                At::Scalar => match byte {
                    b',' | b']' | b' ' | b'\t' | b'\n' | b'\r' => {
                        elements.push(*start..i);
                        self.at = At::Between;
                        continue;
                    }
                    b'"' | b'{' | b'}' | b'[' => return Err(broken(i, "`,` or `]`", byte)),
                    _ => {}
                },
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
                At::Start => match byte {
                    b'[' => self.at = At::ElementOrEnd,
                    _ => return Err(broken(i, "`[`", byte)),
                },
                At::ElementOrEnd if byte == b']' => self.at = At::Done,
                At::Between => match byte {
                    b',' => self.at = At::Element,
                    b']' => self.at = At::Done,
                    _ => return Err(broken(i, "`,` or `]`", byte)),
                },
                At::Resumed if byte == b',' => self.at = At::Element,
                At::Resumed if byte == b']' => self.at = At::Done,
                At::Element | At::ElementOrEnd | At::Resumed => {
                    *start = i;
                    match byte {
                        b',' | b']' | b'}' | b':' => return Err(broken(i, "an element", byte)),
                        b'"' => self.at = At::String,
                        b'{' | b'[' => {
                            self.kinds = 0;
                            self.kinds_known = true;
                            self.at = At::Nested;
                            self.open(byte);
                        }
                        _ => self.at = At::Scalar,
                    }
                }
                At::Done => return Err(broken(i, "nothing behind the end of the array", byte)),
            }
            i += 1;
        }
        Ok(i)
    }

    /// Goes on inside an element to behind its last bracket, or to the end of `text`, which may be inside a string.
    fn nested(&mut self, text: &[u8], from: usize) -> Result<usize, Broken> {
        let mut i = from;
        while let Some(&byte) = text.get(i) {
            i += 1;
            if !NOTABLE[usize::from(byte)] {
                continue;
            }
            match byte {
                b'"' => loop {
                    match text.get(i) {
                        Some(b'"') => {
                            i += 1;
                            break;
                        }
                        Some(b'\\') if i + 1 == text.len() => {
                            self.at = At::Escape;
                            return Ok(text.len());
                        }
                        Some(b'\\') => i += 2,
                        Some(_) => i += 1,
                        None => {
                            self.at = At::String;
                            return Ok(text.len());
                        }
                    }
                },
                b'{' | b'[' => self.open(byte),
                _ => {
                    self.close(byte, i - 1)?;
                    if self.depth == 0 {
                        break;
                    }
                }
            }
        }
        Ok(i)
    }

    fn open(&mut self, bracket: u8) {
        self.depth += 1;
        self.kinds = (self.kinds << 1) | u128::from(bracket == b'{');
        if self.depth > DEPTH_COMPARED {
            self.kinds_known = false;
        }
    }

    fn close(&mut self, bracket: u8, at: usize) -> Result<(), Broken> {
        let opened_brace = self.kinds & 1 == 1;
        if self.kinds_known && opened_brace != (bracket == b'}') {
            return Err(broken(at, if opened_brace { "`}`" } else { "`]`" }, bracket));
        }
        self.depth -= 1;
        self.kinds >>= 1;
        Ok(())
    }
}

/// The bytes that mean something inside an element, outside its strings.
const NOTABLE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table
};

fn broken(at: usize, expected: &str, found: u8) -> Broken {
    let what = format!(
        "the structure of the array is broken: expected {expected}, found `{}`; what follows cannot be told apart any more",
        found.escape_ascii()
    );
    Broken { at, what }
}
