//! What the network costs: the bridge beside socat with the same two hops (TCP inside, a Unix socket or the bridge across, TCP
//! outside), to one server, in turns.

use std::ffi::OsString;
use std::io::{Error, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::shape::words;
use crate::stats::{median, ratio};

/// Bytes of one transfer.
const BULK: usize = 256 << 20;
const BLOCK: usize = 64 * 1024;
/// Bytes there and back, one after the other.
const TRIPS: u32 = 2000;
/// Connections, one after the other, with a byte there and back.
const CONNECTIONS: u32 = 300;

/// What a client tells, in this order: its name, its unit, and the most that the bridge may be of socat, or the least where more is better.
const FIGURES: [(&str, &str, Target); 4] = [
    ("from inside", "MiB/s", Target::AtLeast(2.0)),
    ("to inside", "MiB/s", Target::AtLeast(2.0)),
    ("there and back", "us", Target::AtMost(1.0)),
    ("a new connection", "us", Target::AtMost(0.5)),
];

enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn met(&self, ratio: f64) -> bool {
        match self {
            Target::AtLeast(least) => ratio >= *least,
            Target::AtMost(most) => ratio <= *most,
        }
    }

    fn text(&self) -> String {
        match self {
            Target::AtLeast(least) => format!("at least {least}"),
            Target::AtMost(most) => format!("at most {most}"),
        }
    }
}

/// Prints the figures; whether every target was met.
pub fn measure(place: &Place, codexrun: &Path, runs: usize) -> Result<bool> {
    let rounds = (runs / 20).max(1);
    let server = TcpListener::bind("127.0.0.1:0")?;
    let at = server.local_addr()?;
    std::thread::spawn(move || server.incoming().flatten().for_each(|stream| drop(std::thread::spawn(|| serve(stream)))));
    let client = place.adopt(&std::env::current_exe()?, "client")?;
    let (socket, me) = (place.at("socat"), format!("{} --client {at}", client.display()));
    let ours = format!("sandbox --policy read-only --managed-network {{}} --env HTTP_PROXY=http://{at} -- {me}");
    let ours = [vec![codexrun.into()], words(&ours)].concat();
    let inside = format!(
        "socat TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,nodelay UNIX-CONNECT:{} & exec {me}",
        at.port(),
        socket.display()
    );
    let theirs = words("bwrap --dev-bind / / --unshare-net --unshare-pid --die-with-parent sh -c");
    let theirs = [theirs, vec![inside.into()]].concat();
    let outside = Command::new("socat")
        .args([format!("UNIX-LISTEN:{},fork", socket.display()), format!("TCP:{at},nodelay")])
        .spawn()
        .map_err(|e| Error::other(format!("socat: {e}; `apt-get install socat`")));
    let _outside = Ended(outside?);
    let mut all = [[const { Vec::new() }; 4], [const { Vec::new() }; 4]];
    for _ in 0..rounds {
        for (line, figures) in [&ours, &theirs].into_iter().zip(&mut all) {
            told(line, place)?.into_iter().zip(figures).for_each(|(figure, list)| list.push(figure));
        }
    }
    println!("bridge, median of {rounds} rounds{:>18}{:>10}{:>8}", "codexrun", "socat", "ratio");
    let mut good = true;
    for ((name, unit, target), (own, other)) in FIGURES.iter().zip(all[0].iter().zip(&all[1])) {
        let ratio = ratio(own, other);
        good &= target.met(ratio);
        println!(
            "  {:<34}{:>10.1}{:>10.1}{ratio:>8.2}   {}",
            format!("{name}, {unit}"),
            median(own),
            median(other),
            target.text()
        );
    }
    Ok(good)
}

/// Killed with what it has forked: socat's children end with their connections.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone_is_fine = self.0.kill();
        let _the_status_says_nothing = self.0.wait();
    }
}

fn told(line: &[OsString], place: &Place) -> Result<[f64; 4]> {
    let out = Command::new(&line[0]).args(&line[1..]).current_dir(place.at("repo")).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    figures.try_into().map_err(|_| Error::other(format!("{:?}: {}", line[0], String::from_utf8_lossy(&out.stderr))))
}

/// The first byte says what is wanted: `u`, everything is read and one byte answers; `d`, so many bytes; `e`, each byte comes back.
fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut wish, mut block) = ([0], vec![0; BLOCK]);
    stream.read_exact(&mut wish)?;
    match wish {
        [b'u'] => {
            while stream.read(&mut block)? > 0 {}
            stream.write_all(b"u")
        }
        [b'd'] => (0..BULK / BLOCK).try_for_each(|_| stream.write_all(&block)),
        _ => loop {
            match stream.read(&mut wish)? {
                0 => return Ok(()),
                _ => stream.write_all(&wish)?,
            }
        },
    }
}

/// The client's side, inside: prints its figures.
pub fn client(at: SocketAddr) -> Result<bool> {
    let (first, block) = (connected(at)?, vec![0; BLOCK]);
    drop(first);
    let up = rate(|| {
        let mut stream = wish(at, b'u')?;
        (0..BULK / BLOCK).try_for_each(|_| stream.write_all(&block))?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_exact(&mut [0])
    })?;
    let down = rate(|| {
        let (mut stream, mut block, mut all) = (wish(at, b'd')?, vec![0; BLOCK], 0);
        while all < BULK {
            match stream.read(&mut block)? {
                0 => return Err(Error::other("too short")),
                n => all += n,
            }
        }
        Ok(())
    })?;
    let mut stream = wish(at, b'e')?;
    let trips = time(|| (0..TRIPS).try_for_each(|_| trip(&mut stream)))? / f64::from(TRIPS) * 1e6;
    let connections = time(|| (0..CONNECTIONS).try_for_each(|_| trip(&mut wish(at, b'e')?)))? / f64::from(CONNECTIONS) * 1e6;
    println!("{up} {down} {trips} {connections}");
    Ok(true)
}

fn trip(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn wish(at: SocketAddr, what: u8) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[what]).map(|()| stream)
}

/// socat inside may still be starting.
fn connected(at: SocketAddr) -> Result<TcpStream> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpStream::connect(at) {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            connected => return connected,
        }
    }
}

/// Seconds.
fn time(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run().map(|()| start.elapsed().as_secs_f64())
}

/// MiB each second.
fn rate(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    time(run).map(|seconds| (BULK >> 20) as f64 / seconds)
}
