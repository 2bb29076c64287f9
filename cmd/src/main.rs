//! The `codexrun` command.
fn main() {}
