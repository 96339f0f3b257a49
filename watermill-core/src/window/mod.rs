//! Windows.

/// Bounds of the window of a call, and why it closed.
#[derive(Debug, Clone)]
pub struct WindowInfo {
    count: usize,
}
impl WindowInfo {
    pub(crate) fn new() -> Self { Self { count: 0 } }
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize { self.count }
}
