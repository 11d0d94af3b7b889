//! What the lease refuses is refused by the compiler, in words that can be understood.

#[test]
fn a_second_connection_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/cases/*.rs");
}
