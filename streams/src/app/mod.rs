//! [`App`]: sources, mills and sinks that are started together, watched over, and stopped together.

mod page;
mod running;
mod serve;
mod shared;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::broker::Broker;
use watermill_core::error::BoxError;
use watermill_core::record::StreamRecord;
use watermill_core::{Backoff, MillHandle};

use crate::background::{Background, Kind, PAUSES};
use crate::error::StreamsError;
use crate::name;
use crate::source::Source;
use crate::streams::Streams;
use running::failing;
pub use running::{AppStatus, RunningApp};
use serve::{Listening, Server};
use shared::Shared;

/// Starts a part of an app.
type Start = Box<dyn FnOnce(&Streams, Backoff) -> Result<Background, StreamsError> + Send>;

/// An application of streams: sources, mills and sinks that are started together. What fails is started again after a pause, and when one of them fails for good, or a signal asks for it,
/// all of them end as they would by themselves: what was begun is finished and committed.
///
/// ```
/// use std::time::Duration;
/// use watermill_core::prelude::*;
/// use watermill_streams::source::{from_broker, then_close};
/// use watermill_streams::{App, Streams};
///
/// let numbers = MemoryBroker::new().read((1..=4).map(|number| Json(number.into())).collect());
/// let kept = Collected::<Json>::new();
/// let sum = |window: &[Json]| Json(window.iter().filter_map(|number| number.as_i64()).sum::<i64>().into());
/// let app = App::new("memory:")?
///     .source::<Json>("count", "numbers", then_close(from_broker(numbers)))
///     .mill("sum", move |streams| {
///         let (numbers, sums) = (streams.get("numbers")?, streams.get("sums")?);
///         Ok(Mill::new(sum).window(Window::count(2)).start(numbers.consumer().write(&sums))?)
///     })
///     .sink::<Json>("keep", "sums", MemoryBroker::new().write(&kept));
/// let status = app.start()?.wait_blocking()?;
/// assert_eq!(status.parts.iter().map(|part| part.results).collect::<Vec<_>>(), [4, 2, 2]);
/// assert_eq!(kept.take(), [Json(3.into()), Json(7.into())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The page
///
/// With [`serve`](Self::serve), `/status` tells as JSON what [`RunningApp::status`] does: each part with its state, what it has done and the last error, and each stream with what its
/// subscriptions still have before them, which is how far they lag behind. `/healthz` answers 200 while every part runs, or has ended as it should, and else 503, with the names of those
/// that do not; it looks at the parts only, not at the store. Whoever can reach the address can read them: there is no encryption and no password.
pub struct App {
    streams: Streams,
    parts: Vec<(String, Kind, Start)>,
    backoff: Backoff,
    address: Option<String>,
}

impl App {
    /// An app of the streams at `url`: see [`Streams::open`].
    ///
    /// # Errors
    /// As [`Streams::open`].
    ///
    /// ```
    /// use watermill_streams::App;
    ///
    /// assert!(App::new("memory:")?.start().is_err_and(|error| error.to_string().contains("has no parts")));
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn new(url: &str) -> Result<Self, StreamsError> {
        Ok(Self::on(&Streams::open(url)?))
    }

    /// An app of streams that were opened before.
    ///
    /// ```
    /// use watermill_streams::{App, Streams};
    ///
    /// let streams = Streams::open("memory:")?;
    /// let app = App::on(&streams);
    /// # drop(app);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn on(streams: &Streams) -> Self {
        let backoff = Backoff::exponential(PAUSES.0, PAUSES.1);
        Self { streams: streams.clone(), parts: Vec::new(), backoff, address: None }
    }

    /// A source that fills the stream `stream`: see [`Stream::attach`](crate::Stream::attach).
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError};
    /// # use watermill_streams::source::Intake;
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// let status = App::new("memory:")?.source("one", "numbers", one).start()?.wait_blocking()?;
    /// assert_eq!(status.parts[0].appended, 1);
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn source<T: 'static>(self, name: &str, stream: &str, source: impl Source<T>) -> Self {
        let (own, stream) = (name.to_owned(), stream.to_owned());
        self.part(name, Kind::Source, move |streams, backoff| {
            streams.stream::<T>(&stream)?.attach_with(&own, source, backoff)
        })
    }

    /// A mill. `start` starts it, with [`Mill::start`](watermill_core::Mill::start), whenever that is needed: at first, and when it has failed.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::{App, Streams};
    /// # let streams = Streams::open("memory:")?;
    /// # streams.put(&1, "numbers")?;
    /// # streams.get("numbers")?.close()?;
    /// let app = App::on(&streams).mill("print", |streams| {
    ///     let numbers = streams.get("numbers")?;
    ///     Ok(Mill::new(|number: &Json| println!("{number:?}")).start(numbers)?)
    /// });
    /// assert_eq!(app.start()?.wait_blocking()?.parts[0].calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mill(
        self,
        name: &str,
        mut start: impl FnMut(&Streams) -> Result<MillHandle, BoxError> + Send + 'static,
    ) -> Self {
        let own = name.to_owned();
        self.part(name, Kind::Mill, move |streams, backoff| {
            let streams = streams.clone();
            Background::start(&own, Kind::Mill, backoff, move |told| {
                let run = start(&streams)?;
                told.run(run)
            })
        })
    }

    /// A sink, to which all messages of the stream `stream` are forwarded: see [`Stream::forward`](crate::Stream::forward).
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::{App, Streams};
    /// # let streams = Streams::open("memory:")?;
    /// # streams.put(&1, "numbers")?;
    /// # streams.get("numbers")?.close()?;
    /// let kept = Collected::<Json>::new();
    /// let app = App::on(&streams).sink::<Json>("keep", "numbers", MemoryBroker::new().write(&kept));
    /// app.start()?.wait_blocking()?;
    /// assert_eq!(kept.take().len(), 1);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn sink<T>(self, name: &str, stream: &str, to: impl Broker) -> Self
    where
        T: StreamRecord + Clone + Serialize + DeserializeOwned,
    {
        let (own, stream) = (name.to_owned(), stream.to_owned());
        self.part(name, Kind::Sink, move |streams, backoff| {
            streams.stream::<T>(&stream)?.forward_with(&own, to, backoff)
        })
    }

    fn part(
        mut self,
        name: &str,
        kind: Kind,
        start: impl FnOnce(&Streams, Backoff) -> Result<Background, StreamsError> + Send + 'static,
    ) -> Self {
        self.parts.push((name.to_owned(), kind, Box::new(start)));
        self
    }

    /// How long to wait before a part that has failed is started again: half a second at first, and up to a minute, where nothing else is asked for.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::Backoff;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, source::Intake};
    /// let mut tries = 0;
    /// let third_time = move |intake: &mut Intake<Json>| {
    ///     tries += 1;
    ///     if tries < 3 { Err("not yet") } else { Ok(()) }
    /// };
    /// let app = App::new("memory:")?.backoff(Backoff::fixed(Duration::from_millis(5)));
    /// let status = app.source("third time", "numbers", third_time).start()?.wait_blocking()?;
    /// assert_eq!(status.parts[0].restarts, 2);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Answers `/status` and `/healthz` on an address, as long as the app runs. Port 0 is any that is free.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// # let waits = |intake: &mut Intake<Json>| { let _ = intake.pause(Duration::MAX); Ok::<(), StreamsError>(()) };
    /// let app = App::new("memory:")?.source("waits", "numbers", waits).serve("127.0.0.1:0").start()?;
    /// let address = app.address().ok_or("it serves")?;
    /// let mut connection = std::net::TcpStream::connect(address)?;
    /// connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    /// let mut answer = String::new();
    /// connection.read_to_string(&mut answer)?;
    /// assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""healthy":true"#));
    /// app.stop();
    /// app.wait_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn serve(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    /// Starts everything, and waits, blocking this thread, until all parts have ended, one has failed for good, or SIGINT or SIGTERM asks for the end. A second signal gives up waiting
    /// for what hangs. Not for use inside an async runtime.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`RunningApp::wait_blocking`].
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// let status = App::new("memory:")?.source("one", "numbers", one).run()?;
    /// assert_eq!(status.parts[0].appended, 1);
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn run(self) -> Result<AppStatus, StreamsError> {
        let signals = Listening::start()?;
        let app = self.start()?;
        signals.obey(&app.shared);
        app.wait_blocking()
    }

    /// Starts everything.
    ///
    /// # Errors
    /// When there is nothing to start, two parts have one name, a name is none, the address is taken, or no thread can be started: then nothing runs.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// let nothing = |_: &mut Intake<Json>| Ok::<(), StreamsError>(());
    /// let twice = App::new("memory:")?.source("one", "numbers", nothing).source("one", "others", nothing);
    /// assert!(twice.start().is_err_and(|error| error.to_string().contains("two parts `one`")));
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn start(self) -> Result<RunningApp, StreamsError> {
        let Self { streams, parts, backoff, address } = self;
        if parts.is_empty() {
            return Err(StreamsError::misuse("the app has no parts", "add a source, a mill or a sink"));
        }
        for (at, (name, kind, _)) in parts.iter().enumerate() {
            name::check(name, kind.as_str())?;
            if parts[..at].iter().any(|(other, ..)| other == name) {
                let fix = "give each a name of its own, under which it is found again";
                return Err(StreamsError::misuse(format!("the app has two parts `{name}`"), fix));
            }
        }
        let listener = address.map(|address| bind(&address)).transpose()?;
        let shared = Arc::new(Shared::new(&streams));
        for (_, _, start) in parts {
            let part = start(&streams, backoff).inspect_err(|_| shared.end())?;
            shared.lock().parts.push(part.clone());
            let of_part = Arc::clone(&shared);
            part.on_over(move |state| of_part.part_over(state));
        }
        if shared.lock().failed {
            // Before all were there.
            shared.stop();
        }
        let server = match listener {
            Some((listener, address)) => {
                let started = Server::start(listener, address, Arc::clone(&shared));
                Some(started.inspect_err(|_| shared.end())?)
            }
            None => None,
        };
        Ok(RunningApp { shared, server })
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.parts.iter().map(|(name, ..)| name.as_str()).collect();
        f.debug_struct("App").field("streams", &self.streams).field("parts", &names).finish()
    }
}

fn bind(address: &str) -> Result<(TcpListener, SocketAddr), StreamsError> {
    let told = |cause| StreamsError::storage("the app", &format!("serve on {address}"), cause);
    let listener = TcpListener::bind(address).map_err(told)?;
    listener.set_nonblocking(true).map_err(told)?;
    let address = listener.local_addr().map_err(told)?;
    Ok((listener, address))
}
