//! One run over files: a single lane, its sources and its sinks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use watermill_core::broker::{
    AnySink, AnySource, BoxFuture, Job, Lane, LaneOutputs, Origin, Position, Session,
};
use watermill_core::error::BrokerError;

use crate::broker::{Input, OpenSource, Output, SourceSettings};
use crate::committer::{CommittedOutput, FileCommitter, KnownInput};
use crate::failure::{failure, path_failure};
use crate::fault::fault_point;
use crate::follow::Follow;
use crate::followed_input::FollowedInput;
use crate::format::Format;
use crate::framer::{FramerOptions, Spot};
use crate::generation::Followed;
use crate::lanes::{Shared, SharedOutputs};
use crate::location::{InputFile, Location, files_of};
use crate::options::Options;
use crate::output_text::{Committed, OutputText};
use crate::partial_file::open_destination;
use crate::resume::{Resumed, state_path, take_up};
use crate::shared::{Content, SharedReading};
use crate::sink::Rules;
use crate::source::{Beginning, Ended};

/// A run over files.
pub(crate) struct FileSession {
    inputs: Vec<SessionInput>,
    outputs: Vec<Output>,
    /// The last output is that of dead letters.
    letters: bool,
    options: Options,
    /// All inputs of the mill.
    streams: Vec<String>,
    /// As [`Job::mill`].
    mill: String,
    lane_given: bool,
    /// The positions are kept here, and not by another broker.
    writes: bool,
    /// The outputs, where several lanes write to them.
    shared: Option<Shared>,
}

/// One input that the run needs, found.
struct SessionInput {
    stream: String,
    /// Its place among all inputs of the mill.
    node: usize,
    files: Arc<[InputFile]>,
    keep_raw: bool,
    followed: Option<Arc<FollowedInput>>,
    open: OpenSource,
}

/// Inputs that read the same files from the same spot.
struct Reader {
    inputs: Vec<usize>,
    spot: Spot,
    /// How many records of the file lie before the spot.
    number: u64,
}

impl FileSession {
    /// Finds the files of the inputs and makes sure that they can be read.
    pub(crate) fn open(
        inputs: &[Input],
        outputs: &[Output],
        options: &Options,
        job: &Job,
    ) -> Result<Self, BrokerError> {
        let mut session = Self {
            inputs: Vec::with_capacity(job.inputs.len()),
            outputs: Vec::with_capacity(job.outputs.len()),
            letters: job.outputs.last().is_some_and(|output| output.letters),
            options: options.clone(),
            streams: job.streams.clone(),
            mill: job.mill.clone(),
            lane_given: false,
            writes: false,
            shared: None,
        };
        for request in &job.inputs {
            let input = inputs.get(request.input).ok_or_else(|| not_declared("input", &request.stream))?;
            let (files, followed) = match (&input.follow, &input.location) {
                (Some(follow), Location::Path(path)) => {
                    let file = InputFile::followed(path);
                    let followed = session.followed(path, &file, follow)?;
                    (Arc::from(vec![file]), Some(Arc::new(FollowedInput::new(followed))))
                }
                _ => {
                    let files: Arc<[InputFile]> = files_of(&input.location)?.into();
                    files.iter().try_for_each(InputFile::check_readable)?;
                    (files, None)
                }
            };
            let (stream, open) = (request.stream.clone(), Arc::clone(&input.open));
            let (node, keep_raw) = (request.node, request.keep_raw);
            session.inputs.push(SessionInput { stream, node, files, followed, keep_raw, open });
        }
        session.check_read_once()?;
        for request in &job.outputs {
            let output =
                outputs.get(request.output).ok_or_else(|| not_declared("output", &request.stream))?;
            let mut output = output.clone();
            output.leave_out = request.leave_out;
            session.outputs.push(output);
        }
        Ok(session)
    }

    /// A followed file; several inputs share one.
    fn followed(&self, path: &Path, file: &InputFile, follow: &Follow) -> Result<Arc<Followed>, BrokerError> {
        let others = self.inputs.iter().filter(|other| other.files.iter().any(|other| other.is_also(file)));
        let mut others = others.filter_map(|other| other.followed.as_ref());
        if let Some(other) = others.find(|other| other.followed.options == *follow) {
            return Ok(Arc::clone(&other.followed));
        }
        FollowedInput::check(path, follow, self.options.input_format)?;
        Followed::new(path.to_owned(), file.part().to_owned(), follow.clone())
    }

    /// What is no regular file can be read once.
    fn check_read_once(&self) -> Result<(), BrokerError> {
        let mut once = Vec::new();
        for input in &self.inputs {
            for file in input.files.iter().filter(|file| file.length.is_none()) {
                if once.contains(&&file.identity) {
                    let cause =
                        "standard input and pipes can be read by one stream only; write it to a file first";
                    return Err(failure("read", format_args!("`{}`", file.part()), cause));
                }
                once.push(&file.identity);
            }
        }
        Ok(())
    }

    /// Where an input begins, and how many records of its file lie before that.
    fn spot(&self, input: &SessionInput, from: Option<&Position>) -> Result<(Spot, u64), BrokerError> {
        let Some(from) = from else { return Ok((Spot::default(), 0)) };
        if let Some(followed) = &input.followed {
            return Ok(followed.spot(from));
        }
        let file = if from.part.is_empty() {
            0
        } else {
            input.files.iter().position(|file| file.is_called(&from.part)).ok_or_else(|| {
                let cause = format!("the last run stopped in `{}`, which is not there any more", from.part);
                failure("resume", format_args!("stream `{}`", input.stream), cause)
            })?
        };
        let spot = Spot { file, offset: from.next };
        match input.files.get(file) {
            Some(found) if found.length.is_none() && spot.offset > 0 && !from.ended => {
                let cause = "standard input and pipes cannot be read again from where a run stopped";
                Err(failure("resume", format_args!("`{}`", found.part()), cause))
            }
            Some(found) if found.part() == from.part => {
                // The engine tells what was finished by the names of the files: they must not have changed.
                let last = from.last.as_ref().and_then(|last| {
                    let file = input.files.iter().position(|file| file.part() == last.part)?;
                    Some((Spot { file, offset: last.offset }, last.number))
                });
                // Records that were sorted back may be finished behind others that are not.
                let first = last.filter(|(last, _)| (last.file, last.offset) <= (file, spot.offset));
                Ok(first.unwrap_or((spot, from.number)))
            }
            Some(found) if !from.finished.is_empty() => {
                let cause = format!(
                    "the last run has read it as `{}`, and part of what stands behind is finished; call it that again",
                    from.part
                );
                Err(failure("resume", format_args!("`{}`", found.part()), cause))
            }
            _ => Ok((spot, from.number)),
        }
    }

    /// The readers of a run: inputs of the same files share one.
    fn readers(&self, from: &[Option<Position>]) -> Result<Vec<Reader>, BrokerError> {
        let mut readers: Vec<Reader> = Vec::new();
        for (index, input) in self.inputs.iter().enumerate() {
            let (spot, number) = self.spot(input, from.get(index).and_then(Option::as_ref))?;
            let same = |other: &Reader| {
                other.spot == spot
                    && other.inputs.first().is_some_and(|other| same_files(&self.inputs[*other], input))
            };
            match readers.iter_mut().find(|other| same(other)) {
                Some(reader) => reader.inputs.push(index),
                None => readers.push(Reader { inputs: vec![index], spot, number }),
            }
        }
        Ok(readers)
    }

    fn open_sources(&self, from: &[Option<Position>]) -> Result<Vec<AnySource>, BrokerError> {
        let followed = || self.inputs.iter().map(|input| input.followed.as_ref()).enumerate();
        if !self.writes {
            for (index, followed) in followed() {
                let position = from.get(index).and_then(Option::as_ref);
                followed.map_or(Ok(()), |followed| followed.trust(position))?;
            }
        }
        let mut sources: Vec<(usize, AnySource)> = Vec::with_capacity(self.inputs.len());
        for reader in self.readers(from)? {
            let stops: Vec<_> = reader.inputs.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
            // A reading that several share goes on as long as one of them does.
            let shared_stop = match &*stops {
                [only] => Arc::clone(only),
                _ => Arc::default(),
            };
            let Some(first) = reader.inputs.first() else { continue };
            let content = self.inputs[*first].content();
            let reading = SharedReading::new(&content, self.framer_options(), reader.spot, &shared_stop);
            for (index, stop) in reader.inputs.into_iter().zip(stops) {
                let input = &self.inputs[index];
                let position = from.get(index).and_then(Option::as_ref);
                // Files may have grown since, unless a mark has ended the stream.
                let for_good = |position: &&Position| {
                    position.ended
                        && (position.marked || input.files.iter().any(|file| file.length.is_none()))
                };
                let ended = position.filter(for_good).map(|position| Ended {
                    origin: origin_of(input, position),
                    next: position.next,
                    number: position.number,
                    marked: position.marked,
                });
                let beginning = Beginning {
                    subscription: reading.subscribe(content.clone(), reader.spot, Arc::clone(&stop)),
                    file: reader.spot.file,
                    number: reader.number,
                    size: match input.followed {
                        Some(_) => None,
                        None => input.files.iter().map(|file| file.length).sum(),
                    },
                    stop,
                    ended,
                    versions: input.followed.as_ref().map(|followed| followed.followed.watcher.subscribe()),
                };
                let settings = SourceSettings {
                    stream: input.stream.clone(),
                    record_limit: self.options.record_limit,
                    require_mark: self.options.require_eos,
                    keep_raw: input.keep_raw,
                };
                sources.push((index, (input.open)(settings, beginning)));
            }
        }
        if !self.writes {
            followed().filter_map(|(_, followed)| followed).for_each(|followed| followed.forget());
        }
        sources.sort_by_key(|(index, _)| *index);
        Ok(sources.into_iter().map(|(_, source)| source).collect())
    }

    fn framer_options(&self) -> FramerOptions {
        FramerOptions {
            chunk_bytes: self.options.batch_bytes,
            record_limit: self.options.record_limit,
            format: self.options.input_format,
        }
    }

    /// Opens the outputs, of which a sink each is returned, and what earlier runs have left.
    fn open_all(
        &self,
        several_lanes: bool,
    ) -> Result<(Vec<AnySink>, FileCommitter, Option<Resumed>), BrokerError> {
        let mut destinations = Vec::with_capacity(self.outputs.len());
        let mut partials = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            let (destination, partial) = open_destination(&output.location, output.append)?;
            destinations.push(destination);
            partials.push(partial);
        }
        fault_point!("outputs-open");
        let inputs = self.known_inputs();
        // What comes through a pipe cannot be read again: then nothing is recorded.
        let repeatable = self.inputs.iter().all(|input| input.files.iter().all(|file| file.length.is_some()));
        let state = state_path(&partials).filter(|_| repeatable);
        let resumed = match &state {
            Some(path) => {
                let start_over = self.options.start_over;
                take_up(path, &self.mill, &inputs, &mut partials, self.letters, start_over, several_lanes)?
            }
            None => None,
        };
        let kept = match &resumed {
            Some(resumed) => resumed.outputs.clone(),
            None => vec![Committed::default(); self.outputs.len()],
        };
        let mut sinks = Vec::with_capacity(self.outputs.len());
        let mut committed = Vec::with_capacity(self.outputs.len());
        let finished = resumed.as_ref().is_some_and(|resumed| resumed.checkpoint.finished);
        for (((output, destination), partial), kept) in
            self.outputs.iter().zip(destinations).zip(partials).zip(kept)
        {
            let format = output.format(&self.options);
            let mut text = OutputText::new(destination, format, output.compression);
            if let Some(appended) = partial.as_ref().and_then(|partial| partial.appended.as_ref()) {
                appended.check_last_line()?;
                text = text.in_pieces();
            }
            let shown = output.location.shown();
            if !finished {
                text.go_on(kept).map_err(|cause| path_failure("write", shown.as_ref(), cause))?;
            }
            let rules = Rules { one_a_line: format == Format::Ndjson, leave_out: output.leave_out };
            let (sink, writer) = (output.open)(text, rules, &shown)?;
            sinks.push(sink);
            committed.push(CommittedOutput { writer, partial });
        }
        fault_point!("cut");
        let committer = FileCommitter {
            outputs: committed,
            inputs,
            mill: self.mill.clone(),
            state,
            recorded: resumed.is_some(),
            under_way: None,
            mark_eos: self.options.mark_eos,
            finished,
            lanes: Vec::new(),
        };
        Ok((sinks, committer, resumed))
    }

    fn open_outputs(&self) -> Result<LaneOutputs, BrokerError> {
        let (sinks, committer, resumed) = self.open_all(false)?;
        let resume = resumed.map(|resumed| resumed.checkpoint);
        Ok(LaneOutputs { sinks, committer: Box::new(committer), resume })
    }

    /// The outputs of one of several lanes.
    async fn open_lane(&mut self, lane: &Lane) -> Result<LaneOutputs, BrokerError> {
        self.check_lanes()?;
        let shared = match self.shared.take() {
            Some(shared) if !shared.lock().await.is_closed() => shared,
            _ => {
                let (_, committer, resumed) = self.open_all(true)?;
                let lanes = resumed.map(|resumed| resumed.lanes).unwrap_or_default();
                let lanes = lanes.into_iter().map(|record| (record.lane, record)).collect();
                SharedOutputs::new(committer, lanes, lane.count)
            }
        };
        let outputs = shared.lock().await.open_lane(lane, &shared);
        self.shared = Some(shared);
        Ok(outputs)
    }

    /// What cannot be done with several lanes.
    fn check_lanes(&self) -> Result<(), BrokerError> {
        if let Some(output) = self.outputs.iter().find(|output| output.leave_out) {
            let cause = "results that cannot be written are left out (`on_refused`), and there are several lanes; write to a topic, or have a single partition";
            return Err(failure("write", format_args!("`{}`", output.location.shown()), cause));
        }
        if let Some(input) = self.inputs.iter().find(|input| input.followed.is_some()) {
            let cause = "it is followed, and there are several lanes; load it into a topic first";
            return Err(failure("read", format_args!("stream `{}`", input.stream), cause));
        }
        Ok(())
    }

    /// All inputs of the mill; those that another broker reads have no files here.
    fn known_inputs(&self) -> Vec<KnownInput> {
        let known = |(node, stream): (usize, &String)| {
            let own = self.inputs.iter().find(|input| input.node == node);
            let files = own.map_or_else(|| Arc::from(Vec::new()), |input| Arc::clone(&input.files));
            let followed = own.and_then(|input| input.followed.clone());
            KnownInput { stream: stream.clone(), files, followed }
        };
        self.streams.iter().enumerate().map(known).collect()
    }
}

impl SessionInput {
    fn content(&self) -> Content {
        match &self.followed {
            Some(followed) => Content::Followed(followed.start()),
            None => Content::Files(Arc::clone(&self.files)),
        }
    }
}

/// The origin of an input's records at `position`.
fn origin_of(input: &SessionInput, position: &Position) -> Arc<Origin> {
    if input.followed.is_some() {
        return Arc::new(Origin::File { path: position.part.clone() });
    }
    let file = input.files.iter().find(|file| file.is_called(&position.part)).or(input.files.first());
    file.map_or_else(|| Arc::new(Origin::Memory), |file| Arc::clone(&file.origin))
}

fn same_files(left: &SessionInput, right: &SessionInput) -> bool {
    let followed = |input: &SessionInput| input.followed.as_ref().map(|input| Arc::as_ptr(&input.followed));
    followed(left) == followed(right)
        && left.files.len() == right.files.len()
        && left.files.iter().zip(right.files.iter()).all(|(left, right)| left.identity == right.identity)
}

fn not_declared(what: &str, stream: &str) -> BrokerError {
    failure("open", format_args!("stream `{stream}`"), format!("there is no such {what} in the catalog"))
}

impl Session for FileSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        let first = !std::mem::replace(&mut self.lane_given, true);
        Box::pin(async move { Ok(first.then_some(Lane { index: 0, count: 1 })) })
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        self.writes = true;
        Box::pin(async move { if lane.count > 1 { self.open_lane(lane).await } else { self.open_outputs() } })
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        Box::pin(async move { self.open_sources(from) })
    }
}
