//! Apps: what fails is started again, what fails for good ends all, and the page tells of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Kept, Number, counting, each, until, values, window};
use serde_json::Value;
use watermill_core::Backoff;
use watermill_core::error::BoxError;
use watermill_core::prelude::*;
use watermill_streams::source::{Intake, from_broker, then_close};
use watermill_streams::{App, State, Stream};

fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (code, serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn sources_mills_and_sinks_run_together_and_end_together() {
    each(|kept| {
        let results = Collected::<common::Window>::new();
        let app = App::on(&kept.streams)
            .source::<Number>("count", "numbers", counting)
            .mill("windows", |streams| {
                let numbers: Stream<Number> = streams.stream("numbers")?;
                let windows: Stream<common::Window> = streams.stream("windows")?;
                Ok(Mill::new(window).window(Window::count(3)).start(numbers.consumer().write(&windows))?)
            })
            .sink::<common::Window>("keep", "windows", MemoryBroker::new().write(&results))
            .serve("127.0.0.1:0")
            .start()
            .unwrap();
        let address = app.address().unwrap();
        until("windows come", || app.status().unwrap().parts[2].results >= 3);
        assert_eq!(get(address, "/healthz"), (200, serde_json::json!({"healthy": true, "failing": []})));
        let (code, page) = get(address, "/status");
        assert_eq!(
            (code, page["healthy"].as_bool(), page["stopping"].as_bool()),
            (200, Some(true), Some(false))
        );
        let parts = page["parts"].as_array().unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["count", "windows", "keep"]);
        assert!(parts[0]["appended"].as_u64().unwrap() >= 9 && parts[1]["calls"].as_u64().unwrap() >= 3);
        assert!(parts[1]["last_commit"].as_i64().is_some() && parts[1]["last_error"].is_null());
        let streams = page["streams"].as_array().unwrap();
        let numbers = streams.iter().find(|stream| stream["name"] == "numbers").unwrap();
        assert!(numbers["appended"].as_u64().unwrap() >= 9 && numbers["status"] == "open");
        assert!(numbers["subscriptions"][0]["lag"].as_u64().is_some());
        assert_eq!(get(address, "/nothing").0, 404);
        app.stop();
        let status = app.wait_blocking().unwrap();
        assert!(status.stopping && status.parts.iter().all(|part| part.state == State::Ended));
        // It does not answer any more.
        assert!(TcpStream::connect(address).is_err());
        // What was counted is in windows, or waits.
        let windows = results.take();
        let shown: Vec<u64> = windows.iter().flat_map(|window| window.values.clone()).collect();
        assert_eq!(shown, (0..shown.len() as u64).collect::<Vec<_>>());
    });
}

#[test]
fn an_app_ends_by_itself_when_all_its_parts_have() {
    let kept = Kept::in_file();
    let numbers = (0..100).map(|value| Number { value }).collect();
    let source = then_close(from_broker(MemoryBroker::new().read::<Number>(numbers)));
    let status = App::on(&kept.streams)
        .source::<Number>("memory", "numbers", source)
        .mill("windows", |streams| {
            let numbers: Stream<Number> = streams.stream("numbers")?;
            let windows: Stream<common::Window> = streams.stream("windows")?;
            Ok(Mill::new(window).window(Window::count(10)).start(numbers.consumer().write(&windows))?)
        })
        .run()
        .unwrap();
    assert_eq!((status.parts[1].calls, status.is_healthy(), status.stopping), (10, true, false));
}

#[test]
fn a_part_that_fails_is_told_of_and_started_again_while_the_others_go_on() {
    let kept = Kept::in_file();
    let broken = Arc::new(AtomicBool::new(true));
    let repaired = Arc::clone(&broken);
    let app = App::on(&kept.streams)
        .backoff(Backoff::fixed(Duration::from_millis(20)))
        .source::<Number>("count", "numbers", counting)
        .mill("mill", move |streams| {
            let broken = Arc::clone(&broken);
            let call = move |_: &Number| {
                if broken.load(Ordering::Relaxed) { Err(BoxError::from("as a test")) } else { Ok(()) }
            };
            Ok(Mill::new(call).start(streams.stream::<Number>("numbers")?)?)
        })
        .serve("127.0.0.1:0")
        .start()
        .unwrap();
    let address = app.address().unwrap();
    until("it is started again", || app.status().unwrap().parts[1].restarts > 1);
    until("it is told of", || {
        get(address, "/healthz") == (503, serde_json::json!({"healthy": false, "failing": ["mill"]}))
    });
    let (_, page) = get(address, "/status");
    assert!(page["parts"][1]["last_error"].as_str().unwrap().contains("as a test"), "{page}");
    assert_eq!(page["parts"][0]["state"], "running");
    repaired.store(false, Ordering::Relaxed);
    until("it goes on", || app.status().unwrap().parts[1].calls > 3);
    assert_eq!(get(address, "/healthz").0, 200);
    app.stop();
    app.wait_blocking().unwrap();
}

#[test]
fn a_part_that_fails_for_good_ends_the_app() {
    let kept = Kept::in_memory();
    let closed = kept.numbers("closed", []);
    closed.close().unwrap();
    let app = App::on(&kept.streams).source::<Number>("count", "numbers", counting).source::<Number>(
        "late",
        "closed",
        |intake: &mut Intake<Number>| intake.append(&Number { value: 1 }),
    );
    let error = app.start().unwrap().wait_blocking().unwrap_err();
    assert_eq!(error.to_string(), "source `late` has failed");
    // A mill that cannot be built is the same the next time.
    let app = App::on(&kept.streams).mill("wrong", |streams| {
        let numbers: Stream<Number> = streams.stream("numbers")?;
        Ok(Mill::new(|_: &Json| ()).start(numbers)?)
    });
    let error = app.start().unwrap().wait_blocking().unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("cannot be built"), "{error:?}");
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_runs() {
    let kept = Kept::in_memory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for address in [address.as_str(), "nowhere"] {
        let app = App::on(&kept.streams).source::<Number>("count", "numbers", counting).serve(address);
        let error = app.start().unwrap_err();
        assert!(error.to_string().contains(&format!("serve on {address}")), "{error}");
    }
    assert!(kept.streams.list("*").unwrap().is_empty());
}

#[test]
fn what_was_counted_is_counted_on_when_the_app_is_started_again() {
    let kept = Kept::in_file();
    for _ in 0..3 {
        let app = App::on(&kept.streams).source::<Number>("count", "numbers", counting).start().unwrap();
        until("it appends", || app.status().unwrap().parts[0].appended > 5);
        app.stop();
        app.wait_blocking().unwrap();
    }
    let all = values(&kept.numbers("numbers", []));
    assert!(all.len() > 15);
    assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>());
}
