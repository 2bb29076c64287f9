//! Probes of power: mounts, ids, namespaces, other processes, and calls that only a privileged process may make.

use crate::Verb;
use crate::outcome::{Outcome, word};
use crate::syscall::{Arg, Ret, call, fork, text, wait};
use std::fs;

/// Every verb of this file.
pub const VERBS: &[Verb] = &[
    ("mount-tmpfs", |a| said(mount("tmpfs", a[0], "tmpfs", 0))),
    ("mount-proc", |a| said(mount("proc", a[0], "proc", 0))),
    ("mount-bind", |a| said(mount(a[0], a[1], "", libc::MS_BIND))),
    ("mount-move", |a| said(mount(a[0], a[1], "", libc::MS_MOVE))),
    ("remount-rw", |a| said(mount("", a[0], "", libc::MS_REMOUNT | libc::MS_BIND))),
    ("umount", |a| said(umount(a[0]))),
    ("pivot-root", |a| said(two(libc::SYS_pivot_root, a[0], a[0]))),
    ("chroot", |a| said(one(libc::SYS_chroot, a[0]))),
    ("open-tree", |a| open_tree(a[0])),
    ("fsopen", |a| fsopen(a[0])),
    ("mount-setattr", |a| mount_setattr(a[0])),
    ("open-by-handle", |_| open_by_handle()),
    ("setuid", |a| ids(libc::SYS_setuid, a[0])),
    ("setgid", |a| ids(libc::SYS_setgid, a[0])),
    ("setgroups", |_| said(call(libc::SYS_setgroups, [Arg::Int(1), Arg::In(&0u32.to_ne_bytes())]))),
    ("unshare", |a| said(call(libc::SYS_unshare, [Arg::Int(i64::from_str_radix(a[0], 16).unwrap_or(0))]))),
    ("setns", |a| setns(a[0])),
    ("userns-mount", |a| userns_mount(a[0])),
    ("userns-write", |a| userns_write(a[0], a[1])),
    ("kill", |a| said(call(libc::SYS_kill, [number(a[0]), Arg::Int(0)]))),
    ("limit", |a| limit(number(a[0]))),
    ("pidfd-open", |a| said(call(libc::SYS_pidfd_open, [number(a[0]), Arg::Int(0)]))),
    ("ptrace", |a| ptrace_seize(number(a[0]))),
    ("ptrace-child", |_| ptrace_child()),
    ("process-vm-read", |a| process_vm_read(number(a[0]))),
    ("sethostname", |_| said(call(libc::SYS_sethostname, [Arg::In(b"codexrun-test"), Arg::Int(13)]))),
    ("settime", |_| settime()),
    ("reboot", |_| said(call(libc::SYS_reboot, [Arg::Int(0), Arg::Int(0), Arg::Int(0)]))),
    ("swapon", |a| said(two(libc::SYS_swapon, a[0], ""))),
    ("init-module", |_| said(call(libc::SYS_init_module, [Arg::In(b"x"), Arg::Int(1), Arg::Text(c"")]))),
    ("raise-rlimit", |_| raise_rlimit()),
    ("nice", |_| said(call(libc::SYS_setpriority, [Arg::Int(0), Arg::Int(0), Arg::Int(-20)]))),
    ("io-uring", |_| io_uring()),
    ("perf", |_| perf()),
    ("call", |a| made(a)),
    ("session-keyring", |_| session_keyring()),
    ("memory-policy", |_| memory_policy()),
    ("keyctl-session", |_| said(call(libc::SYS_keyctl, [Arg::Int(0), Arg::Int(-3), Arg::Int(0)]))), // KEYCTL_GET_KEYRING_ID
];

fn said(ret: Ret) -> Outcome {
    Ok(ret.map(|n| n.to_string())?)
}

fn number(word: &str) -> Arg<'static> {
    Arg::Int(word.parse().unwrap_or(0))
}

/// A call by its number, with numbers.
fn made(words: &[&str]) -> Outcome {
    let mut args = words.iter().map(|word| number(word)).chain(std::iter::repeat_with(|| Arg::Int(0)));
    let Some(Arg::Int(nr)) = args.next() else { return word("no-number", "") };
    said(call(nr, std::array::from_fn::<_, 6, _>(|_| args.next().unwrap_or(Arg::Null))))
}

/// KEYCTL_DESCRIBE of the session keyring: whose it is, what others may do with it, its name.
fn session_keyring() -> Outcome {
    let mut text = [0; 256];
    let size = Arg::Int(text.len() as i64);
    let length = call(libc::SYS_keyctl, [Arg::Int(6), Arg::Int(-3), Arg::Out(&mut text), size])?;
    let length = usize::try_from(length).unwrap_or(0).min(text.len());
    Ok(String::from_utf8_lossy(&text[..length]).trim_end_matches('\0').into())
}

/// get_mempolicy(2): the mode, and the first 64 nodes.
fn memory_policy() -> Outcome {
    let (mut mode, mut nodes) = ([0; 4], [0; 128]);
    let most = Arg::Int(nodes.len() as i64 * 8);
    let out = Arg::Out(&mut nodes);
    call(libc::SYS_get_mempolicy, [Arg::Out(&mut mode), out, most, Arg::Null, Arg::Int(0)])?;
    Ok(format!("{} {:x?}", i32::from_ne_bytes(mode), nodes.first_chunk::<8>().map(|word| u64::from_ne_bytes(*word))))
}

fn one(nr: i64, a: &str) -> Ret {
    call(nr, [Arg::Text(&text(a))])
}

fn two(nr: i64, a: &str, b: &str) -> Ret {
    call(nr, [Arg::Text(&text(a)), Arg::Text(&text(b))])
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong) -> Ret {
    let (source, target, kind) = (text(source), text(target), text(kind));
    let flags = Arg::Int(flags as i64);
    call(libc::SYS_mount, [Arg::Text(&source), Arg::Text(&target), Arg::Text(&kind), flags, Arg::Null])
}

fn umount(target: &str) -> Ret {
    call(libc::SYS_umount2, [Arg::Text(&text(target)), Arg::Int(libc::MNT_DETACH.into())])
}

/// open_tree(2) with CLONE: the new mount API is not covered by a filter that names only mount(2).
fn open_tree(path: &str) -> Outcome {
    const CLONE: i64 = 1;
    said(call(libc::SYS_open_tree, [Arg::Int(libc::AT_FDCWD.into()), Arg::Text(&text(path)), Arg::Int(CLONE)]))
}

fn fsopen(kind: &str) -> Outcome {
    said(call(libc::SYS_fsopen, [Arg::Text(&text(kind)), Arg::Int(0)]))
}

/// mount_setattr(2) that clears read-only.
fn mount_setattr(path: &str) -> Outcome {
    const RDONLY: u64 = 1;
    let attr: Vec<u8> = [0, RDONLY, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    let (at, path) = (Arg::Int(libc::AT_FDCWD.into()), text(path));
    said(call(libc::SYS_mount_setattr, [at, Arg::Text(&path), Arg::Int(0), Arg::In(&attr), Arg::Int(32)]))
}

/// The `shocker` escape: a file handle made up from an inode number (CAP_DAC_READ_SEARCH).
fn open_by_handle() -> Outcome {
    let root = fs::File::open("/")?;
    let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&root));
    let handle: Vec<u8> = [8u32, 1, 2, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    said(call(libc::SYS_open_by_handle_at, [Arg::Int(fd), Arg::In(&handle), Arg::Int(0)]))
}

/// Takes another id; success with the id that we already have proves nothing, so the caller names a foreign one.
fn ids(nr: i64, id: &str) -> Outcome {
    said(call(nr, [number(id)]))
}

fn setns(path: &str) -> Outcome {
    let file = fs::File::open(path)?;
    let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&file));
    said(call(libc::SYS_setns, [Arg::Int(fd), Arg::Int(0)]))
}

/// What a container inside would begin with.
fn userns_mount(dir: &str) -> Outcome {
    call(libc::SYS_unshare, [Arg::Int((libc::CLONE_NEWUSER | libc::CLONE_NEWNS).into())])?;
    said(mount("none", dir, "tmpfs", 0))
}

/// Becomes root of a nested user namespace, tries every way to take a protection away, then writes. The mounts that
/// came from outside are locked there (mount_namespaces(7)); only the last write decides.
fn userns_write(dir: &str, file: &str) -> Outcome {
    let flags = i64::from(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
    call(libc::SYS_unshare, [Arg::Int(flags)])?;
    let parent = dir.rsplit_once('/').map_or("/", |(parent, _)| parent);
    let tries = [
        umount(dir),
        mount("", dir, "", libc::MS_REMOUNT | libc::MS_BIND),
        mount("", "/", "", libc::MS_REMOUNT | libc::MS_BIND),
        // Without its children, the parent would show what the protection covers.
        mount(parent, parent, "", libc::MS_BIND),
    ];
    let opened = tries.iter().filter(|t| t.is_ok()).count();
    fs::OpenOptions::new().append(true).open(file).map(|_| format!("{opened} mount calls succeeded")).map_err(Into::into)
}

/// prlimit(2): a limit of another process, that of core files.
fn limit(pid: Arg) -> Outcome {
    said(call(libc::SYS_prlimit64, [pid, Arg::Int(libc::RLIMIT_CORE.into()), Arg::In(&[0; 16]), Arg::Null]))
}

fn ptrace_seize(pid: Arg) -> Outcome {
    said(call(libc::SYS_ptrace, [Arg::Int(libc::PTRACE_SEIZE.into()), pid, Arg::Null, Arg::Null]))
}

/// Traces a child of its own: allowed by the kernel to everybody, so only a filter refuses it.
fn ptrace_child() -> Outcome {
    let child = fork()?;
    if child == 0 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        std::process::exit(0)
    }
    let outcome = ptrace_seize(Arg::Int(child));
    wait(child);
    outcome
}

fn process_vm_read(pid: Arg) -> Outcome {
    let mut page = [0u8; 8];
    let local: Vec<u8> = [page.as_mut_ptr() as u64, 8].into_iter().flat_map(u64::to_ne_bytes).collect();
    let remote: Vec<u8> = [0x40_0000u64, 8].into_iter().flat_map(u64::to_ne_bytes).collect();
    let args = [pid, Arg::In(&local), Arg::Int(1), Arg::In(&remote), Arg::Int(1), Arg::Int(0)];
    said(call(libc::SYS_process_vm_readv, args))
}

/// Sets the clock to what it reads: harmless where it is allowed.
fn settime() -> Outcome {
    let mut now = [0; 16];
    call(libc::SYS_clock_gettime, [Arg::Int(0), Arg::Out(&mut now)])?;
    said(call(libc::SYS_clock_settime, [Arg::Int(0), Arg::In(&now)]))
}

/// Lifts the hard limit of locked memory above what it is (CAP_SYS_RESOURCE).
fn raise_rlimit() -> Outcome {
    let (kind, mut old) = (i64::from(libc::RLIMIT_NOFILE), [0; 16]);
    call(libc::SYS_prlimit64, [Arg::Int(0), Arg::Int(kind), Arg::Null, Arg::Out(&mut old)])?;
    let hard = u64::from_ne_bytes([old[8], old[9], old[10], old[11], old[12], old[13], old[14], old[15]]);
    let new: Vec<u8> = [hard, hard.saturating_add(1)].into_iter().flat_map(u64::to_ne_bytes).collect();
    said(call(libc::SYS_prlimit64, [Arg::Int(0), Arg::Int(kind), Arg::In(&new), Arg::Null]))
}

/// Any answer but a refusal means that rings can be made; a ring's sockets pass no filter.
fn io_uring() -> Outcome {
    let mut params = [0; 120];
    match call(libc::SYS_io_uring_setup, [Arg::Int(1), Arg::Out(&mut params)]) {
        Err(libc::EPERM | libc::ENOSYS | libc::EACCES) => word("refused", ""),
        other => said(other),
    }
}

/// Watches every process on CPU 0.
fn perf() -> Outcome {
    let mut attr = [0; 112];
    attr[4] = 112;
    let args = [Arg::In(&attr), Arg::Int(-1), Arg::Int(0), Arg::Int(-1), Arg::Int(0)];
    said(call(libc::SYS_perf_event_open, args))
}
