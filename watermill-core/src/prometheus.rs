//! Metrics for Prometheus: what the feature `metrics` tells, served on an address.
//!
//! ```
//! use std::io::{Read, Write};
//! use watermill_core::prelude::*;
//! use watermill_core::prometheus;
//!
//! // Before the first run: what is told to no recorder is lost.
//! let endpoint = prometheus::serve("127.0.0.1:0")?;
//! Mill::new(|_: &Json| ()).run_blocking(MemoryBroker::new().read(vec![Json(1.into())]))?;
//!
//! let mut connection = std::net::TcpStream::connect(endpoint.address())?;
//! connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
//! assert!(answer.contains("\nwatermill_calls_total{"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::error::{BoxError, RunError};

/// Buckets of the histograms, in seconds: from calls that take a microsecond to those that take a minute.
const BUCKETS: [f64; 14] =
    [1e-6, 1e-5, 1e-4, 1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// How often samples of histograms are put into their buckets, where nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long a client may take, and how much it may ask.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_REQUEST: usize = 8 << 10;

/// The recorder can be installed once in a program: later endpoints show the same one.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Serves the metrics of all mills in this program, and whatever else it tells the `metrics` facade, for Prometheus to fetch by HTTP at `/metrics`
/// of this address; port 0 takes a free one. Call it before the first run. It serves until the program ends, on a thread of its own, so
/// it can be called within an async runtime or without one.
///
/// Whoever can reach the address can read the metrics: there is no encryption and no password.
///
/// # Errors
/// The address is taken, or is none; or the program has installed another recorder.
///
/// ```
/// use watermill_core::prometheus::{ServeError, serve};
///
/// let endpoint = serve("127.0.0.1:0")?;
/// let taken = serve(endpoint.address()).unwrap_err();
/// assert!(matches!(&taken, ServeError::Address { .. }));
/// assert_eq!(taken.to_string(), format!("metrics cannot be served on {}", endpoint.address()));
/// # Ok::<(), ServeError>(())
/// ```
pub fn serve(address: impl ToSocketAddrs + fmt::Debug) -> Result<Endpoint, ServeError> {
    let at = format!("{address:?}");
    let at = at.trim_matches('"').to_owned();
    let cannot = |cause| ServeError::Address { address: at.clone(), cause };
    let listener = TcpListener::bind(&address).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let metrics = recorder()?;
    let served = metrics.clone();
    let serve = move || {
        for connection in listener.incoming().filter_map(Result::ok) {
            // A client that goes away is no concern of ours.
            let _ = answer(&connection, &served);
        }
    };
    start("watermill-metrics", serve)?;
    tracing::info!(target: "watermill", %address, "metrics are served");
    Ok(Endpoint { address, metrics })
}

/// Where metrics are served. Dropping it ends nothing.
///
/// ```
/// let endpoint = watermill_core::prometheus::serve("127.0.0.1:0")?;
/// println!("http://{}/metrics", endpoint.address());
/// # Ok::<(), watermill_core::prometheus::ServeError>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    metrics: PrometheusHandle,
}

impl Endpoint {
    /// Its address, with the port that was taken.
    ///
    /// ```
    /// let endpoint = watermill_core::prometheus::serve("127.0.0.1:0")?;
    /// assert_ne!(endpoint.address().port(), 0);
    /// # Ok::<(), watermill_core::prometheus::ServeError>(())
    /// ```
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it would serve now.
    ///
    /// ```
    /// use watermill_core::prelude::*;
    ///
    /// let endpoint = watermill_core::prometheus::serve("127.0.0.1:0")?;
    /// Mill::new(|_: &Json| ()).run_blocking(MemoryBroker::new().read(vec![Json(1.into())]))?;
    /// assert!(endpoint.text().contains("# TYPE watermill_calls_total counter"));
    /// # Ok::<(), watermill_core::RunError>(())
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        self.metrics.render()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.address).finish()
    }
}

/// Metrics cannot be served.
///
/// ```
/// use watermill_core::prometheus::{ServeError, serve};
///
/// let Err(ServeError::Address { cause, .. }) = serve("no address") else { panic!("it is none") };
/// assert_eq!(cause.kind(), std::io::ErrorKind::InvalidInput);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken, or is none.
    #[error("metrics cannot be served on {address}")]
    Address {
        /// The address.
        address: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The program has installed a recorder of its own.
    #[error("metrics are told to another recorder already; leave out one of the two")]
    OtherRecorder(#[source] BoxError),
    /// A thread could not be started.
    #[error("metrics cannot be served: a thread could not be started")]
    Thread(#[source] io::Error),
}

impl From<ServeError> for RunError {
    fn from(error: ServeError) -> Self {
        Self::Runtime { what: "its metrics cannot be served".to_owned(), cause: Box::new(error) }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ServeError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(ServeError::Thread)
}

/// The recorder of this program, installed if it is not yet.
fn recorder() -> Result<PrometheusHandle, ServeError> {
    let mut installed = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let other = |cause: BuildError| ServeError::OtherRecorder(cause.into());
    let ours = Matcher::Prefix("watermill_".to_owned());
    let recorder =
        PrometheusBuilder::new().set_buckets_for_metric(ours, &BUCKETS).map_err(other)?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| ServeError::OtherRecorder("the `metrics` facade has a recorder".into()))?;
    *installed = Some(handle.clone());
    let upkeep = handle.clone();
    start("watermill-metrics-upkeep", move || {
        loop {
            std::thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    })?;
    Ok(handle)
}

/// Answers one request.
fn answer(mut connection: &TcpStream, metrics: &PrometheusHandle) -> io::Result<()> {
    connection.set_write_timeout(Some(PATIENCE))?;
    let request = read_head(connection)?;
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics" | b"/") => ("200 OK", metrics.render()),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    if method != b"HEAD" {
        connection.write_all(body.as_bytes())?;
    }
    connection.flush()
}

/// Reads up to the empty line behind the head of a request.
fn read_head(mut connection: &TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > LONGEST_REQUEST {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
    Ok(head)
}
