//! Bytes both ways until both sides have ended.

use std::io;
use std::net::{Shutdown, TcpStream};

/// From one to the other, and the end with it.
pub fn one_way(mut from: impl io::Read, to: &TcpStream) -> io::Result<()> {
    let mut sink = to;
    io::copy(&mut from, &mut sink)?;
    // Who has gone already needs no end.
    let _ = to.shutdown(Shutdown::Write);
    Ok(())
}

/// Ends a connection by a reset, for both who read and who write: what was cut short must not look complete.
pub fn break_off(stream: &TcpStream) {
    // connect(2) to AF_UNSPEC. Some kernels refuse it (EBUSY) while somebody else reads.
    if rustix::net::connect_unspec(stream).is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// An urgent byte (tcp(7), MSG_OOB) is one of the stream's (RFC 6093, 3), and would be missing.
pub fn inline(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_oobinline(stream, true)?)
}

/// `early` is what the client has said already.
pub fn both_ways(client: &TcpStream, server: &TcpStream, early: &[u8]) -> Option<()> {
    client.set_read_timeout(None).ok()?;
    server.set_nodelay(true).ok()?;
    let whole = |passed: io::Result<()>, ends: [&TcpStream; 2]| {
        if passed.is_err() {
            ends.into_iter().for_each(break_off);
        }
    };
    // Scoped: it needs no descriptors of its own.
    std::thread::scope(|scope| {
        let back = || whole(one_way(server, client), [server, client]);
        let back = std::thread::Builder::new().stack_size(crate::STACK).spawn_scoped(scope, back).ok()?;
        whole(one_way(io::Read::chain(early, client), server), [client, server]);
        back.join().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpListener;

    fn pair() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        [ours, listener.accept().unwrap().0]
    }

    #[test]
    fn a_tunnel_that_the_server_breaks_off_is_a_reset_for_the_client() {
        let ([client, mut theirs], [server, mut far]) = (pair(), pair());
        let tunnel = std::thread::spawn(move || both_ways(&client, &server, b"early"));
        let mut early = [0; 5];
        far.read_exact(&mut early).unwrap();
        far.write_all(b"half").unwrap();
        theirs.read_exact(&mut [0; 4]).unwrap();
        break_off(&far);
        assert_eq!((&early, theirs.read(&mut [0]).unwrap_err().kind()), (b"early", ErrorKind::ConnectionReset));
        tunnel.join().unwrap();
    }

    #[test]
    fn a_tunnel_that_both_have_ended_is_whole() {
        let ([client, mut theirs], [server, mut far]) = (pair(), pair());
        let tunnel = std::thread::spawn(move || both_ways(&client, &server, &[]));
        theirs.write_all(b"question").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let (mut asked, mut answered) = (String::new(), String::new());
        far.read_to_string(&mut asked).unwrap();
        far.write_all(b"answer").unwrap();
        drop(far);
        theirs.read_to_string(&mut answered).unwrap();
        assert_eq!((asked.as_str(), answered.as_str(), tunnel.join().unwrap()), ("question", "answer", Some(())));
    }
}
