//! The network of a sandbox: a domain by the proxy, a port of the host's and one of its own by the bridge, what its payload asks of them, who
//! answers, and what of all that must be gone afterwards.

use super::tracer;
use crate::actor::Actor;
use crate::report::{No, Verdict, fail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::Value;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the payload hears undisturbed.
pub const ANSWERS: [&str; 5] = [
    "granted domain\tok\t200",
    "shut domain\tblocked-by-allowlist\t403",
    "granted port\tok\thello",
    "shut port\tECONNREFUSED\t",
    "published\tok\tfrom inside",
];

/// In the sandbox.
const INSIDE: u16 = 8080;

/// Below those that the kernel gives to anybody (ip(7), ip_local_port_range).
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// For a visitor of the sandbox, who may find nobody.
const PATIENCE: Duration = Duration::from_secs(5);

const DOORS: &str = "/dev/shm";

/// Ports of the host's loopback; who answers at the first two ends with the suite.
pub struct Outlet {
    granted: u16,
    shut: u16,
    /// A connection to it reaches the payload.
    published: u16,
}

impl Outlet {
    /// Takes its ports, each user of the suite another one.
    pub fn new() -> Result<Outlet, No> {
        let from = std::process::id() as u16 % 5000;
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let Some(published) = PORTS.skip(from.into()).find(free) else { return fail("(a port to publish)", "one", "none") };
        Ok(Outlet { granted: served(published)?, shut: served(published)?, published })
    }

    /// For the probe, in the order of [`ANSWERS`].
    pub fn asks(&self) -> String {
        let Outlet { granted, shut, .. } = self;
        format!(
            "granted domain\tby-http\tGET\tlocalhost:{granted}\nshut domain\tby-http\tGET\texample.org:{granted}\n\
             granted port\ttcp\t127.0.0.1:{granted}\nshut port\ttcp\t127.0.0.1:{shut}\n\
             published\tserve-called\t127.0.0.1:{INSIDE}\t127.0.0.1:{granted}\n"
        )
    }

    /// What `sandbox` is told.
    pub fn options(&self, log: &Path) -> Vec<String> {
        let (publish, granted, log) =
            (format!("{}:{INSIDE}", self.published), self.granted.to_string(), log.display().to_string());
        let words = ["--allow-domain", "localhost", "--network-log", &log, "--publish", &publish, "--allow-host-port", &granted];
        words.map(str::to_string).to_vec()
    }

    /// Its port is anybody's again, and in the log every line is whole.
    pub fn is_over(&self, log: &Path) -> Verdict {
        if let Err(e) = TcpListener::bind((Ipv4Addr::LOCALHOST, self.published)) {
            return fail("(the published port)", "free", e);
        }
        let text = match fs::read_to_string(log) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            text => text?,
        };
        fs::remove_file(log)?;
        let whole = |line: &str| line.ends_with('\n') && serde_json::from_str::<Value>(line).is_ok();
        if text.split_inclusive('\n').all(whole) { Ok(()) } else { fail("--network-log", "whole lines", text) }
    }
}

/// A line of the proxy's on standard error, which has the time in it.
pub fn is_refusal(line: &str) -> bool {
    line.starts_with("{\"address\":")
}

/// What was said, as if all had answered that were asked: whoever has an `excused` result was not answered. Nothing may open.
pub fn answered(said: &[String], excused: impl Fn(&str) -> bool) -> Vec<String> {
    let words = |line: &str| line.split('\t').take(2).map(str::to_string).collect::<Vec<_>>();
    let undisturbed = |line: &String| match &words(line)[..] {
        [name, result] if excused(result) && !(name.starts_with("shut ") && result == "ok") => {
            ANSWERS.into_iter().find(|answer| words(answer)[0] == *name)
        }
        _ => None,
    };
    said.iter().map(|line| undisturbed(line).map_or_else(|| line.clone(), str::to_string)).collect()
}

/// Names of a user's bridges in /dev/shm at which nobody answers any more.
pub fn abandoned(actor: &Actor) -> Vec<PathBuf> {
    let entries = fs::read_dir(DOORS).into_iter().flatten().flatten();
    let doors = entries.filter(|door| door.file_name().to_string_lossy().starts_with("codexrun-bridge-"));
    let own = doors.filter(|door| door.metadata().is_ok_and(|of| of.uid() == actor.uid)).map(|door| door.path());
    own.filter(|door| UnixStream::connect(door).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)).collect()
}

/// Makes names look as old as they must be for the next bridge to take them away.
pub fn aged(doors: &[PathBuf]) -> io::Result<()> {
    let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    doors.iter().try_for_each(|door| utimensat(CWD, door, &times, AtFlags::SYMLINK_NOFOLLOW)).map_err(io::Error::from)
}

/// A port at which whoever asks is answered.
fn served(published: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        // The tracer waits for it, and any thread that does not block it may be the one to hear it.
        tracer::stop_signals().thread_block()?;
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || answer(client, published));
        }
        Ok::<(), nix::Error>(())
    });
    Ok(port)
}

/// An origin of the proxy's, a server, and who visits the sandbox when he is called.
fn answer(mut client: TcpStream, published: u16) -> io::Result<()> {
    let mut word = [0; 1024];
    let length = client.read(&mut word)?;
    match &word[..length] {
        [b'G', ..] => client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        b"visit" => {
            let (mut host, mut said) = (TcpStream::connect((Ipv4Addr::LOCALHOST, published))?, String::new());
            host.set_read_timeout(Some(PATIENCE))?;
            host.read_to_string(&mut said)?;
            client.write_all(said.as_bytes())
        }
        _ => client.write_all(b"hello"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_answered_is_excused_and_who_gets_through_is_not() {
        let said = ["granted domain\tECONNRESET\t", "shut domain\tnothing\t", "shut port\tok\thello", "published\tnobody-came\t"];
        let all = answered(&said.map(str::to_string), |_| true);
        assert_eq!(all, [ANSWERS[0], ANSWERS[1], "shut port\tok\thello", ANSWERS[4]]);
        let none = answered(&said.map(str::to_string), |result| result == "ECONNRESET");
        assert_eq!(none, [ANSWERS[0], said[1], said[2], said[3]]);
    }
}
