//! TCP into and out of a container whose network namespace has no other way: three OCI hooks, which every runtime runs.
//!
//! `createRuntime`, in the runtime's namespaces, leaves the bridge behind ([`open`]); `createContainer`, in the container's, hands it
//! the namespaces ([`hand_over`]), because a runtime's own process there often may not be looked into by an ordinary user; `poststop` sees
//! to its end ([`fn@end`]). The bridge
//! stays outside: only the listeners (and, inwards, the connections) are made inside, by a helper that joins and goes at once. It
//! lives as long as the container's first process.

mod client;
mod dns;
pub(crate) mod door;
mod end;
pub(crate) mod greeting;
mod link;
pub(crate) mod names;
mod namespace;
mod port;
mod relay;
mod route;

pub use port::kept_port;
pub use route::{Route, Says, Side};

use crate::run::fault::describe;
use crate::sys::process::{self, Cloned};
use crate::sys::{Errno, file, netlink, pidfd, signal};
use crate::{Error, Result};
use door::{Door, State};
use namespace::Namespaces;
use relay::{Clients, Listener, Relay, To};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The `createRuntime` hook: `state` is what the runtime says of the container. On return the bridge waits, in the background, for
/// [`hand_over`], and the ports outside are taken. The caller must be single-threaded and have nothing open but its standard streams.
pub fn open(state: &str, routes: &[Route]) -> Result<()> {
    let state = State::read(state)?;
    let container =
        pidfd::pidfd_open(nix::unistd::Pid::from_raw(state.pid)).map_err(|e| failed("find the container's process", e))?;
    let outside = listen_on(routes, Side::Outside)?;
    let (hears, says) = UnixStream::pair().map_err(|e| Error::new("cannot make a socket").cause(e))?;
    match process::clone(0).map_err(|e| failed("fork", e))? {
        Cloned::Child => {
            drop(hears);
            Bridge { routes, container, init: state.pid, outside }.live(&state, says)
        }
        Cloned::Parent(..) => {
            drop(says);
            hear(hears)
        }
    }
}

/// The `createContainer` hook: on return the ports inside are served.
pub fn hand_over(state: &str) -> Result<()> {
    let bridge = door::knock(&State::read(state)?)?;
    let [user, net] = namespace::own().map_err(|e| failed("open the container's namespaces", e))?;
    give(bridge, [user.as_fd(), net.as_fd()])
}

fn give(bridge: UnixStream, namespaces: [BorrowedFd; 2]) -> Result<()> {
    match namespaces.into_iter().try_for_each(|fd| file::send_fd(bridge.as_fd(), fd, 0)) {
        Ok(()) => hear(bridge),
        // It has ended, and has said why.
        Err(Errno::EPIPE | Errno::ECONNRESET) if file::poll_for(bridge.as_fd(), 0) == Ok(true) => hear(bridge),
        Err(e) => Err(failed("hand over the container's namespaces", e)),
    }
}

/// The `poststop` hook: on return the bridge has ended.
pub fn end(state: &str) -> Result<()> {
    end::make(&State::read(state)?)
}

/// What the bridge says to a hook. If it ends before it has heard all that the hook has said, there is a reset behind its word (unix(7)).
fn hear(mut bridge: UnixStream) -> Result<()> {
    let mut answer = Vec::new();
    let heard = bridge.read_to_end(&mut answer);
    match (String::from_utf8_lossy(&answer).as_ref(), heard) {
        (READY, _) => Ok(()),
        ("", Err(e)) => Err(Error::new("the bridge gives no answer").cause(e)),
        ("", Ok(_)) => Err(Error::new("the bridge has ended")),
        (why, _) => Err(Error::new(why)),
    }
}

/// Says to a hook that it may go on, or why not.
fn say<T>(mut hook: UnixStream, done: Result<T>) -> Result<T> {
    let word = done.as_ref().map_or_else(Error::to_string, |_| READY.to_string());
    let said = hook.write_all(word.as_bytes()).map_err(|e| Error::new("nobody waits for the bridge").cause(e));
    done.and_then(|done| said.map(|()| done))
}

/// The bridge's word that it serves; anything else is why not.
const READY: &str = "ready";
/// Connections that may wait to be accepted; std::net has 128.
const WAITING: i32 = 4096;

/// The process that stays.
struct Bridge<'a> {
    routes: &'a [Route],
    container: OwnedFd,
    init: i32,
    outside: Vec<Listener>,
}

impl Bridge<'_> {
    fn live(self, state: &State, hook: UnixStream) -> ! {
        // Only who is out of reach of whatever ends the runtime makes a door: the hook may be killed, and this one sees the container's end.
        let alone = alone().map_err(|e| failed("leave the caller", e));
        let found = alone.and_then(|()| Ok((end::hold(state)?, Door::open(state)?)));
        let lived = match found {
            Ok((_held, door)) => {
                // Who has been killed needs no answer, and the container ends for it.
                let _ = say(hook, Ok(()));
                self.serve(door)
            }
            failed => say(hook, failed.map(drop)),
        };
        process::exit(lived.is_err().into())
    }

    fn serve(self, door: Door) -> Result<()> {
        let Some(guest) = door.guest(self.container.as_fd(), self.init)? else { return Ok(()) };
        let welcomed = self.welcome(&guest);
        let relay = say(guest, welcomed)?;
        relay.run().map_err(|e| failed("wait for connections", e))
    }

    /// Takes the namespaces and listens in them.
    fn welcome(self, guest: &UnixStream) -> Result<Relay> {
        let Bridge { routes, container, init, outside } = self;
        let namespaces = Namespaces::receive(guest.as_fd())?;
        let proxy = routes.iter().find(|route| route.says.client);
        let proxy = proxy.map(|route| greeting::hold(route.dial, init as u32).map_err(|e| gone(route, e))).transpose()?;
        let mut listeners = outside;
        for route in routes.iter().filter(|route| route.side == Side::Inside) {
            let listener =
                namespaces.listener(route.listen).map_err(|e| failed(&format!("listen on {} inside", route.listen), e))?;
            listeners.push(Listener { socket: listener, to: To::Route(*route) });
        }
        let mut asked = None;
        // Who is to be reached by name must be resolved first.
        if routes.iter().any(|route| route.says.name) {
            let fail = |e| failed("answer names inside", e);
            listeners.push(Listener { socket: namespaces.listener(names::PLACE).map_err(fail)?, to: To::Resolver });
            asked = Some(namespaces.datagrams(names::PLACE).map_err(fail)?);
        }
        let clients = if routes.iter().any(|route| route.says.client) {
            match namespaces.sockets() {
                // The log names no process.
                Err(errno) if netlink::is_out_of_reach(errno) => None,
                sockets => {
                    let sockets = sockets.map_err(|e| failed("ask the kernel for sockets inside", e))?;
                    Some(Clients { init: init as u32, sockets })
                }
            }
        } else {
            None
        };
        Relay::new([Some(container), proxy.map(OwnedFd::from)], namespaces, listeners, asked, clients)
            .map_err(|e| failed("watch the listeners", e))
    }
}

/// What is common to both sides: a listener that does not wait, with room for many.
fn listen(on: std::net::SocketAddr) -> crate::sys::Result<TcpListener> {
    let listener = TcpListener::bind(on).map_err(errno)?;
    listener.set_nonblocking(true).map_err(errno)?;
    crate::sys::socket::listen(listener.as_fd(), WAITING)?;
    Ok(listener)
}

fn listen_on(routes: &[Route], side: Side) -> Result<Vec<Listener>> {
    let wanted = routes.iter().filter(|route| route.side == side);
    let one = |route: &Route| {
        let socket = listen(route.listen).map_err(|e| taken(route, e))?;
        Ok(Listener { socket, to: To::Route(*route) })
    };
    wanted.map(one).collect()
}

/// Nothing of the caller's: not its streams, session, directory or signals, nor its limit of descriptors; and nobody looks into us.
fn alone() -> crate::sys::Result<()> {
    let null = file::open_at(file::cwd(), c"/dev/null", libc::O_RDWR)?;
    file::become_stdio(null.as_fd())?;
    process::setsid()?;
    file::chdir(c"/")?;
    signal::set_mask(&signal::Set::all_but(&[]))?;
    process::set_undumpable()?;
    let (_, hard) = process::getrlimit(libc::RLIMIT_NOFILE)?;
    process::setrlimit(libc::RLIMIT_NOFILE, hard, hard)
}

fn errno(e: std::io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

/// Whoever has its port by now knows nothing of the domains.
fn gone(route: &Route, errno: Errno) -> Error {
    let error = failed(&format!("find codexrun's proxy at {}", route.dial), errno);
    error.hint("it ends with the launch that it was started for; `codexrun sandbox --allow-domain` starts another")
}

/// Ports of the host are others' too.
fn taken(route: &Route, errno: Errno) -> Error {
    let error = failed(&format!("listen on {}", route.listen), errno);
    let inside = route.dial.port();
    match errno {
        Errno::EADDRINUSE => {
            error.hint(format!("somebody listens there; `--publish HOST-PORT:{inside}` takes another port of the host's"))
        }
        Errno::EACCES => {
            error.hint(format!("it is root's; `--publish HOST-PORT:{inside}` takes another port of the host's, from 1024 on"))
        }
        _ => error,
    }
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::new(format!("cannot {what}")).cause(describe(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridges_last_word_is_heard_also_when_it_did_not_listen_to_the_end() {
        let (mut hook, bridge) = UnixStream::pair().unwrap();
        hook.write_all(b"more than it reads").unwrap();
        say(bridge, Err::<(), _>(Error::new("no room"))).unwrap_err();
        assert_eq!(hear(hook).unwrap_err().to_string(), "no room");
        let (hook, bridge) = UnixStream::pair().unwrap();
        say(bridge, Err::<(), _>(Error::new("no room"))).unwrap_err();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(give(hook, [null.as_fd(), null.as_fd()]).unwrap_err().to_string(), "no room");
    }
}
