//! The engine gives exactly what a nested loop over everything gives: every tree shape, every match, every keep.
//!
//! A failure prints the smallest case found and a line to put into `engine_equals_oracle.seeds`, which is replayed first
//! from then on. `ORACLE_FACTOR=10` runs ten times as many cases.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use watermill_oracle::case::{Sizes, cases};
use watermill_oracle::shape::{self, Shape, check, check_failing};

fn runner(count: u32) -> TestRunner {
    let factor = std::env::var("ORACLE_FACTOR").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    TestRunner::new(ProptestConfig {
        cases: count * factor,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("seeds"))),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })
}

fn agree(shape: &Shape, count: u32, rows: usize) {
    let sizes = Sizes { rows, disorder: false };
    let result = runner(count).run(&cases(shape.edges, sizes), |case| check(shape, &case));
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn agree_without_bad_rows(shape: &Shape, count: u32, rows: usize) {
    let sizes = Sizes { rows, disorder: true };
    let result = runner(count).run(&cases(shape.edges, sizes), |case| check(shape, &case));
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn stop_at_bad_rows(shape: &Shape, count: u32, rows: usize) {
    let sizes = Sizes { rows, disorder: true };
    let result = runner(count).run(&cases(shape.edges, sizes), |case| check_failing(shape, &case));
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn one_join() {
    agree(&shape::one(), 3000, 30);
}

#[test]
fn one_join_of_long_streams() {
    agree(&shape::one(), 100, 400);
}

#[test]
fn chain_of_two() {
    agree(&shape::chain_2(), 2000, 20);
}

#[test]
fn chain_of_three() {
    agree(&shape::chain_3(), 1000, 14);
}

#[test]
fn chain_of_four() {
    agree(&shape::chain_4(), 1000, 10);
}

#[test]
fn star_of_two() {
    agree(&shape::star_2(), 1000, 24);
}

#[test]
fn star_of_five() {
    agree(&shape::star_5(), 500, 14);
}

#[test]
fn fork_below() {
    agree(&shape::fork_below(), 1000, 14);
}

#[test]
fn two_chains() {
    agree(&shape::two_chains(), 800, 12);
}

#[test]
fn mixed_tree() {
    agree(&shape::mixed(), 800, 10);
}

#[test]
fn deep_fork() {
    agree(&shape::deep_fork(), 800, 10);
}

#[test]
fn bad_rows_are_skipped_and_counted() {
    agree_without_bad_rows(&shape::one(), 600, 24);
    agree_without_bad_rows(&shape::chain_2(), 400, 16);
    agree_without_bad_rows(&shape::mixed(), 200, 10);
}

#[test]
fn bad_rows_stop_the_run_where_the_walk_gets_to_them() {
    stop_at_bad_rows(&shape::one(), 600, 24);
    stop_at_bad_rows(&shape::chain_2(), 400, 16);
    stop_at_bad_rows(&shape::mixed(), 200, 10);
}
