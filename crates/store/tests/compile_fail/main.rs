//! The compiler refuses what a lease forbids, with a readable message.

#[test]
fn a_second_connection_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/cases/*.rs");
}
