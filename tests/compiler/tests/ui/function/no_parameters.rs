//! A function without a master, and something that is no function.

use watermill::prelude::*;

fn nothing() {}

fn main() {
    let _ = Mill::new(nothing);
    let _ = Mill::new("robot_speed");
}
