//! The main job: 20,000 real flights, each joined to the flights that leave its destination 45 to 120 minutes after its
//! listed time.
//!
//! What to look at:
//! - The flights are read twice, as `Flight` and as `Onward`: a self-join needs a second type. The file itself is read
//!   and cut into records once.
//! - `date` is text in the file. [`Listed`] turns it into minutes once, while the record is decoded; being a record of its
//!   own, it leads on to its fields in a key: `Flight::fields().date.minutes`.
//! - `within(45..=120)` joins by an interval of time, in which both streams are sorted. `.and(..)` asks for the same airport, in
//!   which neither is.
//! - The join is an inner one (the default): a flight without connections causes no call and no result.
//! - Each call writes one result. The ranking over all calls is kept in an injected value that `main` looks at
//!   when the run is over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use watermill::prelude::*;

const FLIGHTS: &str = "examples/data/flights-20k.json";

#[derive(Deserialize, StreamRecord)]
struct Flight {
    date: Listed,
    origin: String,
    destination: String,
}

/// The same flights seen a second time, as the ones that passengers can change to.
#[derive(Deserialize, StreamRecord)]
struct Onward {
    date: Listed,
    origin: String,
    destination: String,
}

/// A flight with its connections: the result.
#[derive(Serialize, StreamRecord)]
struct Connections {
    date: String,
    origin: String,
    /// The connecting airport: the flight's destination.
    airport: String,
    /// Where one can go on to from there, by time.
    onward: Vec<String>,
}

/// A listed time, `2001/01/01 00:47`: the text, and the minutes that keys are calculated with.
#[derive(Deserialize, StreamRecord)]
#[serde(try_from = "String")]
struct Listed {
    text: String,
    minutes: i64,
}

impl TryFrom<String> for Listed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match minutes(&text) {
            Some(minutes) => Ok(Self { text, minutes }),
            None => Err(format!("`{text}` is no date like `2001/01/01 00:47`")),
        }
    }
}

/// Minutes since the beginning of the year 0.
fn minutes(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let mut date = date.split('/').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days * 24 + hour) * 60 + minute)
}

fn flight_connections(
    flight: &Flight,
    onward: &Joined<Flight, Onward>,
    ranking: Inject<Ranking>,
) -> Connections {
    let onward = &onward[flight];
    ranking.count(&flight.destination, onward.len());
    Connections {
        date: flight.date.text.clone(),
        origin: flight.origin.clone(),
        airport: flight.destination.clone(),
        onward: onward.iter().map(|next| next.destination.clone()).collect(),
    }
}

/// Connections by airport, counted over all calls.
#[derive(Default)]
struct Ranking(Mutex<BTreeMap<String, Tally>>);

#[derive(Default, Clone, Copy)]
struct Tally {
    flights: usize,
    connections: usize,
}

impl Ranking {
    fn count(&self, airport: &str, connections: usize) {
        let mut airports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = match airports.get_mut(airport) {
            Some(tally) => tally,
            None => airports.entry(airport.to_owned()).or_default(),
        };
        tally.flights += 1;
        tally.connections += connections;
    }
}

/// The ten airports with the most connections.
impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let airports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ranked: Vec<_> = airports.iter().collect();
        ranked.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.connections));
        write!(f, "airport  connections  from flights")?;
        for (airport, tally) in ranked.into_iter().take(10) {
            write!(f, "\n{airport:7}  {:11}  {:12}", tally.connections, tally.flights)?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<Flight>(FLIGHTS)
        .read::<Onward>(FLIGHTS)
        .write::<Connections>("out/flight-connections.ndjson");
    let ranking = Arc::new(Ranking::default());

    let connects = JoinWith::new(Flight::fields().date.minutes, Onward::fields().date.minutes)
        .within(45..=120)
        .and(Flight::fields().destination, Onward::fields().origin);
    let report =
        Mill::new(flight_connections).join(connects).inject_shared(Arc::clone(&ranking)).run(files).await?;

    println!("{ranking}\n");
    println!("{report}");
    Ok(())
}
