//! How the program is linked.

fn main() {
    // A static program that may lie anywhere relocates itself when it starts, and reads a table of what to relocate. Packed
    // (DT_RELR; glibc 2.36, musl 1.2.4) that table is a hundredth of its size: a quarter of a MiB less to read and to keep.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
