//! What a launch costs in each mode, beside one with the network off: of the network, of Unix sockets, of isolation; and bwrap's.

use std::ffi::OsString;
use std::io::{Error, Result};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use crate::place::Place;
use crate::round::command;
use crate::shape::words;
use crate::stats::{median, ratio};

/// What a launch is judged by: the most that it may be of another line's, in the median of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Most {
    /// Of the first one's.
    OfFirst(f64),
    /// Of bwrap's, the last.
    OfBwrap(f64),
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
/// As Codex calls it, without a filter.
const BWRAP: &str = "bwrap --unshare-all --die-with-parent --new-session --ro-bind / / --dev /dev --proc /proc --";

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
    for (mode, own) in modes.iter().zip(&times) {
        let (meets, target) = mode.most.judge(own, &times);
        good &= meets;
        println!("  {:<38}{:>8.2}{:>8.2}{target}", mode.name, median(own), ratio(own, &times[0]));
    }
    Ok(good)
}

impl Most {
    /// Whether these times are as they should be beside `all`, and the words for it.
    fn judge(self, own: &[f64], all: &[Vec<f64>]) -> (bool, String) {
        let of = |at: Option<&Vec<f64>>| at.map_or(f64::INFINITY, |times| ratio(own, times));
        match self {
            Most::OfFirst(most) => (of(all.first()) <= most, format!("   at most {most}")),
            Most::OfBwrap(most) => {
                let ratio = of(all.last());
                (ratio <= most, format!("   at most {most} of bwrap's; {ratio:.2}"))
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
    let more = [
        ("network on", sandbox(&policy.display().to_string(), "", "/bin/true"), Most::OfFirst(1.2)),
        ("a Unix socket of its own is used", sandbox("read-only", "", &format!("{us} --own-socket")), Most::Any),
        ("the same without a sandbox", words(&format!("{us} --own-socket")), Most::Any),
        ("bwrap, network off", words(&format!("{BWRAP} /bin/true")), Most::Any),
    ];
    modes.extend(more.map(|(name, line, most)| Mode { name, line, most }));
    Ok(modes)
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
    fn the_first_is_judged_by_bwraps_and_the_others_by_it() {
        let all = [vec![4.0, 8.0], vec![6.0, 12.0], vec![5.0, 10.0]];
        let judged = |most: Most, at: usize| most.judge(&all[at], &all);
        assert_eq!(judged(Most::OfBwrap(1.0), 0), (true, "   at most 1 of bwrap's; 0.80".into()));
        assert!(!judged(Most::OfBwrap(0.7), 0).0 && judged(Most::OfFirst(1.5), 1).0 && !judged(Most::OfFirst(1.4), 1).0);
        assert_eq!(judged(Most::Any, 2), (true, String::new()));
    }
}
