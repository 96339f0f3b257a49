//! Windows that cannot be.

use std::time::Duration;

use watermill::prelude::*;
use watermill::window::IntoWindow;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct A {
    time: i64,
    real: f64,
}

#[derive(StreamRecord)]
struct B {
    time: i64,
}

fn mistake(window: impl IntoWindow<A>) -> String {
    Mill::new(|_: &[A]| ()).window(window).explain().unwrap_err().to_string()
}

fn over_join(window: impl IntoWindow<A>) -> Result<String, String> {
    let join = JoinWith::new(A::fields().time, B::fields().time).exists();
    Mill::new(|_: &[A]| ()).join(join).window(window).explain().map_err(|error| error.to_string())
}

#[test]
fn sizes_are_more_than_nothing() {
    let time = || A::fields().time;
    assert!(mistake(Window::fixed(0).by(time())).contains("a window of 0 is no time"));
    assert!(mistake(Window::fixed(-5).by(time())).contains("a window of -5 is no time"));
    assert!(mistake(Window::fixed(f64::NAN).by(A::fields().real)).contains("a window of NaN is no time"));
    assert!(mistake(Window::session(0).by(time())).contains("a gap of 0 is no time"));
    assert!(mistake(Window::fixed(Duration::ZERO)).contains("a window of 0ns is no time"));
    assert!(mistake(Window::relaxed(Duration::ZERO)).contains("would never hold a master"));
    assert!(mistake(Window::count(3).or_after(Duration::ZERO)).contains("one of a single master"));
    let by = Window::by(time()).or_after(Duration::from_secs(1));
    assert!(mistake(by).contains("`.or_after(1s)` was called on a window by time"));
}

#[test]
fn only_windows_of_time_are_empty() {
    assert!(mistake(Window::count(3).with_empty()).contains("only windows of time can be empty"));
    assert!(mistake(Window::session(3).with_empty().by(A::fields().time)).contains("only windows of time"));
    assert!(
        Mill::new(|_: &[A]| ()).window(Window::fixed(3).by(A::fields().time).with_empty()).explain().is_ok()
    );
}

#[test]
fn by_arrival_means_alone() {
    let second = Duration::from_secs(1);
    assert!(
        over_join(Window::fixed(second)).unwrap_err().contains("over joins, let windows of time go by a key")
    );
    assert!(over_join(Window::session(second)).is_err());
    assert!(over_join(Window::relaxed(second)).is_err());
    assert!(
        over_join(Window::fixed(60).by(A::fields().time)).unwrap().contains("fixed window of 60 by time")
    );
    assert!(over_join(Window::count(3).or_after(second)).unwrap().contains("window of 3 or after 1s"));
}

#[test]
fn no_record_is_left_out() {
    let time = || A::fields().time;
    assert!(mistake(Window::sliding(5, 6).by(time())).contains("would leave out the masters between"));
    assert!(mistake(Window::sliding(5, 0).by(time())).contains("a step of 0 is no time"));
    assert!(
        mistake(Window::sliding(Duration::from_secs(1), Duration::from_secs(2)))
            .contains("with a shorter step")
    );
}

#[test]
fn windows_that_share_masters_take_turns() {
    let mill = || Mill::new(|_: &[A]| ()).window(Window::sliding(60, 10).by(A::fields().time));
    let text = |mill: Mill<A>| mill.explain().unwrap_err().to_string();
    assert!(text(mill().workers(2)).contains("leave out `.workers(..)` and `.in_flight(..)`"));
    assert!(text(mill().timeout(Duration::from_secs(1))).contains("leave out `.timeout(..)`"));
    assert!(mill().workers(1).explain().unwrap().contains("sliding window of 60 every 10 by time"));
}
