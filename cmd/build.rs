//! How the program is linked.

use std::env::var;

fn main() {
    // A static program that may lie anywhere relocates itself when it starts, and reads a table of what to relocate. Packed
    // (DT_RELR; glibc 2.36, musl 1.2.4) that table is a hundredth of its size: a quarter of a MiB less to read and to keep.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Of what lies around the functions that a launch runs the kernel maps 64 KiB at a time: so they lie together (scripts/order). Names
    // that are no more are passed over. Only lld knows the option, which is rustc's own linker on this target.
    let lld = var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu");
    if lld && var("PROFILE").is_ok_and(|profile| profile == "release") {
        let here = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering,--symbol-ordering-file={here}/text.order");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=text.order");
}
