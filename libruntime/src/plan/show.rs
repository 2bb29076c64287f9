//! The listing that `codexrun plan` prints: one operation a line, with its stage and its origin in config.json.

use super::hook::Hook;
use super::op::{
    Attrs, Begins, Bind, Broker, By, Device, Follow, Label, NewFs, Node, Nodes, Op, ParentOp, Prepared, Root, Sync, UnixStreams,
};
use super::place::At;
use super::resctrl::Group;
use super::{ParentStep, Plan, Step, schedule};
use crate::annotation;
use crate::error::plain;
use crate::landlock::{file_rights, port_rights, scopes};
use crate::sys::landlock::Handled;
use crate::sys::mount::{MountAttr, attr};
use std::ffi::{CStr, CString};
use std::fmt;
use std::time::Duration;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "parent")?;
        for step in &self.parent {
            parent_line(f, step)?;
        }
        writeln!(f, "child")?;
        for step in &self.child {
            child_line(f, step)?;
        }
        if !self.after.is_empty() {
            writeln!(f, "after")?;
        }
        self.after.iter().try_for_each(|step| parent_line(f, step))?;
        if !self.joining.is_empty() {
            writeln!(f, "who joins")?;
        }
        self.joining.iter().try_for_each(|step| child_line(f, step))
    }
}

fn child_line(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let mut line = |op: &str, origin: &str| writeln!(f, "  {:<12}  {:<76}  # {}", step.stage.name(), plain(op), plain(origin));
    line(&step.op.to_string(), &step.origin)?;
    let Op::Exec(exec) = &step.op else { return Ok(()) };
    exec.env.iter().try_for_each(|variable| line(&format!("  with {}", quoted(variable)), "process.env"))
}

fn parent_line(f: &mut fmt::Formatter<'_>, step: &ParentStep) -> fmt::Result {
    let mut line = |op: String, origin: &str| writeln!(f, "  {:<90}  # {}", plain(&op), plain(origin));
    line(step.op.to_string(), &step.origin)?;
    let ParentOp::Cgroup(plan) = &step.op else { return Ok(()) };
    plan.lines().into_iter().try_for_each(|(op, origin)| line(format!("  {op}"), origin))
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::DieWithParent => write!(f, "die with the parent"),
            Op::Umask(mask) => write!(f, "set umask {mask:03o}"),
            Op::UmaskOfCaller => write!(f, "set the umask of the caller"),
            Op::EnterCgroup => write!(f, "enter the cgroup"),
            Op::Wait(sync) => write!(f, "wait for {sync}"),
            Op::Tell(sync) => write!(f, "tell {sync}"),
            Op::MapSelf(map) => write!(f, "map uid {} gid {}", line(&map.uid), line(&map.gid)),
            Op::NestUser(map) => write!(f, "unshare user; map uid {} gid {}", line(&map.uid), line(&map.gid)),
            Op::Unshare(flags) => write!(f, "unshare{}", namespaces(*flags)),
            Op::Lend { own_network } => {
                write!(f, "open the {} namespace for the broker", if *own_network { "network" } else { "user" })
            }
            Op::Become { uid, gid } => write!(f, "become {uid}:{gid} of the user namespace"),
            Op::Time(offsets) => {
                let offsets = offsets.to_string_lossy().trim_end().replace('\n', ", ");
                write!(f, "unshare time{}{offsets}", if offsets.is_empty() { "" } else { "; offset " })
            }
            Op::Sysctl { path, value } => write!(f, "write {} to /proc/sys/{}", text(value), text(path)),
            Op::Loopback => write!(f, "bring lo up"),
            Op::Propagation { flag, recursive: true } => write!(f, "set propagation {}", propagation(*flag)),
            Op::Propagation { flag, recursive: false } => write!(f, "set propagation {} of / alone", propagation(*flag)),
            Op::Receive(slot) => write!(f, "receive mount {slot}"),
            Op::Root(Root::Memory) => write!(f, "make the root in memory"),
            Op::Root(Root::Dir(path)) => write!(f, "make the root from {}", text(path)),
            Op::Tree(Root::Memory) => write!(f, "make the root in memory, attached nowhere"),
            Op::Tree(Root::Dir(path)) => write!(f, "make the root from {}, private and attached nowhere", text(path)),
            Op::Mkdir { at, mode } => write!(f, "mkdir {at} {mode:04o}"),
            Op::Touch(at) => write!(f, "touch {at}"),
            Op::Symlink { at, target } => write!(f, "symlink {at} → {}", text(target)),
            Op::Bind(bind) => bind.fmt(f),
            Op::BindOr { bind, other } => write!(f, "{bind}, or else {}", text(other)),
            Op::Mount(fs) => fs.fmt(f),
            Op::Again { slot, at } => write!(f, "mount kept {slot} → {at}"),
            Op::Remount { at, attrs, parameters: list } => {
                write!(f, "remount {at}{attrs}")?;
                self::parameters(f, list)
            }
            Op::OpenDev(at) => write!(f, "open {at}"),
            Op::Device(device) => device.fmt(f),
            Op::Node { name, device } => {
                write!(f, "mknod {} c {}:{}", text(name), libc::major(*device), libc::minor(*device))
            }
            Op::BindNode { name, source } => write!(f, "bind {} → /dev/{} ro", text(source), text(name)),
            Op::Link { name, target } => write!(f, "symlink /dev/{} → {}", text(name), text(target)),
            Op::Console { console, size, .. } => write!(f, "open a terminal{} → {console}, master to the parent", sized(*size)),
            Op::OwnTerminal(uid) => write!(f, "give the terminal to uid {uid}"),
            Op::Dir(at) => write!(f, "mkdir {at} if missing"),
            Op::OpenNull(path) => write!(f, "open the host's {}", text(path)),
            Op::Mask(at) => write!(f, "mask {at}"),
            Op::ReadOnly(at) => write!(f, "make read-only {at}"),
            Op::RootAttr { attr, recursive } => write!(f, "make the root{}", words(attr, if *recursive { "r" } else { "" })),
            Op::MoveRoot(path) => write!(f, "move the root to {}", text(path)),
            Op::Pivot { layers, .. } => {
                write!(f, "pivot")?;
                if *layers == 0 { Ok(()) } else { write!(f, ", detach {layers} below") }
            }
            Op::Chroot => write!(f, "chroot into it"),
            Op::Hostname(name) => write!(f, "set hostname {}", String::from_utf8_lossy(name)),
            Op::Domainname(name) => write!(f, "set domainname {}", String::from_utf8_lossy(name)),
            Op::OomScore(score) => write!(f, "set oom_score_adj {}", text(score)),
            Op::Rlimit { resource, soft, hard } => write!(f, "set rlimit {resource} soft {soft} hard {hard}"),
            Op::Scheduler(s) => {
                write!(f, "set scheduler {} flags {:#x} nice {} priority {}", s.policy, s.flags, s.nice, s.priority)?;
                let [runtime, deadline, period] = s.deadline;
                if s.deadline == [0; 3] { Ok(()) } else { write!(f, " runtime {runtime} deadline {deadline} period {period}") }
            }
            Op::IoPriority(value) => write!(f, "set I/O priority class {} level {}", value >> 13, value & 7),
            Op::Affinity(cpus) if *cpus == schedule::ALL => write!(f, "run on all CPUs of the cgroup"),
            Op::Affinity(cpus) => write!(f, "run on CPUs {}", set(cpus)),
            Op::MemoryPolicy { mode, nodes } => write!(f, "set memory policy {mode:#x} nodes {}", set(nodes)),
            Op::Personality(persona) => write!(f, "set personality {persona:#x}"),
            Op::OpenProc => write!(f, "open the host's /proc"),
            Op::Label(Label::AppArmor(words)) => write!(f, "tell AppArmor: {}", text(words)),
            Op::Label(Label::SeLinux(words)) => write!(f, "tell SELinux: {}", text(words)),
            Op::Keyring => write!(f, "join a new session keyring"),
            Op::Groups { gids, .. } => write!(f, "set groups {gids:?}"),
            Op::KeepCapabilities => write!(f, "keep capabilities"),
            Op::Gid(gid) => write!(f, "set gid {gid}"),
            Op::Uid(uid) => write!(f, "set uid {uid}"),
            Op::Bounding { keep, .. } => write!(f, "limit the bounding set to {keep:#x}"),
            Op::Capabilities { effective, permitted, inheritable, ambient } => {
                write!(
                    f,
                    "set capabilities: effective {effective:#x} permitted {permitted:#x} inheritable {inheritable:#x} ambient {ambient:#x}"
                )
            }
            Op::Undumpable => write!(f, "become undumpable"),
            Op::Home(uid) => write!(f, "set HOME of uid {uid}"),
            Op::Enter(path) => write!(f, "chdir {}, if permitted", text(path)),
            Op::Chdir(path) => write!(f, "chdir {}", text(path)),
            Op::NoNewPrivs => write!(f, "set no_new_privs"),
            Op::CloexecFrom(first) => write!(f, "set close-on-exec from {first}"),
            Op::TakeRelay => write!(f, "take the relay's ends for streams that are Unix sockets"),
            Op::Join(flags) => write!(f, "join{}", namespaces(*flags)),
            Op::JoinRoot => write!(f, "chroot into the root of the container"),
            Op::Descend => write!(f, "fork into the pid namespace; tell the parent"),
            Op::Terminal { size } => write!(f, "open a terminal{} of the container, master to the parent", sized(*size)),
            Op::Stdio => write!(f, "make the terminal standard input, output and error"),
            Op::Find(candidates) => write!(f, "find {}", either(candidates)),
            Op::Pin(candidates) => write!(f, "find and keep {}", either(candidates)),
            Op::Park => write!(f, "wait for `start`"),
            Op::Hook(hook) => {
                let args: Vec<String> = hook.args.iter().map(|word| quoted(word)).collect();
                let env = hook.env.as_ref().map(|env| env.iter().map(|variable| quoted(variable)).collect());
                write!(f, "run {} {}", hook.kind.name(), called(&quoted(&hook.path), args, hook.timeout, env))
            }
            Op::Hooked => write!(f, "tell that the hooks have ended"),
            Op::Init => write!(f, "fork; PID 1 reaps, forwards signals, ends the rest"),
            Op::Session => write!(f, "start a new session"),
            Op::Signals => write!(f, "restore the caller's signal mask"),
            Op::Permit(permit) => write!(f, "permit {}: {}", text(&permit.path), file_rights(permit.access).join(" ")),
            Op::Restrict => write!(f, "restrict to what is permitted"),
            Op::Seccomp(program) => write!(f, "{}", filter(program)),
            Op::Supervised { program, sends } => {
                let by = if *sends { "" } else { ", by a thread without it" };
                write!(f, "{}; its listener is handed on{by}", filter(program))
            }
            Op::Exec(exec) => write!(f, "exec {}", exec.args.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ")),
        }
    }
}

impl fmt::Display for ParentOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParentOp::Cgroup(_) => write!(f, "make the cgroup"),
            ParentOp::DropGroups => write!(f, "drop supplementary groups"),
            ParentOp::OomScore(score) => write!(f, "set oom_score_adj {}", text(score)),
            ParentOp::Undumpable => write!(f, "become undumpable"),
            ParentOp::IdMap(map) => {
                let lines = |lines: &str| lines.trim_end().replace('\n', ", ");
                let (source, flag) = (text(&map.source.path), map.source.propagation);
                let apart = if flag == 0 { ["", ""] } else { [" ", propagation(flag)] }.concat();
                match &map.namespace {
                    Some(path) => write!(f, "id-map {source}{apart}: as {}", text(path)),
                    None => write!(f, "id-map {source}{apart}: uid {} gid {}", lines(&map.uid), lines(&map.gid)),
                }
            }
            ParentOp::Reach(source) => write!(f, "copy {} in the mount namespace, and send it", text(&source.path)),
            ParentOp::Node(node) => write!(f, "mknod {node} in memory of its own"),
            ParentOp::Join(join) => write!(f, "join{} of {}", namespaces(join.flag), text(&join.path)),
            ParentOp::Clone(flags) => write!(f, "clone{}", namespaces(*flags)),
            ParentOp::WriteMaps { uid, gid, helper } => {
                let by = if *helper { " by newuidmap and newgidmap" } else { "" };
                write!(f, "map uid {} gid {}{by}", uid.trim_end().replace('\n', ", "), gid.trim_end().replace('\n', ", "))
            }
            ParentOp::NetDevice(device) => {
                let [host, inside] = [&device.host, &device.inside].map(|name| String::from_utf8_lossy(name));
                write!(f, "move network device {host} → {inside}")
            }
            ParentOp::Keeper { placeholders, cgroup } => {
                let what = match (placeholders.is_empty(), cgroup) {
                    (true, _) => "keep the cgroup",
                    (false, true) => "keep the cgroup; reserve",
                    (false, false) => "reserve",
                };
                f.write_str(what)?;
                placeholders.iter().try_for_each(|p| write!(f, " {}", p.display()))
            }
            ParentOp::Streams { sockets, unix } => {
                let but = match unix {
                    UnixStreams::Relayed => "; of Unix ones only bytes, by a relay",
                    UnixStreams::Refused if sockets != annotation::STDIO_NONE => "; no Unix ones",
                    UnixStreams::Passed | UnixStreams::Refused => "",
                };
                write!(f, "judge the standard streams; sockets that pass: {sockets}{but}")
            }
            ParentOp::Wait(sync) => write!(f, "wait for {sync}"),
            ParentOp::Tell(sync) => write!(f, "tell {sync}"),
            ParentOp::Hooks(kind, hooks) => {
                let one = |hook: &Hook| {
                    let words = |list: &[String]| list.iter().map(|word| word_of(word)).collect();
                    let path = word_of(&hook.path.display().to_string());
                    called(&path, words(&hook.args), hook.timeout, hook.env.as_deref().map(words))
                };
                write!(f, "run {} {}", kind.name(), hooks.iter().map(one).collect::<Vec<_>>().join("; "))?;
                if hooks.iter().all(|h| h.fatal) { Ok(()) } else { write!(f, "; a failure is a warning") }
            }
            ParentOp::Resctrl(group) => group.fmt(f),
            ParentOp::EnterResctrl => write!(f, "put the process into its resctrl group"),
            ParentOp::Agent(agent) => {
                write!(f, "connect to the seccomp agent at {}", agent.path.display())?;
                agent.metadata.as_ref().map_or(Ok(()), |metadata| write!(f, ", which is told {metadata:?}"))
            }
            ParentOp::Broker(Broker { begins: Begins::Before, .. }) => write!(f, "ask the container's broker of Unix sockets"),
            ParentOp::Broker(Broker { grants, own_network, datagrams, ports, begins }) => {
                let when = if *begins == Begins::AtOnce { "" } else { " when it is asked" };
                write!(f, "fork the broker of Unix sockets{when}")?;
                if !own_network {
                    write!(f, ", in a network namespace of their own")?;
                }
                if *datagrams {
                    write!(f, ", datagrams too")?;
                }
                if ports.is_some() {
                    write!(f, ", the ruleset's ports alone")?;
                }
                grants.iter().try_for_each(|path| write!(f, ", grant {}", path.display()))
            }
            ParentOp::Introduce => write!(f, "write what the seccomp agent is told"),
            ParentOp::Ruleset { handled, ports } => ruleset(f, handled, ports),
            ParentOp::Attach => write!(f, "have systemd move the process into the container's unit"),
            ParentOp::Joined => write!(f, "wait for the process in the pid namespace"),
            ParentOp::Terminal => write!(f, "hand on or prepare the terminal"),
            ParentOp::Record => write!(f, "record the container"),
        }
    }
}

fn ruleset(f: &mut fmt::Formatter<'_>, handled: &Handled, ports: &[(u16, u64)]) -> fmt::Result {
    let kinds = [("files", file_rights(handled.files)), ("tcp", port_rights(handled.network)), ("scope", scopes(handled.scoped))];
    write!(f, "make a Landlock ruleset")?;
    for (kind, rights) in kinds.iter().filter(|(_, rights)| !rights.is_empty()) {
        write!(f, "; {kind}: {}", rights.join(" "))?;
    }
    ports.iter().try_for_each(|(port, rights)| write!(f, "; permit port {port}: {}", port_rights(*rights).join(" ")))
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "have the resctrl group {}", self.path.display())?;
        let lines = self.schema.iter().chain(&self.schemata);
        lines.into_iter().try_for_each(|line| write!(f, "; {}", line.escape_debug()))?;
        if self.monitor.is_some() { write!(f, ", monitored") } else { Ok(()) }
    }
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sync::Maps => "maps",
            Sync::Resctrl => "resctrl",
            Sync::Networked => "network",
            Sync::NetDevices => "network devices",
            Sync::Placeholders => "placeholders",
            Sync::Mounted => "mounted",
            Sync::Hooked => "hooked",
            Sync::Agent => "seccomp agent",
            Sync::Console => "console",
            Sync::Ready => "ready",
            Sync::Start => "start",
            Sync::Cgroup => "cgroup",
            Sync::Joined => "joined",
        })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.path))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, (uid, gid)) = (&self.at, self.owner);
        match &self.by {
            By::Host(source) => write!(f, "bind {} → {at} ro", text(source)),
            By::Parent(slot) => write!(f, "bind node {slot} → {at}"),
            By::Itself => {
                let kind = if self.kind == libc::S_IFBLK { "block" } else { "character" };
                let kind = if self.kind == libc::S_IFIFO { "pipe" } else { kind };
                write!(f, "find {at} {kind} {}:{}", libc::major(self.device), libc::minor(self.device))
            }
            By::Mknod if self.kind == libc::S_IFIFO => write!(f, "mkfifo {at} {:04o} {uid}:{gid}", self.mode),
            By::Mknod => {
                let Device { kind, device, mode, owner, .. } = *self;
                write!(f, "mknod {at} {}", Node { kind, device, mode, owner })
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == libc::S_IFBLK { 'b' } else { 'c' };
        let (major, minor, (uid, gid)) = (libc::major(self.device), libc::minor(self.device), self.owner);
        write!(f, "{kind} {major}:{minor} {:04o} {uid}:{gid}", self.mode)
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.recursive { "rbind" } else { "bind" };
        let follow = if self.follow == Follow::All { "" } else { " nofollow" };
        let prepared = match self.prepared {
            Some(Prepared::Mapped(_)) => " id-mapped".to_owned(),
            Some(Prepared::Sent(slot)) => format!(", mount {slot}"),
            None => String::new(),
        };
        write!(f, "{how} {} → {}{}{follow}{prepared}", text(&self.source), self.at, self.attrs)
    }
}

impl fmt::Display for NewFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount {} → {}{}", text(&self.fstype), self.at, self.attrs)?;
        // As /proc/mounts will have it; mostly that is the type once more.
        let source = self.parameters.iter().find(|(key, _)| key.as_c_str() == c"source").and_then(|(_, value)| value.as_ref());
        if let Some(source) = source.filter(|source| **source != self.fstype) {
            write!(f, " source={}", text(source))?;
        }
        parameters(f, &self.parameters)?;
        if self.copy_up {
            write!(f, ", with a copy of what is there")?;
        }
        self.keep.map_or(Ok(()), |slot| write!(f, ", keep as {slot}"))
    }
}

fn parameters(f: &mut fmt::Formatter<'_>, list: &[(CString, Option<CString>)]) -> fmt::Result {
    for (key, value) in list.iter().filter(|(key, _)| key.as_c_str() != c"source") {
        write!(f, " {}", text(key))?;
        if let Some(value) = value {
            write!(f, "={}", text(value))?;
        }
    }
    Ok(())
}

impl fmt::Display for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", words(&self.own, ""), words(&self.tree, "r"))?;
        if self.one_call { write!(f, " (open_tree_attr)") } else { Ok(()) }
    }
}

const WORDS: &[(u64, &str, &str)] = &[
    (attr::RDONLY, "ro", "rw"),
    (attr::NOSUID, "nosuid", "suid"),
    (attr::NODEV, "nodev", "dev"),
    (attr::NOEXEC, "noexec", "exec"),
    (attr::NODIRATIME, "nodiratime", "diratime"),
    (attr::NOSYMFOLLOW, "nosymfollow", "symfollow"),
    (attr::NOATIME, "noatime", ""),
    (attr::STRICTATIME, "strictatime", ""),
];

fn words(attr: &MountAttr, prefix: &str) -> String {
    let mut out = String::new();
    for (flag, set, clear) in WORDS {
        if attr.set & flag != 0 {
            out.extend([" ", prefix, set]);
        } else if attr.clear & flag != 0 && !clear.is_empty() {
            out.extend([" ", prefix, clear]);
        }
    }
    if attr.clear & attr::ATIME != 0 && attr.set & attr::ATIME == 0 {
        out.extend([" ", prefix, "relatime"]);
    }
    // What comes before `shared` has the lower bit.
    for flag in (17..=20).map(|bit| 1 << bit).filter(|flag| attr.propagation & flag != 0) {
        out.extend([" ", prefix, propagation(flag)]);
    }
    out
}

fn propagation(flag: u64) -> &'static str {
    match flag >> 17 {
        1 => "unbindable",
        2 => "private",
        4 => "slave",
        _ => "shared",
    }
}

const NAMESPACES: &[(i32, &str)] = &[
    (libc::CLONE_NEWUSER, " user"),
    (libc::CLONE_NEWNS, " mount"),
    (libc::CLONE_NEWPID, " pid"),
    (libc::CLONE_NEWIPC, " ipc"),
    (libc::CLONE_NEWNET, " network"),
    (libc::CLONE_NEWUTS, " uts"),
    (libc::CLONE_NEWCGROUP, " cgroup"),
    (libc::CLONE_NEWTIME, " time"),
];

fn namespaces(flags: u64) -> String {
    NAMESPACES.iter().filter(|(flag, _)| flags & *flag as u64 != 0).map(|(_, name)| *name).collect()
}

/// The numbers in a set.
fn set(bits: &Nodes) -> String {
    let numbers = (0..bits.len() * 64).filter(|n| bits[n / 64] >> (n % 64) & 1 == 1).map(|n| n.to_string());
    numbers.collect::<Vec<_>>().join(",")
}

fn text(s: &CStr) -> String {
    s.to_string_lossy().escape_debug().to_string()
}

fn line(s: &CStr) -> String {
    text(s).replace("\\n", "")
}

fn either(candidates: &[CString]) -> String {
    candidates.iter().map(|candidate| quoted(candidate)).collect::<Vec<_>>().join(" or ")
}

fn filter(program: &crate::bpf::Program) -> String {
    let newer = program.unheard.map_or(String::new(), |from| format!(", ENOSYS from number {from}"));
    format!("load a filter of {} instructions, flags {:#x}{newer}", program.insns.len(), program.flags)
}

/// Of a terminal, if the size is asked for.
fn sized(size: Option<(u16, u16)>) -> String {
    size.map_or(String::new(), |(rows, columns)| format!(" of {rows} rows and {columns} columns"))
}

/// A program with what it is given beside its own name.
fn called(path: &str, args: Vec<String>, timeout: Option<Duration>, env: Option<Vec<String>>) -> String {
    let args = if args == [path] { String::new() } else { format!(" as {}", args.join(" ")) };
    let timeout = timeout.map_or(String::new(), |timeout| format!(", within {} s", timeout.as_secs()));
    let env = env.map_or(String::new(), |env| match env.is_empty() {
        true => ", without an environment".to_owned(),
        false => format!(", with {}", env.join(" ")),
    });
    format!("{path}{args}{timeout}{env}")
}

fn quoted(s: &CStr) -> String {
    word_of(&s.to_string_lossy())
}

fn word_of(s: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !s.is_empty() && s.chars().all(plain) { s.to_owned() } else { format!("{s:?}") }
}
