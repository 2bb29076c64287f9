//! docs/spec-conformance.md: what this suite has found, per demand and runtime, and why codexrun differs from runc.

use super::GROUPS;
use crate::report::Report;
use crate::runtime::{Column, Kind};
use std::path::Path;

/// A demand (or the beginning of several) on which codexrun and runc 1.1.5 do not give the same answer, and why.
const REASONS: &[(&str, &str)] = &[
    ("runtime.start.executed", "runc 1.1.5 returns from `start` when it has told the process to go on, executed or not yet"),
    ("config.oci-version.", "runc 1.1.5 does not look at ociVersion; codexrun refuses what it cannot have been written for"),
    ("config.mounts.options.defaults", "runc 1.1.5 hands the word to the file system, and tmpfs refuses it"),
    ("config.mounts.options.data", "runc 1.1.5 gives a tmpfs the mode of the directory below it, whatever `mode=` says"),
    ("config.mounts.idmap.", "runc 1.1.5 is older than mapped mounts (1.2.0)"),
    ("config.mounts.options.recursive", "runc 1.1.5 fails at `ratime`"),
    ("config.domainname", "runc 1.1.5 is older than the field (1.1.0 of the specification) and ignores it"),
    ("runtime.hooks.start-container.failure", "runc 1.1.5 has returned from `start` before the hook has run"),
    ("runtime.hooks.poststart.", "runc 1.1.5 calls poststart hooks in `create`, before the program runs"),
    ("config.hooks.order.kinds", "the same: poststart comes before startContainer"),
    ("config.hooks.after-process", "the same"),
    ("config.hooks.state.poststart", "the same: the state says `created`"),
    ("runtime.hooks.poststop.failure", "runc 1.1.5 stops at the first failed hook"),
    ("config.hooks.path.absolute", "runc 1.1.5 does not look at the path of a hook before it calls it"),
    ("config.hooks.timeout.positive", "runc 1.1.5 takes a timeout of zero, for none or for one that has passed"),
    ("config.annotations.empty-key", "runc 1.1.5 takes it; the specification forbids it"),
    ("linux.seccomp.listener.exec", "runc 1.1.5 takes the descriptor with pidfd_getfd(2), which it may not for an ordinary user"),
    ("linux.seccomp.metadata", "runc 1.1.5 takes it and tells nobody"),
    ("linux.seccomp.errno", "runc 1.1.5 ignores it"),
    ("linux.seccomp.names", "runc 1.1.5 takes the rule, which says nothing"),
    ("engine.log.one-record", "runc 1.1.5 adds a warning about its cgroup for an ordinary user"),
    ("exec.user", "runc 1.1.5 ignores umask in a process file"),
    ("exec.oom-score-adj", "runc 1.1.5 ignores it in a process file"),
    ("exec.rlimits", "runc 1.1.5 loses the soft limit where the caller may not raise it again"),
    ("linux.namespaces.time", "runc 1.1.5 is older than time namespaces (1.2.0 of the specification) and refuses them"),
    ("linux.namespaces.inherited.mount", "runc 1.1.5 makes the container's mounts on the host, and leaves them there"),
    ("linux.namespaces.inherited.escape", "runc 1.1.5 calls chroot(2) where the host lies above"),
    ("linux.namespaces.path.absolute", "runc 1.1.5 takes a relative path"),
    ("linux.namespaces.path.time", "runc 1.1.5 is older than time namespaces (1.2.0 of the specification) and refuses them"),
    ("linux.devices.number", "runc 1.1.5 takes a missing one for 0, and makes a device 0:0"),
    ("linux.devices.mismatch", "runc 1.1.5 leaves alone whatever lies there"),
    ("linux.devices.required", "runc 1.1.5 takes a device without a path or a type"),
    (
        "linux.required",
        "runc 1.1.5 takes a condition without `index` for one about the first argument, and so on; newer fields it ignores",
    ),
    ("linux.cgroup-mount.read-only", "runc 1.1.5 takes `rro`, and leaves the groups writable"),
    ("linux.resources.cpu.", "runc 1.1.5 is older than the field (1.1.0 of the specification) and ignores it"),
    ("linux.resources.memory.kernel", "runc 1.1.5 ignores the field, with a warning"),
    ("linux.resources.block-io.weight-device.neither", "runc 1.1.5 takes an entry that says nothing"),
    ("linux.resources.hugepage-limits", "runc 1.1.5 writes nothing to version 2 where there is version 1 too"),
    ("linux.resources.unified.written", "runc 1.1.5 refuses the field where there is version 1 too"),
    ("linux.masked-paths.absolute", "runc 1.1.5 takes a relative path"),
    ("linux.readonly-paths.absolute", "the same"),
    ("linux.rootfs-propagation", "runc 1.1.5 has the root private where it is to be shared"),
    ("linux.seccomp.errno.action", "runc 1.1.5 ignores an errno that the action has no use for"),
    ("linux.seccomp.names", "runc 1.1.5 takes a rule about no system call"),
    ("linux.seccomp.default-action", "runc 1.1.5 takes a filter without one"),
    ("linux.personality.", "runc 1.1.5 ignores the field"),
    ("linux.memory-policy.", "runc 1.1.5 is older than the field (1.3.0 of the specification) and ignores it"),
    ("linux.net-devices.", "runc 1.1.5 is older than the field (1.3.0 of the specification) and ignores it"),
    ("linux.intel-rdt.absent", "runc 1.1.5 ignores the field where no resctrl is mounted"),
    ("config.process.scheduler", "runc 1.1.5 is older than the field (1.1.0 of the specification) and ignores it"),
    ("config.process.io-priority", "the same"),
    ("config.process.exec-cpu-affinity", "the same, of 1.2.1"),
    ("features.fields", "runc 1.1.5 is older than half of the fields"),
    ("features.mount-options", "runc 1.1.5 lists `defaults`, and the kernel refuses it from runc"),
    ("features.namespaces", "runc 1.1.5 knows no time namespaces"),
    ("features.capabilities", "runc 1.1.5 fails where the caller lacks one; codexrun leaves it out, with a warning"),
    ("features.seccomp", "runc 1.1.5 lists architectures that it does not take together"),
    (
        "shared-pids",
        "runc 1.1.5 wants maps where it joins a user namespace too, and is not asked then; of crun 1.8.1's first process the neighbour \
         opens the working directory",
    ),
    ("cve-2019-5736", "runc 1.1.5 lets itself be the interpreter of an ELF file; it is a copy of itself by then"),
    ("cve-2019-19921", "runc 1.1.5 looks for what it masks by name, and passes over what it does not find"),
    ("cve-2024-45310", "runc 1.1.5 is older than the repair (1.1.14)"),
    ("cve-2025-", "runc 1.1.5 is older than the repair (1.2.8, 1.3.3)"),
    ("cve-2026-41579", "runc 1.1.5 is older than the repair (1.3.6)"),
    ("cve-2026-47766", "the same"),
];

/// What is not done to the letter by anyone, or not by codexrun, and why.
const NOTES: &str = "\
## Where the letter is not followed

- `delete` of a *created* container is an error by the specification. runc and crun kill and delete it, buildah relies on
  it (it deletes so a container whose `start` has failed), and so codexrun does the same: `engine.delete-created`.
- An unknown capability is to be logged as a warning. The case asks only that its name is said, by a warning or an error.
- `process.user` is required; runc and crun take a missing one for root. The case forbids only that it is somebody else.
- `pids.limit` of 0 leaves the limit as it is. Since 1.3.0 it is a limit of none; podman and containerd mean by it that there is no limit.
- A mount namespace by path gets the container's mounts and its root, for everybody in it ([architecture](architecture.md#namespaces-by-path)).
- A container may be made in a cgroup that has processes of others in it: as under runc 1.1.5 and crun (runc 1.3.6 refuses it). A warning says so.
- A system call that is newer than every call a profile names is answered ENOSYS in place of the profile's errno, `defaultErrnoRet` too: programs
  try an older call only then ([seccomp](seccomp.md)).
- `unified`: a configuration that the runtime does not know must still be written. A key `cgroup.*` is not, unless it is a limit (`cgroup.max.depth`,
  `cgroup.max.descendants`, `cgroup.pressure`): `cgroup.procs` would move any process of the host's in, and `cgroup.kill` end them.
- `linux.resources.devices` is judged always, and obeyed where root of the initial user namespace makes the cgroup. For anybody else, with
  `--cgroup-manager disabled` and in `update` it has no effect, as in runc and crun, since engines write it for every container: a warning says
  so, but of the one that denies everything, which they all write. A rule that denies a default device is obeyed; the node itself is made all the same.
  On version 1, where exceptions have none of their own, mknod(2) of what is denied may stay permitted, which a warning says.
- `process` is wanted by `start` only. `create` refuses a bundle without it, as runc and crun do: there would be nothing to wait with.
- `hugepageLimits[].limit` has no sign. -1 takes the limit away, as it does everywhere else, and what is above 2⁶³-1 is refused.
- A startContainer hook beside a filter that refuses write(2) is refused: the process could not tell that its hooks have ended.
- `rw` on a bind whose source is read-only has no effect in a user namespace, where nobody can take that off: a warning, as engines write it on
  every bind. `exec`, `dev`, `suid` and `diratime` are an error there.

### What has no effect

A field is applied, or refused by name. A third outcome, *has no effect*, is for what can neither be applied nor be a reason to run nothing: the
specification forbids to fail for it, or engines and other runtimes' bundles have it in every container. It is never silent: a warning names the field
and says why (`run` on standard error, `plan` for any bundle; `create` says nothing there, as standard error is the container's). No field that alone
confines the process has this outcome. These are all, with the rules about devices and `rw` of above:

| | why it is no error |
| --- | --- |
| a member that no version knows, also a known one in another case (`NoNewPrivileges`) | config.md, \"Extensibility\": must not be an error. What begins with `dev.codexrun.` is one |
| `uidMappings`, `gidMappings` outside of `linux` or of a mount | the same: the specification has none there |
| capabilities that nobody knows, that the caller or the kernel does not have; ambient ones that are not permitted and inheritable | config.md: should not fail, must be a warning. The process has fewer |
| names of system calls that no architecture of the profile knows; `architectures` whose programs this machine does not run | the specification leaves it open; profiles of engines name calls and machines of every kind |
| `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` where no action is `SCMP_ACT_NOTIFY`; `valueTwo`, or bits of it, that the operator does not compare | libseccomp, and so every other runtime, takes them |
| a rule of `linux.seccomp.syscalls` for a call that another rule decides with another action: behind one without conditions, and where it says what `defaultAction` does | libseccomp, and so every other runtime, takes them; podman's own profile has `setns` twice |
| `linux.seccomp.listenerPath` where no action is `SCMP_ACT_NOTIFY` | nobody would be asked |
| `uidMappings`, `gidMappings` beside a user namespace by path | that one has its own; engines write both |
| `fileMode`, `uid`, `gid` of a device where the host's node is bound (in a user namespace whose ids are not ours to give), or the whole `/dev` is | the node keeps its mode and its owner, and the device is there |
| bits of `fileMode` that no device has, as of set-user-ID | the kernel does not look at them, or clears them |
| lines `MB:` of `linux.intelRdt.l3CacheSchema` beside `memBwSchema` | the specification says that they are to be left out |
| `linux.mountLabel` where SELinux does not run | it confines nobody without the label of a process, which is refused there |
| `mode`, `size`, `nr_blocks`, `nr_inodes`, `uid`, `gid` on a bind | mount(2) does not look at them, and bundles for runc and crun have them |
| `iversion`, `noiversion`, `silent`, `loud` of a mount | since Linux 4.16 the file system itself decides about its counter of changes; `silent` is about the kernel's log. util-linux and other runtimes take them |
| of two options of a mount that exclude each other one: `rw` beside `rro`, in any order (what is said of all below is said last, and to set goes before to clear), else the earlier | as with runc, and with crun where it takes both; the list of `plan` has what is done |
| `private`, `unbindable` of a mount beside `rootfsPropagation` `rshared`; `slave`, `shared` beside `runbindable` | the root's is set last, and is for every mount; what was private is no peer of the host's all the same |
| an entry of `process.env` that a later one gives another value | as with runc and crun. An entry without `=` is no variable, and refused (runc refuses it, crun leaves it out) |
| `process.user.additionalGids` beside the annotation `run.oci.keep_original_groups` | the annotation says so |

## Demands without a case

No machine at hand has what these are about: resctrl, which neither the host nor qemu's processors have, an RDMA device, a policy for SELinux, and a page size
without counted reservations.

| MUST | proof |
| --- | --- |
| intelRdt: closID's directory, `/` among them, is made, compared, required or left alone; l3CacheSchema, memBwSchema and then schemata are written; the process is in `tasks`; a monitoring group of the container's id; only what was made is removed; without the field nothing is touched | `libruntime/src/resctrl/tests.rs`, on a directory that stands for resctrl, and the lists of every field (`plan/every`) |
| `rdma`: the value in its file; `hugepageLimits` falls back to the limit of use | `libruntime/src/plan/cgroup/tests.rs` |
| a SELinux label where there is the module; it is refused elsewhere | `libruntime/src/plan/label.rs`, by plan only |
| files of `/sys/kernel/cgroup/delegate` that a cgroup does not have are no error | `the_directory_is_given_to_the_containers_user`; `cgroup.delegated` of the machine |
| `checkBeforeUpdate` refuses a limit below what is used; needed controllers are enabled for `unified` | `update.below-usage` and `unified` of the machine |
| objects of other platforms (`windows`, `solaris`, `vm`, `zos`, `freebsd`) are an error | `what_is_of_another_platform_is_refused_by_name` |
";

/// Where that part of the page begins which the machine of `--vm` has written.
pub const MACHINE: &str = "\n# The machine\n";

/// Writes the page, but for the machine's part. A difference from runc that has no reason is an error: whoever makes one explains it.
pub fn write(path: &Path, columns: &[Column], report: &Report) -> Result<(), String> {
    let runtimes: Vec<Runtime> = [Kind::Codexrun, Kind::Runc, Kind::Crun].map(|kind| Runtime::among(columns, kind)).into();
    let unexplained: Vec<&str> =
        super::all().map(|m| m.name).filter(|n| runtimes[0].differs(&runtimes[1], n, report) && reason(n).is_empty()).collect();
    let machine = std::fs::read_to_string(path).ok().and_then(|page| Some(page[page.find(MACHINE)?..].to_owned()));
    std::fs::write(path, page(&runtimes, report) + &machine.unwrap_or_default())
        .map_err(|e| format!("{}: {e}", path.display()))?;
    if unexplained.is_empty() {
        return Ok(());
    }
    Err(format!("{}: no reason is given why codexrun differs from runc in {}", path.display(), unexplained.join(", ")))
}

/// A runtime's two columns.
struct Runtime {
    columns: Vec<(String, &'static str)>,
}

impl Runtime {
    fn among(columns: &[Column], kind: Kind) -> Runtime {
        let own = columns.iter().filter(|c| c.runtime.kind == kind);
        Runtime { columns: own.map(|c| (c.name(), c.actor.label)).collect() }
    }

    /// `ok` or `no` as root and as the ordinary user; one word when it is the same, or was asked once.
    fn verdict(&self, row: &str, report: &Report) -> String {
        let words: Vec<(&str, &str)> =
            self.columns.iter().filter_map(|(name, actor)| Some((*actor, short(&report.word(row, name)?)?))).collect();
        match words.as_slice() {
            [] => "not asked".into(),
            [(_, word)] => (*word).into(),
            [(_, a), (_, b)] if a == b => (*a).into(),
            several => several.iter().map(|(actor, word)| format!("{actor}: {word}")).collect::<Vec<_>>().join(", "),
        }
    }

    fn differs(&self, other: &Runtime, row: &str, report: &Report) -> bool {
        let (ours, theirs) = (self.verdict(row, report), other.verdict(row, report));
        ours != "not asked" && theirs != "not asked" && ours != theirs
    }
}

/// A cell's word as the page has it; a skipped cell has none.
pub fn short(word: &str) -> Option<&'static str> {
    match word {
        "ok" => Some("ok"),
        "skip" => None,
        _ => Some("no"),
    }
}

fn reason(row: &str) -> &'static str {
    REASONS.iter().find(|(name, _)| row.starts_with(name)).map_or("", |(_, reason)| reason)
}

fn page(runtimes: &[Runtime], report: &Report) -> String {
    let mut text = String::from(HEAD);
    for (source, cases) in GROUPS {
        text +=
            &format!("\n## {source}\n\n| MUST | case | codexrun | runc 1.1.5 | crun 1.8.1 |\n| --- | --- | --- | --- | --- |\n");
        for must in *cases {
            let verdicts: Vec<String> = runtimes.iter().map(|r| r.verdict(must.name, report)).collect();
            text += &format!("| {} | `{}` | {} |\n", must.says, must.name, verdicts.join(" | "));
        }
    }
    text += "\n## Differences from runc\n\n";
    for (name, why) in differences(runtimes, report) {
        text += &format!("- `{name}`: {}\n", if why.is_empty() { "no reason yet" } else { why });
    }
    text + "\n" + NOTES
}

fn differences(runtimes: &[Runtime], report: &Report) -> Vec<(&'static str, &'static str)> {
    let rows = super::all().map(|m| m.name).filter(|row| runtimes[0].differs(&runtimes[1], row, report));
    rows.map(|row| (row, reason(row))).collect()
}

const HEAD: &str = "\
# Conformance to the OCI runtime specification 1.3.0

Written by `cargo run -p conformance -- --oci --write-doc docs/spec-conformance.md`; do not edit. `ok` and `no` are what
the case of that name has found; where root and an ordinary user get different answers both stand there. The demands are
those of runtime.md, config.md, config-linux.md and features.md; what container engines rely on beyond them; and that attacks on old
holes fail ([threat model](threat-model.md)). [Each sentence](../conformance/src/oci/sentences.md) of config.md and config-linux.md that
demands something stands there with its cases. Cgroup v2, AppArmor and systemd have cases of their own in [a machine](#the-machine). An
`ok` of a referee at a race says that nobody has won it in this run.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_about_a_demand_there_is() {
        let lost: Vec<_> = REASONS.iter().filter(|(name, _)| !super::super::all().any(|m| m.name.starts_with(name))).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn the_page_in_docs_has_every_demand() {
        let page = include_str!("../../../docs/spec-conformance.md");
        let missing: Vec<_> = super::super::all().filter(|m| !page.contains(&format!("`{}`", m.name))).map(|m| m.name).collect();
        assert!(missing.is_empty(), "write it again: {missing:?}");
    }
}
