//! What a system call costs under the filter of each mode, beside none, behind Landlock too, and beside crun with the same filter by
//! libseccomp.

use std::ffi::OsString;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::place::Place;
use crate::shape::words;
use crate::stats::{median, ratio};
use crate::sys;

/// The calls, and how many of them stand for one where a broker may be asked. The kernel remembers of a filter which calls it allows
/// whatever their arguments (`getpid`, `read`, `openat` with its close(2)); for `unshare`, here of nothing, it runs the filter each time.
/// `sendmsg` is of a byte between a pair of streams; `connect` to a Unix socket of its own by path, with socket(2), accept(2) and close(2).
const CALLS: [(&str, u32); 6] = [("getpid", 1), ("read", 1), ("openat", 1), ("unshare", 1), ("sendmsg", 100), ("connect", 200)];
/// Of each call in one sample.
const TIMES: u32 = 200_000;

/// Who runs the loop.
struct Runner {
    name: &'static str,
    line: Vec<OsString>,
}

/// Prints nanoseconds per call, and ratios to no filter, of each round.
pub fn measure(place: &Place, codexrun: &Path, rounds: usize) -> Result<()> {
    let runners = runners(place, codexrun)?;
    let mut samples = vec![[const { Vec::new() }; CALLS.len()]; runners.len()];
    for _ in 0..rounds {
        for (runner, samples) in runners.iter().zip(&mut samples) {
            let times = once(runner, &place.at("repo"))?;
            samples.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        }
    }
    println!(
        "ns of processor time per system call (of `sendmsg` and `connect`, of the clock's), median of {rounds} rounds; ratio to no filter\n{:<26}{}",
        "",
        CALLS.map(|(c, _)| format!("{c:>18}")).concat()
    );
    for (runner, own) in runners.iter().zip(&samples) {
        let cell = |n: usize| match own[n].iter().any(|time| time.is_nan()) {
            true => format!("{:>18}", "refused"),
            false => format!("{:>10.0} {:>7.2}", median(&own[n]), ratio(&own[n], &samples[0][n])),
        };
        println!("{:<26}{}", runner.name, (0..CALLS.len()).map(cell).collect::<String>());
    }
    Ok(())
}

fn runners(place: &Place, codexrun: &Path) -> Result<Vec<Runner>> {
    let us = place.adopt(&std::env::current_exe()?, "bench")?;
    let work = vec![us.into(), "--loop".into(), TIMES.to_string().into()];
    let policy = |network: serde_json::Value| {
        let entry = json!({"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"});
        let file = place.at(&format!("{}.json", network.as_str().unwrap_or("proxy")));
        let text = json!({"file_system": {"kind": "restricted", "entries": [entry]}, "network": network}).to_string();
        std::fs::write(&file, text).map(|()| file.display().to_string())
    };
    let sandbox = |name, policy: &str, options: &str| {
        let line = [vec![codexrun.into()], words(&format!("sandbox --policy {policy} {options} --")), work.clone()].concat();
        Runner { name, line }
    };
    let mut all = vec![
        Runner { name: "no filter", line: work.clone() },
        sandbox("danger-full-access", "danger-full-access", ""),
        sandbox("network off", &policy(json!("restricted"))?, ""),
        sandbox("network off, datagrams", &policy(json!("restricted"))?, "--unix-datagrams"),
        sandbox("proxy-only", &policy(json!({"mode": "proxy"}))?, "--env HTTP_PROXY=http://127.0.0.1:9"),
        sandbox("network on", &policy(json!("enabled"))?, ""),
        sandbox("network off, --landlock", &policy(json!("restricted"))?, "--landlock"),
    ];
    if Command::new("crun").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        all.push(crun(place, codexrun, &work)?);
    }
    Ok(all)
}

/// The bundle of "network off".
fn crun(place: &Place, codexrun: &Path, work: &[OsString]) -> Result<Runner> {
    let bundle = place.at("filter");
    let mut spec = Command::new(codexrun);
    spec.args(["spec", "--from-policy"]).arg(place.at("restricted.json")).arg("--bundle").arg(&bundle).arg("--").args(work);
    if !spec.current_dir(place.at("repo")).status()?.success() {
        return Err(Error::other("codexrun spec failed"));
    }
    let state = place.at("state").display().to_string();
    let line = words(&format!("crun --root {state} --cgroup-manager disabled run --bundle {} bench-filter", bundle.display()));
    Ok(Runner { name: "network off, by crun", line })
}

/// Nanoseconds per call, in the order of [`CALLS`].
fn once(runner: &Runner, cwd: &Path) -> Result<[f64; CALLS.len()]> {
    let out = Command::new(&runner.line[0]).args(&runner.line[1..]).current_dir(cwd).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let said = || Error::other(format!("{}: {}", runner.name, String::from_utf8_lossy(&out.stderr)));
    times.try_into().map_err(|_| said())
}

/// The payload: makes each call so often, and prints what one took; NaN for one that is refused.
pub fn work(times: u32) -> Result<()> {
    let sockets = Sockets::new()?;
    for (call, share) in CALLS {
        let times = (times / share).max(1);
        let one = || match call {
            "sendmsg" => sockets.send(),
            "connect" => sockets.connect(),
            _ => sys::trifle(call),
        };
        // What the broker makes takes its processor time too.
        let clock = if matches!(call, "sendmsg" | "connect") { sys::now } else { sys::spent };
        let start = clock();
        match (0..times).try_for_each(|_| one()) {
            Ok(()) => println!("{}", (clock() - start) as f64 / f64::from(times)),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => println!("NaN"),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A pair, and a listener where every sandbox may write, if there may be one.
struct Sockets {
    pair: (UnixStream, UnixStream),
    listener: Result<UnixListener>,
    path: PathBuf,
}

impl Sockets {
    fn new() -> Result<Sockets> {
        let path = PathBuf::from(format!("/dev/shm/codexrun-bench-{}", std::process::id()));
        Ok(Sockets { pair: UnixStream::pair()?, listener: UnixListener::bind(&path), path })
    }

    fn send(&self) -> Result<()> {
        sys::send_message(&self.pair.0)?;
        (&self.pair.1).read_exact(&mut [0])
    }

    fn connect(&self) -> Result<()> {
        let listener = self.listener.as_ref().map_err(|e| Error::from(e.kind()))?;
        let _client = UnixStream::connect(&self.path)?;
        listener.accept().map(drop)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if self.listener.is_ok() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
