//! Started in its own issue; see README.
fn main() {}
