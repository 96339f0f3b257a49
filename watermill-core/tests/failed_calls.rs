//! Calls that fail for good leave dead letters of their masters, in the same commit and in order, however calls are made.

#![allow(missing_docs, clippy::unwrap_used)]

extern crate watermill_core as watermill;

use std::time::Duration;

use watermill::prelude::*;
use watermill::{Backoff, DeadLetter, OnError};
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Order {
    id: u64,
}

#[derive(StreamRecord, Debug, PartialEq)]
struct Booked {
    id: u64,
}

/// Every seventh order fails.
fn fails(id: u64) -> bool {
    id % 7 == 3
}

fn orders() -> Vec<Order> {
    (0..200).map(|id| Order { id }).collect()
}

/// Runs a mill over the orders, in odd batches, and looks at what came out.
fn check(mill: Mill<Order>, attempts: u32) {
    let (booked, letters) = (Collected::<Booked>::new(), Collected::<DeadLetter>::new());
    let broker = MemoryBroker::new().batch(13).read(orders()).write(&booked).write(&letters);
    let report = mill.run_blocking(broker).unwrap();
    let bad: Vec<u64> = (0..200).filter(|id| fails(*id)).collect();
    assert_eq!((report.calls, report.given_up), (200, bad.len() as u64));
    assert_eq!(report.retries, bad.len() as u64 * u64::from(attempts - 1));
    assert!(booked.take().iter().map(|booked| booked.id).eq((0..200).filter(|id| !fails(*id))));
    let letters = letters.take();
    assert!(letters.iter().map(|letter| letter.offset).eq(bad.iter().copied()));
    for letter in &letters {
        let told = (letter.stream.as_str(), letter.kind.as_str(), letter.attempts);
        assert_eq!(told, ("Order", "function", attempts));
        assert_eq!(letter.error, format!("no {}", letter.offset));
    }
}

fn book(order: &Order, out: &mut Out<Booked>) -> Result<(), String> {
    // What a failed call wrote is dropped.
    out.push(Booked { id: order.id });
    if fails(order.id) { Err(format!("no {}", order.id)) } else { Ok(()) }
}

async fn book_later(order: &Order) -> Result<Booked, String> {
    tokio::task::yield_now().await;
    if fails(order.id) { Err(format!("no {}", order.id)) } else { Ok(Booked { id: order.id }) }
}

fn book_elsewhere(order: &Order, ack: Ack<Booked>) {
    let id = order.id;
    std::thread::spawn(
        move || if fails(id) { ack.fail(format!("no {id}")) } else { ack.save([Booked { id }]) },
    );
}

#[test]
fn one_after_the_other() {
    check(Mill::new(book).on_error(OnError::dead_letter()), 1);
    check(Mill::new_async(book_later).on_error(OnError::dead_letter()), 1);
}

#[test]
fn with_workers() {
    check(Mill::new(book).workers(3).on_error(OnError::dead_letter()), 1);
}

#[test]
fn in_flight() {
    check(Mill::new_async(book_later).in_flight(10).on_error(OnError::dead_letter()), 1);
}

#[test]
fn by_their_ack() {
    check(Mill::new(book_elsewhere).on_error(OnError::dead_letter()), 1);
    check(Mill::new(book_elsewhere).workers(2).in_flight(20).on_error(OnError::dead_letter()), 1);
}

#[test]
fn after_as_many_attempts_as_the_policy_says() {
    let policy = || OnError::retry(2, Backoff::fixed(Duration::from_micros(10))).then_dead_letter();
    check(Mill::new(book).on_error(policy()), 3);
    check(Mill::new(book).workers(2).on_error(policy()), 3);
    check(Mill::new_async(book_later).in_flight(4).on_error(policy()), 3);
    check(Mill::new(book_elsewhere).on_error(policy()), 3);
}

#[test]
fn of_every_master_of_a_window() {
    for workers in 1..3 {
        let sum =
            |orders: &[Order]| if orders[0].id == 8 { Err("no") } else { Ok(Booked { id: orders[0].id }) };
        let (booked, letters) = (Collected::<Booked>::new(), Collected::<DeadLetter>::new());
        let broker = MemoryBroker::new().batch(3).read(orders()).write(&booked).write(&letters);
        let report = Mill::new(sum)
            .window(Window::count(4))
            .workers(workers)
            .on_error(OnError::dead_letter())
            .run_blocking(broker)
            .unwrap();
        assert_eq!((report.calls, report.given_up), (50, 1));
        assert_eq!(booked.take().len(), 49);
        assert!(letters.take().iter().map(|letter| letter.offset).eq(8..12));
    }
}

#[test]
fn without_a_place_for_them_the_mill_is_refused() {
    let mill = Mill::new(book).on_error(OnError::dead_letter());
    let error =
        mill.run_blocking(MemoryBroker::new().read(orders()).write(&Collected::<Booked>::new())).unwrap_err();
    assert!(error.to_string().contains("no broker writes `DeadLetter`"), "{error}");
}

#[test]
fn an_empty_window_leaves_no_letters_of_the_masters_before_it() {
    let (booked, letters) = (Collected::<Booked>::new(), Collected::<DeadLetter>::new());
    let orders = [0, 1, 25].map(|id| Order { id });
    let broker = MemoryBroker::new().read(orders.into()).write(&booked).write(&letters);
    let book = |window: &[Order]| match window.first() {
        Some(order) => Ok(Booked { id: order.id }),
        None => Err("there are no orders"),
    };
    let windows = Window::fixed(10).with_empty().by(Order::fields().id);
    let report =
        Mill::new(book).window(windows).on_error(OnError::dead_letter()).run_blocking(broker).unwrap();
    assert_eq!((report.calls, report.given_up), (3, 1));
    assert_eq!((booked.take().len(), letters.take()), (2, Vec::new()));
}
