//! The endpoint for Prometheus, as clients of all kinds see it.

#![allow(missing_docs, clippy::unwrap_used)]
extern crate watermill_core as watermill;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use watermill::prelude::*;
use watermill::prometheus::serve;

fn ask(address: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn run() {
    let numbers = (0..100).map(|number| Json(number.into())).collect();
    Mill::new(|_: &Json| ()).run_blocking(MemoryBroker::new().read::<Json>(numbers)).unwrap();
}

#[test]
fn every_request_is_answered() {
    let endpoint = serve("127.0.0.1:0").unwrap();
    run();
    let address = endpoint.address();
    let all = ask(address, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(body.contains("# TYPE watermill_call_duration_seconds histogram"), "{body}");
    assert!(body.contains("le=\"0.001\""), "{body}");
    assert!(ask(address, "GET /?x=1 HTTP/1.0\r\n\r\n").contains("watermill_calls_total"));
    assert!(!ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n").contains("watermill_calls_total"));
    assert!(ask(address, "GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
}

#[test]
fn clients_that_misbehave_do_not_stop_it() {
    let endpoint = serve("127.0.0.1:0").unwrap();
    run();
    // One that says nothing, one that leaves in the middle, and one that never comes to an end.
    let silent = TcpStream::connect(endpoint.address()).unwrap();
    let mut leaves = TcpStream::connect(endpoint.address()).unwrap();
    leaves.write_all(b"GET /met").unwrap();
    leaves.shutdown(Shutdown::Both).unwrap();
    let mut long = TcpStream::connect(endpoint.address()).unwrap();
    let _ = long.write_all(&[b'x'; 1 << 16]);
    let start = Instant::now();
    assert!(ask(endpoint.address(), "GET / HTTP/1.1\r\n\r\n").contains("watermill_calls_total"));
    assert!(start.elapsed() < Duration::from_secs(30));
    drop((silent, long));
}

#[tokio::test]
async fn it_serves_within_a_runtime_and_shows_a_run_under_way() {
    let endpoint = serve("127.0.0.1:0").unwrap();
    let text = tokio::task::spawn_blocking(move || {
        let mut test = watermill::testing::TestMill::new(Mill::new(|_: &Json| ())).unwrap();
        test.run().unwrap();
        endpoint.text()
    });
    let text = text.await.unwrap();
    assert!(
        text.lines().any(|line| line.starts_with("watermill_waiting{") && line.ends_with(" 1")),
        "{text}"
    );
}
