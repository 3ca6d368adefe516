//! `rollcall-worker`.
fn main() {}
