//! More parameters than a mill can give.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct A {
    id: u32,
}

#[allow(clippy::too_many_arguments)]
fn many(
    a: &A,
    _: Inject<u8>,
    _: Inject<u16>,
    _: Inject<u32>,
    _: Inject<u64>,
    _: Inject<u128>,
    _: Inject<i8>,
    _: Inject<i16>,
    _: Inject<i32>,
    _: Inject<i64>,
    _: Inject<i128>,
    _: Inject<f32>,
    _: Inject<f64>,
) {
    let _ = a.id;
}

fn main() {
    let _ = Mill::new(many);
}
