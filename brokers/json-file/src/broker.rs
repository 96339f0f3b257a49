//! What users build: which files are read and written, and how.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::broker::codec::{Decode, Encode, JsonCodec};
use watermill_core::broker::{
    AnySink, AnySource, BoxFuture, Broker, Catalog, InputDecl, Job, OutputDecl, Session,
};
use watermill_core::error::BrokerError;
use watermill_core::record::{RecordType, StreamRecord};

use crate::conflicts;
use crate::decode::Decoder;
use crate::failure::NAME;
use crate::format::{Compression, Format, by_name};
use crate::location::Location;
use crate::output_text::OutputText;
use crate::session::FileSession;
use crate::sink::{FileSink, Writer};
use crate::source::{Beginning, FileSource};

/// Reads and writes JSON files.
///
/// Declare what each record type is read from and written to; the mill does the rest. No method here panics or
/// touches a file: mistakes are reported when the mill is built or started.
///
/// ```
/// use watermill_json_file::JsonFileBroker;
/// use watermill_core::broker::Broker;
/// use watermill_core::record::Json;
///
/// let files = JsonFileBroker::new()
///     .read_as::<Json>("left", "data/left-2024-*.json.gz")
///     .read_as::<Json>("right", "data/right.ndjson")
///     .write::<Json>("out/joined.json");
/// assert_eq!(files.catalog().unwrap().inputs.len(), 2);
/// ```
///
/// # Locations
/// - **A file.** It must be there; an empty one is an empty stream.
/// - **A directory** (its files, without those below it) or **a pattern** (`*`, `?`, `[a-z]`, `**`): the files, in the order of
///   their names, are one stream. Names that start with a dot do not count. At least one file must be there.
/// - **`-`**: standard input (for one stream) or standard output.
///
/// # What is read
/// Each file on its own is told by its content: its name does not matter.
/// - Compressed: gzip (of several members, too) and zstd (of several frames).
/// - The first byte that is no blank, after a byte order mark if there is one: `[` begins a JSON array whose elements are the records,
///   anything else is NDJSON: a record a line. NDJSON whose *records* are arrays has to be declared by
///   [`input_format`](Self::input_format).
/// - Lines may end in CR LF, the last one needs no end, and blank lines do not count.
/// - The record `{"eos__": true}` ends the stream: nothing behind it is read.
/// - Text is UTF-8. Memory does not grow with the file.
///
/// # What is written
/// `.ndjson` and `.jsonl` are written as NDJSON, `.json` as an array with one element a line, as Python's watermill reads it;
/// `.gz` or `.zst` behind that compresses. Any other name needs [`output_format`](Self::output_format).
/// Standard output is NDJSON.
///
/// An output is written to a hidden file beside its target and renamed when the run is complete: nobody ever sees half a file, and a
/// run that fails leaves the last one's result alone. Missing directories are made. Standard output, devices and pipes are written as it goes.
#[derive(Clone)]
#[must_use]
pub struct JsonFileBroker {
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    pub(crate) options: Options,
}

/// The options of a broker.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) batch_bytes: usize,
    pub(crate) record_limit: usize,
    pub(crate) require_eos: bool,
    pub(crate) mark_eos: bool,
    pub(crate) start_over: bool,
    pub(crate) input_format: Option<Format>,
    output_format: Option<Format>,
}

/// A declared input.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) record: RecordType,
    pub(crate) name: Option<String>,
    pub(crate) location: Location,
    pub(crate) open: OpenSource,
}

/// Makes a source; knows record and codec.
pub(crate) type OpenSource = Arc<dyn Fn(SourceSettings, Beginning) -> AnySource + Send + Sync>;

/// What a source needs to know beside where it begins.
pub(crate) struct SourceSettings {
    pub(crate) stream: String,
    pub(crate) record_limit: usize,
    pub(crate) require_mark: bool,
}

/// A declared output.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) record: RecordType,
    pub(crate) location: Location,
    format: Option<Format>,
    pub(crate) compression: Compression,
    /// Why it cannot be.
    pub(crate) problem: Option<String>,
    pub(crate) open: OpenSink,
}

/// Makes a sink and what commits it; knows record and codec.
pub(crate) type OpenSink =
    Arc<dyn Fn(OutputText, bool, &str) -> Result<(AnySink, Box<dyn Writer>), BrokerError> + Send + Sync>;

impl Output {
    pub(crate) fn format(&self, options: &Options) -> Format {
        options.output_format.or(self.format).unwrap_or(Format::Ndjson)
    }
}

impl JsonFileBroker {
    /// A broker without files.
    pub fn new() -> Self {
        Self {
            inputs: Vec::new(),
            outputs: Vec::new(),
            options: Options {
                batch_bytes: 256 * 1024,
                record_limit: 16 * 1024 * 1024,
                require_eos: false,
                start_over: false,
                mark_eos: false,
                input_format: None,
                output_format: None,
            },
        }
    }

    /// Reads the records `R` from `path`.
    pub fn read<R: StreamRecord + DeserializeOwned>(self, path: impl AsRef<Path>) -> Self {
        self.read_with::<R>(path, JsonCodec)
    }

    /// Reads the records `R` from `path`, as one of several streams of them.
    pub fn read_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        path: impl AsRef<Path>,
    ) -> Self {
        self.read_as_with::<R>(name, path, JsonCodec)
    }

    /// Reads the records `R` from `path` with a codec of your own, which is given one line or one element at a time.
    pub fn read_with<R: StreamRecord>(self, path: impl AsRef<Path>, codec: impl Decode<R>) -> Self {
        self.input::<R>(None, path.as_ref(), codec)
    }

    /// Reads the records `R` from `path` with a codec of your own, as one of several streams of them.
    pub fn read_as_with<R: StreamRecord>(
        self,
        name: impl Into<String>,
        path: impl AsRef<Path>,
        codec: impl Decode<R>,
    ) -> Self {
        self.input::<R>(Some(name.into()), path.as_ref(), codec)
    }

    /// Writes the records `R` to `path`.
    pub fn write<R: StreamRecord + Serialize>(self, path: impl AsRef<Path>) -> Self {
        self.output::<R, _>(path.as_ref(), JsonCodec, false)
    }

    /// Writes the records `R` to `path` with a codec of your own. In NDJSON its text must not have a line feed in it.
    pub fn write_with<R: StreamRecord>(self, path: impl AsRef<Path>, codec: impl Encode<R>) -> Self {
        self.output::<R, _>(path.as_ref(), codec, true)
    }

    /// The longest record that is taken, in bytes: 16 MiB unless set. A longer one is a bad record, and is not
    /// read into memory.
    pub fn record_limit(mut self, bytes: usize) -> Self {
        self.options.record_limit = bytes;
        self
    }

    /// How much text is read and decoded at once, in bytes: 256 KiB unless set. At least one record is.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes.max(1);
        self
    }

    /// Asks every input for its EndOfStream mark `{"eos__": true}`. Without it the end of a file is the end of its stream, and a
    /// file that was cut exactly behind a line cannot be told from a whole one; with it, that is a bad record.
    pub fn require_eos(mut self) -> Self {
        self.options.require_eos = true;
        self
    }

    /// Forgets what an earlier run has committed, if one was stopped before its end, and starts at the beginning.
    pub fn start_over(mut self) -> Self {
        self.options.start_over = true;
        self
    }

    /// Writes the EndOfStream mark `{"eos__": true}` behind the last record of every output that ended.
    pub fn mark_eos(mut self) -> Self {
        self.options.mark_eos = true;
        self
    }

    /// Says how all inputs are laid out, instead of telling it by their content.
    pub fn input_format(mut self, format: Format) -> Self {
        self.options.input_format = Some(format);
        self
    }

    /// Says how all outputs are laid out, whatever their names say. Brokers can be combined if that is not the same for all.
    pub fn output_format(mut self, format: Format) -> Self {
        self.options.output_format = Some(format);
        self
    }

    fn input<R: StreamRecord>(mut self, name: Option<String>, path: &Path, codec: impl Decode<R>) -> Self {
        let codec = Arc::new(codec);
        let open: OpenSource = Arc::new(move |settings, beginning| {
            let decoder = Decoder {
                codec: Arc::clone(&codec),
                stream: settings.stream,
                record_limit: settings.record_limit,
                require_mark: settings.require_mark,
            };
            AnySource::new(FileSource::<R, _>::new(decoder, beginning))
        });
        self.inputs.push(Input { record: RecordType::of::<R>(), name, location: Location::new(path), open });
        self
    }

    fn output<R: StreamRecord, E: Encode<R>>(mut self, path: &Path, codec: E, check_lines: bool) -> Self {
        let location = Location::new(path);
        let (format, compression) = match &location {
            Location::Standard => (Some(Format::Ndjson), Compression::None),
            Location::Path(path) => by_name(path),
        };
        let codec = Arc::new(codec);
        let open: OpenSink = Arc::new(move |text, lines, shown| {
            let (sink, writer) = FileSink::<R>::start(text, Arc::clone(&codec), check_lines && lines, shown)?;
            Ok((AnySink::new(sink), writer))
        });
        let record = RecordType::of::<R>();
        self.outputs.push(Output { record, location, format, compression, problem: None, open });
        self
    }

    /// The outputs, with what is wrong with their names.
    fn checked_outputs(&self) -> Vec<Output> {
        let mut outputs = self.outputs.clone();
        for output in &mut outputs {
            if output.format.is_none()
                && self.options.output_format.is_none()
                && let Location::Path(path) = &output.location
                && !is_device(path)
            {
                output.problem = Some(
                    "its name does not say which format it has; name it `.json` (an array), `.ndjson` or `.jsonl`, with `.gz` or `.zst` behind that to compress, or call `output_format`"
                        .to_owned(),
                );
            }
        }
        outputs
    }
}

fn is_device(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

impl Default for JsonFileBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for JsonFileBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<_> =
            self.inputs.iter().map(|input| (input.record, &input.name, input.location.shown())).collect();
        let outputs: Vec<_> =
            self.outputs.iter().map(|output| (output.record, output.location.shown())).collect();
        f.debug_struct(NAME)
            .field("inputs", &inputs)
            .field("outputs", &outputs)
            .field("options", &self.options)
            .finish()
    }
}

impl Broker for JsonFileBroker {
    fn name(&self) -> &str {
        NAME
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        conflicts::check(&self.inputs, &self.checked_outputs())?;
        let inputs = self.inputs.iter().map(|input| InputDecl {
            record: input.record,
            name: input.name.clone(),
            location: input.location.shown(),
        });
        let outputs = self
            .outputs
            .iter()
            .map(|output| OutputDecl { record: output.record, location: output.location.shown() });
        Ok(Catalog { inputs: inputs.collect(), outputs: outputs.collect() })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move {
            conflicts::check(&self.inputs, &self.checked_outputs())?;
            let session = FileSession::open(&self.inputs, &self.outputs, &self.options, job)?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}
