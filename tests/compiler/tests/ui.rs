//! What the compiler says about mistakes in functions and joins: each text must name the fix.
//!
//! After a change, look at what is written with `TRYBUILD=overwrite cargo test -p watermill-compiler-messages` before it is committed: the text is what
//! users read.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/function/*.rs");
    cases.compile_fail("tests/ui/join/*.rs");
}
