//! What users build: which files are read and written, and how.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::broker::codec::{Decode, Encode, JsonCodec, ReplayCodec};
use watermill_core::broker::{
    AnySink, AnySource, BoxFuture, Broker, Catalog, InputDecl, Job, OutputDecl, Session,
};
use watermill_core::error::BrokerError;
use watermill_core::record::{RecordType, StreamRecord};

use crate::conflicts;
use crate::decode::Decoder;
use crate::failure::{NAME, failure};
use crate::follow::Follow;
use crate::format::{Compression, Format, by_name};
use crate::location::Location;
use crate::options::Options;
use crate::output_text::OutputText;
use crate::session::FileSession;
use crate::sink::{FileSink, Rules, Writer};
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
/// [`append`](Self::append) lets an output grow under its own name instead.
#[derive(Clone)]
#[must_use]
pub struct JsonFileBroker {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) options: Options,
}

/// A declared input.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) record: RecordType,
    pub(crate) name: Option<String>,
    pub(crate) location: Location,
    /// It is read on as it grows.
    pub(crate) follow: Option<Follow>,
    pub(crate) open: OpenSource,
}

/// Makes a source; knows record and codec.
pub(crate) type OpenSource = Arc<dyn Fn(SourceSettings, Beginning) -> AnySource + Send + Sync>;

/// What a source needs to know beside where it begins.
pub(crate) struct SourceSettings {
    pub(crate) stream: String,
    pub(crate) record_limit: usize,
    pub(crate) require_mark: bool,
    pub(crate) keep_raw: bool,
}

/// A declared output.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) record: RecordType,
    pub(crate) location: Location,
    format: Option<Format>,
    pub(crate) compression: Compression,
    /// It grows under its name, instead of appearing when it is complete.
    pub(crate) append: bool,
    /// Records that cannot be written are left out.
    pub(crate) leave_out: bool,
    /// Why it cannot be.
    pub(crate) problem: Option<String>,
    pub(crate) open: OpenSink,
}

/// Makes a sink and what commits it; knows record and codec.
pub(crate) type OpenSink =
    Arc<dyn Fn(OutputText, Rules, &str) -> Result<(AnySink, Box<dyn Writer>), BrokerError> + Send + Sync>;

impl Output {
    pub(crate) fn format(&self, options: &Options) -> Format {
        options.output_format.or(self.format).unwrap_or(Format::Ndjson)
    }
}

impl JsonFileBroker {
    /// A broker without files.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// assert!(JsonFileBroker::new().catalog()?.inputs.is_empty());
    /// # Ok::<(), watermill_core::RunError>(())
    /// ```
    pub fn new() -> Self {
        Self { inputs: Vec::new(), outputs: Vec::new(), options: Options::default() }
    }

    /// Reads the records `R` from `path`.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("events.json"), r#"[{"time":1}, {"time":2}]"#)?;
    /// let files = JsonFileBroker::new().read::<Json>(path("events.json"));
    /// assert_eq!(Mill::new(|_: &Json| ()).run_blocking(files)?.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<R: StreamRecord + DeserializeOwned>(self, path: impl AsRef<Path>) -> Self {
        self.read_with::<R>(path, JsonCodec)
    }

    /// Reads the records `R` from `path`, as one of several streams of them.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # #[derive(serde::Deserialize)] struct Sound { frame: u64 }
    /// # impl StreamRecord for Sound {
    /// #     const NAME: &'static str = "Sound";
    /// #     type Fields<P: watermill_core::key::Place<Value = Self>> = ();
    /// #     fn fields_below<P: watermill_core::key::Place<Value = Self>>() -> &'static () { &() }
    /// # }
    /// # std::fs::write(path("sounds.ndjson"), "{\"frame\":1}\n{\"frame\":2}\n")?;
    /// std::fs::write(path("left.ndjson"), "{\"frame\":1}\n")?;
    /// std::fs::write(path("right.ndjson"), "{\"frame\":2}\n")?;
    /// let files = JsonFileBroker::new()
    ///     .read::<Sound>(path("sounds.ndjson"))
    ///     .read_as::<Json>("left", path("left.ndjson"))
    ///     .read_as::<Json>("right", path("right.ndjson"));
    /// let join = JoinWith::new(|sound: &Sound| Some(sound.frame), |picture: &Json| picture["frame"].as_u64());
    /// let mill = Mill::new(|_: &Sound, _: &Joined<Sound, Json>| ()).join(join.from("right"));
    /// assert_eq!(mill.run_blocking(files)?.calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        path: impl AsRef<Path>,
    ) -> Self {
        self.read_as_with::<R>(name, path, JsonCodec)
    }

    /// Reads the records `R` from `path` with a codec of your own, which is given one line or one element at a time.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # use watermill_core::{BadCause, broker::codec::{Decode, Decoded}};
    /// /// A number a line.
    /// struct Seconds;
    ///
    /// impl Decode<Json> for Seconds {
    ///     fn decode(&self, bytes: &[u8]) -> Result<Decoded<Json>, BadCause> {
    ///         let text = std::str::from_utf8(bytes).map_err(BadCause::NotUtf8)?;
    ///         let number: u64 = text.trim().parse().map_err(|error| BadCause::Other(Box::new(error)))?;
    ///         Ok(Decoded::Record(Json(number.into())))
    ///     }
    /// }
    ///
    /// std::fs::write(path("seconds.txt"), "10\n20\n")?;
    /// let files = JsonFileBroker::new().read_with::<Json>(path("seconds.txt"), Seconds);
    /// let mill = Mill::new(|seconds: &Json| assert!(seconds.as_u64() >= Some(10)));
    /// assert_eq!(mill.run_blocking(files)?.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_with<R: StreamRecord>(self, path: impl AsRef<Path>, codec: impl Decode<R>) -> Self {
        self.input::<R>(None, path.as_ref(), codec)
    }

    /// Reads the records `R` from `path` with a codec of your own, as one of several streams of them.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # #[derive(serde::Deserialize)] struct Sound { frame: u64 }
    /// # impl StreamRecord for Sound {
    /// #     const NAME: &'static str = "Sound";
    /// #     type Fields<P: watermill_core::key::Place<Value = Self>> = ();
    /// #     fn fields_below<P: watermill_core::key::Place<Value = Self>>() -> &'static () { &() }
    /// # }
    /// # std::fs::write(path("sounds.ndjson"), "{\"frame\":1}\n{\"frame\":2}\n")?;
    /// # use watermill_core::{BadCause, broker::codec::{Decode, Decoded}};
    /// # /// A number a line.
    /// # struct Numbers;
    /// # impl Decode<Json> for Numbers {
    /// #     fn decode(&self, bytes: &[u8]) -> Result<Decoded<Json>, BadCause> {
    /// #         let text = std::str::from_utf8(bytes).map_err(BadCause::NotUtf8)?;
    /// #         let number: u64 = text.trim().parse().map_err(|error| BadCause::Other(Box::new(error)))?;
    /// #         Ok(Decoded::Record(Json(number.into())))
    /// #     }
    /// # }
    /// std::fs::write(path("starts.txt"), "1\n2\n")?;
    /// let files = JsonFileBroker::new()
    ///     .read::<Sound>(path("sounds.ndjson"))
    ///     .read_as_with::<Json>("starts", path("starts.txt"), Numbers);
    /// let join = JoinWith::new(|sound: &Sound| Some(sound.frame), |start: &Json| start.as_u64());
    /// let mill = Mill::new(|_: &Sound, _: &Joined<Sound, Json>| ()).join(join.from("starts"));
    /// assert_eq!(mill.run_blocking(files)?.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_as_with<R: StreamRecord>(
        self,
        name: impl Into<String>,
        path: impl AsRef<Path>,
        codec: impl Decode<R>,
    ) -> Self {
        self.input::<R>(Some(name.into()), path.as_ref(), codec)
    }

    /// Reads dead letters of the stream of `R` back as that stream: what a run has put aside is fed back in. Letters of
    /// other streams in the same file are passed over.
    ///
    /// Each line is a [`DeadLetter`](watermill_core::DeadLetter), whose `raw` is the record's text: mend it there, with an editor or a program, or put the
    /// record itself in its place (`"raw": {"time": 20, "x": 1.5}`). Nothing else needs to be changed. A letter that
    /// still holds no record is a bad record, whose error names the letter's place in this file and the record's place in the
    /// first one; put aside again, it can be replayed again. Records are counted without the letters of other streams.
    ///
    /// ```
    /// use watermill_core::prelude::*;
    /// use watermill_json_file::JsonFileBroker;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("dead-letters.ndjson");
    /// let letters = r#"{"stream":"Json","raw":"{\"time\": 7}"}
    /// {"stream":"Json","raw":{"time":8}}
    /// {"stream":"Other","raw":"7"}"#;
    /// std::fs::write(&path, letters)?;
    /// let report = Mill::new(|event: &Json| assert!(event["time"].as_i64() >= Some(7)))
    ///     .run_blocking(JsonFileBroker::new().replay::<Json>(&path))?;
    /// assert_eq!(report.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay<R: StreamRecord + DeserializeOwned>(self, path: impl AsRef<Path>) -> Self {
        self.replay_with::<R>(path, JsonCodec)
    }

    /// As [`replay`](Self::replay), of one of several streams of `R`: the one with this name, under which it was read first.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # #[derive(serde::Deserialize)] struct Sound { frame: u64 }
    /// # impl StreamRecord for Sound {
    /// #     const NAME: &'static str = "Sound";
    /// #     type Fields<P: watermill_core::key::Place<Value = Self>> = ();
    /// #     fn fields_below<P: watermill_core::key::Place<Value = Self>>() -> &'static () { &() }
    /// # }
    /// # std::fs::write(path("sounds.ndjson"), "{\"frame\":1}\n{\"frame\":2}\n")?;
    /// let letters = r#"{"stream":"Json \"left\"","raw":"{\"frame\": 1}"}
    /// {"stream":"Json \"right\"","raw":"{\"frame\": 2}"}"#;
    /// std::fs::write(path("letters.ndjson"), letters)?;
    /// let files = JsonFileBroker::new()
    ///     .read::<Sound>(path("sounds.ndjson"))
    ///     .replay_as::<Json>("right", path("letters.ndjson"));
    /// let join = JoinWith::new(|sound: &Sound| Some(sound.frame), |picture: &Json| picture["frame"].as_u64());
    /// let mill = Mill::new(|sound: &Sound, _: &Joined<Sound, Json>| assert_eq!(sound.frame, 2));
    /// let mill = mill.join(join.from("right"));
    /// assert_eq!(mill.run_blocking(files)?.calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        path: impl AsRef<Path>,
    ) -> Self {
        let name = name.into();
        let codec = ReplayCodec::new::<R>(Some(&name), JsonCodec);
        self.input::<R>(Some(name), path.as_ref(), codec)
    }

    /// As [`replay`](Self::replay), of records that are read with a codec of your own.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # use watermill_core::{BadCause, broker::codec::{Decode, Decoded}};
    /// /// A number a line.
    /// struct Seconds;
    ///
    /// impl Decode<Json> for Seconds {
    ///     fn decode(&self, bytes: &[u8]) -> Result<Decoded<Json>, BadCause> {
    ///         let text = std::str::from_utf8(bytes).map_err(BadCause::NotUtf8)?;
    ///         let number: u64 = text.trim().parse().map_err(|error| BadCause::Other(Box::new(error)))?;
    ///         Ok(Decoded::Record(Json(number.into())))
    ///     }
    /// }
    ///
    /// std::fs::write(path("letters.ndjson"), r#"{"stream":"Json","raw":"20"}"#)?;
    /// let files = JsonFileBroker::new().replay_with::<Json>(path("letters.ndjson"), Seconds);
    /// let mill = Mill::new(|seconds: &Json| assert_eq!(seconds.as_u64(), Some(20)));
    /// assert_eq!(mill.run_blocking(files)?.calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_with<R: StreamRecord>(self, path: impl AsRef<Path>, codec: impl Decode<R>) -> Self {
        self.input::<R>(None, path.as_ref(), ReplayCodec::new::<R>(None, codec))
    }

    /// Writes the records `R` to `path`.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("events.json"), r#"[{"time":1}, {"time":2}]"#)?;
    /// let files = JsonFileBroker::new().read::<Json>(path("events.json")).write::<Json>(path("copy.ndjson"));
    /// Mill::new(|event: &Json| event.clone()).run_blocking(files)?;
    /// assert_eq!(std::fs::read_to_string(path("copy.ndjson"))?, "{\"time\":1}\n{\"time\":2}\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write<R: StreamRecord + Serialize>(self, path: impl AsRef<Path>) -> Self {
        self.output::<R, _>(path.as_ref(), JsonCodec, false)
    }

    /// Writes the records `R` to `path` with a codec of your own. In NDJSON its text must not have a line feed in it.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # use watermill_core::{broker::codec::Encode, error::BoxError};
    /// /// The time alone.
    /// struct Times;
    ///
    /// impl Encode<Json> for Times {
    ///     fn encode(&self, event: &Json, out: &mut Vec<u8>) -> Result<(), BoxError> {
    ///         out.extend_from_slice(event["time"].to_string().as_bytes());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # std::fs::write(path("events.json"), r#"[{"time":1}, {"time":2}]"#)?;
    /// let files = JsonFileBroker::new().read::<Json>(path("events.json"));
    /// let files = files.write_with::<Json>(path("times.ndjson"), Times);
    /// Mill::new(|event: &Json| event.clone()).run_blocking(files)?;
    /// assert_eq!(std::fs::read_to_string(path("times.ndjson"))?, "1\n2\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_with<R: StreamRecord>(self, path: impl AsRef<Path>, codec: impl Encode<R>) -> Self {
        self.output::<R, _>(path.as_ref(), codec, true)
    }

    fn input<R: StreamRecord>(mut self, name: Option<String>, path: &Path, codec: impl Decode<R>) -> Self {
        let codec = Arc::new(codec);
        let open: OpenSource = Arc::new(move |settings, beginning| {
            let decoder = Decoder {
                codec: Arc::clone(&codec),
                stream: settings.stream,
                record_limit: settings.record_limit,
                require_mark: settings.require_mark,
                keep_raw: settings.keep_raw,
            };
            AnySource::new(FileSource::<R, _>::new(decoder, beginning))
        });
        let (record, location) = (RecordType::of::<R>(), Location::new(path));
        self.inputs.push(Input { record, name, location, follow: None, open });
        self
    }

    fn output<R: StreamRecord, E: Encode<R>>(mut self, path: &Path, codec: E, check_lines: bool) -> Self {
        let location = Location::new(path);
        let (format, compression) = match &location {
            Location::Standard => (Some(Format::Ndjson), Compression::None),
            Location::Path(path) => by_name(path),
        };
        let codec = Arc::new(codec);
        let open: OpenSink = Arc::new(move |text, rules, shown| {
            let rules = Rules { one_a_line: check_lines && rules.one_a_line, ..rules };
            let (sink, writer) = FileSink::<R>::start(text, Arc::clone(&codec), rules, shown)?;
            Ok((AnySink::new(sink), writer))
        });
        let record = RecordType::of::<R>();
        self.outputs.push(Output {
            record,
            location,
            format,
            compression,
            append: false,
            leave_out: false,
            problem: None,
            open,
        });
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
            if output.append {
                let array = output.format(&self.options) == Format::JsonArray;
                let what = match output.compression {
                    Compression::None if !array => continue,
                    Compression::None => "written as a JSON array",
                    _ => "compressed",
                };
                let cause = format!(
                    "it is {what}, and `append()` is for NDJSON without compression; name it `.ndjson` or `.jsonl`"
                );
                output.problem.get_or_insert(cause);
            }
        }
        outputs
    }

    /// Finds what is wrong with the declarations.
    fn check(&self) -> Result<(), BrokerError> {
        if let Some((method, before)) = self.options.misplaced {
            let cause =
                format!("there is nothing before it that it could apply to; call it behind `{before}`");
            return Err(failure("use", format_args!("`{method}`"), cause));
        }
        conflicts::check(&self.inputs, &self.checked_outputs())?;
        conflicts::check_followed(&self.inputs, self.options.input_format)
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
        self.check()?;
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
            self.check()?;
            let session = FileSession::open(&self.inputs, &self.outputs, &self.options, job)?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}
