//! [`Texts`]: what messages are appended from.

/// Texts of messages, one behind the other in one buffer.
///
/// ```
/// use watermill_streams::store::Texts;
///
/// let mut texts = Texts::default();
/// texts.bytes.extend_from_slice(b"20");
/// texts.end();
/// assert_eq!(texts.iter().collect::<Vec<_>>(), [b"20"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// All bytes.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// These texts.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// assert_eq!(Texts::of([b"20".as_slice(), b"21"]).len(), 2);
    /// ```
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.bytes.extend_from_slice(text);
            all.end();
        }
        all
    }

    /// What was written to `bytes` since the last text is another one.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// let mut texts = Texts::default();
    /// texts.end();
    /// assert_eq!(texts.iter().next(), Some(&b""[..]));
    /// ```
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// assert_eq!(Texts::default().len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// assert!(Texts::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Each of them.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// let texts = Texts::of([b"20".as_slice(), b"", b"21"]);
    /// assert_eq!(texts.iter().map(<[u8]>::len).collect::<Vec<_>>(), [2, 0, 2]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let text = self.bytes.get(from..*end).unwrap_or_default();
            from = *end;
            text
        })
    }

    /// Adds the texts of `other` from this one on.
    pub(crate) fn copy_from(&mut self, other: &Self, first: usize) {
        let from = first.checked_sub(1).and_then(|before| other.ends.get(before)).copied().unwrap_or(0);
        let base = self.bytes.len();
        self.bytes.extend_from_slice(other.bytes.get(from..).unwrap_or_default());
        self.ends.extend(other.ends.iter().skip(first).map(|end| end - from + base));
    }

    /// Forgets what was written to `bytes` since the last text.
    pub(crate) fn undo(&mut self) {
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn texts_are_copied_behind_those_that_are_there() {
        let from = Texts::of([b"a".as_slice(), b"bc", b"", b"d"]);
        let mut to = Texts::of([b"xyz".as_slice()]);
        to.copy_from(&from, 1);
        to.copy_from(&from, 4);
        assert_eq!(to.iter().collect::<Vec<_>>(), [b"xyz".as_slice(), b"bc", b"", b"d"]);
        let mut all = Texts::default();
        all.copy_from(&from, 0);
        assert_eq!(all.iter().count(), 4);
    }
}
