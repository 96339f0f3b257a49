//! What the compiler says about mistakes, folder by cause, and what it must not complain about.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    for cause in ["attributes", "key", "kind", "record", "use"] {
        cases.compile_fail(format!("tests/ui/{cause}/*.rs"));
    }
}
