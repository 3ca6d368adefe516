//! `rollcall-provision`.
fn main() {}
