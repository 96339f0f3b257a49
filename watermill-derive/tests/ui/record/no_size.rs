use std::marker::PhantomData;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Nothing {
    nothing: (),
    marker: PhantomData<i64>,
}

fn main() {}
