//! What a launch costs in each mode, beside one with the network off: of the network, of Unix sockets, of isolation; and bwrap's.

use std::ffi::OsString;
use std::io::{Error, Result};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::contender::{Contender, Shape, Step};
use crate::place::Place;
use crate::round::command;
use crate::shape::{self, Base, words};
use crate::stats::{median, ratio};
use crate::trace;

/// What a launch is judged by: the most that it may be of another line's, in the median of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Most {
    /// Of the first one's.
    OfFirst(f64),
    /// Of bwrap's with the same mounts, the last.
    OfBwrap(f64),
    /// Of the line before.
    OfBefore(f64),
    /// Not judged.
    Any,
}

/// Name, options of `sandbox --policy read-only`, and the most that its launch may be of the first one's; of the first, of bwrap's.
const MODES: &[(&str, &str, f64)] = &[
    ("network off", "", 1.0),
    ("proxy-only", "--managed-network {} --env HTTP_PROXY=http://127.0.0.1:9", 2.5),
    ("own proxy", "--allow-domain example.org", 3.0),
    ("a second wall, --landlock", "--landlock", 1.5),
    ("no namespaces, --isolation landlock", "--isolation landlock --accept-loss processes", 1.0),
];
/// The same policy with the network, which no option of `sandbox` opens.
const ENABLED: &str = r#"{"type": "read-only", "network_access": true}"#;
/// A bundle of the first mode's, and the same without the annotation by which its Unix sockets have a broker.
const BUNDLES: [&str; 2] = ["its bundle, without Unix sockets", "its bundle, with Unix sockets"];
const BROKER: &str = "dev.codexrun.unix-sockets";

/// By which the first is judged; the last.
const SAME: &str = "bwrap, network off, same mounts";

struct Mode {
    name: &'static str,
    line: Vec<OsString>,
    most: Most,
}

/// Prints the figures; whether every target was met. A line that does not run is an error.
pub fn measure(place: &Place, codexrun: &Path, runs: usize) -> Result<bool> {
    let modes = modes(place, codexrun)?;
    let mut times = vec![Vec::new(); modes.len()];
    for _ in 0..runs {
        for (mode, times) in modes.iter().zip(&mut times) {
            times.push(launch(mode, &place.at("repo"))?);
        }
    }
    println!("{:<38}  ratio to the first", format!("launch, median ms of {runs} rounds"));
    let mut good = true;
    for (at, (mode, own)) in modes.iter().zip(&times).enumerate() {
        let (meets, target) = mode.most.judge(at, &times);
        good &= meets;
        println!("  {:<38}{:>8.2}{:>8.2}{target}", mode.name, median(own), ratio(own, &times[0]));
    }
    println!("system calls of a launch");
    for mode in modes.iter().filter(|mode| BUNDLES.contains(&mode.name)) {
        println!("  {:<38}{:>8}", mode.name, calls(mode, place));
    }
    Ok(good)
}

/// Of all its processes.
fn calls(mode: &Mode, place: &Place) -> String {
    let one = Contender {
        shape: Shape::Run,
        name: mode.name,
        set_up: Vec::new(),
        steps: vec![Step::new(mode.line.clone())],
        clean_up: Vec::new(),
        probe: None,
        cwd: place.at("repo"),
        placeholders: Vec::new(),
    };
    trace::count(&one, &place.at("")).map_or("no strace".into(), |calls| calls.total.to_string())
}

impl Most {
    /// Whether the times of the line `at` are as they should be beside `all`, and the words for it.
    fn judge(self, at: usize, all: &[Vec<f64>]) -> (bool, String) {
        let own = &all[at];
        let of = |at: Option<&Vec<f64>>| at.map_or(f64::INFINITY, |times| ratio(own, times));
        match self {
            Most::OfFirst(most) => (of(all.first()) <= most, format!("   at most {most}")),
            Most::OfBwrap(most) => {
                let ratio = of(all.last());
                (ratio <= most, format!("   at most {most} of bwrap's with the same mounts; {ratio:.2}"))
            }
            Most::OfBefore(most) => {
                let ratio = of(at.checked_sub(1).and_then(|before| all.get(before)));
                (ratio <= most, format!("   at most {most} of the line before; {ratio:.2}"))
            }
            Most::Any => (true, String::new()),
        }
    }
}

fn modes(place: &Place, codexrun: &Path) -> Result<Vec<Mode>> {
    let policy = place.at("enabled.json");
    std::fs::write(&policy, ENABLED)?;
    let us = place.adopt(&std::env::current_exe()?, "bench")?.display().to_string();
    let sandbox = |policy: &str, options: &str, payload: &str| {
        [vec![codexrun.into()], words(&format!("sandbox --policy {policy} {options} -- {payload}"))].concat()
    };
    let plain = |(name, options, most): &(&'static str, &str, f64)| Mode {
        name,
        line: sandbox("read-only", options, "/bin/true"),
        most: Most::OfFirst(*most),
    };
    let mut modes: Vec<Mode> = MODES.iter().map(plain).collect();
    // All others are judged by it.
    modes[0].most = Most::OfBwrap(MODES[0].2);
    let [without, with] = bundles(place, codexrun)?.map(|bundle| vec![codexrun.into(), "run".into(), bundle.into()]);
    let more = [
        ("network on", sandbox(&policy.display().to_string(), "", "/bin/true"), Most::OfFirst(1.2)),
        (BUNDLES[0], without, Most::Any),
        (BUNDLES[1], with, Most::OfBefore(1.25)),
        ("a Unix socket of its own is used", sandbox("read-only", "", &format!("{us} --own-socket")), Most::Any),
        ("the same without a sandbox", words(&format!("{us} --own-socket")), Most::Any),
        ("bwrap, network off, one bind of /", bwrap(Base::Whole), Most::Any),
        (SAME, bwrap(Base::PerDirectory), Most::Any),
    ];
    modes.extend(more.map(|(name, line, most)| Mode { name, line, most }));
    Ok(modes)
}

/// As Codex calls it, without a filter: with one bind of the root, or with the mounts that the first mode has.
fn bwrap(base: Base) -> Vec<OsString> {
    [words("bwrap"), shape::bwrap(&shape::read_only(base)), words("/bin/true")].concat()
}

/// Without a broker, where Unix sockets are shut, and with one.
fn bundles(place: &Place, codexrun: &Path) -> Result<[PathBuf; 2]> {
    let made = |name: &str| {
        let bundle = place.at(name);
        let mut line = vec![codexrun.into()];
        line.extend(words(&format!("spec --from-policy read-only --bundle {} -- /bin/true", bundle.display())));
        let status = command(&line, &place.at("repo")).status()?;
        if status.success() { Ok(bundle) } else { Err(Error::other(format!("codexrun spec: {status}"))) }
    };
    let [without, with] = [made("without-sockets")?, made("with-sockets")?];
    let file = without.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    // What is not there takes nothing away, and then both lines would be the same.
    let removed = config["annotations"].as_object_mut().and_then(|all| all.remove(BROKER));
    removed.ok_or_else(|| Error::other(format!("no {BROKER} in the bundle")))?;
    std::fs::write(&file, config.to_string())?;
    Ok([without, with])
}

fn launch(mode: &Mode, cwd: &Path) -> Result<f64> {
    let start = Instant::now();
    let status = command(&mode.line, cwd).status().map_err(|e| Error::other(format!("{}: {e}", mode.name)))?;
    let time = start.elapsed().as_secs_f64() * 1000.0;
    if status.success() { Ok(time) } else { Err(Error::other(format!("{}: {status}", mode.name))) }
}

/// The payload that uses a Unix socket: with its first connect(2) codexrun's broker begins.
pub fn own_socket() -> Result<()> {
    let name = SocketAddr::from_abstract_name("codexrun-bench")?;
    let listener = UnixListener::bind_addr(&name)?;
    UnixStream::connect_addr(&name)?;
    listener.accept().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bwrap_is_given_the_mounts_that_the_first_mode_has() {
        let binds = |base| bwrap(base).iter().filter(|word| *word == "--ro-bind").count();
        assert!(binds(Base::Whole) == 1 && binds(Base::PerDirectory) > 1);
        assert_eq!(bwrap(Base::PerDirectory).last().map(|word| word == "/bin/true"), Some(true));
    }

    #[test]
    fn the_first_is_judged_by_bwraps_and_the_others_by_it_or_by_the_line_before() {
        let all = [vec![4.0, 8.0], vec![6.0, 12.0], vec![5.0, 10.0]];
        let judged = |most: Most, at: usize| most.judge(at, &all);
        assert_eq!(judged(Most::OfBwrap(1.0), 0), (true, "   at most 1 of bwrap's with the same mounts; 0.80".into()));
        assert!(!judged(Most::OfBwrap(0.7), 0).0 && judged(Most::OfFirst(1.5), 1).0 && !judged(Most::OfFirst(1.4), 1).0);
        assert!(judged(Most::OfBefore(1.0), 2).0 && !judged(Most::OfBefore(0.8), 2).0 && !judged(Most::OfBefore(2.0), 0).0);
        assert_eq!(judged(Most::Any, 2), (true, String::new()));
    }
}
