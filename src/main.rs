//! The `pxc-link` binary.
fn main() {}
