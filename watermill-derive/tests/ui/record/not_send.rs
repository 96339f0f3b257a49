use std::rc::Rc;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Robot {
    name: Rc<str>,
}

fn main() {}
