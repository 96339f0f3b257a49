//! What is set for all files of a broker.

use crate::broker::JsonFileBroker;
use crate::format::Format;

/// The options of a broker.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) batch_bytes: usize,
    pub(crate) record_limit: usize,
    pub(crate) require_eos: bool,
    pub(crate) mark_eos: bool,
    pub(crate) start_over: bool,
    pub(crate) input_format: Option<Format>,
    pub(crate) output_format: Option<Format>,
    /// A method that was called where there was nothing it could apply to, and what has to stand before it.
    pub(crate) misplaced: Option<(&'static str, &'static str)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_bytes: 256 * 1024,
            record_limit: 16 * 1024 * 1024,
            require_eos: false,
            start_over: false,
            mark_eos: false,
            input_format: None,
            output_format: None,
            misplaced: None,
        }
    }
}

impl Options {
    /// `method` was called where there is no `before` that it could apply to.
    pub(crate) fn misplace(&mut self, method: &'static str, before: &'static str) {
        self.misplaced = self.misplaced.or(Some((method, before)));
    }
}

impl JsonFileBroker {
    /// The longest record that is taken, in bytes: 16 MiB unless set. A longer one is a bad record, and is not
    /// read into memory.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("events.ndjson"), "{\"what\":\"longer than sixteen bytes\"}\n")?;
    /// let files = JsonFileBroker::new().read::<Json>(path("events.ndjson")).record_limit(16);
    /// let error = Mill::new(|_: &Json| ()).run_blocking(files).unwrap_err();
    /// assert!(format!("{error:?}").contains("the record is longer than the limit of 16 bytes"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_limit(mut self, bytes: usize) -> Self {
        self.options.record_limit = bytes;
        self
    }

    /// How much text is read and decoded at once, in bytes: 256 KiB unless set. At least one record is.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("events.ndjson"), "{\"time\":1}\n{\"time\":2}\n")?;
    /// // A record a batch: less is in memory, and more is done for each.
    /// let files = JsonFileBroker::new().read::<Json>(path("events.ndjson")).batch_bytes(1);
    /// assert_eq!(Mill::new(|_: &Json| ()).run_blocking(files)?.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes.max(1);
        self
    }

    /// Asks every input for its EndOfStream mark `{"eos__": true}`. Without it the end of a file is the end of its stream, and a
    /// file that was cut exactly behind a line cannot be told from a whole one; with it, that is a bad record.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("whole.ndjson"), "{\"time\":1}\n{\"eos__\": true}\n")?;
    /// std::fs::write(path("cut.ndjson"), "{\"time\":1}\n")?;
    /// let run = |name| {
    ///     let files = JsonFileBroker::new().read::<Json>(path(name)).require_eos();
    ///     Mill::new(|_: &Json| ()).run_blocking(files)
    /// };
    /// assert_eq!(run("whole.ndjson")?.calls, 1);
    /// assert!(run("cut.ndjson").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn require_eos(mut self) -> Self {
        self.options.require_eos = true;
        self
    }

    /// Forgets what an earlier run has committed, if one was stopped before its end, and starts at the beginning.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("events.ndjson"), "{\"time\":1}\n{\"time\":2}\n")?;
    /// let files = || JsonFileBroker::new().read::<Json>(path("events.ndjson")).write::<Json>(path("copy.ndjson"));
    /// let mill = |fails: bool| {
    ///     let copy = move |event: &Json| if fails && event["time"] == 2 { Err("full") } else { Ok(event.clone()) };
    ///     Mill::new(copy).commit_after_calls(1)
    /// };
    /// // Fails at the second event, behind a commit of the first.
    /// assert!(mill(true).run_blocking(files()).is_err());
    /// // Without `start_over` this would be one call, for the second event.
    /// assert_eq!(mill(false).run_blocking(files().start_over())?.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_over(mut self) -> Self {
        self.options.start_over = true;
        self
    }

    /// Writes the EndOfStream mark `{"eos__": true}` behind the last record of every output that ended.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// std::fs::write(path("events.ndjson"), "{\"time\":1}\n")?;
    /// let files = JsonFileBroker::new().read::<Json>(path("events.ndjson")).write::<Json>(path("copy.ndjson"));
    /// Mill::new(|event: &Json| event.clone()).run_blocking(files.mark_eos())?;
    /// assert_eq!(std::fs::read_to_string(path("copy.ndjson"))?, "{\"time\":1}\n{\"eos__\": true}\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mark_eos(mut self) -> Self {
        self.options.mark_eos = true;
        self
    }

    /// Says how all inputs are laid out, instead of telling it by their content.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # use watermill_json_file::Format;
    /// // Two records, each an array.
    /// std::fs::write(path("points.ndjson"), "[1, 2]\n[3, 4]\n")?;
    /// let files = JsonFileBroker::new().read::<Json>(path("points.ndjson")).input_format(Format::Ndjson);
    /// assert_eq!(Mill::new(|_: &Json| ()).run_blocking(files)?.calls, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn input_format(mut self, format: Format) -> Self {
        self.options.input_format = Some(format);
        self
    }

    /// Says how all outputs are laid out, whatever their names say. Brokers can be combined if that is not the same for all.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_json_file::JsonFileBroker;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name: &str| folder.path().join(name);
    /// # use watermill_json_file::Format;
    /// std::fs::write(path("events.ndjson"), "{\"time\":1}\n")?;
    /// let files = JsonFileBroker::new().read::<Json>(path("events.ndjson")).write::<Json>(path("copy.txt"));
    /// Mill::new(|event: &Json| event.clone()).run_blocking(files.output_format(Format::Ndjson))?;
    /// assert_eq!(std::fs::read_to_string(path("copy.txt"))?, "{\"time\":1}\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn output_format(mut self, format: Format) -> Self {
        self.options.output_format = Some(format);
        self
    }
}
