//! The order of a launch, in one place. Where the spec leaves it open, each line says why it stands where it stands.

/// A stage of the child's column. Steps are sorted by stage; within one stage they keep the order of the user's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing may outlive a codexrun that is killed, not even a half-made container. The score while its file is the process's own: behind
    /// the map it is somebody else.
    Guard,
    /// By systemd, and a user's moves only processes of that user: before the process becomes anybody else.
    Unit,
    /// Entered by this process itself: no process of another clock may see the container's. Its offsets are a file of whoever made this
    /// process: behind the map it may be somebody else, who has no right to it.
    Time,
    /// Everything after needs an id in the new user namespace.
    UserMap,
    /// Before anything that uses memory or forks, and before the cgroup namespace, whose root is where its maker is.
    Cgroup,
    /// Only `exec`: from here on the process sees what the container sees; what the host's /proc is needed for was before.
    Join,
    /// Owned by the user namespace, so after its map; the parent meanwhile does its own part.
    Namespaces,
    /// Exact modes for what is made; the caller's umask comes back at `Umask`.
    Modes,
    /// Needs CAP_NET_ADMIN over the network namespace, which `Capabilities` takes away.
    Network,
    /// From outside, as only there is power over the host's; before parameters that speak of them.
    NetDevices,
    /// Through the host's /proc, which shows a writer its own namespaces; the container's may be anything (CVE-2025-52881).
    Sysctl,
    /// Before the first mount: nothing mounted from here on may reach the host, and nothing of the host's reaches in.
    Propagation,
    /// From outside, and as long as nothing covers the host's paths.
    Reach,
    /// Mounted over `/`, so that the host's paths stay reachable by name and the container's by descriptor.
    Rootfs,
    /// The keeper's directories are mount points of the next stage.
    Placeholders,
    /// In the order of config.json.
    Mounts,
    /// On top of whatever was mounted on /dev; bound nodes need the host's.
    Devices,
    /// Needs the container's devpts.
    Console,
    /// Hooks see the container's mounts and still the host's root; the container's lies at `root.path` from here on, for who enters the
    /// mount namespace (setns(2) leads to what lies over `/`).
    Hooks,
    /// Behind the last mount of anybody's, and as long as the root can be written to.
    MakeCwd,
    /// After the mounts (/proc must be mounted, and be ours) and before the pivot: the host's /dev/null covers files.
    Masks,
    /// Last change to the root before it becomes `/`.
    RootAttr,
    /// From here on the host's files have no name.
    Pivot,
    /// Of the container's own `/`, which there is only now.
    RootPropagation,
    /// From the container's own passwd(5), which has a name only now.
    Home,
    /// CAP_SYS_ADMIN over the UTS namespace.
    Hostname,
    /// May need CAP_SYS_RESOURCE.
    Limits,
    /// May need CAP_SYS_NICE; the process's own, so the last before its power goes.
    Scheduling,
    /// Before the user id changes: who is root here may put the process where it could not go by itself, as in runc and crun.
    Enter,
    /// What is inherited ends here: before the filter, which may be older than close_range(2), of Linux 5.9.
    Descriptors,
    /// The second user namespace: the mounts belong to the first, where the payload has no power.
    NestUser,
    /// From the filter on every step may need the agent: what it is told must be complete.
    Agent,
    /// Without no_new_privs a filter needs CAP_SYS_ADMIN (which a nested user namespace gives too), so before the capabilities go.
    SeccompEarly,
    /// The bounding set needs CAP_SETPCAP: before the user id changes.
    Bounding,
    /// Keyrings cross every namespace; the new one belongs to the user who makes it.
    Keyring,
    /// Groups before ids: with the ids the right to set groups goes.
    Ids,
    /// Last use of power was `Ids`.
    Capabilities,
    /// A change of credentials clears the death signal (prctl(2)).
    GuardAgain,
    /// As the user that the process is; after the pivot, by path (CVE-2024-21626).
    Cwd,
    /// The process's own.
    Umask,
    /// A profile that is not loaded must fail `create`; the words have no effect before execve(2).
    Profile,
    /// All that can fail has been done; the parent records the container.
    Ready,
    /// Before init, which must not gain anything either.
    NoNewPrivs,
    /// Init and the command, when the filter lets init do its work.
    SeccompInit,
    /// PID 1 stays behind; the rest of the list is the command's.
    Init,
    /// The command's own session (TIOCSTI), after the fork: a group leader cannot call setsid(2).
    Session,
    /// The mask that codexrun was started with.
    Signals,
    /// Says what the next execve(2) of this very process brings (proc_pid_attr(5)), so after the fork.
    Label,
    /// Through descriptors of the host's nothing can be written any more, so after `Label`; it needs no_new_privs.
    Landlock,
    /// As late as possible: the filter need not permit anything of the above.
    SeccompLate,
    /// runtime.md: the last before the process, and confined as it is.
    StartHooks,
    /// execve(2).
    Exec,
}

impl Stage {
    /// The name in a listing.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Guard | Stage::GuardAgain => "guard",
            Stage::UserMap => "user map",
            Stage::Unit | Stage::Cgroup => "cgroup",
            Stage::Namespaces | Stage::Time => "namespaces",
            Stage::Join => "join",
            Stage::Modes | Stage::Umask => "umask",
            Stage::Network | Stage::NetDevices => "network",
            Stage::Sysctl => "sysctl",
            Stage::Propagation | Stage::RootPropagation => "propagation",
            Stage::Rootfs => "rootfs",
            Stage::Placeholders => "keeper",
            Stage::Reach | Stage::Mounts => "mounts",
            Stage::Devices => "devices",
            Stage::Console => "console",
            Stage::Hooks | Stage::StartHooks => "hooks",
            Stage::Masks => "masks",
            Stage::RootAttr => "root",
            Stage::Pivot => "pivot",
            Stage::Hostname => "hostname",
            Stage::Limits => "limits",
            Stage::Scheduling => "scheduling",
            Stage::Profile | Stage::Label => "label",
            Stage::Agent | Stage::SeccompEarly | Stage::SeccompInit | Stage::SeccompLate => "seccomp",
            Stage::Landlock => "landlock",
            Stage::NestUser => "user",
            Stage::Bounding | Stage::Capabilities => "capabilities",
            Stage::Keyring => "keyring",
            Stage::Ids => "ids",
            Stage::MakeCwd | Stage::Enter | Stage::Cwd => "cwd",
            Stage::Home => "environment",
            Stage::Ready => "ready",
            Stage::NoNewPrivs => "privileges",
            Stage::Descriptors => "descriptors",
            Stage::Init => "init",
            Stage::Session => "session",
            Stage::Signals => "signals",
            Stage::Exec => "exec",
        }
    }
}
