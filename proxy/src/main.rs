//! The proxy of `codexrun sandbox --allow-domain`: HTTP, CONNECT and SOCKS5 on one port of the loopback, for the domains that it is
//! told and for the bridge, which says who the client is. A program of its own, because threads and name resolution have no place in a runtime that clones.
//!
//! Its standard input is the listener; its standard output a socket, to which it says that it serves, or why it does not, and with whose
//! other end it ends: with the codexrun that started it, however that ends.
#![deny(unsafe_code)]

mod address;
mod body;
mod client;
mod dial;
mod http;
mod hurry;
mod log;
mod message;
mod relay;
mod rule;
mod socks;

use client::Client;
use dial::{Gate, Stray};
use hurry::Hurry;
use log::Log;
use rule::Rules;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Enough for the frames here; a thousand connections have two threads each.
const STACK: usize = 128 * 1024;
/// For a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first byte of SOCKS5 (RFC 1928), with which no HTTP method begins.
const SOCKS5: u8 = 5;

/// Connections at a time. What they take, and their threads, is outside of the sandbox's cgroup; who waits does so in the queue of the kernel's.
const MOST: usize = 1024;
/// Until a connection may have ended, when there is no room or no descriptor for another.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    match watch().and_then(|()| gate(std::env::args().skip(1))).and_then(serve) {
        Ok(never) => match never {},
        // In place of that word: whoever waits for it says why.
        Err(sentence) => {
            // Who does not hear it sees the exit code.
            let _ = writeln!(std::io::stdout(), "{sentence}");
            ExitCode::FAILURE
        }
    }
}

/// `[--allow PATTERN]… [--deny PATTERN]… [--limited] [--local] [--no-socks] [--direct] [--log FILE]`
fn gate(mut words: impl Iterator<Item = String>) -> Result<Gate, String> {
    let (mut rules, mut log, mut socks, mut direct) = (Rules::default(), None, true, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("`{word}` needs a value"));
        match word.as_str() {
            "--allow" => rules.allow.push(value()?.parse()?),
            "--deny" => rules.deny.push(value()?.parse()?),
            "--limited" => rules.limited = true,
            "--local" => rules.local = true,
            "--no-socks" => socks = false,
            "--direct" => direct = true,
            "--log" => log = Some(value()?),
            _ => return Err(format!("codexrun-proxy does not know `{word}`")),
        }
    }
    Ok(Gate { rules, socks, direct, log: Log::open(log.as_deref())? })
}

fn serve(gate: Gate) -> Result<Infallible, String> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned().map(TcpListener::from);
    let listener = listener.map_err(|e| format!("the proxy cannot listen: {e}"))?;
    // One write: of one that fails nothing may stay, to be said before the reason.
    // For the broker to write to; who comes by no bridge has none. Without it /proc is asked.
    let book = if gate.direct { None } else { memfd_create("codexrun clients", MemfdFlags::CLOEXEC).ok() };
    let book = book.map_or(String::new(), |book| format!(" {}", client::look_in(File::from(book))));
    let told = std::io::stdout().write_all(format!("ready{book}\n").as_bytes());
    told.map_err(|e| format!("nobody waits for the proxy: {e}"))?;
    hold_many();
    // And the bridge's own, which is nobody's.
    let most = MOST + usize::from(!gate.direct);
    accept(&listener, Arc::new(gate), most)
}

/// At most so many at a time.
fn accept(listener: &TcpListener, gate: Arc<Gate>, most: usize) -> ! {
    loop {
        // Each connection has the gate.
        while Arc::strong_count(&gate) > most {
            std::thread::sleep(PAUSE);
        }
        match listener.accept() {
            Ok((client, _)) => begin(Arc::new(client), &gate),
            // It stays in the queue, and accept(2) would say so again at once.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// A client waits for its thread, as it does for its turn, until there is one (EAGAIN, pthread_create(3)).
fn begin(client: Arc<TcpStream>, gate: &Arc<Gate>) {
    let thread = || {
        let (client, gate) = (client.clone(), gate.clone());
        std::thread::Builder::new().stack_size(STACK).spawn(move || one(&client, &gate))
    };
    while thread().is_err() {
        std::thread::sleep(PAUSE);
    }
}

/// Before anything that may take its time.
fn watch() -> Result<(), String> {
    let codexrun =
        std::io::stdout().as_fd().try_clone_to_owned().map_err(|e| format!("the proxy cannot hear of codexrun's end: {e}"))?;
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(|| until_the_end(File::from(codexrun)));
    thread.map(drop).map_err(|e| format!("the proxy cannot begin a thread: {e}"))
}

/// Two descriptors a connection: the soft limit is for programs that use select(2). With what cannot be raised it holds fewer.
fn hold_many() -> Option<()> {
    // Not by getrlimit(2): rustix takes it for granted, and an outer filter may refuse it.
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let hard = line.split_whitespace().nth(1)?.parse().ok();
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).ok()
}

fn until_the_end(mut codexrun: File) {
    // Whatever ends it: who cannot hear of codexrun's end must not outlive it.
    drop(std::io::copy(&mut codexrun, &mut std::io::sink()));
    std::process::exit(0)
}

/// A connection that fails is one that ends; what was refused has been said.
fn one(client: &TcpStream, gate: &Gate) -> Option<()> {
    client.set_nodelay(true).ok()?;
    relay::inline(client).ok()?;
    let mut hurry = Hurry::new(client, PATIENCE);
    let (who, mut first) = (Client::of(&mut hurry, gate.direct)?, [0]);
    if who.is_the_bridge() {
        return stay(client);
    }
    match message::again(|| hurry.peek(&mut first)).ok()? {
        1 if first[0] == SOCKS5 && gate.socks => socks::serve(hurry, &who, gate),
        1 if first[0] == SOCKS5 => {
            gate.refuse(&Stray { client: &who, protocol: "socks5", host: None, port: None, rule: "SOCKS is switched off" });
            None
        }
        1 => http::serve(hurry, &who, gate),
        _ => None,
    }
}

/// The bridge hears of our end by that of its connection, and dials no more: the port may be somebody else's then.
fn stay(mut bridge: &TcpStream) -> Option<()> {
    bridge.set_read_timeout(None).ok()?;
    bridge.write_all(client::MAGIC).ok()?;
    std::io::copy(&mut bridge, &mut std::io::sink()).ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};

    #[test]
    fn who_is_one_too_many_waits_until_another_has_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let gate = gate(["--direct".to_string()].into_iter()).unwrap();
        std::thread::spawn(move || accept(&listener, Arc::new(gate), 2));
        let silent = [(); 2].map(|()| TcpStream::connect(at).unwrap());
        let mut third = TcpStream::connect(at).unwrap();
        third.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut heard = |time| third.set_read_timeout(Some(time)).and_then(|()| third.read(&mut [0]));
        assert_eq!(heard(Duration::from_millis(300)).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(silent);
        assert_eq!(heard(Duration::from_secs(10)).unwrap(), 1, "the others have gone");
    }
}
