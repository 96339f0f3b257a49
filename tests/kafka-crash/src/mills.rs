//! What the program `kafka-mill` runs.

use std::time::Duration;

use watermill::kafka::KafkaBroker;
use watermill::prelude::*;
use watermill::{Backoff, RunError, RunReport};

use crate::records::{A, B, Kind, Saw};

/// How a mill runs. As arguments: `key=value`, in any order.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which mill.
    pub kind: Kind,
    /// `bootstrap.servers`.
    pub servers: String,
    /// The application.
    pub application: String,
    /// The master's topic.
    pub from: String,
    /// The topic of the right side, the master's in a self-join.
    pub right: String,
    /// The topic of the results.
    pub to: String,
    /// Commits when this much time has passed.
    pub every: Duration,
    /// The function takes this long.
    pub slow: Duration,
    /// For the master of this id, it takes that long.
    pub hang: Option<(i64, Duration)>,
    /// A static member of this name.
    pub member: Option<String>,
    /// Options of the clients.
    pub options: Vec<(String, String)>,
    /// How long the servers may be gone.
    pub retry: Option<Duration>,
    /// How often the run begins again after a failure of the storage.
    pub restarts: u32,
}

impl Settings {
    /// A mill that commits often and is done at once.
    #[must_use]
    pub fn new(kind: Kind, servers: &str, application: &str, topics: [&str; 3]) -> Self {
        let [from, right, to] = topics.map(str::to_owned);
        Self {
            kind,
            servers: servers.to_owned(),
            application: application.to_owned(),
            from,
            right,
            to,
            every: Duration::from_millis(50),
            slow: Duration::ZERO,
            hang: None,
            member: None,
            options: Vec::new(),
            retry: None,
            restarts: 0,
        }
    }

    /// The same with an option of the clients.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl ToString) -> Self {
        self.options.push((name.to_owned(), value.to_string()));
        self
    }

    /// As arguments of the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("kind={}", self.kind.name()),
            format!("servers={}", self.servers),
            format!("application={}", self.application),
            format!("from={}", self.from),
            format!("right={}", self.right),
            format!("to={}", self.to),
            format!("every={}", self.every.as_micros()),
            format!("slow={}", self.slow.as_micros()),
            format!("restarts={}", self.restarts),
        ];
        arguments.extend(self.member.as_ref().map(|member| format!("member={member}")));
        arguments.extend(self.retry.map(|retry| format!("retry={}", retry.as_micros())));
        arguments.extend(self.hang.map(|(id, time)| format!("hang={id}:{}", time.as_micros())));
        arguments.extend(self.options.iter().map(|(name, value)| format!("option={name}:{value}")));
        arguments
    }

    /// From the arguments of the program.
    ///
    /// # Panics
    /// When they are not as [`Settings::arguments`] writes them.
    #[must_use]
    pub fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut settings = Self::new(Kind::SelfJoin, "", "", ["", "", ""]);
        let micros = |text: &str| Duration::from_micros(text.parse().expect("microseconds"));
        for argument in arguments {
            let (key, value) = argument.split_once('=').expect("key=value");
            let two = || value.split_once(':').expect("two values");
            match key {
                "kind" => settings.kind = Kind::of(value),
                "servers" => value.clone_into(&mut settings.servers),
                "application" => value.clone_into(&mut settings.application),
                "from" => value.clone_into(&mut settings.from),
                "right" => value.clone_into(&mut settings.right),
                "to" => value.clone_into(&mut settings.to),
                "every" => settings.every = micros(value),
                "slow" => settings.slow = micros(value),
                "restarts" => settings.restarts = value.parse().expect("a number"),
                "member" => settings.member = Some(value.to_owned()),
                "retry" => settings.retry = Some(micros(value)),
                "hang" => settings.hang = Some((two().0.parse().expect("an id"), micros(two().1))),
                "option" => settings.options.push((two().0.to_owned(), two().1.to_owned())),
                _ => panic!("{argument} is no setting"),
            }
        }
        settings
    }
}

/// Runs the mill to its end, or until a signal comes.
///
/// # Errors
/// That of the run.
pub fn run(settings: &Settings) -> Result<RunReport, RunError> {
    let mut broker = KafkaBroker::new(&settings.servers, &settings.application)
        .read::<A>(&settings.from)
        .read::<B>(&settings.right)
        .write::<Saw>(settings.to.as_str());
    for (name, value) in &settings.options {
        broker = broker.option(name, value);
    }
    if let Some(member) = &settings.member {
        broker = broker.static_member(member);
    }
    if let Some(retry) = settings.retry {
        broker = broker.retry_for(retry);
    }
    let (slow, hang) = (settings.slow, settings.hang);
    let see = move |a: &A, b: &Joined<A, B>| {
        if !slow.is_zero() {
            std::thread::sleep(slow);
        }
        if let Some((id, time)) = hang.filter(|(id, _)| *id == a.id) {
            eprintln!("record {id} takes {time:?}");
            std::thread::sleep(time);
        }
        Saw { id: a.id, with: b[a].iter().map(|right| right.id).collect() }
    };
    let join = match settings.kind {
        Kind::SelfJoin => JoinWith::new(A::fields().time + 3, B::fields().time),
        Kind::TwoTopics => JoinWith::new(A::fields().time, B::fields().time).within(-1..=1).left(),
    };
    Mill::new(see)
        .join(join)
        .commit_every(settings.every)
        .restart(settings.restarts, Backoff::fixed(Duration::from_millis(200)))
        .stop_on_signals()
        .run_blocking(broker)
}
