//! Real flights joined to the flights that leave their destination 45 to 120 minutes later.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};

use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::inputs::Lines;
use crate::measure::Outcome;
use crate::records::{Connection, Connections, Flight};

pub(crate) fn by_hand(job: &Job) -> Result<Outcome, Failure> {
    let (mut left, mut right) = (Lines::open(&job.input)?, Lines::open(&job.input)?);
    let mut out = BufWriter::with_capacity(1 << 17, File::create(&job.output)?);
    let mut results = 0;
    // By the airport they leave.
    let mut leaving: HashMap<String, VecDeque<Connection>> = HashMap::new();
    let mut ahead: Option<Connection> = right.next()?;
    while let Some(flight) = left.next::<Flight>()? {
        while let Some(next) = ahead.take_if(|next| next.date <= flight.date + 120) {
            match leaving.get_mut(&next.origin) {
                Some(queue) => queue.push_back(next),
                None => {
                    leaving.insert(next.origin.clone(), VecDeque::from([next]));
                }
            }
            ahead = right.next()?;
        }
        let Some(queue) = leaving.get_mut(&flight.destination) else { continue };
        while queue.pop_front_if(|next| next.date < flight.date + 45).is_some() {}
        if !queue.is_empty() {
            serde_json::to_writer(&mut out, &Connections::of(&flight, queue.iter()))?;
            out.write_all(b"\n")?;
            results += 1;
        }
    }
    out.flush()?;
    Ok(Outcome::new(results, results))
}

fn connections(flight: &Flight, onward: &Joined<Flight, Connection>) -> Connections {
    Connections::of(flight, onward[flight].iter())
}

pub(crate) fn watermill(job: &Job) -> Result<Outcome, Failure> {
    let files = JsonFileBroker::new()
        .read::<Flight>(&job.input)
        .read::<Connection>(&job.input)
        .write::<Connections>(&job.output);
    let join = JoinWith::new(Flight::fields().date, Connection::fields().date)
        .within(45..=120)
        .and(Flight::fields().destination, Connection::fields().origin);
    let report = Mill::new(connections).join(join).run_blocking(files)?;
    Ok(Outcome::new(report.calls, report.results))
}
