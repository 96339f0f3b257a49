//! What was declared on a broker, and what a mill asks of it.

use std::any::Any;
use std::fmt;

use super::{Sink, Source};
use crate::record::{RecordType, StreamRecord};

/// The streams declared on a broker.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Every `.read::<R>(..)` and `.read_as::<R>(name, ..)`.
    pub inputs: Vec<InputDecl>,
    /// Every `.write::<R>(..)`.
    pub outputs: Vec<OutputDecl>,
}

/// A declared input.
#[derive(Debug, Clone)]
pub struct InputDecl {
    /// What the stream is made of.
    pub record: RecordType,
    /// Its name, when it was declared by `read_as`.
    pub name: Option<String>,
    /// Where it is, for messages: a path or a topic.
    pub location: String,
}

/// A declared output.
#[derive(Debug, Clone)]
pub struct OutputDecl {
    /// What the stream is made of.
    pub record: RecordType,
    /// Where it is, for messages.
    pub location: String,
}

/// What a run needs from one broker.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The name of the mill's function.
    pub function: String,
    /// The mill as [`Mill::explain`](crate::Mill::explain) shows it, without the name of its function: arguments, joins and window. A run that
    /// is taken up must have the same.
    pub mill: String,
    /// All inputs of the mill, whoever reads them, as messages call them: [`Checkpoint::positions`](super::Checkpoint::positions) are in
    /// this order.
    pub streams: Vec<String>,
    /// The inputs, one for each node of the join tree that this broker reads.
    pub inputs: Vec<InputRequest>,
    /// The outputs that this broker writes.
    pub outputs: Vec<OutputRequest>,
}

/// One input that a run needs.
#[derive(Debug, Clone)]
pub struct InputRequest {
    /// Its place in [`Catalog::inputs`].
    pub input: usize,
    /// How messages call the stream: `RobotLocation`, or `RobotLocation "left camera"`.
    pub stream: String,
    /// Its place in [`Job::streams`].
    pub node: usize,
}

/// One output that a run needs.
#[derive(Debug, Clone)]
pub struct OutputRequest {
    /// Its place in [`Catalog::outputs`].
    pub output: usize,
    /// How messages call the stream.
    pub stream: String,
}

/// A source whose record type is known only to the engine's typed parts.
pub struct AnySource {
    record: RecordType,
    inner: Box<dyn Any + Send>,
}

impl AnySource {
    /// Wraps a typed source.
    #[must_use]
    pub fn new<R: StreamRecord>(source: impl Source<R> + 'static) -> Self {
        let typed: Box<dyn Source<R>> = Box::new(source);
        Self { record: RecordType::of::<R>(), inner: Box::new(typed) }
    }

    /// The typed source, if it is one of `R`.
    #[must_use]
    pub fn typed<R: StreamRecord>(self) -> Option<Box<dyn Source<R>>> {
        self.inner.downcast::<Box<dyn Source<R>>>().ok().map(|inner| *inner)
    }
}

impl fmt::Debug for AnySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnySource({})", self.record)
    }
}

/// A sink whose record type is known only to the engine's typed parts.
pub struct AnySink {
    record: RecordType,
    inner: Box<dyn Any + Send>,
}

impl AnySink {
    /// Wraps a typed sink.
    #[must_use]
    pub fn new<R: StreamRecord>(sink: impl Sink<R> + 'static) -> Self {
        let typed: Box<dyn Sink<R>> = Box::new(sink);
        Self { record: RecordType::of::<R>(), inner: Box::new(typed) }
    }

    /// The typed sink, if it is one of `R`.
    #[must_use]
    pub fn typed<R: StreamRecord>(self) -> Option<Box<dyn Sink<R>>> {
        self.inner.downcast::<Box<dyn Sink<R>>>().ok().map(|inner| *inner)
    }
}

impl fmt::Debug for AnySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnySink({})", self.record)
    }
}
