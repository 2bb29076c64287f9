//! The parent: performs its column, follows the container to its end, and leaves nothing of it behind.

use super::child::Child;
use super::fault::{self, Fault};
use super::keeper::{self, Keeper};
use super::terminal::Relay;
use super::{Options, door, hook, idmap, rootfs_dir};
use crate::bundle::Bundle;
use crate::plan::op::{HookKind, Op, ParentOp, Sync};
use crate::plan::{ParentStep, Plan, mount_slots};
use crate::state::{Record, Reserved};
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::process::{self, Cloned, Ended, Pid, Strings};
use crate::sys::{Errno, Result as SysResult, cred, file, signal};
use crate::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// One launch of one plan.
pub(super) struct Launch<'a> {
    pub plan: &'a Plan,
    pub bundle: &'a Bundle,
    pub options: &'a Options,
    pub reserved: Option<&'a Reserved>,
}

/// Signals that stay what they are: job control acts on codexrun as on any program, and faults of its own must show.
const OURS: &[i32] = &[
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// Bytes of stack for the command's process between its clone and its execve(2).
const STACK: usize = 64 * 1024;

/// What the parent holds while the container lives.
struct Container {
    pid: Pid,
    pidfd: OwnedFd,
    gate: OwnedFd,
    faults: OwnedFd,
    /// Only until the keeper has been forked: the pipe must end with the last who can fail.
    fault_writer: Option<OwnedFd>,
    /// For the keeper.
    ended: Option<OwnedFd>,
    keeper: Option<KeeperProcess>,
    master: Option<OwnedFd>,
}

struct KeeperProcess {
    pid: Pid,
    paths: Vec<PathBuf>,
    ended: bool,
}

impl Launch<'_> {
    /// The whole life of the container; its exit code, or 0 when detached.
    pub fn run(&self) -> Result<u8> {
        let blocked = signal::Set::all_but(OURS);
        let caller = signal::set_mask(&blocked).map_err(|e| setup("block signals", e))?;
        // Ignored by the caller, it would keep us from learning how the container ended.
        signal::set_default(libc::SIGCHLD).map_err(|e| setup("reset SIGCHLD", e))?;
        let ended = self.launch(&blocked, caller);
        signal::set_mask(&caller).map_err(|e| setup("restore signals", e))?;
        ended
    }

    fn launch(&self, blocked: &signal::Set, caller: signal::Set) -> Result<u8> {
        let mut container = self.start(caller)?;
        let ended = match self.bring_up(&mut container) {
            Ok(()) if self.options.detach => return self.hand_over(container),
            Ok(()) => self.started(&container).and_then(|()| self.attend(&mut container, blocked)),
            Err(e) => Err(e),
        };
        let code = self.finish(&mut container, ended);
        self.poststop(&container);
        code
    }

    /// Everything up to and including the clone.
    fn start(&self, mask: signal::Set) -> Result<Container> {
        let clone = |op: &ParentOp| if let ParentOp::Clone(flags) = op { Some(*flags) } else { None };
        let namespaces = self.plan.parent.iter().find_map(|step| clone(&step.op)).unwrap_or(0);
        let exec = self.plan.child.iter().find_map(|s| if let Op::Exec(exec) = &s.op { Some(exec) } else { None });
        let exec = exec.ok_or_else(|| Error::new("there is nothing to run").at("config.json: process.args"))?;
        let sockets = |e| setup("make a socket", e);
        let (gate, child_gate) = file::socketpair().map_err(sockets)?;
        let (faults, fault_writer) = file::pipe().map_err(sockets)?;
        let (args, env) = (Strings::new(&exec.args), Strings::new(&exec.env));
        let (hears, says) =
            if self.plan.init { file::pipe().map(|(r, w)| (Some(r), Some(w))).map_err(sockets)? } else { (None, None) };
        // Touched only by the command's process, a few pages of it.
        let stack = vec![0; STACK];
        let prepared = idmap::prepare(&self.plan.parent)?;
        let doors = door::open(&self.plan.parent)?;
        let groups = self.drop_groups()?;
        let cloned = door::clone(&doors, namespaces);
        if matches!(cloned, Ok(Cloned::Child)) {
            // Nothing that owns memory is dropped from here on.
            process::become_child();
            // An end of the parent's that stayed open here would hide its death from us.
            drop((gate, faults, hears));
            let mut child = Child {
                plan: self.plan,
                gate: child_gate,
                faults: fault_writer,
                ended: says,
                mask,
                args,
                env,
                stack,
                root: None,
                root_id: (0, 0),
                dev: None,
                proc_self: None,
                null: None,
                empty: None,
                kept: [const { None }; mount_slots()],
                prepared,
                tty: None,
                step: 0,
            };
            child.walk()
        }
        let restored = groups.map_or(Ok(()), |groups| cred::set_groups(&groups));
        let Cloned::Parent(pid, pidfd) = cloned.map_err(|e| door::failed(e, &doors, namespaces))? else { process::exit(1) };
        let (keeper, master, ended, fault_writer) = (None, None, hears, Some(fault_writer));
        let container = Container { pid, pidfd, gate, faults, fault_writer, ended, keeper, master };
        match restored {
            Ok(()) => Ok(container),
            Err(e) => {
                let ended = container.end(true).map_err(|e| setup("end the container", e));
                ended.and(Err(setup("restore the supplementary groups", e)))
            }
        }
    }

    /// Gives up the supplementary groups, for the child to inherit none; what the caller had.
    fn drop_groups(&self) -> Result<Option<Vec<u32>>> {
        let Some(step) = self.plan.parent.iter().find(|step| step.op == ParentOp::DropGroups) else { return Ok(None) };
        let groups = cred::groups().map_err(|e| failed(step, e))?;
        cred::set_groups(&[]).map_err(|e| failed(step, e))?;
        Ok(Some(groups))
    }

    /// The parent's column after the clone.
    fn bring_up(&self, container: &mut Container) -> Result<()> {
        for step in &self.plan.parent {
            match &step.op {
                ParentOp::DropGroups | ParentOp::Join(_) | ParentOp::IdMap(_) | ParentOp::Clone(_) => {}
                ParentOp::WriteMaps { uid, gid } => write_maps(container.pid, uid, gid).map_err(|e| failed(step, e))?,
                ParentOp::Keeper(paths) => self.keep(container, paths).map_err(|e| failed(step, e))?,
                ParentOp::Wait(sync) => container.expect(*sync).map_err(|e| failed(step, e))?,
                ParentOp::Tell(sync) => file::write_all(container.gate.as_fd(), &[*sync as u8]).map_err(|e| failed(step, e))?,
                ParentOp::Hooks(_, hooks) => hook::run_all(&step.origin, hooks, &self.state("creating", container.pid))?,
                ParentOp::Record => self.record(container.pid)?,
            }
        }
        container.fault_writer = None;
        if self.plan.terminal && container.master.is_none() {
            container.expect(Sync::Console).map_err(|e| setup("receive the terminal", e))?;
        }
        self.send_console(container)
    }

    fn keep(&self, container: &mut Container, paths: &[PathBuf]) -> SysResult<()> {
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|_| Errno::EMFILE);
        let faults = copy(container.fault_writer.as_ref().ok_or(Errno::EBADF)?)?;
        let keeper = Keeper {
            paths,
            container: copy(&container.pidfd)?,
            gate: copy(&container.gate)?,
            faults,
            ended: container.ended.take(),
        };
        match process::clone(0)? {
            Cloned::Child => keeper.run(),
            Cloned::Parent(pid, _) => container.keeper = Some(KeeperProcess { pid, paths: paths.to_vec(), ended: false }),
        }
        Ok(())
    }

    /// In the foreground: runs the `poststart` hooks once the process has executed. Without any there is nothing to wait for.
    fn started(&self, container: &Container) -> Result<()> {
        let wanted = |step: &ParentStep| matches!(step.op, ParentOp::Hooks(HookKind::Poststart, _));
        if !self.plan.after.iter().any(wanted) {
            return Ok(());
        }
        self.executed(container)?;
        self.poststart(container);
        Ok(())
    }

    /// Waits until the process has executed: nobody who could fail has the pipe open any more.
    fn executed(&self, container: &Container) -> Result<()> {
        match Fault::receive(container.faults.as_fd()).map_err(|e| setup("wait for the start", e))? {
            Some(fault) => Err(fault.explain(self.plan)),
            None => Ok(()),
        }
    }

    /// Follows the container to its end and forwards signals to it.
    fn attend(&self, container: &mut Container, blocked: &signal::Set) -> Result<()> {
        let signals = signal::signalfd(blocked).map_err(|e| setup("listen for signals", e))?;
        let mut relay = container.master.take().map(Relay::new);
        loop {
            let [master, input] = relay.as_ref().map_or([None, None], Relay::descriptors);
            let fds = [Some(container.pidfd.as_fd()), Some(signals.as_fd()), master, input];
            let [ended, signal, output, input] = file::poll(fds).map_err(|e| setup("follow the container", e))?;
            if ended {
                return Ok(());
            }
            if signal {
                self.signal(container, &signals, relay.as_ref())?;
            }
            if let Some(relay) = &mut relay {
                relay.pass(output, input).map_err(|e| setup("relay the terminal", e))?;
            }
        }
    }

    fn signal(&self, container: &mut Container, signals: &OwnedFd, relay: Option<&Relay>) -> Result<()> {
        match (signal::next(signals.as_fd()).map_err(|e| setup("read a signal", e))?, relay) {
            (libc::SIGCHLD, _) => container.keeper_failed()?,
            (libc::SIGWINCH, Some(relay)) => relay.resize(),
            // A container that has just ended needs no signal.
            (number, _) => pidfd_send_signal(container.pidfd.as_fd(), number).unwrap_or(()),
        }
        Ok(())
    }

    /// The container has ended, or has to: its exit code, or the fault that explains why it never ran.
    fn finish(&self, container: &mut Container, followed: Result<()>) -> Result<u8> {
        let ended = container.end(followed.is_err());
        container.end_keeper();
        container.fault_writer = None;
        // A fault says more than the parent's own impression of it.
        let fault = file::set_nonblocking(container.faults.as_fd()).and_then(|()| Fault::receive(container.faults.as_fd()));
        if let Ok(Some(fault)) = fault {
            return Err(fault.explain(self.plan));
        }
        followed?;
        Ok(ended.map_err(|e| setup("wait for the container", e))?.code())
    }

    /// Detached: the process must have started; then everybody else looks after it.
    fn hand_over(&self, mut container: Container) -> Result<u8> {
        if let Err(e) = self.executed(&container) {
            container.end(true).map_err(|e| setup("end the container", e))?;
            container.end_keeper();
            return Err(e);
        }
        self.poststart(&container);
        Ok(0)
    }

    fn record(&self, pid: Pid) -> Result<()> {
        let dir = self.options.bundle_dir.as_deref().unwrap_or(Path::new("/"));
        if let (Some(reserved), Some(id)) = (self.reserved, &self.options.id) {
            reserved.save(&Record::new(id.clone(), pid, dir, rootfs_dir(self.bundle, dir), &self.bundle.spec)?)?;
        }
        self.options.pid_file.as_deref().map_or(Ok(()), |file| write_pid(file, pid))
    }

    fn send_console(&self, container: &mut Container) -> Result<()> {
        let (Some(path), true) = (&self.options.console_socket, container.master.is_some()) else { return Ok(()) };
        let failed = |e: std::io::Error| Error::new(format!("cannot send the terminal to `{}`", path.display())).cause(e);
        let socket = std::os::unix::net::UnixStream::connect(path).map_err(failed)?;
        match container.master.take() {
            Some(master) => file::send_fd(socket.as_fd(), master.as_fd(), 0).map_err(|e| failed(e.into())),
            None => Ok(()),
        }
    }

    fn poststart(&self, container: &Container) {
        self.late_hooks(HookKind::Poststart, "running", container.pid);
    }

    fn poststop(&self, container: &Container) {
        self.late_hooks(HookKind::Poststop, "stopped", container.pid);
    }

    /// runtime.md: a failure is a warning, and the remaining hooks run all the same.
    fn late_hooks(&self, wanted: HookKind, status: &str, pid: Pid) {
        for step in &self.plan.after {
            if let ParentOp::Hooks(kind, hooks) = &step.op
                && *kind == wanted
            {
                let state = self.state(status, pid);
                hook::run_each(&step.origin, hooks, &state).iter().for_each(Error::warn);
            }
        }
    }

    /// The OCI state, as hooks read it.
    fn state(&self, status: &str, pid: Pid) -> String {
        let spec = &self.bundle.spec;
        let id = self.options.id.as_ref().map_or_else(|| format!("codexrun-{pid}"), ToString::to_string);
        serde_json::json!({
            "ociVersion": spec.version(), "id": id, "status": status, "pid": pid,
            "bundle": self.options.bundle_dir.as_deref().unwrap_or(Path::new("/")), "annotations": spec.annotations(),
        })
        .to_string()
    }
}

impl Container {
    /// Waits for the child's byte; the terminal may come first.
    fn expect(&mut self, sync: Sync) -> SysResult<()> {
        loop {
            match file::receive(self.gate.as_fd())? {
                Some((byte, fd)) if byte == Sync::Console as u8 => {
                    self.master = fd;
                    if sync == Sync::Console {
                        return Ok(());
                    }
                }
                Some((byte, _)) if byte == sync as u8 => return Ok(()),
                Some(_) => return Err(Errno::EPROTO),
                None => return Err(Errno::EPIPE),
            }
        }
    }

    /// SIGCHLD: a keeper that ends before the container has failed, or was killed; its names are then ours to remove.
    fn keeper_failed(&mut self) -> Result<()> {
        let Some(keeper) = self.keeper.as_mut().filter(|k| !k.ended) else { return Ok(()) };
        let Ok(Some((_, how))) = process::wait(keeper.pid, libc::WNOHANG) else { return Ok(()) };
        keeper.ended = true;
        match how {
            // Init has told it that the sandbox has ended, a moment before we hear of it.
            Ended::Exited(0) => Ok(()),
            // Without one the placeholders' locks are gone, and with them the protection.
            _ => Err(Error::new(format!("the keeper of placeholders was ended ({how:?})"))),
        }
    }

    fn end(&self, kill: bool) -> SysResult<Ended> {
        if kill {
            // ESRCH: it has ended by itself.
            let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        }
        process::wait(self.pid, 0)?.map(|(_, ended)| ended).ok_or(Errno::ECHILD)
    }

    /// The keeper sees the end by itself; what one that was killed has left is removed here.
    fn end_keeper(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        if keeper.ended || !matches!(process::wait(keeper.pid, 0), Ok(Some((_, Ended::Exited(_))))) {
            keeper::release_all(&keeper.paths);
        }
    }
}

pub(super) fn write_maps(pid: Pid, uid: &str, gid: &str) -> SysResult<()> {
    for (name, lines) in [("uid_map", uid), ("gid_map", gid)] {
        std::fs::write(format!("/proc/{pid}/{name}"), lines)
            .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    }
    Ok(())
}

/// Digits and nothing else (engines parse it with Atoi), whole or not at all.
fn write_pid(file: &Path, pid: Pid) -> Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, pid.to_string())
        .and_then(|()| std::fs::rename(&new, file))
        .map_err(|e| Error::new(format!("cannot write the pid file `{}`", file.display())).cause(e))
}

fn setup(what: &str, errno: Errno) -> Error {
    Error::new(format!("cannot {what}")).cause(fault::describe(errno))
}

fn failed(step: &ParentStep, errno: Errno) -> Error {
    Error::new(format!("cannot {}", step.op)).at(format!("config.json: {}", step.origin)).cause(fault::describe(errno))
}

pub(super) fn not_cloned(errno: Errno, namespaces: u64) -> Error {
    let error = Error::new("cannot make the namespaces").at("config.json: linux.namespaces").cause(fault::describe(errno));
    let user = namespaces & libc::CLONE_NEWUSER as u64 != 0;
    match errno {
        Errno::EPERM | Errno::EACCES if user => error.hint(fault::USERNS),
        Errno::EPERM => error.hint("this needs CAP_SYS_ADMIN, or a user namespace in linux.namespaces"),
        Errno::ENOSPC => error.hint("a limit of /proc/sys/user is reached, or user namespaces are nested too deep"),
        Errno::EINVAL => error.hint("this kernel lacks one of the namespaces"),
        _ => error,
    }
}
