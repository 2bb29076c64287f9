//! The policy matrix as data: each line is one probe and what it must answer under each policy.
//!
//! An answer is `ok`, an errno, alternatives joined by `|`, `no` (anything but ok), or `-` (not asked: the policy does
//! not speak of it, or the probe would harm the host where it is allowed).

/// Which runtimes a line is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// All.
    Every,
    /// Those that read codexrun's annotations: OCI has no field for what this line needs.
    Codexrun,
}

/// One line.
pub struct Line {
    /// Rows of one subject stand together.
    pub group: &'static str,
    /// The probe's verb and arguments; `{w}` and the like are filled in per launch.
    pub probe: &'static str,
    /// One answer per policy, in the order of `POLICIES`.
    pub answers: &'static str,
    /// Of whom.
    pub ask: Ask,
}

impl Line {
    /// What the probe must answer under the policy with this number.
    pub fn answer(&self, policy: usize) -> &'static str {
        self.answers.split_whitespace().nth(policy).unwrap_or("-")
    }
}

/// Whether what was seen is among what is allowed.
pub fn allows(answer: &str, seen: &str) -> bool {
    answer.split('|').any(|a| a == seen || (a == "no" && seen != "ok"))
}

const fn line(group: &'static str, probe: &'static str, answers: &'static str) -> Line {
    Line { group, probe, answers, ask: Ask::Every }
}

const fn ours(group: &'static str, probe: &'static str, answers: &'static str) -> Line {
    Line { group, probe, answers, ask: Ask::Codexrun }
}

/// A call by x32 kills under a filter; without one it says ENOSYS where the kernel has no x32. Other machines have none.
pub const KILLED: &str = if cfg!(target_arch = "x86_64") { "SIG31" } else { "no" };

/// For every policy.
const X32: &str =
    if cfg!(target_arch = "x86_64") { "SIG31 SIG31 SIG31 SIG31 SIG31 SIG31 ENOSYS|ok" } else { "no no no no no no -" };

/// The order matters only where a probe changes what a later one meets; destructive ones come last in their group.
#[rustfmt::skip]
pub const LINES: &[Line] = &[
    //                                                      read-only workspace +network minimal scoped deny danger
    line("reading", "read {w}/plain.txt",                   "ok ok ok ok ok ok ok"),
    line("reading", "read {out}/file.txt",                  "ok ok ok ENOENT ENOENT ok ok"),
    line("reading", "list {out}/dir",                       "ok ok ok ENOENT ENOENT EACCES ok"),
    line("reading", "read {out}/dir/inner.txt",             "ok ok ok ENOENT ENOENT EACCES ok"),
    line("reading", "list /",                               "ok ok ok ok ok ok ok"),
    line("reading", "read /etc/passwd",                     "ok ok ok ok ENOENT ok ok"),
    line("reading", "list /home",                           "ok ok ok ENOENT|empty ENOENT|empty ok ok"),
    line("reading", "read {tmp}.txt",                       "ok ok ok ENOENT ENOENT ok ok"),
    line("reading", "exec /bin/true",                       "ok ok ok ok ENOENT ok ok"),
    line("reading", "read {w}/.git/config",                 "ok ok ok ok ok ok ok"),

    line("writing", "write {w}/plain.txt",                  "EROFS ok ok ok ok ok ok"),
    line("writing", "create {w}/new.txt",                   "EROFS ok ok ok ok ok ok"),
    line("writing", "mkdir {w}/newdir",                     "EROFS ok ok ok ok ok ok"),
    line("writing", "mkfifo {w}/fifo",                      "EROFS ok ok ok ok ok ok"),
    line("writing", "symlink nowhere {w}/newlink",          "EROFS ok ok ok ok ok ok"),
    line("writing", "rename {w}/a-rename {w}/b-rename",     "EROFS ok ok ok ok ok ok"),
    line("writing", "rename {w}/a-move {w}/sub/a-move",     "EROFS ok ok ok ok ok ok"),
    line("writing", "unlink {w}/a-unlink",                  "EROFS ok ok ok ok ok ok"),
    line("writing", "truncate {w}/a-truncate",              "EROFS ok ok ok ok ok ok"),
    line("writing", "chmod {w}/a-chmod",                    "EROFS ok ok ok ok ok ok"),
    line("writing", "chown {w}/a-chown",                    "EROFS ok ok ok ok ok ok"),
    line("writing", "xattr {w}/a-xattr",                    "EROFS ok ok ok ok ok ok"),
    line("writing", "utime {w}/a-utime",                    "EROFS ok ok ok ok ok ok"),
    line("writing", "link {w}/a-link {w}/b-link",           "EROFS ok ok ok ok ok ok"),
    line("writing", "write {x}/plain.txt",                  "EROFS ok ok ENOENT ENOENT EROFS ok"),
    line("writing", "create {x}/new.txt",                   "EROFS ok ok ENOENT ENOENT EROFS ok"),
    line("writing", "create {tmp}.new",                     "EROFS ok ok ENOENT|EROFS ENOENT|EROFS EROFS -"),
    line("writing", "create /dev/shm/codexrun-test",        "ok ok ok ok ok ok -"),

    line("outside", "write {out}/file.txt",                 "EROFS EROFS EROFS ENOENT ENOENT EROFS ok"),
    line("outside", "create {out}/new.txt",                 "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "mkdir {out}/newdir",                   "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "unlink {out}/victim",                  "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "chmod {out}/victim",                   "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "truncate {out}/victim",                "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "utime {out}/victim",                   "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "xattr {out}/victim",                   "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("outside", "rename {out}/victim {w}/stolen",       "EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV ENOENT ENOENT EROFS|EXDEV -"),
    line("outside", "link {out}/file.txt {w}/hard",         "EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV ENOENT ENOENT EROFS|EXDEV -"),
    line("outside", "rename {w} {out}/w",                   "no no no no no no -"),
    line("outside", "rename {w} {w}.old",                   "EROFS|EBUSY EROFS|EBUSY EROFS|EBUSY EROFS|EBUSY EROFS|EBUSY EROFS|EBUSY -"),
    line("outside", "create /codexrun-test",                "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES -"),
    line("outside", "mkdir /codexrun-test",                 "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES -"),
    line("outside", "create /usr/bin/codexrun-test",        "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES ENOENT EROFS|EACCES -"),
    line("outside", "create /etc/codexrun-test",            "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES ENOENT EROFS|EACCES -"),
    line("outside", "open-write /etc/passwd",               "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES ENOENT EROFS|EACCES -"),
    line("outside", "create /var/tmp/codexrun-test-file",   "EROFS EROFS EROFS EROFS|EACCES|ENOENT EROFS|EACCES|ENOENT EROFS -"),
    line("outside", "create /home/codexrun-test-file",      "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES|ENOENT EROFS|EACCES|ENOENT EROFS|EACCES -"),
    line("outside", "create /run/codexrun-test-file",       "EROFS|EACCES EROFS|EACCES EROFS|EACCES EROFS|EACCES|ENOENT EROFS|EACCES|ENOENT EROFS|EACCES -"),
    line("outside", "rw-mounts /dev /proc",                 "ok - - - - - -"),
    line("outside", "rw-mounts {w} {x} /tmp /dev /proc",    "- ok ok - - - -"),
    line("outside", "rw-mounts {w} /dev /proc",             "- - - ok ok ok -"),
    line("outside", "no-setid-mounts",                      "ok ok ok ok ok ok -"),

    line("links", "write {w}/escape",                       "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("links", "create {w}/escapedir/new.txt",           "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("links", "symlink-write {out}/file.txt {w}/ln",    "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),
    line("links", "symlink-write {w}/.git/config {w}/lng",  "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("links", "swap-write {w}/swap {out} file.txt",     "EROFS EROFS EROFS ENOENT ENOENT EROFS -"),

    line("metadata", "write {w}/.git/config",               "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "create {w}/.git/index.lock",          "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "create {w}/.git/hooks/pre-commit",    "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "mkdir {w}/.git/modules",              "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "unlink {w}/.git/HEAD",                "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "truncate {w}/.git/HEAD",              "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "chmod {w}/.git/config",               "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "chmod {w}/.git",                      "EROFS EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "rename {w}/.git/config {w}/cfg",      "EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV -"),
    line("metadata", "link-write {w}/.git/config {w}/hg",   "EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV EROFS|EXDEV -"),
    line("metadata", "rename {w}/.git {w}/.git2",           "EROFS|EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY -"),
    line("metadata", "rename-new-dir {w}/n1 {w}/.git",      "no no no no no no -"),
    line("metadata", "rename-new-file {w}/n2 {w}/.git",     "no no no no no no -"),
    line("metadata", "exchange {w}/ex {w}/.git",            "no no no no no no -"),
    line("metadata", "mkdir {w}/.codex",                    "no no no no no no -"),
    line("metadata", "create {w}/.codex",                   "no no no no no no -"),
    line("metadata", "create {w}/.codex/config.toml",       "ENOENT EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "symlink {out} {w}/.codex",            "no no no no no no -"),
    line("metadata", "rename-new-dir {w}/n3 {w}/.codex",    "no no no no no no -"),
    line("metadata", "rename-new-file {w}/n4 {w}/.codex",   "no no no no no no -"),
    line("metadata", "exchange {w}/ex {w}/.codex",          "no no no no no no -"),
    line("metadata", "rmdir {w}/.codex",                    "no no no no no no -"),
    line("metadata", "rename {w}/.codex {w}/codex2",        "no no no no no no -"),
    line("metadata", "chmod {w}/.codex",                    "no EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "mkdir {w}/.agents",                   "no no no no no no -"),
    line("metadata", "create {w}/.agents/skill.md",         "ENOENT EROFS EROFS EROFS EROFS EROFS -"),
    line("metadata", "rename-new-dir {w}/n5 {w}/.agents",   "no no no no no no -"),
    line("metadata", "mkdir /tmp/.git",                     "no no no no no no -"),
    line("metadata", "create /tmp/.git/config",             "no EROFS EROFS no no no -"),
    line("metadata", "create /tmp/.codex/config.toml",      "no EROFS EROFS no no no -"),
    line("metadata", "write {x}/.git",                      "EROFS EROFS EROFS no no EROFS -"),
    line("metadata", "rename-new-file {x}/n6 {x}/.git",     "no no no no no no -"),
    line("metadata", "unlink {x}/.git",                     "EROFS EBUSY EBUSY no no EROFS -"),
    line("metadata", "write {w}/store/x.git/config",        "EROFS EROFS EROFS - - - -"),
    line("metadata", "create {w}/store/x.git/index.lock",   "EROFS EROFS EROFS - - - -"),
    line("metadata", "write {x}/.codex/config.toml",        "EROFS EROFS EROFS no no EROFS -"),
    line("metadata", "create {x}/.codex/new.toml",          "EROFS EROFS EROFS no no EROFS -"),
    line("metadata", "write {x}/.agents/skill.md",          "EROFS EROFS EROFS no no EROFS -"),
    line("metadata", "userns-write {w}/.git {w}/.git/config", "no no no no no no -"),
    // A writable parent of a protected place: were it moved, its old name would be free for something else.
    line("metadata", "rename {w}/store {w}/store2",         "no no no - - - -"),

    line("deny", "list {w}/secret",                         "ok ok ok ok ok EACCES ok"),
    line("deny", "read {w}/secret/key.txt",                 "ok ok ok ok ok EACCES ok"),
    line("deny", "read {w}/secret.env",                     "ok ok ok ok ok EACCES ok"),
    line("deny", "read {w}/secret2.env",                    "ok ok ok ok ok EACCES ok"),
    line("deny", "write {w}/secret.env",                    "EROFS ok ok ok ok EACCES|EROFS -"),
    line("deny", "create {w}/secret/new",                   "EROFS ok ok ok ok EACCES|EROFS -"),
    line("deny", "chmod {w}/secret",                        "EROFS - - - - no -"),
    line("deny", "chmod {w}/secret.env",                    "EROFS - - - - no -"),
    line("deny", "unlink {w}/secret.env",                   "EROFS - - - - EBUSY -"),
    line("deny", "rename {w}/secret {w}/seen",              "EROFS|EBUSY - - - - EBUSY -"),
    line("deny", "rename {w}/secret.env {w}/seen.env",      "EROFS|EBUSY - - - - EBUSY -"),
    line("deny", "link {w}/secret.env {w}/leak.env",        "EROFS - - - - no -"),
    line("deny", "exchange {w}/ex {w}/secret",              "EROFS|EBUSY - - - - EBUSY -"),
    line("deny", "umount {w}/secret",                       "no no no no no no -"),
    line("deny", "userns-write {w}/secret {w}/secret/key.txt", "no - - - - no -"),
    line("deny", "read {w}/locked/file.txt",                "ok ok ok ok ok ok ok"),
    line("deny", "write {w}/locked/file.txt",               "EROFS ok ok ok ok EROFS -"),
    line("deny", "create {w}/locked/new.txt",               "EROFS ok ok ok ok EROFS -"),

    line("mounts", "mount-tmpfs {w}",                       "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "mount-proc /proc",                      "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "mount-bind {w} /dev/shm",               "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "mount-move {w} /dev/shm",               "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "remount-rw /",                          "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "remount-rw {w}/.git",                   "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "mount-setattr {w}/.git",                "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "umount /proc",                          "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "umount {w}/.git",                       "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "pivot-root {w}",                        "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "chroot {w}",                            "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "open-tree /",                           "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "fsopen tmpfs",                          "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "open-by-handle",                        "no no no no no no -"),
    line("mounts", "mknod {w}/null",                        "EROFS|EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("mounts", "mknod /dev/mem",                        "EROFS|EPERM EROFS|EPERM|EACCES EROFS|EPERM|EACCES EROFS|EPERM|EACCES EROFS|EPERM|EACCES EROFS|EPERM|EACCES -"),

    line("privilege", "no-new-privs",                       "ok ok ok ok ok ok -"),
    line("privilege", "no-caps CapInh",                     "ok ok ok ok ok ok -"),
    line("privilege", "no-caps CapPrm",                     "ok ok ok ok ok ok -"),
    line("privilege", "no-caps CapEff",                     "ok ok ok ok ok ok -"),
    line("privilege", "no-caps CapBnd",                     "ok ok ok ok ok ok -"),
    line("privilege", "no-caps CapAmb",                     "ok ok ok ok ok ok -"),
    line("privilege", "setuid 54321",                       "EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL -"),
    line("privilege", "setgid 54321",                       "EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL EPERM|EINVAL -"),
    line("privilege", "setgroups",                          "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "unshare 00020000",                   "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "unshare 40000000",                   "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "unshare 20000000",                   "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "setns /proc/1/ns/mnt",               "EPERM|EACCES EPERM|EACCES EPERM|EACCES EPERM|EACCES EPERM|EACCES EPERM|EACCES -"),
    line("privilege", "sethostname",                        "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "settime",                            "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "reboot",                             "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "swapon {w}/plain.txt",               "no no no no no no -"),
    line("privilege", "init-module",                        "no no no no no no -"),
    line("privilege", "raise-rlimit",                       "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("privilege", "nice",                               "EACCES|EPERM EACCES|EPERM EACCES|EPERM EACCES|EPERM EACCES|EPERM EACCES|EPERM -"),
    line("privilege", "perf",                               "no no no no no no -"),

    line("processes", "pid-namespace",                      "ok ok ok ok ok ok -"),
    line("processes", "only-processes",                     "ok ok ok ok ok ok -"),
    line("processes", "kill {pid}",                         "ESRCH ESRCH ESRCH ESRCH ESRCH ESRCH -"),
    line("processes", "pidfd-open {pid}",                   "ESRCH ESRCH ESRCH ESRCH ESRCH ESRCH -"),
    line("processes", "ptrace {pid}",                       "ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM -"),
    line("processes", "process-vm-read {pid}",              "ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM ESRCH|EPERM -"),
    line("processes", "ptrace-child",                       "EPERM EPERM - EPERM EPERM EPERM -"),
    line("processes", "list /proc/{pid}",                   "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT -"),
    ours("processes", "parent-is-1",                        "ok ok ok ok ok ok -"),
    ours("processes", "own-session",                        "ok ok ok ok ok ok -"),
    ours("processes", "reaper",                             "ok ok ok ok - ok -"),
    line("processes", "descriptors",                        "ok ok ok ok ok ok -"),
    line("processes", "cwd {w}",                            "ok ok ok ok ok ok ok"),
    line("processes", "env CODEX_SANDBOX_NETWORK_DISABLED 1", "ok ok - ok ok ok -"),
    line("processes", "env CODEX_SANDBOX_NETWORK_DISABLED unset", "- - ok - - - ok"),
    line("processes", "env-any CODEX_SANDBOX CODEXRUN CODEXRUN_SANDBOX IS_SANDBOX", "ok ok ok ok ok ok -"),

    line("proc", "open-write /proc/sys/kernel/core_pattern", "no no no no no no -"),
    line("proc", "open-write /proc/sys/vm/swappiness",      "no no no no no no -"),
    line("proc", "open-write /proc/sys/kernel/hostname",    "no no no no no no -"),
    line("proc", "open-write /proc/sysrq-trigger",          "no no no no no no -"),
    line("proc", "open-write /proc/irq/default_smp_affinity", "no no no no no no -"),
    line("proc", "open-write /proc/fs/ext4",                "no no no no no no -"),
    line("proc", "open-write /proc/mtrr",                   "no no no no no no -"),
    line("proc", "read /proc/kcore",                        "no no no no no no -"),
    line("proc", "read /proc/keys",                         "no no no no no no -"),
    line("proc", "read /proc/timer_list",                   "no no no no no no -"),
    line("proc", "write /proc/1/root{out}/file.txt",        "no no no no no no -"),
    line("proc", "create /proc/1/root/codexrun-test",       "no no no no no no -"),
    line("proc", "create /proc/self/root/codexrun-test",    "no no no no no no -"),
    line("proc", "open-write /proc/1/exe",                  "no no no no no no -"),
    line("proc", "open-write /proc/self/exe",               "no no no no no no -"),
    line("proc", "read /proc/self/status",                  "ok ok ok ok ok ok ok"),
    line("proc", "open-write /sys/kernel/mm/transparent_hugepage/enabled", "no no no no no no -"),
    line("proc", "mkdir /sys/fs/cgroup/pids/codexrun-test", "no no no no no no -"),
    line("proc", "open-write /sys/fs/cgroup/memory/release_agent", "no no no no no no -"),

    line("dev", "chardev /dev/null 1:3",                    "ok ok ok ok ok ok ok"),
    line("dev", "chardev /dev/zero 1:5",                    "ok ok ok ok ok ok ok"),
    line("dev", "chardev /dev/full 1:7",                    "ok ok ok ok ok ok ok"),
    line("dev", "chardev /dev/random 1:8",                  "ok ok ok ok ok ok ok"),
    line("dev", "chardev /dev/urandom 1:9",                 "ok ok ok ok ok ok ok"),
    line("dev", "chardev /dev/tty 5:0",                     "ok ok ok ok ok ok ok"),
    line("dev", "pty",                                      "ok ok ok ok ok ok -"),
    line("dev", "through /dev/stdin",                       "ok ok ok ok ok ok ok"),
    line("dev", "through /dev/stdout",                      "ok ok ok ok ok ok ok"),
    line("dev", "through /dev/stderr",                      "ok ok ok ok ok ok ok"),
    line("dev", "list /dev/fd",                             "ok ok ok ok ok ok ok"),
    line("dev", "stat /dev/shm",                            "ok ok ok ok ok ok ok"),
    line("dev", "read /dev/vda",                            "no no no no no no -"),
    line("dev", "read /dev/mem",                            "no no no no no no -"),
    line("dev", "open-write /dev/kmsg",                     "no no no no no no -"),
    line("dev", "open-write /dev/loop-control",             "no no no no no no -"),

    line("network", "tcp {tcp}",                            "no no ok no no no ok"),
    line("network", "udp {udp}",                            "no no ok no no no ok"),
    line("network", "interfaces",                           "ok ok - ok ok ok -"),
    line("network", "tcp-self",                             "ok ok ok ok ok ok ok"),
    line("network", "udp-self",                             "ok ok ok ok ok ok ok"),
    line("network", "lo-down",                              "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("network", "socket 2 3 1",                         "EPERM EPERM EPERM EPERM EPERM EPERM -"), // AF_INET, SOCK_RAW
    line("network", "socket 17 3 768",                      "EPERM EPERM EPERM EPERM EPERM EPERM -"), // AF_PACKET
    line("network", "socket 40 1 0",                        "EPERM EPERM no EPERM EPERM EPERM -"),    // AF_VSOCK
    line("network", "socket 16 3 16",                       "EPERM EPERM - EPERM EPERM EPERM -"),     // NETLINK_GENERIC
    line("network", "socket 38 5 0",                        "no no - no no no -"),                    // AF_ALG
    line("network", "pair-stream",                          "ok ok ok ok ok ok ok"),
    line("network", "unix-self {w}/own.sock",               "- - - - - - ok"),
    ours("network", "unix-self {w}/./own.sock",             "EROFS ok ok ok ok ok ok"),

    // With the network on the others have what the caller has: the column is codexrun's alone.
    line("unix sockets", "unix-stream {w}/host.sock",       "no no - no no no ok"),
    line("unix sockets", "unix-stream {tmp}.sock",          "no no - no no no ok"),
    line("unix sockets", "unix-abstract {name}",            "no no - no no no ok"),
    line("unix sockets", "unix-sendto {w}/host.dgram",      "no no - no no no ok"),
    line("unix sockets", "unix-sendmsg {w}/host.dgram",     "no no - no no no ok"),
    line("unix sockets", "unix-sendmmsg {w}/host.dgram",    "no no - no no no ok"),
    line("unix sockets", "unix-sendto {tmp}.dgram",         "no no - no no no ok"),
    line("unix sockets", "unix-dgram-connect {w}/host.dgram", "no no - no no no ok"),
    ours("unix sockets", "unix-stream {w}/./host.sock",     "EPERM EPERM EPERM EPERM EPERM EPERM ok"),
    ours("unix sockets", "unix-sendto {w}/./host.dgram",    "EPERM EPERM EPERM EPERM EPERM EPERM ok"),
    ours("unix sockets", "i386-connect {w}/host.sock",      "EPERM EPERM EPERM EPERM EPERM EPERM -"),
    line("unix sockets", "pair-dgram-connect {w}/host.dgram", "no no - no no no -"),
    line("unix sockets", "pair-dgram-sendto {w}/host.dgram", "no no - no no no -"),
    line("unix sockets", "pair-seqpacket-connect {w}/host.dgram", "no no - no no no -"),

    line("other tables", "seccomp",                         "ok ok - ok ok ok -"),
    line("other tables", "io-uring",                        "refused refused refused refused refused refused -"),
    line("other tables", "x32",                             X32),
    line("other tables", "i386-sendto {w}/host.dgram",      "no no - no no no -"),
    line("other tables", "i386-netlink",                    "no no - no no no -"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::COUNT;

    #[test]
    fn every_line_answers_for_every_policy() {
        let short: Vec<_> = LINES.iter().filter(|l| l.answers.split_whitespace().count() != COUNT).collect();
        assert!(short.is_empty(), "{:?}", short.iter().map(|l| l.probe).collect::<Vec<_>>());
    }

    #[test]
    fn no_line_stands_twice() {
        let mut probes: Vec<_> = LINES.iter().map(|l| l.probe).collect();
        probes.sort_unstable();
        assert!(probes.windows(2).all(|w| w[0] != w[1]));
    }

    #[test]
    fn no_means_anything_but_ok() {
        assert!(allows("no", "EPERM") && allows("no", "SIG31") && !allows("no", "ok"));
        assert!(allows("EROFS|EXDEV", "EXDEV") && !allows("EROFS|EXDEV", "EACCES"));
    }
}
