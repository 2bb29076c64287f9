//! A client that is listened to for a time in all, not for so long after each byte.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Until it has said what it wants.
pub struct Hurry<'a> {
    /// Of which nobody else reads meanwhile.
    pub client: &'a TcpStream,
    end: Instant,
}

impl<'a> Hurry<'a> {
    /// From now on.
    pub fn new(client: &'a TcpStream, patience: Duration) -> Self {
        Hurry { client, end: Instant::now() + patience }
    }

    /// As of [`TcpStream`].
    pub fn peek(&self, into: &mut [u8]) -> Result<usize> {
        self.wait_no_longer()?;
        self.client.peek(into)
    }

    /// Sets what is left of the time for the next read.
    fn wait_no_longer(&self) -> Result<()> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.client.set_read_timeout(Some(left))
    }
}

impl Read for Hurry<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.wait_no_longer()?;
        self.client.read(into)
    }
}

impl Write for Hurry<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.client.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.client.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_byte_now_and_then_wins_no_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut slow = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (client, _) = listener.accept().unwrap();
        let drip = std::thread::spawn(move || {
            while slow.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20))
            }
        });
        let began = Instant::now();
        let mut hurry = Hurry::new(&client, Duration::from_millis(200));
        let said = std::iter::from_fn(|| hurry.read(&mut [0]).ok()).take(100).count();
        assert!(said < 100 && began.elapsed() < Duration::from_secs(2), "{said}");
        drop(client);
        drip.join().unwrap();
    }
}
