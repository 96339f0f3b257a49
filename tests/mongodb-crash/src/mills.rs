//! What the program runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watermill::mongodb::{Lanes, MongoBroker, WatchCollection};
use watermill::prelude::*;
use watermill::{RunError, RunReport};

/// Where a robot was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
pub struct Here {
    /// Which one.
    pub robot: i64,
    /// When.
    pub time: i64,
    /// Where.
    pub x: i64,
}

/// The same, seen a second time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
pub struct Next {
    /// Which one.
    pub robot: i64,
    /// When.
    pub time: i64,
    /// Where.
    pub x: i64,
}

/// How far it went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, StreamRecord)]
pub struct Moved {
    /// Which one.
    pub robot: i64,
    /// From when.
    pub time: i64,
    /// How far.
    pub by: i64,
}

/// So much later the partner of a record is.
pub const LATER: i64 = 10;

/// What kind of mill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A collection as it is.
    Read,
    /// A collection that grows, by its change stream.
    Watch,
    /// A collection as it is, in four lanes by a hash.
    Lanes,
    /// The same, by ranges.
    Ranges,
}

/// How it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the server is.
    pub uri: String,
    /// Which database.
    pub database: String,
    /// What is read, and how.
    pub kind: Kind,
    /// How often it commits.
    pub every: Duration,
    /// How long a call takes.
    pub call: Duration,
    /// How many lanes it walks at most.
    pub most: u32,
}

impl Settings {
    /// As arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let kind = match self.kind {
            Kind::Read => "read",
            Kind::Watch => "watch",
            Kind::Lanes => "lanes",
            Kind::Ranges => "ranges",
        };
        let micros = |time: Duration| time.as_micros().to_string();
        vec![
            self.uri.clone(),
            self.database.clone(),
            kind.to_owned(),
            micros(self.every),
            micros(self.call),
            self.most.to_string(),
        ]
    }

    /// From arguments.
    ///
    /// # Panics
    /// When one is missing or is none.
    #[must_use]
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut next = || arguments.next().expect("an argument");
        let (uri, database) = (next(), next());
        let kind = match next().as_str() {
            "read" => Kind::Read,
            "watch" => Kind::Watch,
            "lanes" => Kind::Lanes,
            "ranges" => Kind::Ranges,
            other => panic!("{other} is no kind"),
        };
        let mut micros = || Duration::from_micros(next().parse().expect("a number"));
        let (every, call) = (micros(), micros());
        let most = next().parse().expect("a number");
        Self { uri, database, kind, every, call, most }
    }
}

/// Runs it.
///
/// # Errors
/// As the mill.
pub fn run(settings: &Settings) -> Result<RunReport, RunError> {
    let call = settings.call;
    let moved = move |here: &Here, next: &Joined<Here, Next>| {
        std::thread::sleep(call);
        Moved { robot: here.robot, time: here.time, by: next[here][0].x - here.x }
    };
    let join = JoinWith::new(Here::fields().time + LATER, Next::fields().time)
        .and(Here::fields().robot, Next::fields().robot);
    let broker = MongoBroker::new(&settings.uri, &settings.database).write::<Moved>("moved").write_eos();
    let broker = match settings.kind {
        Kind::Watch => {
            let watch = || WatchCollection::new("here").inserts_only();
            broker.watch::<Here>(watch()).watch::<Next>(watch())
        }
        Kind::Read | Kind::Lanes | Kind::Ranges => broker.read::<Here>("here").read::<Next>("here"),
    };
    let lanes = match settings.kind {
        Kind::Read | Kind::Watch => None,
        Kind::Lanes => Some(Lanes::by_hash("robot", 4)),
        Kind::Ranges => Some(Lanes::by_range("robot", [2_i64, 4, 6])),
    };
    let broker = match lanes {
        Some(lanes) => broker
            .application("moved")
            .lanes(lanes)
            .most_lanes(settings.most)
            .lease(Duration::from_millis(1500)),
        None => broker,
    };
    Mill::new(moved).join(join).commit_every(settings.every).stop_on_signals().run_blocking(broker)
}
