//! A proxy that has not what it needs says so in place of its word that it serves.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Of memory, up to where the thread begins; beyond that the standard library itself may want more.
#[test]
fn a_proxy_without_memory_for_a_thread_says_why_it_does_not_serve() {
    let mut said = Vec::new();
    for kib in (100..600).step_by(12) {
        let mut proxy = Command::new("prlimit");
        proxy
            .arg(format!("--data={}", kib * 1024))
            .arg(env!("CARGO_BIN_EXE_codexrun-proxy"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let (mut says, its) = UnixStream::pair().unwrap();
        let Ok(running) = proxy.stdout(OwnedFd::from(its)).spawn() else { return eprintln!("skipped: there is no prlimit") };
        drop(proxy);
        says.shutdown(Shutdown::Write).unwrap();
        let (mut out, ended) = (String::new(), running.wait_with_output().unwrap());
        says.read_to_string(&mut out).unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(!err.contains("panicked"), "{kib} KiB: {err}");
        if out.starts_with("the proxy cannot begin a thread: ") {
            return assert_eq!(ended.status.code(), Some(1), "{kib} KiB: {out}");
        }
        said.push(out);
    }
    panic!("{said:?}");
}
