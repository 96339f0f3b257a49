//! Every parameter and every return type, in one program without a warning.
#![deny(warnings)]

use watermill::prelude::*;

#[derive(Clone, StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
}

#[derive(StreamRecord)]
struct Late {
    time: i64,
}

fn every_parameter(
    flights: &[Flight],
    onward: &Joined<Flight, Onward>,
    out: &mut Out<Late>,
    limit: Inject<i64>,
    meta: &Meta<Flight>,
    window: &WindowInfo,
) {
    for flight in flights {
        out.extend(onward[flight].iter().map(|next| Late { time: next.time + *limit }));
    }
    let _ = (meta.offset(), window.index());
}

fn returns_an_option(flight: &Flight) -> Option<Late> {
    (flight.time > 0).then_some(Late { time: flight.time })
}

fn returns_results(flight: &Flight) -> Result<Vec<Late>, std::num::TryFromIntError> {
    Ok(vec![Late { time: u8::try_from(flight.time)?.into() }])
}

fn returns_flow(flight: &Flight) -> Flow<Option<Late>> {
    if flight.time > 10 { Flow::End } else { Flow::Go(Some(Late { time: flight.time })) }
}

async fn asynchronous(flight: &Flight, onward: &Joined<Flight, Onward>) -> Result<Late, watermill::error::BoxError> {
    Ok(Late { time: flight.time + onward[flight][0].time })
}

fn main() {
    let _ = Mill::new(every_parameter);
    let _ = Mill::new(returns_an_option);
    let _ = Mill::new(returns_results);
    let _ = Mill::new(returns_flow);
    let _ = Mill::new_async(asynchronous);
    let _ = Mill::new_async(async |flight: &Flight| Late { time: flight.time });
    let _ = Mill::per_lane(|| {
        let mut seen = 0;
        move |flight: &Flight| {
            seen += 1;
            (seen % 2 == 0).then_some(Late { time: flight.time })
        }
    });
    // The type of a literal follows from the left key.
    let _ = JoinWith::new(Flight::fields().time, |_: &Onward| 5).and(|_: &Flight| 1_u8, |_: &Onward| 1);
    let name = String::from("captured");
    let _ = Mill::new(move |flight: &Flight| (name.len() > 3).then(|| flight.clone()));
}
