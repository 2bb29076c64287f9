//! The terminal, and the socket by which its master side comes to whoever asked for it.

use super::Who::Both;
use super::container::{Container, until};
use super::turn::Turn;
use super::{Must, must};
use crate::report::{No, Verdict, fail};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

pub const CASES: &[Must] = &[
    must("config.process.terminal.true", "stdin, stdout and stderr are a terminal, and it controls the process", Both, terminal),
    must("config.process.terminal.console", "/dev/console is that terminal", Both, dev_console),
    must("config.process.console-size.applied", "the terminal has the size that consoleSize says", Both, size),
    must("engine.console.one-master", "the socket gets one message with one descriptor and is closed", Both, one_master),
    must("engine.console.no-socket", "`create` with a terminal and no socket is an error", Both, no_socket),
    must("engine.console.no-terminal", "`create` with a socket and no terminal is an error", Both, socket_unasked),
];

/// A listening socket, as conmon and the shim have one.
pub struct Socket {
    /// What `--console-socket` is told.
    pub path: PathBuf,
    listener: UnixListener,
}

/// What came through it.
pub struct Master {
    /// Every descriptor of the message.
    pub descriptors: Vec<OwnedFd>,
    /// The bytes of the message.
    pub name: Vec<u8>,
    stream: UnixStream,
}

impl Socket {
    /// A socket that the caller may connect to.
    pub fn new(turn: &Turn) -> Result<Socket, No> {
        let path = turn.dir.join(turn.fresh()).with_extension("sock");
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        listener.set_nonblocking(true)?;
        Ok(Socket { path, listener })
    }

    /// Closes every connection that waits, with what is on its way in it: so many descriptors.
    pub fn forget(&self) -> Result<usize, No> {
        let mut descriptors = 0;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    descriptors += message(stream).map_or(0, |message| message.descriptors.len());
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(descriptors),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Waits for the connection and reads its message.
    pub fn receive(&self) -> Result<Master, No> {
        let mut connection = None;
        for _ in 0..2000 {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    connection = Some(stream);
                    break;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        let Some(stream) = connection else {
            return fail("--console-socket", "a connection", "none");
        };
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        message(stream)
    }
}

fn message(stream: UnixStream) -> Result<Master, No> {
    let (mut bytes, mut space) = ([0; 256], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let got = got.map_err(std::io::Error::from)?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = part {
            descriptors.extend(all);
        }
    }
    Ok(Master { descriptors, name: bytes[..got.bytes].to_vec(), stream })
}

impl Master {
    /// The bytes of the message and all that follow, to the end.
    pub fn to_end(&self) -> Result<Vec<u8>, No> {
        let mut all = self.name.clone();
        (&self.stream).read_to_end(&mut all)?;
        Ok(all)
    }

    /// Reads the terminal until it has said this.
    pub fn says(self, expected: &str) -> Verdict {
        let Some(fd) = self.descriptors.into_iter().next() else {
            return fail("--console-socket", "a descriptor", "none");
        };
        rustix::io::ioctl_fionbio(&fd, true).map_err(std::io::Error::from)?;
        let (file, seen) = (File::from(fd), std::cell::RefCell::new(Vec::new()));
        let there = || {
            let mut block = [0; 4096];
            // EIO comes when the last process that had the other side open is gone; what it wrote has been read before.
            let n = (&file).read(&mut block).unwrap_or(0);
            seen.borrow_mut().extend_from_slice(&block[..n]);
            String::from_utf8_lossy(&seen.borrow()).contains(expected)
        };
        let said = until(there);
        said.or_else(|_| fail("the terminal", expected, String::from_utf8_lossy(&seen.borrow())))
    }
}

/// A container with a terminal, started.
fn with_terminal<'t>(turn: &'t Turn, config: &Value) -> Result<(Container<'t>, Master), No> {
    let socket = Socket::new(turn)?;
    let mut config = config.clone();
    config["process"]["terminal"] = json!(true);
    let path = socket.path.display().to_string();
    let container = turn.create_with(&config, &["--console-socket", &path])?;
    container.made.must("create exits 0", container.made.code == 0)?;
    let master = socket.receive()?;
    container.start()?;
    Ok((container, master))
}

fn terminal(turn: &Turn) -> Verdict {
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && (: < /dev/tty) && echo all-$(tty); sleep 1000";
    let (_container, master) = with_terminal(turn, &turn.sh(script))?;
    master.says("all-/dev/")
}

fn dev_console(turn: &Turn) -> Verdict {
    let (_container, master) = with_terminal(turn, &turn.sh("echo to-the-console > /dev/console; sleep 1000"))?;
    master.says("to-the-console")
}

fn size(turn: &Turn) -> Verdict {
    let mut config = turn.sh("echo size $(stty size); sleep 1000");
    config["process"]["consoleSize"] = json!({"height": 33, "width": 77});
    let (_container, master) = with_terminal(turn, &config)?;
    let seen = master.descriptors.first().map(rustix::termios::tcgetwinsize);
    match seen {
        Some(Ok(size)) if (size.ws_row, size.ws_col) == (33, 77) => master.says("size 33 77"),
        other => fail("window size of the master", "33 rows, 77 columns", format!("{other:?}")),
    }
}

fn one_master(turn: &Turn) -> Verdict {
    let (_container, mut master) = with_terminal(turn, &turn.sleeper())?;
    let more = master.stream.read(&mut [0; 16]);
    if master.descriptors.len() == 1 && !master.name.is_empty() && matches!(more, Ok(0)) {
        return Ok(());
    }
    let got = format!("{} descriptors, {:?}, then {more:?}", master.descriptors.len(), master.name);
    fail("--console-socket", "one message, one descriptor, then the end", got)
}

fn no_socket(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["terminal"] = json!(true);
    turn.refused(&config)
}

fn socket_unasked(turn: &Turn) -> Verdict {
    let socket = Socket::new(turn)?;
    let container = turn.create_with(&turn.sleeper(), &["--console-socket", &socket.path.display().to_string()])?;
    container.made.must("create fails", container.made.code != 0)?;
    turn.unknown(&container.id)
}
