//! The end that the `poststop` hook makes. A bridge ends by itself with the container's first process, once it has passed on what is under
//! way; the hook waits for that, and ends one that does not get to it. It finds the bridge by an abstract Unix socket (unix(7)) in the
//! runtime's network namespace, on which nobody is ever answered: that the socket is there says that its holder is.

use super::door::State;
use super::failed;
use crate::sys::{Errno, file, pidfd, socket};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Milliseconds for what is still to be passed on.
const PATIENCE: i32 = 2000;

fn address(state: &State) -> Result<SocketAddr> {
    SocketAddr::from_abstract_name(state.name()).map_err(|e| Error::new("cannot name the bridge").cause(e))
}

/// What the bridge keeps while it lives. `None`: somebody has the name, as a bridge of the same container does that is about to end.
pub(super) fn hold(state: &State) -> Result<Option<UnixListener>> {
    match UnixListener::bind_addr(&address(state)?) {
        Ok(listener) => Ok(Some(listener)),
        Err(e) if e.kind() == ErrorKind::AddrInUse => Ok(None),
        Err(e) => Err(Error::new("cannot make the bridge's socket").cause(e)),
    }
}

/// Waits until the bridge has ended, or ends it.
pub(super) fn make(state: &State) -> Result<()> {
    let bridge = match UnixStream::connect_addr(&address(state)?) {
        Ok(bridge) => bridge,
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => return Ok(()),
        Err(e) => return Err(Error::new("cannot look for the bridge").cause(e)),
    };
    let (pid, uid) = socket::peer(bridge.as_fd()).map_err(|e| failed("look for the bridge", e))?;
    // Names of this kind are free to anybody.
    if uid != nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    let process = match pidfd::pidfd_open(nix::unistd::Pid::from_raw(pid)) {
        Err(Errno::ESRCH) => return Ok(()),
        opened => opened.map_err(|e| failed("look for the bridge", e))?,
    };
    // As long as the socket is there its holder is, so that nobody else has the number.
    let ended = file::poll_for(bridge.as_fd(), 0)
        .and_then(|gone| if gone { Ok(true) } else { file::poll_for(process.as_fd(), PATIENCE) });
    match ended.map_err(|e| failed("wait for the bridge's end", e))? {
        true => Ok(()),
        false => pidfd::pidfd_send_signal(process.as_fd(), libc::SIGKILL).map_err(|e| failed("end the bridge", e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str) -> State {
        State::read(&format!(r#"{{"id": "{id}-{}", "bundle": "/b", "pid": 1}}"#, std::process::id())).unwrap()
    }

    #[test]
    fn who_has_no_bridge_any_more_has_nothing_to_end() {
        let state = state("gone");
        make(&state).unwrap();
        drop(hold(&state).unwrap().unwrap());
        make(&state).unwrap();
    }

    #[test]
    fn a_name_that_somebody_has_hinders_nobody() {
        let state = state("taken");
        let _first = hold(&state).unwrap().unwrap();
        assert!(hold(&state).unwrap().is_none());
    }
}
