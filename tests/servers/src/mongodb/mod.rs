//! A server that speaks MongoDB's protocol: real, with its data on disk.
//!
//! Where there are no containers this is not `mongod`, which cannot be fetched by cargo, but a server in Rust with the storage engine of
//! `mongod`: a replica set of one node, with transactions and change streams, or a standalone one.

mod container;
mod hello;
mod installed;
mod security;

use std::env;
use std::ffi::OsString;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::ServerError;
use crate::kafka::engine_answers;
use crate::place;
use crate::ports;
use crate::supervise::{Launch, Supervised};
use security::Certificates;

/// How long a server may take until it answers. It takes a second on a machine that has nothing else to do.
const START: Duration = Duration::from_secs(90);

/// How long a server may take to end in order.
const STOP: Duration = Duration::from_secs(60);

/// What a server's log has when somebody else listens at its port.
const TAKEN: &str = "in use";

/// The environment variable that gives the address of a server which is there already: `mongodb://..`, or `host:port`.
pub const ADDRESS: &str = "WATERMILL_TEST_MONGODB";

/// What server a test asks for.
#[derive(Debug, Clone, Default)]
pub struct MongoOptions {
    standalone: bool,
    secured: bool,
}

impl MongoOptions {
    /// A replica set of one node: with transactions and change streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A server that belongs to no replica set, and so has neither.
    #[must_use]
    pub fn standalone(mut self) -> Self {
        self.standalone = true;
        self
    }

    /// With TLS alone, and for users alone. There is none at first: whoever comes from this machine may make the first one, in the database `admin`, as with `mongod`.
    /// [`Mongo::authority`] has the certificate that clients need.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }
}

/// A server for MongoDB's protocol, which ends when this is dropped or the process ends.
#[derive(Debug)]
pub struct Mongo {
    uri: String,
    /// `None` if the server is not ours alone.
    own: Option<Own>,
    /// Ends with this.
    _shared: Option<Supervised>,
}

/// A server that may be killed and started again.
#[derive(Debug)]
struct Own {
    address: String,
    asked: Asked,
    certificates: Option<Certificates>,
    launch: Launch,
    process: Mutex<Supervised>,
}

/// How a server is asked whether it is there.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// By `hello`, to which it must answer so.
    Hello { replica_set: bool },
    /// By a connection: more would need TLS.
    Connection,
}

impl Mongo {
    /// The server that all tests of this process share, a replica set: the first that applies of
    ///
    /// 1. the one at the address in `WATERMILL_TEST_MONGODB`, which is used as it is: nothing is started, and if it does not answer, that is an error;
    /// 2. one in a container, if `docker info` succeeds, as the `compose.yaml` of the repository says;
    /// 3. one that is started here.
    ///
    /// Which it is is told on one line of standard error. It lives until the process ends. Tests have databases of their own
    /// ([`Mongo::fresh_database`]), and do it no harm: for that, [`Mongo::start`] gives them servers of their own.
    ///
    /// # Errors
    /// When there is no server. The error says what is missing; it is the same for each caller.
    pub fn shared() -> Result<&'static Self, ServerError> {
        static SHARED: OnceLock<Result<Mongo, ServerError>> = OnceLock::new();
        SHARED.get_or_init(Self::find).as_ref().map_err(Clone::clone)
    }

    fn find() -> Result<Self, ServerError> {
        if let Some(address) = env::var_os(ADDRESS).filter(|address| !address.is_empty()) {
            let address = address.to_string_lossy().into_owned();
            place::tell(&format!("MongoDB at {}, as {ADDRESS} says", without_password(&address)));
            let uri = if address.contains("://") { address } else { format!("mongodb://{address}") };
            check_given(&uri)?;
            return Ok(Self { uri, own: None, _shared: None });
        }
        if engine_answers() {
            match container::start() {
                Ok((container, address)) => {
                    place::tell(&format!("MongoDB at {address}, in a container"));
                    return Ok(Self { uri: uri_of(&address), own: None, _shared: Some(container) });
                }
                Err(error) => place::tell(&format!("MongoDB does not start in a container: {error}")),
            }
        }
        let started = Self::start(MongoOptions::new())?;
        place::tell(&format!("a server for MongoDB's protocol at {}, started here", started.uri));
        let Self { uri, own, .. } = started;
        let shared = own.map(|own| own.process.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { uri, own: None, _shared: shared })
    }

    /// Starts a server for the caller alone, on this machine and without containers, whatever `WATERMILL_TEST_MONGODB` says: it may be
    /// killed, stopped and paused. What it has acknowledged is on disk.
    ///
    /// # Errors
    /// When the server cannot be built, or does not start.
    pub fn start(options: MongoOptions) -> Result<Self, ServerError> {
        let program = installed::program()?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::launch(&options, program.clone()) {
                // Somebody else has taken the port between our look and the server's.
                Err(ServerError::Ended { log, .. }) if log.contains(TAKEN) && attempts < 5 => {}
                other => return other,
            }
        }
    }

    fn launch(options: &MongoOptions, program: PathBuf) -> Result<Self, ServerError> {
        let directory = place::fresh_directory("mongodb")?.join("node");
        let data = directory.join("data");
        place::create(&data)?;
        let port = ports::free(1)?.first().copied().unwrap_or_default();
        let address = format!("127.0.0.1:{port}");
        let mut command: Vec<OsString> = vec![program.into_os_string()];
        command.extend(["--host", "127.0.0.1", "--port", &port.to_string()].map(OsString::from));
        command.extend(["--log-level", "WARNING", "--cache-size", "512M"].map(OsString::from));
        // Else what was acknowledged may be gone after `kill -9`.
        command.extend(["--sync-on-commit", "--storage-path"].map(OsString::from));
        command.push(data.into_os_string());
        if options.standalone {
            command.push("--standalone".into());
        }
        let certificates =
            if options.secured { Some(Certificates::make(&directory.join("certificates"))?) } else { None };
        if let Some(certificates) = &certificates {
            command.push("--auth".into());
            command.extend(certificates.arguments());
        }
        let launch = Launch {
            name: format!("the server for MongoDB's protocol at {address}"),
            command,
            log: directory.join("server.log"),
            remove: Some(directory),
            after: None,
        };
        let asked = match options.secured {
            true => Asked::Connection,
            false => Asked::Hello { replica_set: !options.standalone },
        };
        let mut process = Supervised::start(&launch)?;
        await_ready(&mut process, &address, asked, START)?;
        let uri = uri_of(&address);
        let own = Own { address, asked, certificates, launch, process: Mutex::new(process) };
        Ok(Self { uri, own: Some(own), _shared: None })
    }

    /// Where it is, `mongodb://..`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The name of a database that nobody else has.
    #[must_use]
    pub fn fresh_database(&self, prefix: &str) -> String {
        crate::kafka::unique(prefix)
    }

    fn own(&self) -> Result<&Own, ServerError> {
        self.own.as_ref().ok_or_else(|| ServerError::Unfit {
            what: "this server is not the test's own".to_owned(),
            remedy: "start one by `Mongo::start`",
        })
    }

    /// The certificate of the authority that has signed the server's, in the format PEM. The server's is for `127.0.0.1` and `localhost`.
    ///
    /// # Errors
    /// When the server was not started by [`MongoOptions::secured`].
    pub fn authority(&self) -> Result<&Path, ServerError> {
        let certificates = self.own()?.certificates.as_ref();
        certificates.map(Certificates::authority).ok_or_else(|| ServerError::Unfit {
            what: "this server has no certificates".to_owned(),
            remedy: "start one with `MongoOptions::secured`",
        })
    }

    /// The number of its process, the last one if it has ended.
    ///
    /// # Errors
    /// When the server is not the caller's own, as for all that follow.
    pub fn process_id(&self) -> Result<u32, ServerError> {
        Ok(self.own()?.process().id())
    }

    /// Kills it by SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.own()?.end(&["KILL"], "being killed")
    }

    /// Stops it in order by SIGTERM, and returns when it is gone. One that is paused is resumed for that.
    ///
    /// # Errors
    /// When it takes longer than a minute.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.own()?.end(&["TERM", "CONT"], "stopping")
    }

    /// Halts it by SIGSTOP: its connections stay, but nothing answers.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.own()?.process().signal("STOP")
    }

    /// Lets it go on, by SIGCONT.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.own()?.process().signal("CONT")
    }

    /// Starts it again at the same address and with the same data, and returns when it answers. One that is still running is stopped in order
    /// before.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&self) -> Result<(), ServerError> {
        let own = self.own()?;
        if !own.process().is_gone() {
            self.stop()?;
        }
        let mut process = own.process();
        let mut attempts = 0;
        loop {
            attempts += 1;
            // The new one before the old one is let go: there is no moment in which nobody would remove the data.
            let new = Supervised::start(&own.launch)?;
            mem::replace(&mut *process, new).release();
            match await_ready(&mut process, &own.address, own.asked, START) {
                Err(ServerError::Ended { log, .. }) if log.contains(TAKEN) && attempts < 5 => {
                    thread::sleep(Duration::from_millis(500));
                }
                other => return other,
            }
        }
    }
}

impl Own {
    fn process(&self) -> MutexGuard<'_, Supervised> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, signals: &[&str], doing: &str) -> Result<(), ServerError> {
        let process = self.process();
        for signal in signals {
            process.signal(signal)?;
        }
        if process.wait(STOP) { Ok(()) } else { Err(process.slow(doing, STOP)) }
    }
}

fn uri_of(address: &str) -> String {
    format!("mongodb://{address}")
}

/// An address as it may be told.
fn without_password(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}://..{}", &address[..start], &address[end..]),
        _ => address.to_owned(),
    }
}

/// A given address that can be asked as it is must answer; what needs a resolver or TLS is left to the driver.
fn check_given(uri: &str) -> Result<(), ServerError> {
    let Some(rest) = uri.strip_prefix("mongodb://") else { return Ok(()) };
    if uri.contains("tls=true") || uri.contains("ssl=true") {
        return Ok(());
    }
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = hosts.rsplit('@').next().unwrap_or_default();
    let first = hosts.split(',').next().unwrap_or_default();
    let address = if first.contains(':') { first.to_owned() } else { format!("{first}:27017") };
    hello::ask(&address, Duration::from_secs(10))
        .map(drop)
        .map_err(ServerError::io(format!("ask the server at {address}, which {ADDRESS} names")))
}

/// Waits until the server answers, and takes writes.
fn await_ready(
    process: &mut Supervised,
    address: &str,
    asked: Asked,
    limit: Duration,
) -> Result<(), ServerError> {
    const DOING: &str = "starting";
    let since = Instant::now();
    loop {
        let patience = Duration::from_secs(2);
        let ready = match asked {
            Asked::Hello { replica_set } => hello::ask(address, patience)
                .is_ok_and(|hello| hello.writable && hello.replica_set == replica_set),
            Asked::Connection => address
                .parse::<SocketAddr>()
                .is_ok_and(|address| TcpStream::connect_timeout(&address, patience).is_ok()),
        };
        if process.is_gone() {
            return Err(process.ended(DOING));
        }
        if ready {
            return Ok(());
        }
        if since.elapsed() > limit {
            return Err(process.slow(DOING, limit));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
