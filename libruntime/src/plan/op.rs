//! The kernel operations that a launch is made of: plain data, complete before the clone.

use super::place::At;
use crate::bpf::Program;
use crate::sys::file::Resolve;
use crate::sys::landlock::Handled;
use crate::sys::mount::MountAttr;
use std::ffi::CString;
use std::time::Duration;

/// One operation of the child. `run::op` has one arm for each; `plan::show` says each in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// SIGKILL when the parent dies.
    DieWithParent,
    /// umask(2).
    Umask(u32),
    /// The umask that the first [`Op::Umask`] found, which is the caller's.
    UmaskOfCaller,
    /// Goes into the container's cgroup by the files that the parent has opened; into that of version 2 it may have been born.
    EnterCgroup,
    /// Waits for the parent's (or the keeper's) byte.
    Wait(Sync),
    /// Sends a byte to the parent.
    Tell(Sync),
    /// Writes its own uid_map, setgroups and gid_map: one id each, the only maps that a process may write for itself.
    MapSelf(SelfMap),
    /// unshare(CLONE_NEWUSER), then [`Op::MapSelf`].
    NestUser(SelfMap),
    /// unshare(2) of these CLONE_NEW* flags.
    Unshare(u64),
    /// Opens its network namespace, or else its user namespace: the broker of Unix sockets, who is to be in there, gets it with the
    /// filter's listener.
    Lend {
        /// Whether it has a network namespace of its own.
        own_network: bool,
    },
    /// setresgid(2) and setresuid(2) in the new user namespace, so that what is created while mounting has a mapped owner.
    Become {
        /// 0, where it is mapped.
        uid: u32,
        /// 0, where it is mapped.
        gid: u32,
    },
    /// unshare(CLONE_NEWTIME), /proc/self/timens_offsets, and setns(2) into it: unshare(2) alone moves only children.
    Time(CString),
    /// Brings `lo` up.
    Loopback,
    /// Writes a kernel parameter.
    Sysctl {
        /// Below /proc/sys, e.g. `net/ipv4/ip_forward`.
        path: CString,
        /// What is written.
        value: CString,
    },
    /// The propagation of `/`.
    Propagation {
        /// MS_PRIVATE, MS_SLAVE, …
        flag: u64,
        /// Of every mount below it too.
        recursive: bool,
    },
    /// Takes the mount that a [`ParentOp::Reach`] sends; which one.
    Receive(usize),
    /// The new root, attached over `/` until the pivot.
    Root(Root),
    /// The new root, attached nowhere, of a process that stays in the caller's mount namespace. Every later copy of a mount of the
    /// host's is private at once.
    Tree(Root),
    /// An empty directory of the root in memory.
    Mkdir {
        /// Where.
        at: At,
        /// Permission bits.
        mode: u32,
    },
    /// An empty file of the root in memory.
    Touch(At),
    /// A symbolic link of the root in memory.
    Symlink {
        /// Where.
        at: At,
        /// Its text.
        target: CString,
    },
    /// A copy of a mount of the host.
    Bind(Bind),
    /// A copy of a mount of the host; of this other path when the bind's own source does not exist.
    BindOr {
        /// What is tried first.
        bind: Bind,
        /// The host's path.
        other: CString,
    },
    /// A new file system.
    Mount(NewFs),
    /// Another mount of an empty read-only file system that [`NewFs::keep`] kept: one superblock serves every mask.
    Again {
        /// Which of the kept ones.
        slot: usize,
        /// Where.
        at: At,
    },
    /// Changes the attributes of the mount at this place.
    Remount {
        /// Where.
        at: At,
        /// What changes.
        attrs: Attrs,
        /// Parameters that its file system gets anew.
        parameters: Vec<(CString, Option<CString>)>,
    },
    /// Opens the container's `/dev`, for the following three.
    OpenDev(At),
    /// A node that `linux.devices` asks for.
    Device(Device),
    /// mknod(2) in `/dev`.
    Node {
        /// One component.
        name: CString,
        /// makedev(3).
        device: u64,
    },
    /// In a user namespace mknod(2) is refused: the host's node is bound instead, read-only: to be used, and not to be
    /// changed.
    BindNode {
        /// One component.
        name: CString,
        /// The host's.
        source: CString,
    },
    /// A link in `/dev`.
    Link {
        /// One component.
        name: CString,
        /// Its text.
        target: CString,
    },
    /// A terminal: its master goes to the parent, its other end becomes `/dev/console` and the process's stdio.
    Console {
        /// `/dev/pts/ptmx`.
        ptmx: At,
        /// `/dev/console`.
        console: At,
        /// Rows and columns.
        size: Option<(u16, u16)>,
    },
    /// The terminal's other end is this user's, who could not open it by name otherwise.
    OwnTerminal(u32),
    /// Makes a directory that is missing, with those above it, of root's.
    Dir(At),
    /// Keeps the host's `/dev/null`, which [`Op::Mask`] covers files with (CVE-2025-31133: never the container's).
    OpenNull(CString),
    /// Covers a directory with an empty file system and a file with `/dev/null`; a missing path is left alone.
    Mask(At),
    /// Binds a path over itself, read-only with all below; a missing path is left alone.
    ReadOnly(At),
    /// mount_setattr(2) of the root.
    RootAttr {
        /// Of the mount itself.
        attr: MountAttr,
        /// And of all below it.
        recursive: bool,
    },
    /// Moves the root from over `/` to its own path. Who enters the mount namespace by setns(2) begins at whatever lies over `/`, and a
    /// hook that does so is to find the host's files, and the container's below that path.
    MoveRoot(CString),
    /// pivot_root(2); the host's root goes.
    Pivot {
        /// How many mounts lie over the first root.
        layers: usize,
        /// The host's mounts are shared with the host: what is unmounted here must stay there.
        shared: bool,
    },
    /// chroot(2) into [`Op::Tree`], of which no descriptor is kept.
    Chroot,
    /// sethostname(2).
    Hostname(Vec<u8>),
    /// setdomainname(2).
    Domainname(Vec<u8>),
    /// Writes /proc/self/oom_score_adj.
    OomScore(CString),
    /// setrlimit(2).
    Rlimit {
        /// RLIMIT_*.
        resource: u32,
        /// The limit in force.
        soft: u64,
        /// What it may be raised to.
        hard: u64,
    },
    /// sched_setattr(2).
    Scheduler(Scheduling),
    /// ioprio_set(2): class and level.
    IoPriority(u32),
    /// sched_setaffinity(2).
    Affinity(Nodes),
    /// set_mempolicy(2).
    MemoryPolicy {
        /// MPOL_* with its flags.
        mode: u32,
        /// Bit n is node n.
        nodes: Nodes,
    },
    /// personality(2).
    Personality(u32),
    /// Keeps the host's /proc, for [`Op::Label`].
    OpenProc,
    /// What a security module makes of the process when it executes.
    Label(Label),
    /// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a session keyring of its own, not the caller's.
    Keyring,
    /// setgroups(2).
    Groups {
        /// The supplementary groups.
        gids: Vec<u32>,
        /// The user namespace may forbid setgroups(2) for good (user_namespaces(7)): no groups are then what there are.
        denied_is_fine: bool,
    },
    /// PR_SET_KEEPCAPS.
    KeepCapabilities,
    /// setresgid(2).
    Gid(u32),
    /// setresuid(2).
    Uid(u32),
    /// Drops every capability up to `last` that is not in `keep` from the bounding set.
    Bounding {
        /// Bit n is capability n.
        keep: u64,
        /// The highest that the kernel knows.
        last: u32,
    },
    /// capset(2), after which the ambient set is exactly `ambient`.
    Capabilities {
        /// In force.
        effective: u64,
        /// May be put in force.
        permitted: u64,
        /// Cross execve(2) with file capabilities.
        inheritable: u64,
        /// Cross execve(2) without.
        ambient: u64,
    },
    /// PR_SET_DUMPABLE 0: the payload cannot reach init's descriptors or executable through /proc.
    Undumpable,
    /// Adds `HOME` to the environment: the directory of this user in /etc/passwd, else `/`.
    Home(u32),
    /// chdir(2) with the power that the process is about to give up; who lacks it is tried again by `Chdir`.
    Enter(CString),
    /// chdir(2), unless `Enter` was permitted.
    Chdir(CString),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivs,
    /// Marks every descriptor from this number on close-on-exec.
    CloexecFrom(u32),
    /// Ends of codexrun's relay become the standard streams that are Unix sockets of the caller's.
    TakeRelay,
    /// setns(2) of these CLONE_NEW* namespaces of the container's first process.
    Join(u64),
    /// chroot(2) into the root of the container's first process: with the caller's mount namespace [`Op::Join`] does not bring it.
    JoinRoot,
    /// Forks into the pid namespace that was joined; the caller tells the parent who the new process is, and leaves.
    Descend,
    /// A terminal of the container that was joined: its devpts, its master to the parent, its other end for stdio.
    Terminal {
        /// Rows and columns.
        size: Option<(u16, u16)>,
    },
    /// The terminal becomes standard input, output and error. A process that waits for `start` must not hold the caller's open:
    /// engines read them to their end.
    Stdio,
    /// Looks for the program, so that `create` says what is wrong and not `start`.
    Find(Vec<CString>),
    /// As [`Op::Find`], and keeps the program by its directory: what [`Op::Exec`] then executes lies behind no link, and nothing but itself
    /// is executed (CVE-2019-5736). ENOEXEC: it is no program of this machine's, but a script perhaps, which takes its path.
    Pin(Vec<CString>),
    /// Waits until `start` opens the way, without anybody of ours being there meanwhile.
    Park,
    /// Runs one hook inside the container's namespaces, to its end.
    Hook(ChildHook),
    /// Tells whoever waits for the start that the startContainer hooks have ended well: who is killed while one runs has not started.
    Hooked,
    /// Forks: the caller stays as PID 1 and reaps, the child goes on with the list.
    Init,
    /// setsid(2); with a [`Op::Console`] that becomes the controlling terminal.
    Session,
    /// The signal mask that the caller of codexrun had.
    Signals,
    /// landlock_add_rule(2) to the ruleset that the parent has made.
    Permit(Permit),
    /// landlock_restrict_self(2).
    Restrict,
    /// seccomp(2).
    Seccomp(Program),
    /// seccomp(2) with a listener, whose descriptor the agent gets before the next step begins.
    Supervised {
        /// What is loaded.
        program: Program,
        /// It permits the process to send that descriptor; otherwise a thread does, which began before.
        sends: bool,
    },
    /// execve(2) of the first candidate that exists.
    Exec(Exec),
}

/// What Landlock permits at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// As the process names it.
    pub path: CString,
    /// LANDLOCK_ACCESS_FS_*; of a file that is no directory only those in `of_a_file` count.
    pub access: u64,
    /// Those of `access` that a file can have.
    pub of_a_file: u64,
    /// How symbolic links are treated.
    pub resolve: Resolve,
}

/// A hook that runs in the container's namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildHook {
    /// Its number among the hooks of the child's column.
    pub index: usize,
    /// Which state it reads on standard input.
    pub kind: HookKind,
    /// The program.
    pub path: CString,
    /// argv.
    pub args: Vec<CString>,
    /// envp; none is that of the process.
    pub env: Option<Vec<CString>>,
    /// After which it is killed, and counts as failed.
    pub timeout: Option<Duration>,
}

/// A point at which two processes wait for each other; the byte that crosses the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Sync {
    /// The parent has written the id maps.
    Maps = b'm',
    /// The parent has put it into the resctrl group.
    Resctrl = b'c',
    /// The network namespace is there.
    Networked = b'n',
    /// The parent has moved the network devices into it.
    NetDevices = b'N',
    /// The keeper has made and locked the placeholders.
    Placeholders = b'p',
    /// The mounts are there; the parent runs the hooks that want to see them.
    Mounted = b'h',
    /// Those hooks have ended well.
    Hooked = b'H',
    /// The parent has written what the seccomp agent is told.
    Agent = b'a',
    /// The master of the terminal comes along.
    Console = b't',
    /// All that can fail before execve has been done.
    Ready = b'r',
    /// The parent has recorded the container; the process may start.
    Start = b's',
    /// systemd has put the process into its unit, and the limits are written.
    Cgroup = b'g',
    /// The process lives in the pid namespace that it joined; its number comes along.
    Joined = b'j',
}

/// One container id and the host id it stands for, for users and for groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfMap {
    /// The line of uid_map, e.g. `1000 1000 1\n`.
    pub uid: CString,
    /// The line of gid_map.
    pub gid: CString,
}

/// What the new root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// An empty tmpfs.
    Memory,
    /// A recursive copy of the mount at this directory of the host.
    Dir(CString),
}

/// A copy of a mount of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The host's path.
    pub source: CString,
    /// How its symbolic links are treated.
    pub follow: Follow,
    /// With the mounts below it.
    pub recursive: bool,
    /// Somebody else makes the copy.
    pub prepared: Option<Prepared>,
    /// Attributes of the copy.
    pub attrs: Attrs,
    /// Where.
    pub at: At,
}

/// A copy that is made outside; which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// Of those of [`ParentOp::IdMap`].
    Mapped(usize),
    /// Of those of [`ParentOp::Reach`].
    Sent(usize),
}

/// How symbolic links of a bind's source are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// As mount(8) does.
    All,
    /// A link anywhere is ELOOP; a path of one component, so the kernel's own flag is enough.
    NoneOfOne,
    /// A link anywhere is ELOOP.
    None,
}

/// Attributes of a mount, and of the whole tree below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Of the mount alone (`ro`, `nosuid`, …).
    pub own: MountAttr,
    /// Of it and all below (`rro`, `rnosuid`, …).
    pub tree: MountAttr,
    /// Set `tree` by open_tree_attr(2).
    pub one_call: bool,
}

impl Attrs {
    /// Of a mount that is its whole tree: what is said of the mount itself goes before what is said of all.
    pub fn alone(self) -> Attrs {
        let Attrs { own, tree, .. } = self;
        let propagation = if own.propagation == 0 { tree.propagation } else { own.propagation };
        let (set, clear) = (own.set | tree.set & !own.clear, own.clear | tree.clear & !own.set);
        Attrs { own: MountAttr { set, clear, propagation, ..own }, ..Attrs::default() }
    }
}

/// A new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFs {
    /// `tmpfs`, `proc`, …
    pub fstype: CString,
    /// Parameters for fsconfig(2).
    pub parameters: Vec<(CString, Option<CString>)>,
    /// MOUNT_ATTR_*.
    pub attrs: Attrs,
    /// Where.
    pub at: At,
    /// A tmpfs whose options name no mode has that of the directory which it covers, as runc and crun do it.
    pub mode_of_target: bool,
    /// It begins as a copy of that directory (`tmpcopyup`).
    pub copy_up: bool,
    /// All parameters as mount(2) takes them, when one is too long for fsconfig(2).
    pub data: Option<CString>,
    /// Keep it in this slot, for [`Op::Again`] and for places that are looked up from it.
    pub keep: Option<usize>,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// argv.
    pub args: Vec<CString>,
    /// envp.
    pub env: Vec<CString>,
    /// What is tried, in the order of `$PATH`.
    pub candidates: Vec<CString>,
}

/// A standard stream that is a connected Unix socket, by which whoever has its other end could send descriptors in (unix(7), SCM_RIGHTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixStreams {
    /// Is the process's as it is.
    Passed,
    /// Stays codexrun's, which passes bytes on.
    Relayed,
    /// Is refused.
    Refused,
}

/// One operation of the parent, outside of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentOp {
    /// Refuses to start with a standard stream by which the process could reach past the policy.
    Streams {
        /// Which sockets are none such.
        sockets: String,
        /// What becomes of those that are connected Unix sockets.
        unix: UnixStreams,
    },
    /// setgroups(2) to none, before the clone: inside, the group map forbids it.
    DropGroups,
    /// Opens a namespace, and joins it in the process that makes the container's first one.
    Join(Join),
    /// Writes /proc/self/oom_score_adj in that process: what it makes inherits the score, and is nobody's file any more.
    OomScore(CString),
    /// Not dumpable from before the container's first process is made, which inherits that: as soon as it can be seen from inside it
    /// still has the host's files, and as much power as the caller.
    Undumpable,
    /// Copies a mount and maps its ids, while there is power over its file system.
    IdMap(IdMap),
    /// Makes a device node that nobody else can reach, before the clone.
    Node(Node),
    /// Copies a mount of the container's mount namespace that its root could not reach, and sends it there.
    Reach(Source),
    /// clone3(2) with these CLONE_NEW* flags.
    Clone(u64),
    /// Makes the container's cgroup and writes its limits, before the clone; the unit of systemd's after it.
    Cgroup(super::cgroup::Plan),
    /// Writes the child's uid_map and gid_map.
    WriteMaps {
        /// Lines of uid_map.
        uid: String,
        /// Lines of gid_map.
        gid: String,
        /// By newuidmap(1) and newgidmap(1), as the caller has no right to.
        helper: bool,
    },
    /// Moves a network device into the container's network namespace.
    NetDevice(NetDevice),
    /// Forks the keeper of what must not stay on the host when codexrun is killed.
    Keeper {
        /// Names that are missing, and have to be held.
        placeholders: Vec<std::path::PathBuf>,
        /// The cgroup too, as it is recorded nowhere.
        cgroup: bool,
    },
    /// Waits for the child's byte.
    Wait(Sync),
    /// Sends the child a byte.
    Tell(Sync),
    /// Runs hooks in the runtime's namespaces.
    Hooks(HookKind, Vec<super::hook::Hook>),
    /// Makes, or finds, the group of caches and memory bandwidth, before the clone.
    Resctrl(super::resctrl::Group),
    /// Puts the process into it.
    EnterResctrl,
    /// Connects to the seccomp agent, before the clone.
    Agent(Agent),
    /// Forks the broker of Unix sockets, which answers for the filter; or sees to it that there is one when it is asked.
    Broker(Broker),
    /// Writes what the child tells that agent, now that its pid is known.
    Introduce,
    /// landlock_create_ruleset(2), and the ports that it permits, before the clone.
    Ruleset {
        /// What is denied otherwise.
        handled: Handled,
        /// TCP ports, and LANDLOCK_ACCESS_NET_*.
        ports: Vec<(u16, u64)>,
    },
    /// Has the user's systemd move the process into the unit of the container that it joins.
    Attach,
    /// Learns which process went on in the pid namespace that was joined.
    Joined,
    /// The terminal's master goes to who asked for it (`--console-socket`); one that we relay becomes as the program is to find it.
    Terminal,
    /// Writes the state record (and the pid file).
    Record,
}

/// Who answers the system calls that a filter refers to it (`SCMP_ACT_NOTIFY`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its Unix socket, a path of the host.
    pub path: std::path::PathBuf,
    /// What it is told besides.
    pub metadata: Option<String>,
    /// The container's status at the moment that it is told.
    pub status: &'static str,
}

/// Who answers the calls of Unix sockets ([`crate::broker`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Sockets of the host that may be connected to, and directories of them.
    pub grants: Vec<std::path::PathBuf>,
    /// The container has a network namespace of its own, in which its sockets are; else they get one.
    pub own_network: bool,
    /// There are datagrams too.
    pub datagrams: bool,
    /// TCP ports that may be connected to, where Landlock's rules of the container name some: they do not see who connects for it.
    pub ports: Option<Vec<u16>>,
    /// When it begins.
    pub begins: Begins,
}

/// When there is a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// With the launch.
    AtOnce,
    /// With the first call.
    WhenAsked,
    /// It is the container's, and there: the launch is of one more process.
    Before,
}

/// CPUs, or nodes of memory: bit n is number n.
pub type Nodes = [u64; 16];

/// What sched_setattr(2) takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduling {
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// -20 to 19.
    pub nice: i32,
    /// 1 to 99 for the real-time policies.
    pub priority: u32,
    /// Runtime, deadline and period in nanoseconds.
    pub deadline: [u64; 3],
}

/// The words for a security module (proc_pid_attr(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// `exec PROFILE`.
    AppArmor(CString),
    /// A context.
    SeLinux(CString),
}

/// A network device of the host, and its name in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// The host's name.
    pub host: Vec<u8>,
    /// The container's; `%d` in it stands for a number that the kernel finds.
    pub inside: Vec<u8>,
}

/// A device node, or a named pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where.
    pub at: At,
    /// S_IFCHR, S_IFBLK or S_IFIFO.
    pub kind: u32,
    /// makedev(3); 0 for a pipe.
    pub device: u64,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// How it comes there.
    pub by: By,
}

/// How a device node comes to its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// mknod(2).
    Mknod,
    /// It is there already, as `/dev` is a bind.
    Itself,
    /// The host's node is bound, which has this path there.
    Host(CString),
    /// A node that the parent has made is bound ([`ParentOp::Node`]); which one.
    Parent(usize),
}

/// A device node that is made outside, as the container's user namespace permits none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// S_IFCHR or S_IFBLK.
    pub kind: u32,
    /// makedev(3).
    pub device: u64,
    /// Permission bits.
    pub mode: u32,
    /// User and group, as the host counts them.
    pub owner: (u32, u32),
}

/// A mount of the host that is copied for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The host's path.
    pub path: CString,
    /// How its symbolic links are treated.
    pub follow: Follow,
    /// The copy has the mounts below it.
    pub tree: bool,
    /// MS_PRIVATE or MS_SLAVE, as for what the container copies itself; 0 leaves it a peer of the host's.
    pub propagation: u64,
}

/// An id-mapped copy of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// Of which.
    pub source: Source,
    /// The mounts below it are mapped too (`ridmap`).
    pub recursive: bool,
    /// Lines of uid_map.
    pub uid: String,
    /// Lines of gid_map.
    pub gid: String,
    /// The user namespace that has them already, absolute.
    pub namespace: Option<CString>,
}

/// A namespace that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its CLONE_NEW* flag.
    pub flag: u64,
    /// Where it can be opened, absolute.
    pub path: CString,
    /// The field that changes what it holds: it must not be the runtime's own, which is the host's.
    pub changed_by: Option<&'static str>,
}

/// The hooks, by the moment at which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Deprecated, but what docker uses.
    Prestart,
    /// After the namespaces, before the pivot.
    CreateRuntime,
    /// In the container's namespaces, before the pivot.
    CreateContainer,
    /// In the container, before its process.
    StartContainer,
    /// After the process has started.
    Poststart,
    /// After it has ended.
    Poststop,
}

impl HookKind {
    /// The container's status in the state that they read (runtime.md, "State"). `prestart` hooks run, by config.md's words, after
    /// `start` was called, and by runtime.md's lifecycle once `create` has made the environment: both are later than `creating`.
    pub fn status(self) -> &'static str {
        match self {
            HookKind::CreateRuntime | HookKind::CreateContainer => "creating",
            HookKind::Prestart | HookKind::StartContainer => "created",
            HookKind::Poststart => "running",
            HookKind::Poststop => "stopped",
        }
    }

    /// The name of the field.
    pub fn name(self) -> &'static str {
        match self {
            HookKind::Prestart => "prestart",
            HookKind::CreateRuntime => "createRuntime",
            HookKind::CreateContainer => "createContainer",
            HookKind::StartContainer => "startContainer",
            HookKind::Poststart => "poststart",
            HookKind::Poststop => "poststop",
        }
    }
}
