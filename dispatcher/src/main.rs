//! `rollcall`.
fn main() {}
