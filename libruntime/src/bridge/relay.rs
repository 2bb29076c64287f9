//! The loop of a bridge: accepts, dials the other side, and moves bytes until the container has ended. One thread.

use super::client::Sockets;
use super::errno;
use super::greeting::{Client, Greeting};
use super::link::{Link, Pool};
use super::names::Resolver;
use super::namespace::Namespaces;
use super::route::{Route, Says, Side};
use crate::sys::epoll::{Batch, Epoll, Events};
use crate::sys::{Errno, Result, process, socket};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Where connections come from, and where they go.
pub(super) struct Listener {
    pub socket: TcpListener,
    pub to: To,
}

#[derive(Clone, Copy)]
pub(super) enum To {
    Route(Route),
    Resolver,
}

/// What the tokens of links (2 × number + end) never reach; those of the resolver count from here, listeners from the second.
const RESOLVER: u64 = 1 << 61;
const LISTENERS: u64 = 1 << 62;
const CONTAINER: u64 = u64::MAX;
const PROXY: u64 = u64::MAX - 1;
const IN: Events = libc::EPOLLIN as Events;
/// Links whose buffers may grow as the kernel lets them; further ones have narrow ones.
const WIDE: usize = 16;
/// Links at a time, as the proxy has connections: what they hold is outside of the sandbox's cgroup. Who waits does so in the kernel's queue.
const MOST: usize = 1024;
/// Descriptors that are no link's two sockets: listeners, pipes, and what is open for a moment while somebody is dialed.
const OTHERS: u64 = 96;
/// Until somebody else may have given back what is missing.
const PAUSE: Duration = Duration::from_millis(20);

/// By what a proxy of codexrun's finds who has connected.
pub(super) struct Clients {
    /// The container's first process.
    pub init: u32,
    pub sockets: Sockets,
}

struct Held {
    link: Link,
    /// Where else its other end may be.
    second: Option<(Side, SocketAddr)>,
    /// To a proxy of codexrun's.
    to_proxy: bool,
}

pub(super) struct Relay {
    epoll: Epoll,
    /// Readable when the container's first process has ended, and when a proxy of codexrun's has.
    _ends: [Option<OwnedFd>; 2],
    namespaces: Namespaces,
    /// None where there is no proxy any more.
    listeners: Vec<Option<Listener>>,
    resolver: Option<Resolver>,
    clients: Option<Clients>,
    links: BTreeMap<u64, Held>,
    next: u64,
    pool: Pool,
    /// Links at a time: [`MOST`], or what there are descriptors for.
    most: usize,
    /// Nobody is accepted until a connection ends: there is no room, or no descriptor was left.
    full: bool,
}

/// Who is accepted must be served: with the last descriptor taken by accept(2) there would be none to dial with.
fn links(descriptors: u64) -> usize {
    ((descriptors.saturating_sub(OTHERS) / 2) as usize).clamp(1, MOST)
}

impl Relay {
    /// `ends`: the container's pidfd, and a connection to a proxy of codexrun's; `asked`: the resolver's socket, if there is one.
    pub fn new(
        ends: [Option<OwnedFd>; 2],
        namespaces: Namespaces,
        listeners: Vec<Listener>,
        asked: Option<UdpSocket>,
        clients: Option<Clients>,
    ) -> Result<Relay> {
        let epoll = Epoll::new()?;
        let resolver = asked.map(|socket| Resolver::new(socket, RESOLVER, &epoll)).transpose()?;
        for (end, token) in ends.iter().zip([CONTAINER, PROXY]) {
            end.as_ref().map_or(Ok(()), |end| epoll.add(end.as_fd(), IN, token))?;
        }
        let listeners = listeners.into_iter().map(Some).collect();
        let (held, pool, most) = (BTreeMap::new(), Pool::default(), links(process::getrlimit(libc::RLIMIT_NOFILE)?.0));
        let relay =
            Relay { epoll, _ends: ends, namespaces, listeners, resolver, clients, links: held, next: 0, pool, most, full: false };
        relay.watch_listeners(IN)?;
        Ok(relay)
    }

    fn watch_listeners(&self, events: Events) -> Result<()> {
        for (n, listener) in self.listeners.iter().enumerate() {
            let Some(listener) = listener else { continue };
            match events {
                0 => self.epoll.remove(listener.socket.as_fd())?,
                _ => self.epoll.add(listener.socket.as_fd(), events, LISTENERS + n as u64)?,
            }
        }
        Ok(())
    }

    /// Until the container has ended.
    pub fn run(mut self) -> Result<()> {
        let mut batch = Batch::of(256);
        loop {
            for (token, events) in self.epoll.wait(&mut batch)? {
                match token {
                    CONTAINER => {
                        self.links.values_mut().for_each(|held| held.link.settle(&mut self.pool));
                        return Ok(());
                    }
                    PROXY => self.forsake()?,
                    LISTENERS.. => self.accept((token - LISTENERS) as usize)?,
                    RESOLVER.. => self.resolver.iter_mut().for_each(|resolver| resolver.ready(token)),
                    _ => self.pass(token / 2, (token % 2) as usize, events)?,
                }
            }
        }
    }

    /// A proxy of codexrun's has ended. Nobody is led to its port any more, which may be anybody's.
    fn forsake(&mut self) -> Result<()> {
        self.links.retain(|_, held| !held.to_proxy);
        // With the last descriptor a listener is no longer watched either (epoll(7)); the bridge has no other.
        let leads_there = |listener: &Listener| matches!(listener.to, To::Route(route) if route.says.client);
        self.listeners.iter_mut().for_each(|listener| drop(listener.take_if(|listener| leads_there(listener))));
        self._ends[1] = None;
        if std::mem::take(&mut self.full) { self.watch_listeners(IN) } else { Ok(()) }
    }

    /// A link that fails is dropped; who was connected finds that out by the reset.
    fn pass(&mut self, id: u64, end: usize, events: Events) -> Result<()> {
        let Some(Held { link, second, .. }) = self.links.get_mut(&id) else { return Ok(()) };
        let mut goes_on = link.ready(end, events, &mut self.pool, &self.epoll);
        if goes_on == Err(Errno::ECONNREFUSED)
            && let Some(second) = second.take()
        {
            goes_on = dial(&self.namespaces, second).and_then(|dialed| link.redial(dialed, &self.epoll));
        }
        if !goes_on.unwrap_or(false) {
            self.links.remove(&id);
            if std::mem::take(&mut self.full) {
                self.watch_listeners(IN)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, n: usize) -> Result<()> {
        // Of the same batch as the proxy's end.
        let Some(Listener { socket, to }) = &self.listeners[n] else { return Ok(()) };
        let to = *to;
        if self.links.len() >= self.most && matches!(to, To::Route(_)) {
            return self.stop();
        }
        let (accepted, from) = match socket.accept() {
            Ok(accepted) => accepted,
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                return self.pause();
            }
            Err(_) => return Ok(()), // gone before it was accepted
        };
        // Whoever cannot be served is dropped; that is told by the reset.
        let _ = self.welcome(accepted, from, to);
        Ok(())
    }

    fn welcome(&mut self, accepted: TcpStream, from: SocketAddr, to: To) -> Result<()> {
        accepted.set_nonblocking(true).map_err(errno)?;
        match (to, &mut self.resolver) {
            (To::Resolver, Some(resolver)) => resolver.accept(accepted, &self.epoll),
            (To::Resolver, None) => Ok(()),
            (To::Route(route), _) => {
                let link = self.link(accepted, from, route)?;
                let second = route.second().map(|second| (route.side, second));
                self.links.insert(self.next, Held { link, second, to_proxy: route.says.client });
                self.next += 1;
                Ok(())
            }
        }
    }

    /// Who asks for names goes first, and links are waited for. Where there is neither, others have what is missing (ENFILE, ENOMEM): the
    /// listener stays readable, and accept(2) would say so again at once.
    fn pause(&mut self) -> Result<()> {
        if self.full || self.resolver.as_mut().is_some_and(Resolver::drop_oldest) {
            return Ok(());
        }
        if self.links.is_empty() {
            std::thread::sleep(PAUSE);
            return Ok(());
        }
        self.stop()
    }

    /// Nobody is accepted until a link has ended.
    fn stop(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.full, true) { Ok(()) } else { self.watch_listeners(0) }
    }

    fn link(&self, accepted: TcpStream, from: SocketAddr, route: Route) -> Result<Link> {
        // Also when nobody can be dialed.
        socket::reset_on_close(accepted.as_fd(), true)?;
        let greeting = self.greeting(&accepted, from, route)?;
        let dialed = dial(&self.namespaces, (route.side, route.dial))?;
        Link::new(self.next, [accepted, dialed], self.links.len() >= WIDE, greeting, &self.epoll)
    }

    fn greeting(&self, accepted: &TcpStream, from: SocketAddr, route: Route) -> Result<Greeting> {
        if route.says == Says::default() {
            return Ok(Greeting::default());
        }
        let to = accepted.local_addr().map_err(errno)?;
        let name = self.resolver.as_ref().and_then(|resolver| resolver.names.of(to));
        let (init, socket) = match &self.clients {
            // Who has gone, or cannot be found, is nobody.
            Some(clients) if route.says.client => (clients.init, clients.sockets.of(accepted, from).unwrap_or(0)),
            _ => (0, 0),
        };
        let client = Client { init, socket, from: from.port(), to, name };
        Greeting::of(route.says, &client).ok_or(Errno::EADDRNOTAVAIL)
    }
}

/// From the side that was listened on to the other one.
fn dial(namespaces: &Namespaces, (from, to): (Side, SocketAddr)) -> Result<TcpStream> {
    if from == Side::Outside {
        return namespaces.dial(to);
    }
    let socket = socket::tcp(&to)?;
    socket::connect(socket.as_fd(), &to)?;
    Ok(TcpStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_links_are_begun_than_there_are_descriptors_for() {
        assert_eq!([0, 98, 512, 1024, 2144, 1 << 20, u64::MAX].map(links), [1, 1, 208, 464, MOST, MOST, MOST]);
    }
}
