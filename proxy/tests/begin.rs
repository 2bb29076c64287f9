//! A proxy that has not what it needs says so in place of its port.

use std::process::{Command, Stdio};

/// Of memory, up to where the thread begins; beyond that the standard library itself may want more.
#[test]
fn a_proxy_without_memory_for_a_thread_says_why_it_has_no_port() {
    let mut said = Vec::new();
    for kib in (100..600).step_by(12) {
        let mut proxy = Command::new("prlimit");
        proxy.arg(format!("--data={}", kib * 1024)).arg(env!("CARGO_BIN_EXE_codexrun-proxy")).stdin(Stdio::null());
        let Ok(ended) = proxy.output() else { return eprintln!("skipped: there is no prlimit") };
        let [out, err] = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(!err.contains("panicked"), "{kib} KiB: {err}");
        if out.starts_with("the proxy cannot begin a thread: ") {
            return assert_eq!(ended.status.code(), Some(1), "{kib} KiB: {out}");
        }
        said.push(out);
    }
    panic!("{said:?}");
}
