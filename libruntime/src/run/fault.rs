//! What a failed step tells the parent, and the sentence that the parent makes of it.

use super::hook;
use super::op::exec::NO_INTERPRETER;
use crate::host::namespaces;
use crate::plan::op::{By, ChildHook, Op, ParentOp};
use crate::plan::order::Stage;
use crate::plan::{Plan, Step};
use crate::sys::{Errno, Result as SysResult, file};
use crate::{Error, annotation};
use std::os::fd::BorrowedFd;

/// Eight bytes: who failed, at which step, with which errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Whose column.
    pub column: Column,
    /// Index of the step; for the keeper, of the placeholder, or their number when it could not even begin.
    pub step: u16,
    /// errno(3).
    pub errno: i32,
}

/// What comes through the pipe of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A step has failed.
    Fault(Fault),
    /// The startContainer hooks have ended well ([`Op::Hooked`]): a fault of no step, without an errno.
    Hooked,
    /// Nobody who could fail has it open any more.
    End,
}

impl Heard {
    /// The next.
    pub fn receive(pipe: BorrowedFd) -> SysResult<Heard> {
        let mut bytes = [0; 8];
        let read = file::read(pipe, &mut bytes)?;
        Heard::of(&bytes[..read])
    }

    /// What has been said by these bytes.
    ///
    /// # Errors
    /// EPROTO: nobody says that. It must not be taken for the end, which is a start that went well.
    pub fn of(bytes: &[u8]) -> SysResult<Heard> {
        match (bytes, bytes.try_into().ok().and_then(Fault::of)) {
            ([], _) => Ok(Heard::End),
            (_, Some(HOOKED)) => Ok(Heard::Hooked),
            (_, Some(fault)) => Ok(Heard::Fault(fault)),
            _ => Err(Errno::EPROTO),
        }
    }

    /// As it is sent.
    #[cfg(any(test, fuzzing))]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Heard::Fault(fault) => fault.bytes().to_vec(),
            Heard::Hooked => HOOKED.bytes().to_vec(),
            Heard::End => Vec::new(),
        }
    }

    /// Sends [`Heard::Hooked`]; allocates nothing.
    pub fn say_hooked(pipe: BorrowedFd) -> SysResult<()> {
        file::write_all(pipe, &HOOKED.bytes())
    }
}

const HOOKED: Fault = Fault { column: Column::Child, step: 0, errno: 0 };

/// The processes that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Everything between clone and execve.
    Child,
    /// The keeper of placeholders.
    Keeper,
}

impl Fault {
    /// Sends it; allocates nothing. There is nobody to tell if even that fails.
    pub fn send(self, pipe: BorrowedFd) {
        if file::write_all(pipe, &self.bytes()).is_err() {
            crate::sys::process::exit(1);
        }
    }

    fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[0] = self.column as u8;
        bytes[2..4].copy_from_slice(&self.step.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.errno.to_ne_bytes());
        bytes
    }

    /// As it is sent; `None`: it is none.
    fn of(b: [u8; 8]) -> Option<Fault> {
        let column = [Column::Child, Column::Keeper].into_iter().find(|column| [*column as u8, 0] == b[..2])?;
        let (step, errno) = (u16::from_ne_bytes([b[2], b[3]]), i32::from_ne_bytes([b[4], b[5], b[6], b[7]]));
        Some(Fault { column, step, errno })
    }

    /// Which of the child's steps, if it is one.
    pub fn of_the_child(self, plan: &Plan) -> Option<&Step> {
        plan.child.get(usize::from(self.step)).filter(|_| self.column == Column::Child)
    }

    /// Whether it is as filters refuse, and a filter was in force.
    fn may_be_the_filters(self, plan: &Plan) -> bool {
        let mut before = plan.child.iter().take(usize::from(self.step));
        let refused = matches!(Errno::from_raw(self.errno), Errno::EPERM | Errno::EACCES | Errno::ENOSYS);
        refused && before.any(|step| matches!(step.op, Op::Seccomp(_) | Op::Supervised { .. }))
    }

    /// Whether a hook of the child's column failed.
    pub fn is_of_a_hook(self, plan: &Plan) -> bool {
        self.of_the_child(plan).is_some_and(|step| matches!(step.op, Op::Hook(_)))
    }

    /// Whether the container was not yet made.
    pub fn is_early(self, plan: &Plan) -> bool {
        self.of_the_child(plan).is_some_and(|step| step.stage < Stage::Pivot)
    }

    /// Whether it may have been found after another: of a step that depends on none.
    pub fn stands_alone(self, plan: &Plan) -> bool {
        self.of_the_child(plan).is_some_and(|step| matches!(step.op, Op::Sysctl { .. } | Op::Mount(_) | Op::Device(_)))
    }

    /// Whether the program can only be executed by its path ([`Op::Pin`]).
    pub fn is_of_a_path(self, plan: &Plan) -> bool {
        let is_pin = |step: &Step| matches!(step.op, Op::Pin(_));
        self.errno == Errno::ENOEXEC as i32 && self.of_the_child(plan).is_some_and(is_pin)
    }

    /// What to tell the user.
    pub fn explain(self, plan: &Plan) -> Error {
        match self.column {
            Column::Child => self.child(plan),
            Column::Keeper => self.keeper(plan),
        }
    }

    fn child(self, plan: &Plan) -> Error {
        let errno = Errno::from_raw(self.errno);
        let Some(step) = plan.child.get(usize::from(self.step)) else {
            return Error::new("the container's process failed at an unknown step").cause(errno.desc());
        };
        match &step.op {
            Op::Exec(_) | Op::Find(_) | Op::Pin(_) => {
                let name = plan.program().and_then(|program| program.args.first());
                return not_executed(&name.map(|n| n.to_string_lossy()).unwrap_or_default(), errno);
            }
            Op::Hook(hook) => {
                let error = hook_failed(hook, &step.origin, errno);
                return if self.may_be_the_filters(plan) { error.hint(FILTERED) } else { error };
            }
            _ => {}
        }
        let error = Error::new(format!("cannot {}", step.op)).at(format!("config.json: {}", step.origin)).cause(describe(errno));
        match hint(&step.op, errno) {
            Some(hint) => error.hint(hint),
            None if needs_user_namespace(&step.op) && namespaces::is_forbidden(errno) => error.hint(namespaces::obstacle(errno)),
            None if self.may_be_the_filters(plan) => error.hint(FILTERED),
            None => error,
        }
    }

    fn keeper(self, plan: &Plan) -> Error {
        let paths = plan
            .parent
            .iter()
            .find_map(|s| if let ParentOp::Keeper { placeholders, .. } = &s.op { Some(placeholders) } else { None });
        let path = paths.and_then(|p| p.get(usize::from(self.step)));
        let what = match path {
            Some(path) => format!("cannot reserve `{}`, which is missing and must not be created in the sandbox", path.display()),
            None => "cannot keep what is missing and must not be created in the sandbox".to_owned(),
        };
        let errno = Errno::from_raw(self.errno);
        let error = Error::new(what).at(place_of_keeper()).cause(describe(errno));
        match errno {
            Errno::EAGAIN => error.hint("another process holds a lock on it"),
            Errno::EACCES | Errno::EPERM => {
                error.hint("its directory is not writable; make it so, or take it from the writable roots")
            }
            _ => error,
        }
    }
}

/// What asks for a keeper.
pub(super) fn place_of_keeper() -> String {
    format!("config.json: annotations[{}]", annotation::PLACEHOLDERS)
}

const FILTERED: &str = "the filter of linux.seccomp is in force already, and holds for what codexrun itself does here";

fn hook_failed(hook: &ChildHook, origin: &str, errno: Errno) -> Error {
    let name = hook.path.to_string_lossy();
    let error = match errno {
        Errno::ETIME => {
            Error::new(format!("the hook `{name}` did not end within {} s", hook.timeout.unwrap_or_default().as_secs()))
        }
        Errno::EBADRQC => Error::new(format!("the hook `{name}` failed"))
            .cause("signal: bad system call: the action of `linux.seccomp` for what it called"),
        Errno::ECANCELED if hook.is_bridge() => Error::new(format!("the hook `{name}` failed")),
        Errno::ECANCELED => Error::new(format!("the hook `{name}` failed")).cause("its exit status is not 0"),
        errno => Error::new(format!("cannot run the hook `{name}`")).cause(describe(errno)),
    };
    hook::failed(error, origin, hook.is_bridge())
}

/// An errno as people look it up: `EPERM (Operation not permitted)`.
pub fn describe(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc())
}

/// The texts and exit codes of a shell, and the words that engines look for.
fn not_executed(name: &str, errno: Errno) -> Error {
    let error = match errno {
        Errno::ENOENT if name.contains('/') => Error::new(format!("exec: \"{name}\": stat {name}: no such file or directory")),
        Errno::ENOTDIR if name.contains('/') => Error::new(format!("exec: \"{name}\": stat {name}: not a directory")),
        Errno::ENOENT | Errno::ENOTDIR => Error::new(format!("exec: \"{name}\": executable file not found in $PATH")),
        Errno::EACCES => Error::new(format!("exec: \"{name}\": permission denied")),
        NO_INTERPRETER => Error::new(format!("exec {name}: no such file or directory"))
            .cause("the program is there; the interpreter that its `#!` line or its ELF header names is not"),
        Errno::ELOOP => {
            let what = format!("exec: \"{name}\": leads through a link of /proc, e.g. to codexrun's own file, or in a circle");
            Error::new(what).cause(describe(errno))
        }
        errno => Error::new(format!("exec: \"{name}\"")).cause(describe(errno)),
    };
    error.code(if matches!(errno, Errno::ENOENT | Errno::ENOTDIR | NO_INTERPRETER) { 127 } else { 126 })
}

fn hint(op: &Op, errno: Errno) -> Option<&'static str> {
    match (op, errno) {
        (Op::Mount(fs), Errno::EPERM | Errno::EACCES) if fs.fstype.as_c_str() == c"proc" => Some(
            "an outer container that covers parts of its own /proc forbids a fresh one; `--proc outer` binds the outer /proc instead",
        ),
        (Op::Mount(fs), Errno::EPERM | Errno::EACCES) if fs.fstype.as_c_str() == c"sysfs" => {
            Some("sysfs needs a network namespace of the container's own user namespace")
        }
        (Op::Mount(fs), Errno::EPERM) if fs.fstype.as_c_str() == c"mqueue" => {
            Some("mqueue needs an ipc namespace of the container's own user namespace")
        }
        (Op::Mount(fs), Errno::ENOSPC) if fs.copy_up => Some("what it is to begin with does not fit in it"),
        (Op::Root(_) | Op::Tree(_) | Op::Bind(_) | Op::Mount(_), Errno::EPERM) => {
            Some("does an outer sandbox refuse mount calls (one of codexrun's does)? start it outside of that one")
        }
        (Op::Bind(_), Errno::ENOENT) => {
            Some("the source does not exist on the host, or the mount point cannot be made, as in procfs")
        }
        (Op::Bind(_) | Op::Mount(_), Errno::ENOTDIR) => {
            Some("a directory goes over a directory, a file over a file; one of the two, or what leads there, is not a directory")
        }
        (Op::Mount(fs), Errno::ELOOP) if [c"proc", c"sysfs"].contains(&fs.fstype.as_c_str()) => {
            Some("it must be mounted on ordinary directory, not where a symbolic link leads")
        }
        (Op::Bind(_) | Op::Again { .. } | Op::Mount(_), Errno::ELOOP) => {
            Some("a symbolic link lies on the way where none may, or leads to the root itself")
        }
        (Op::Remount { parameters, .. }, Errno::EINVAL) if parameters.is_empty() => Some("nothing is mounted there"),
        (Op::Remount { .. }, Errno::EINVAL) => {
            Some("nothing is mounted there, or the file system does not take one of these options")
        }
        (Op::Device(device), Errno::ENOENT) if device.by == By::Itself => {
            Some("`/dev` is a bind, in which nothing is made: the device must be there")
        }
        (Op::Device(_), Errno::ENODEV) => Some("what is there is another file than the device that is asked for"),
        // Which limit it is the machine tells.
        (Op::Unshare(_) | Op::NestUser(_), Errno::ENOSPC) => None,
        (Op::OomScore(_), Errno::EACCES) => Some("lowering it needs CAP_SYS_RESOURCE"),
        (Op::Rlimit { resource: libc::RLIMIT_NOFILE, .. }, Errno::EPERM) => {
            Some("raising a hard limit needs CAP_SYS_RESOURCE, and nobody has more than /proc/sys/fs/nr_open says")
        }
        (Op::Rlimit { .. }, Errno::EPERM) => Some("raising a hard limit needs CAP_SYS_RESOURCE"),
        (Op::Scheduler(_), Errno::EPERM) => Some(
            "it needs CAP_SYS_NICE; a deadline needs all CPUs: the process scheduler can't be used together with AllowedCPUs (sched_setattr(2))",
        ),
        (Op::EnterCgroup, Errno::ENOSPC) => Some("its cpuset has no CPU or no memory node"),
        (Op::EnterCgroup, Errno::EBUSY) => Some("a cgroup with controllers for its children may hold no process"),
        (_, Errno::ENOSPC) => Some("is /proc/sys/fs/mount-max (or a limit under /proc/sys/user) reached?"),
        (Op::MapSelf(map), Errno::EPERM) if map.uid.to_bytes().ends_with(b" 0 1\n") => {
            Some("root can map itself only with CAP_SETFCAP (user_namespaces(7)), which it has given up inside a sandbox")
        }
        (Op::Supervised { .. }, Errno::EBUSY) => {
            Some("codexrun itself runs under a filter with a listener, and the kernel permits only one")
        }
        (Op::Supervised { .. }, Errno::EPIPE | Errno::ECONNRESET | Errno::EAGAIN) => {
            Some("the agent has closed the connection, or does not read")
        }
        (Op::Permit(_), Errno::ENOENT) => Some("a rule names a place that does not exist"),
        (Op::Permit(_), Errno::ELOOP) => Some("a symbolic link lies on the way where none may"),
        (Op::Restrict, Errno::E2BIG) => Some("sixteen layers of Landlock are the most, and there are as many around codexrun"),
        (Op::Pivot { .. }, Errno::EINVAL) => {
            Some("an initial ramdisk cannot be pivoted away (pivot_root(2)): begin from a root that is mounted over it")
        }
        (Op::MoveRoot(_), Errno::ESTALE) => Some("what it leads to has changed since the root was made"),
        (Op::Chdir(_), Errno::EXDEV) => Some("it leads out of the container's root"),
        (Op::Join(_), Errno::EPERM) => Some("only who may change the container's namespaces can join them (setns(2))"),
        (Op::Terminal { .. }, Errno::ENOTTY | Errno::ENOENT) => Some("the container has no devpts on /dev/pts"),
        (Op::Chdir(_), Errno::EACCES | Errno::ENOENT) => Some("the working directory must be visible inside the sandbox"),
        _ => None,
    }
}

/// What a distribution would refuse, or an outer container, and every kernel permits.
fn needs_user_namespace(op: &Op) -> bool {
    matches!(op, Op::MapSelf(_) | Op::NestUser(_) | Op::Loopback | Op::Unshare(_) | Op::Propagation { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As runc and crun say it, and engines look for the words.
    #[test]
    fn a_program_below_a_file_is_told_as_that_and_one_of_the_path_as_missing() {
        for (name, errno, said) in [
            ("./x/y", Errno::ENOTDIR, "stat ./x/y: not a directory"),
            ("./x/y", Errno::ENOENT, "stat ./x/y: no such file or directory"),
            ("y", Errno::ENOTDIR, "executable file not found in $PATH"),
        ] {
            let error = not_executed(name, errno);
            assert_eq!((error.to_string(), error.code), (format!("exec: \"{name}\": {said}"), 127));
        }
    }

    #[test]
    fn what_is_garbled_in_the_pipe_of_faults_is_neither_another_fault_nor_the_end() {
        for said in [HOOKED, Fault { column: Column::Keeper, step: 7, errno: libc::ENOENT }] {
            let (bytes, heard) = (said.bytes(), Heard::of(&said.bytes()).unwrap());
            assert_eq!(heard.bytes(), bytes);
            assert!((1..8).all(|length| Heard::of(&bytes[..length]) == Err(Errno::EPROTO)));
            for (at, bit) in [(0, 2), (0, 128), (1, 1)] {
                let mut garbled = bytes;
                garbled[at] ^= bit;
                assert_eq!(Heard::of(&garbled), Err(Errno::EPROTO));
            }
        }
        assert_eq!(Heard::of(b""), Ok(Heard::End));
    }
}
