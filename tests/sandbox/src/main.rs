//! The `cargo sandbox` binary.
fn main() {}
