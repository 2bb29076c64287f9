//! What OCI has no field for: every annotation that codexrun reads or writes, under one prefix.

/// SHA-256 (lower-case hex) of the policy's canonical JSON; says which policy a bundle was made from.
pub const POLICY_SHA256: &str = "dev.codexrun.policy.sha256";
/// `reaper`: PID 1 is codexrun's init, which runs `process.args` as its child, forwards signals, reaps, and ends the
/// rest when the command ends. Absent: the process itself is PID 1, as OCI says.
pub const INIT: &str = "dev.codexrun.init";
/// `true`: the container is killed when the codexrun process that started it dies (not for `--detach`).
pub const DIE_WITH_PARENT: &str = "dev.codexrun.die-with-parent";
/// `nofollow`: no symbolic link may be crossed while a mount's source or destination is resolved; a link that appears
/// between compile and launch stops the launch instead of redirecting a protection.
pub const RESOLVE: &str = "dev.codexrun.resolve";
/// JSON array of absolute paths which were missing when the bundle was made and are mounted over so that they cannot
/// be created. The keeper makes an empty directory for each, holds it while the container lives, and removes it.
pub const PLACEHOLDERS: &str = "dev.codexrun.placeholders";
/// JSON array of the deny patterns that were expanded when the bundle was made. Asks for nothing: what they matched then is covered by
/// mounts, and what is made later is not.
pub const DENY_GLOBS: &str = "dev.codexrun.deny-globs";
/// Seconds after which the container is killed, by the codexrun process that waits for it.
pub const WALL_TIME: &str = "dev.codexrun.wall-time";
/// JSON array of absolute paths of the host: Unix sockets that may be connected to, or directories of them. With it, empty too, the
/// container's own stream sockets work, by name, and no other of the host's do, wherever mounts show them: [`crate::broker`].
pub const UNIX_SOCKETS: &str = "dev.codexrun.unix-sockets";
/// `true`, with [`UNIX_SOCKETS`]: Unix datagrams too. Whatever is sent to a name, and every sendmsg(2), then asks [`crate::broker`].
pub const UNIX_DATAGRAMS: &str = "dev.codexrun.unix-datagrams";
/// What may be a standard stream: a file, a pipe, a terminal, or of sockets `connected`, streams that have a peer, [`STDIO_INTERNET`],
/// [`STDIO_ANY`] or [`STDIO_NONE`]. Of Unix sockets of the first two kinds only bytes are passed on, by who stays in the foreground. Absent: anything.
pub const STDIO_SOCKETS: &str = "dev.codexrun.stdio-sockets";
/// Those, and streams and datagrams of IP, whatever the protocol: the network is on, and Unix sockets of the host are shut all the same.
pub const STDIO_INTERNET: &str = "connected-or-internet";
/// Every socket, and nothing else that is no file, pipe or terminal.
pub const STDIO_ANY: &str = "any";
/// No socket: whoever has the other end of a Unix socket can send descriptors by it (unix(7), SCM_RIGHTS).
pub const STDIO_NONE: &str = "none";
/// What Landlock permits besides: [`crate::landlock::Config`] as JSON. Every right that it names is required of the kernel.
pub const LANDLOCK: &str = "dev.codexrun.landlock";
/// `landlock`: the process has the host's namespaces and root; [`LANDLOCK`] and the filter are all that confines it.
pub const ISOLATION: &str = "dev.codexrun.isolation";
/// JSON array: what of the policy was given up for it, by name. Asks for nothing.
pub const LOST: &str = "dev.codexrun.lost";
/// Permission bits of such a directory: readable, not writable, and sticky, which nobody gives to a directory that is not writable.
pub const PLACEHOLDER_MODE: u32 = 0o1555;
/// Whether something of this `st_mode` (inode(7)) counts as missing when it is empty. A directory that was made with [`PLACEHOLDER_MODE`]
/// may have inherited the set-group-ID bit (mkdir(2)), and lack what a default access control list does not give (acl(5)).
pub fn is_placeholder(mode: u32) -> bool {
    mode & libc::S_IFMT == libc::S_IFDIR && mode & 0o1000 != 0 && mode & 0o7777 & !(PLACEHOLDER_MODE | 0o2000) == 0
}

/// Every key of codexrun's; an annotation with the prefix that is not listed is refused by name.
pub const ALL: &[&str] = &[
    POLICY_SHA256,
    INIT,
    DIE_WITH_PARENT,
    RESOLVE,
    PLACEHOLDERS,
    DENY_GLOBS,
    WALL_TIME,
    UNIX_SOCKETS,
    UNIX_DATAGRAMS,
    STDIO_SOCKETS,
    LANDLOCK,
    ISOLATION,
    LOST,
];

/// The values that an annotation may have; none: any.
pub fn values(key: &str) -> &'static [&'static str] {
    match key {
        INIT => &["reaper"],
        DIE_WITH_PARENT | UNIX_DATAGRAMS => &["true"],
        RESOLVE => &["nofollow"],
        STDIO_SOCKETS => &["connected", STDIO_INTERNET, STDIO_ANY, STDIO_NONE],
        ISOLATION => &["landlock"],
        _ => &[],
    }
}

/// runc's and crun's: what stands behind it is a property of the unit that systemd makes, the value in GVariant's text form.
pub const SYSTEMD_PROPERTY: &str = "org.systemd.property.";
/// crun's, and podman's for `--group-add keep-groups`: with any value but `0` the caller's supplementary groups are the process's.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// The prefix of all that are codexrun's.
pub const PREFIX: &str = "dev.codexrun.";
