//! One connection: two sockets, and in each direction at most one pipe between them, borrowed for as long as bytes are in it. The bytes
//! go from socket to pipe to socket by splice(2), through our memory only past an urgent one.

use super::greeting::{Answer, Greeting};
use crate::sys::epoll::{Epoll, Events};
use crate::sys::socket::{limit_buffers, receive, reset_on_close, set_pipe_size, splice, urgent_inline};
use crate::sys::{Errno, Result, file};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

/// What a pipe holds, and what is moved at a time.
const ROOM: usize = 256 * 1024;
/// More than a receive buffer holds (tcp(7), tcp_rmem), in units of the above.
const ROUNDS: usize = 32;
/// Pipes that are kept for the next bytes.
const SPARE: usize = 8;

const IN: Events = libc::EPOLLIN as Events;
const OUT: Events = libc::EPOLLOUT as Events;
/// Told whether asked for or not.
const BROKEN: Events = (libc::EPOLLERR | libc::EPOLLHUP) as Events;

/// (read end, write end).
type Pipe = (OwnedFd, OwnedFd);

/// Empty pipes.
#[derive(Default)]
pub(super) struct Pool(Vec<Pipe>);

impl Pool {
    fn take(&mut self) -> Result<Pipe> {
        match self.0.pop() {
            Some(pipe) => Ok(pipe),
            None => {
                let pipe = file::pipe()?;
                // A smaller one, when the user has had its share (pipe(7)), does it too.
                let _ = set_pipe_size(pipe.1.as_fd(), ROOM as i32);
                Ok(pipe)
            }
        }
    }

    fn give(&mut self, pipe: Pipe) {
        if self.0.len() < SPARE {
            self.0.push(pipe);
        }
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Bytes on their way.
    held: Option<(Pipe, usize)>,
    /// The sender has no more.
    ended: bool,
}

impl Flow {
    fn done(&self) -> bool {
        self.ended && self.held.is_none()
    }

    /// Moves what can be moved now. An error is the end of the connection.
    fn pass(&mut self, from: &TcpStream, to: &TcpStream, pool: &mut Pool) -> Result<()> {
        if self.held.is_none() && !self.ended {
            let pipe = pool.take()?;
            match fill(&pipe, from) {
                Ok(0) => (self.ended = true, pool.give(pipe)).1,
                Ok(n) => self.held = Some((pipe, n)),
                Err(errno) => {
                    pool.give(pipe);
                    return if errno == Errno::EAGAIN { Ok(()) } else { Err(errno) };
                }
            }
        }
        if let Some((pipe, left)) = self.held.take() {
            match splice(pipe.0.as_fd(), to.as_fd(), left) {
                Ok(n) if n == left => pool.give(pipe),
                Ok(n) => self.held = Some((pipe, left - n)),
                Err(Errno::EAGAIN) => self.held = Some((pipe, left)),
                Err(errno) => return Err(errno),
            }
        }
        if self.done() {
            // A half-close goes on to the other side; that one may have closed altogether.
            let _ = to.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

/// Moves into an empty pipe what has come; 0 at the end. Before an urgent byte splice(2) stands still for ever, readable as the socket is,
/// and says that it has ended when the sender has; recv(2) goes on.
fn fill(pipe: &Pipe, from: &TcpStream) -> Result<usize> {
    match splice(from.as_fd(), pipe.1.as_fd(), ROOM) {
        Err(Errno::EAGAIN) | Ok(0) => {
            // No pipe holds less (pipe(7)).
            let mut block = [0; 4096];
            let n = receive(from.as_fd(), &mut block)?;
            file::write_all(pipe.1.as_fd(), &block[..n]).map(|()| n)
        }
        other => other,
    }
}

/// Bytes that each buffer of a socket takes where there are many: what is not read there is charged to the caller, not to the sandbox, and
/// the kernel would let them grow to some MiB each (tcp(7), tcp_rmem and tcp_wmem).
pub(super) const NARROW: i32 = 64 * 1024;

/// A socket of a link, as both of them are set.
fn end(socket: TcpStream, narrow: bool) -> Result<TcpStream> {
    reset_on_close(socket.as_fd(), true)?;
    if narrow {
        limit_buffers(socket.as_fd(), NARROW)?;
    }
    // An urgent byte is one of the stream's (RFC 6093, 3).
    urgent_inline(socket.as_fd())?;
    // Only a matter of speed.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

/// End 0 was accepted, end 1 is dialed; flow n comes from end n. Whatever ends it before both flows have, be it SIGKILL, ends it with a
/// reset on both sides: what was cut short must not look complete.
pub(super) struct Link {
    id: u64,
    ends: [TcpStream; 2],
    flows: [Flow; 2],
    narrow: bool,
    watched: [Events; 2],
    phase: Phase,
}

/// The accepted end is not read before the third.
enum Phase {
    /// Until the other end is connected, and can be greeted.
    Dialing(Greeting),
    /// Until a proxy has answered.
    Asking(Answer),
    Open,
}

impl Link {
    /// Of what was accepted and what was dialed. Watches the two ends as `2 * id` and `2 * id + 1`.
    pub fn new(id: u64, [accepted, dialed]: [TcpStream; 2], narrow: bool, greeting: Greeting, epoll: &Epoll) -> Result<Link> {
        let (ends, flows) = ([end(accepted, narrow)?, end(dialed, narrow)?], <[Flow; 2]>::default());
        let mut link = Link { id, ends, flows, narrow, watched: [0; 2], phase: Phase::Dialing(greeting) };
        link.watch(epoll)?;
        Ok(link)
    }

    /// Another end is dialed in place of one where nobody listens.
    pub fn redial(&mut self, dialed: TcpStream, epoll: &Epoll) -> Result<bool> {
        // The first is closed by this, and so watched no more (epoll(7)).
        (self.ends[1], self.watched[1]) = (end(dialed, self.narrow)?, 0);
        self.watch(epoll).map(|()| true)
    }

    /// What to do when an end is ready; `Ok(false)` when both directions have ended.
    pub fn ready(&mut self, end: usize, events: Events, pool: &mut Pool, epoll: &Epoll) -> Result<bool> {
        match &mut self.phase {
            Phase::Dialing(_) => self.dialed()?,
            Phase::Asking(answer) => {
                if answer.hear(&self.ends[1])? {
                    self.phase = Phase::Open;
                }
            }
            Phase::Open => self.pass(end, events, pool)?,
        }
        self.watch(epoll)?;
        let over = self.flows.iter().all(Flow::done);
        if over {
            self.ends.iter().try_for_each(|end| reset_on_close(end.as_fd(), false))?;
        }
        Ok(!over)
    }

    /// The container has ended, and with it whoever spoke there: what was said is passed on, as far as there is room, and is whole if that was
    /// all of it.
    pub fn settle(&mut self, pool: &mut Pool) {
        // Who has just been connected may have said all that he had to say.
        if self.dialed().is_err() || !matches!(self.phase, Phase::Open) {
            return;
        }
        for n in 0..2 {
            let (flow, from, to) = (&mut self.flows[n], &self.ends[n], &self.ends[1 - n]);
            let last = (0..ROUNDS).find_map(|_| match flow.pass(from, to, pool) {
                Ok(()) if !flow.done() => None,
                ended => Some(ended.is_ok()),
            });
            if last == Some(true) {
                // Otherwise it is a reset: nothing worse.
                let _ = reset_on_close(to.as_fd(), false);
            }
        }
    }

    /// Greets the dialed end if it is connected by now; the accepted one is not watched meanwhile.
    fn dialed(&mut self) -> Result<()> {
        let [_, dialed] = &self.ends;
        match dialed.take_error() {
            Ok(None) => {}
            Ok(Some(e)) | Err(e) => return Err(super::errno(e)),
        }
        if let Phase::Dialing(greeting) = &self.phase {
            self.phase = greeting.say(dialed)?.map_or(Phase::Open, Phase::Asking);
        }
        Ok(())
    }

    fn pass(&mut self, end: usize, events: Events, pool: &mut Pool) -> Result<()> {
        // What a broken end has sent is read before it is written to.
        for n in [end, 1 - end] {
            let (wanted, from, to) = (if n == end { IN } else { OUT }, &self.ends[n], &self.ends[1 - n]);
            if events & (wanted | BROKEN) != 0 && !self.flows[n].done() {
                self.flows[n].pass(from, to, pool)?;
            }
        }
        Ok(())
    }

    /// Asks for what the flows wait for. An end that nothing waits for is not watched at all, or its hang-up would be told for ever.
    fn watch(&mut self, epoll: &Epoll) -> Result<()> {
        for end in 0..2 {
            let wanted = match (&self.phase, end) {
                (Phase::Dialing(_), 1) => OUT,
                (Phase::Asking(_), 1) => IN,
                (Phase::Dialing(_) | Phase::Asking(_), _) => 0,
                (Phase::Open, _) => self.waits(end),
            };
            let (fd, token) = (self.ends[end].as_fd(), self.id * 2 + end as u64);
            match (self.watched[end], wanted) {
                (was, now) if was == now => {}
                (0, _) => epoll.add(fd, wanted, token)?,
                (_, 0) => epoll.remove(fd)?,
                _ => epoll.change(fd, wanted, token)?,
            }
            self.watched[end] = wanted;
        }
        Ok(())
    }

    fn waits(&self, end: usize) -> Events {
        let (from, to) = (&self.flows[end], &self.flows[1 - end]);
        let reads = if from.held.is_none() && !from.ended { IN } else { 0 };
        let writes = if to.held.is_some() { OUT } else { 0 };
        reads | writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::epoll::Batch;
    use crate::sys::socket::send_message;
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpListener;

    /// Both ends of a connection.
    fn pair() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        [ours, listener.accept().unwrap().0]
    }

    /// A link that is over or broken, driven until it is; and what its two peers did in between.
    fn driven(play: impl FnOnce(&mut TcpStream, &mut TcpStream)) -> (bool, TcpStream, TcpStream) {
        let ([accepted, mut client], [dialed, mut server]) = (pair(), pair());
        let (epoll, mut pool) = (Epoll::new().unwrap(), Pool::default());
        let mut link = Link::new(0, [accepted, dialed], false, Greeting::default(), &epoll).unwrap();
        let (_, writable) = epoll.wait(&mut Batch::of(1)).unwrap()[0];
        assert_eq!(link.ready(1, writable, &mut pool, &epoll), Ok(true), "dialed");
        play(&mut client, &mut server);
        loop {
            for (token, events) in epoll.wait(&mut Batch::of(1)).unwrap() {
                match link.ready(token as usize, events, &mut pool, &epoll) {
                    Ok(true) => {}
                    Ok(false) => return (true, client, server),
                    Err(_) => return (false, client, server),
                }
            }
        }
    }

    #[test]
    fn what_both_sides_ended_ends_without_a_reset() {
        let (whole, mut client, mut server) = driven(|client, server| {
            client.write_all(b"question").unwrap();
            server.write_all(b"answer").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
        let (mut asked, mut answered) = (String::new(), String::new());
        server.read_to_string(&mut asked).unwrap();
        client.read_to_string(&mut answered).unwrap();
        assert_eq!((whole, asked.as_str(), answered.as_str()), (true, "question", "answer"));
    }

    #[test]
    fn what_one_side_broke_off_is_a_reset_for_the_other() {
        let (whole, mut client, _) = driven(|_, server| {
            server.write_all(b"the first half").unwrap();
            reset_on_close(server.as_fd(), true).unwrap();
            let gone = std::mem::replace(server, pair().into_iter().next().unwrap());
            drop(gone);
        });
        let mut got = Vec::new();
        let end = client.read_to_end(&mut got);
        assert_eq!((whole, end.unwrap_err().kind()), (false, ErrorKind::ConnectionReset));
        assert_eq!(got, b"the first half");
    }

    #[test]
    fn what_was_said_before_the_container_ended_is_whole_for_whoever_listens() {
        let ([accepted, mut client], [dialed, mut server]) = (pair(), pair());
        let (epoll, mut pool) = (Epoll::new().unwrap(), Pool::default());
        let mut link = Link::new(0, [accepted, dialed], false, Greeting::default(), &epoll).unwrap();
        let words = vec![7; 60_000];
        client.write_all(&words).unwrap();
        drop(client);
        let listener = std::thread::spawn(move || {
            let mut said = Vec::new();
            server.read_to_end(&mut said).map(|_| said)
        });
        link.settle(&mut pool);
        drop(link);
        assert_eq!(listener.join().unwrap().unwrap().len(), words.len());
    }

    /// Bytes that this thread has read and written by its memory (proc_pid_io(5), rchar and wchar), but for the question itself.
    fn copied() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap();
        of("rchar:") + of("wchar:")
    }

    #[test]
    fn bytes_go_past_our_memory() {
        let ([accepted, mut client], [dialed, server]) = (pair(), pair());
        let (epoll, mut pool) = (Epoll::new().unwrap(), Pool::default());
        let mut link = Link::new(0, [accepted, dialed], false, Greeting::default(), &epoll).unwrap();
        client.write_all(&[7; 60_000]).unwrap();
        drop(client);
        let before = copied();
        link.settle(&mut pool);
        let moved = copied() - before;
        drop(link);
        let said = std::io::Read::bytes(server).count();
        assert!(said == 60_000 && moved < 10_000, "{said} arrived, {moved} were copied");
    }

    #[test]
    fn an_urgent_byte_is_one_of_the_others() {
        let ([accepted, mut client], [dialed, mut server]) = (pair(), pair());
        let (epoll, mut pool) = (Epoll::new().unwrap(), Pool::default());
        let mut link = Link::new(0, [accepted, dialed], false, Greeting::default(), &epoll).unwrap();
        client.write_all(b"hello").unwrap();
        assert_eq!(send_message(client.as_fd(), b"", b"!", b"", libc::MSG_OOB), Ok(1));
        client.write_all(b"after").unwrap();
        drop(client);
        link.settle(&mut pool);
        drop(link);
        let mut said = String::new();
        let whole = server.read_to_string(&mut said).is_ok();
        assert_eq!((said.as_str(), whole), ("hello!after", true));
    }

    #[test]
    fn a_link_whose_first_address_refuses_goes_on_by_the_second() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let somebody = TcpListener::bind("[::1]:0").unwrap();
        let dial = |to: &std::net::SocketAddr| {
            let socket = crate::sys::socket::tcp(to).unwrap();
            crate::sys::socket::connect(socket.as_fd(), to).unwrap();
            TcpStream::from(socket)
        };
        let ([accepted, mut client], epoll, mut pool) = (pair(), Epoll::new().unwrap(), Pool::default());
        let mut link = Link::new(0, [accepted, dial(&nobody)], false, Greeting::default(), &epoll).unwrap();
        let mut ready = |link: &mut Link| {
            let (token, events) = epoll.wait(&mut Batch::of(1)).unwrap()[0];
            link.ready(token as usize, events, &mut pool, &epoll)
        };
        assert_eq!(ready(&mut link), Err(Errno::ECONNREFUSED));
        assert_eq!(link.redial(dial(&somebody.local_addr().unwrap()), &epoll), Ok(true));
        assert_eq!(ready(&mut link), Ok(true), "connected");
        client.write_all(b"x").unwrap();
        assert_eq!(ready(&mut link), Ok(true), "passed on");
        let mut got = [0];
        somebody.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    }

    /// What a link takes of a client for a server that does not read; their own buffers are narrow.
    fn held(narrow: bool) -> usize {
        let ([accepted, mut client], [dialed, server]) = (pair(), pair());
        [&client, &server].iter().for_each(|end| limit_buffers(end.as_fd(), NARROW).unwrap());
        client.set_nonblocking(true).unwrap();
        let (epoll, mut pool, mut all, mut idle) = (Epoll::new().unwrap(), Pool::default(), 0, 0);
        let mut link = Link::new(0, [accepted, dialed], narrow, Greeting::default(), &epoll).unwrap();
        while idle < 3 {
            let written = client.write(&[0; 65536]).unwrap_or(0);
            (all, idle) = (all + written, if written == 0 { idle + 1 } else { 0 });
            link.settle(&mut pool);
        }
        all
    }

    #[test]
    fn a_narrow_link_holds_little() {
        let [narrow, wide] = [true, false].map(held);
        assert!(narrow < 1 << 20 && wide > 2 * narrow, "{narrow}, {wide}");
    }

    #[test]
    fn a_link_that_is_dropped_is_a_reset() {
        let ([accepted, mut client], [dialed, _server]) = (pair(), pair());
        drop(Link::new(0, [accepted, dialed], false, Greeting::default(), &Epoll::new().unwrap()).unwrap());
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
