//! Ways to change a file that must stay as it is: each of [`WAYS`] on each of [`TARGETS`], and what must not be opened at all.

use super::row::{Row, Through, Word, row};
use super::{Attempt, Wall, World};
use Word::{N, Path, Q, Read, Room, T};

/// Of the scene. The first is one for every policy but the unrestricted ones, the last where nothing may be written.
const TARGETS: &[(Wall, &str)] = &[
    (Wall::Files, "{out}/file.txt"),
    (Wall::Metadata, "{w}/.git/config"),
    (Wall::Metadata, "{x}/.codex/config.toml"),
    (Wall::Workspace, "{w}/sub/inner.txt"),
];

const CWD: Word = N(libc::AT_FDCWD as i64);
const WRITE: Word = N(libc::O_WRONLY as i64);

const fn way(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Files, name, call, words)
}

/// What Landlock has no right for.
const fn about(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Attributes, name, call, words)
}

/// What takes the target away comes last, so that where it is permitted the others still meet it.
#[rustfmt::skip]
static WAYS: &[Row] = &[
    way("open to write", "open", &[T("{t}"), WRITE]),
    way("open to read and write", "open", &[T("{t}"), N(libc::O_RDWR as i64)]),
    way("open to append", "openat", &[CWD, T("{t}"), N((libc::O_WRONLY | libc::O_APPEND) as i64)]),
    way("open and truncate", "openat", &[CWD, T("{t}"), N((libc::O_RDONLY | libc::O_TRUNC) as i64)]),
    way("creat", "creat", &[T("{t}"), N(0o600)]),
    way("openat2 to write", "openat2", &[CWD, T("{t}"), Q(&[libc::O_WRONLY as u64, 0, 0]), N(24)]),
    way("through /proc/self/root", "open", &[T("/proc/self/root{t}"), WRITE]),
    way("through /proc/1/root", "open", &[T("/proc/1/root{t}"), WRITE]),
    way("through /proc/thread-self/root", "open", &[T("/proc/thread-self/root{t}"), WRITE]),
    way("through /proc/self/cwd", "open", &[T("/proc/self/cwd/../../../../../..{t}"), WRITE]),
    way("a new file beside it", "open", &[T("{t}.new"), N((libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL) as i64), N(0o600)]),
    way("a nameless file in its directory", "openat", &[CWD, T("{d}"), N((libc::O_TMPFILE | libc::O_WRONLY) as i64), N(0o600)]),
    way("truncate", "truncate", &[T("{t}"), N(0)]),
    way("truncate64", "truncate64", &[T("{t}"), N(0), N(0)]),
    way("ftruncate", "ftruncate", &[Read("{t}"), N(0)]),
    way("ftruncate64", "ftruncate64", &[Read("{t}"), N(0), N(0)]),
    way("fallocate", "fallocate", &[Read("{t}"), N(0), N(0), N(1), N(1)]),
    way("write", "write", &[Read("{t}"), T("x"), N(1)]),
    way("pwrite64", "pwrite64", &[Read("{t}"), T("x"), N(1), N(0)]),
    way("pwritev", "pwritev", &[Read("{t}"), Room, N(1), N(0)]),
    way("writev", "writev", &[Read("{t}"), Room, N(1)]),
    way("copy_file_range", "copy_file_range", &[Read("/proc/self/exe"), N(0), Read("{t}"), N(0), N(1), N(0)]),
    way("sendfile", "sendfile", &[Read("{t}"), Read("/proc/self/exe"), N(0), N(1)]),
    way("clone another file into it", "ioctl", &[Read("{t}"), N(0x4004_9409), Read("/proc/self/exe")]),
    way("share with another file", "ioctl", &[Read("{t}"), N(0xc018_9436), Room]),
    about("attributes of chattr", "ioctl", &[Read("{t}"), N(0x4008_6602), Room]),
    about("attributes of chattr, 32 bits", "ioctl", &[Read("{t}"), N(0x4004_6602), Room]),
    about("project id", "ioctl", &[Read("{t}"), N(0x401c_5820), Room]),
    about("generation number", "ioctl", &[Read("{t}"), N(0x4008_7602), Room]),
    about("file_setattr", "file_setattr", &[CWD, T("{t}"), Room, N(24), N(0)]),
    way("map shared to write", "mmap", &[N(0), N(4096), N(3), N(1), Read("{t}"), N(0)]),
    way("map shared to write", "mmap2", &[N(0), N(4096), N(3), N(1), Read("{t}"), N(0)]),
    about("chmod", "chmod", &[T("{t}"), N(0o777)]),
    about("fchmod", "fchmod", &[Read("{t}"), N(0o777)]),
    about("fchmodat", "fchmodat", &[CWD, T("{t}"), N(0o777)]),
    about("fchmodat2 by descriptor", "fchmodat2", &[Path("{t}"), T(""), N(0o777), N(libc::AT_EMPTY_PATH as i64)]),
    about("chown", "chown", &[T("{t}"), N(-1), N(-1)]),
    about("lchown", "lchown", &[T("{t}"), N(-1), N(-1)]),
    about("fchown", "fchown", &[Read("{t}"), N(-1), N(-1)]),
    about("chown32", "chown32", &[T("{t}"), N(-1), N(-1)]),
    about("fchown32", "fchown32", &[Read("{t}"), N(-1), N(-1)]),
    about("fchownat by descriptor", "fchownat", &[Path("{t}"), T(""), N(-1), N(-1), N(libc::AT_EMPTY_PATH as i64)]),
    about("utime", "utime", &[T("{t}"), N(0)]),
    about("utimes", "utimes", &[T("{t}"), N(0)]),
    about("futimesat", "futimesat", &[CWD, T("{t}"), N(0)]),
    about("utimensat", "utimensat", &[CWD, T("{t}"), N(0), N(0)]),
    about("utimensat by descriptor", "utimensat", &[Read("{t}"), N(0), N(0), N(0)]),
    about("setxattr", "setxattr", &[T("{t}"), T("user.attack"), T("x"), N(1), N(0)]),
    about("lsetxattr", "lsetxattr", &[T("{t}"), T("user.attack"), T("x"), N(1), N(0)]),
    about("fsetxattr", "fsetxattr", &[Read("{t}"), T("user.attack"), T("x"), N(1), N(0)]),
    about("an access control list", "setxattr", &[T("{t}"), T("system.posix_acl_access"), Q(&[2]), N(4), N(0)]),
    about("setxattrat", "setxattrat", &[CWD, T("{t}"), N(0), T("user.attack"), Q(&[0, 0]), N(16)]),
    about("lremovexattr", "lremovexattr", &[T("{t}"), T("user.attack")]),
    about("fremovexattr", "fremovexattr", &[Read("{t}"), T("user.attack")]),
    about("removexattrat", "removexattrat", &[CWD, T("{t}"), N(0), T("user.attack")]),
    about("removexattr", "removexattr", &[T("{t}"), T("user.attack")]),
    way("a link to it in a writable root", "link", &[T("{t}"), T("{w}/bin/linked")]),
    way("a link to it by descriptor", "linkat", &[Path("{t}"), T(""), CWD, T("{w}/bin/linked"), N(libc::AT_EMPTY_PATH as i64)]),
    way("a link by /proc", "linkat", &[CWD, T("/proc/self/root{t}"), CWD, T("{w}/bin/linked"), N(libc::AT_SYMLINK_FOLLOW as i64)]),
    way("a link beside it", "link", &[T("{w}/bin/probe"), T("{t}.link")]),
    way("a symbolic link beside it", "symlink", &[T("/"), T("{t}.symlink")]),
    way("a second one", "symlinkat", &[T("/"), CWD, T("{t}.symlinkat")]),
    way("a pipe beside it", "mknod", &[T("{t}.pipe"), N(0o010_600), N(0)]),
    way("a device beside it", "mknodat", &[CWD, T("{t}.node"), N(0o020_666), N(0x0103)]),
    way("a directory beside it", "mkdir", &[T("{t}.dir"), N(0o700)]),
    way("a second one", "mkdirat", &[CWD, T("{t}.dirat"), N(0o700)]),
    way("no directory beside it", "rmdir", &[T("{t}.dir")]),
    way("exchange with another", "renameat2", &[CWD, T("{t}"), CWD, T("{w}/plain.txt"), N(2)]),
    way("rename another over it", "rename", &[T("{w}/a-move"), T("{t}")]),
    way("rename it away", "rename", &[T("{t}"), T("{t}.away")]),
    way("rename it into the workspace", "renameat", &[CWD, T("{t}"), CWD, T("{w}/moved")]),
    way("unlink", "unlink", &[T("{t}")]),
    way("unlinkat", "unlinkat", &[CWD, T("{t}"), N(0)]),
    way("rename its directory", "rename", &[T("{d}"), T("{w}/moved.d")]),
];

#[rustfmt::skip]
/// Not to be opened to write: what speaks for the whole machine. What opening alone would set going (watchdogs) is not among it.
const MACHINE: &[&str] = &[
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/ns_last_pid", "/proc/sys/vm/drop_caches", "/proc/sys/vm/swappiness", "/proc/sys/fs/file-max",
    "/proc/sys/fs/binfmt_misc/register", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces",
    "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/dynamic_debug/control", "/proc/acpi/wakeup",
    "/proc/fs/jbd2", "/proc/scsi/scsi",
    "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/mm/ksm/run", "/sys/power/state",
    "/sys/power/disk", "/sys/module/kernel/parameters/panic", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/pids/cgroup.procs",
    "/sys/fs/cgroup/unified/cgroup.procs", "/sys/kernel/debug/sched/debug", "/sys/kernel/tracing/trace_marker",
    "/sys/kernel/security/lockdown", "/sys/devices/system/cpu/cpu1/online", "/sys/class/net/lo/mtu", "/sys/bus/pci/rescan",
    "/sys/block/vda/queue/scheduler", "/sys/firmware/efi/efivars",
    "/dev/kmsg", "/dev/mem", "/dev/port", "/dev/loop-control", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/vhost-vsock",
    "/dev/vhost-net", "/dev/vsock", "/dev/uinput", "/dev/hpet", "/dev/ppp", "/dev/mapper/control", "/dev/btrfs-control",
    "/dev/autofs", "/dev/userfaultfd", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/console", "/dev/cpu_dma_latency",
    "/dev/vga_arbiter", "/dev/udmabuf", "/dev/dma_heap/system", "/dev/nvram", "/dev/rtc0", "/dev/ptp0",
];

#[rustfmt::skip]
/// Nor to be read: what is covered can be opened, and is empty.
const SECRET: &[&str] = &[
    "/proc/kcore", "/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/proc/{pid}/environ",
    "/proc/{pid}/mem", "/proc/{pid}/maps", "/proc/{pid}/root/etc/passwd", "/proc/{pid}/cwd", "/proc/{pid}/exe", "/proc/{pid}/fd/0",
    "/proc/{pid}/ns/mnt", "/proc/{pid}/ns/user", "/proc/{pid}/ns/net", "/proc/{pid}/ns/pid",
    "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0", "/dev/dm-0", "/dev/cpu/0/msr", "/dev/sg0", "/dev/mem",
];

/// Of these a /proc of its own shows nothing that is others'.
const OTHERS: &[&str] =
    &["/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/{pid}/task", "/proc/{pid}/cmdline", "/proc/{pid}/stat"];

static OPEN: Row =
    row(Wall::Always, "open to write", "open", &[T("{t}"), N((libc::O_WRONLY | libc::O_NOCTTY | libc::O_NONBLOCK) as i64)]);
static LOOK: Row = Row {
    through: Through::Read,
    ..row(Wall::Always, "read", "openat", &[CWD, T("{t}"), N((libc::O_NOCTTY | libc::O_NONBLOCK) as i64)])
};

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let ways = TARGETS.iter().flat_map(|(wall, target)| {
        let at = move |way: &'static Row| {
            let wall = if *wall == Wall::Files { way.wall } else { *wall };
            way.at(target, world).map(move |attempt| Attempt { wall, ..attempt })
        };
        WAYS.iter().flat_map(at)
    });
    // A file system that is not restricted has the host's /sys as it is.
    let wall = |path: &str| if path.starts_with("/sys") { Wall::Files } else { Wall::Always };
    let machine = MACHINE.iter().flat_map(move |path| OPEN.at(path, world).map(move |a| Attempt { wall: wall(path), ..a }));
    let look = |wall: Wall, path: &'static str| LOOK.at(path, world).map(move |attempt| Attempt { wall, ..attempt });
    let secret = SECRET.iter().flat_map(move |path| look(Wall::Always, path));
    let others = OTHERS.iter().flat_map(move |path| look(Wall::Processes, path));
    ways.chain(machine).chain(secret).chain(others).collect()
}
