//! `restore`: a container whose processes criu makes anew from files. The rest (its name, record, cgroup, mount points, hooks) is made
//! as `create` makes it, of the bundle's config.json.

use super::super::attend::{Company, follow};
use super::super::broker::BrokerProcess;
use super::super::interrupt::Interrupt;
use super::super::job::Job;
use super::super::launch::{Launch, setup, undisturbed, without};
use super::super::{Options, alone, hook, receiver, reserve, stdio};
use super::command::{self, Found, RESTORE_LOG};
use super::hooks::{self, Moment, Script};
use super::spawn::Spawn;
use super::{confine, descriptors, external, log, make_dir, namespace, program, refuse, stop, target};
use crate::bundle::{Bundle, Rootfs};
use crate::cgroup::Cgroup;
use crate::host::Host;
use crate::host::cgroup::{Cgroups, Version};
use crate::mountinfo::{self, Mount};
use crate::plan::Plan;
use crate::plan::op::{HookKind, ParentOp};
use crate::state::Reserved;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::process::{self, Pid};
use crate::sys::signal;
use crate::{Error, Result};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How a container is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// What `checkpoint` is told too.
    pub criu: super::Criu,
    /// The profile of the security module, in place of the one that the processes had.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts, in place of the one that they had.
    pub lsm_mount_context: Option<String>,
}

/// Restores a container from the files of a checkpoint; the exit code of its first process, or 0 when detached. `options` must have an
/// id and a store. `prestart` and `createRuntime` hooks run once the namespaces are there, `poststop` hooks at the end; nobody starts
/// the process, so the others do not run.
///
/// # Errors
/// criu is not installed; every reason for which the spec is refused; or what criu says, in which case nothing of the container is left.
pub fn restore(bundle: &Bundle, options: &Options, restore: &Restore) -> Result<u8, Vec<Error>> {
    revived(bundle, options, restore).map_err(|errors| options.named(errors))
}

fn revived(bundle: &Bundle, options: &Options, restore: &Restore) -> Result<u8, Vec<Error>> {
    let one = |e| vec![e];
    alone().map_err(one)?;
    let program = program::find(restore.criu.program.as_deref()).map_err(one)?;
    let asked = options.plan(false);
    let host = Host::probe_for(&bundle.spec, &asked).map_err(one)?;
    let plan = Plan::new(bundle, &host, &asked)?;
    let relayed = stdio::permitted(&plan).and_then(stdio::none_relayed).map_err(one)?;
    refuse::unfit(&bundle.spec, &plan)?;
    receiver(&plan, options).map_err(one)?;
    let (Rootfs::Dir(root), Some(store), Some(id)) = (&bundle.rootfs, &options.store, &options.id) else {
        return Err(one(Error::new("only a container with a name and a root directory can be restored")));
    };
    let reserved = reserve(store, id, bundle).map_err(one)?;
    let launch =
        Launch { plan: &plan, bundle, options, reserved: Some(&reserved), joined: None, park: false, resctrl: None, relayed };
    let root = root.canonicalize().map_err(|e| one(Error::new(format!("cannot use `{}`", root.display())).cause(e)))?;
    let revival = Revival { launch, reserved: &reserved, restore, program: &program, root: &root, host: &host };
    let ended = revival.run();
    if ended.is_err() || !options.detach {
        reserved.remove().map_err(one)?;
    }
    ended.map_err(one)
}

struct Revival<'a> {
    launch: Launch<'a>,
    reserved: &'a Reserved,
    restore: &'a Restore,
    program: &'a Path,
    root: &'a Path,
    host: &'a Host,
}

/// The container's first process, a child of ours.
struct First {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Revival<'_> {
    /// Its whole life, as far as it is ours.
    fn run(&self) -> Result<u8> {
        undisturbed(|blocked, caller| self.with_cgroup(blocked, caller))
    }

    fn with_cgroup(&self, blocked: &signal::Set, caller: signal::Set) -> Result<u8> {
        let cgroup = self.launch.make_cgroup()?;
        let first = match self.revive(cgroup.as_ref(), caller) {
            Ok(first) => first,
            Err(e) => return Err(without(cgroup.as_ref(), e)),
        };
        let mut alone =
            Company { job: Job::Group(first.pid), keeper: None, broker: &mut BrokerProcess::None, starting: None, relay: None };
        let followed = match self.launch.record(first.pid, cgroup.as_ref()) {
            Ok(()) if self.launch.options.detach => return Ok(0),
            Ok(()) => follow(first.pidfd.as_fd(), None, blocked, None, &mut alone),
            Err(e) => Err(e),
        };
        let ended = first.end(followed.is_err());
        let code = match followed.and(ended) {
            Ok(code) => cgroup.as_ref().map_or(Ok(()), Cgroup::remove).map(|()| code),
            Err(e) => Err(without(cgroup.as_ref(), e)),
        };
        self.launch.poststop(first.pid, Interrupt::default(), None);
        code
    }

    /// By criu, to its end.
    fn revive(&self, cgroup: Option<&Cgroup>, mask: signal::Set) -> Result<First> {
        let criu = &self.restore.criu;
        criu.work.as_deref().map_or(Ok(()), make_dir)?;
        let (found, inherited) = self.found(cgroup)?;
        let asked = self.early_hooks().next().is_some() || confine::is_wanted(self.launch.plan);
        let script = if asked { Some(Script::new()?) } else { None };
        let pid_file = self.reserved.file("criu.pid");
        let path = script.as_ref().map(Script::path);
        let words = command::restore(self.restore, &found, &pid_file, path.as_deref());
        let spawn = Spawn {
            program: self.program,
            words: &words,
            cgroup,
            root: self.root,
            keep_keyring: self.launch.options.keep_keyring,
            inherited: &inherited,
            mask,
        };
        let (before, interrupt) = (stop::children()?, Interrupt::default());
        let (pid, pidfd) = spawn.start()?;
        let answer = |moment, first| {
            let answered = self.answer(moment, first, &interrupt);
            if answered.is_err() && moment == Moment::Processes {
                // It waits for processes that are gone by now, and for ever.
                stop::end(pidfd.as_fd())?;
            }
            answered
        };
        let asked = hooks::serve(script.as_ref(), pidfd.as_fd(), &interrupt, answer);
        if asked.is_err() {
            // It may have ended by itself.
            stop::below(pid)?;
            stop::end(pidfd.as_fd())?;
        }
        let ended = process::wait(pid, 0).map_err(|e| setup("wait for criu", e))?;
        let first = read_pid(&pid_file);
        if let Err(e) = asked {
            return stop::children_but(&before).and(Err(interrupt.explain(e)));
        }
        match (ended.map(|(_, how)| how.code()), first) {
            (Some(0), Some(pid)) => First::open(pid),
            _ => Err(log::failure("criu cannot restore the container", &criu.log(RESTORE_LOG), "")),
        }
    }

    /// What criu is told, and what it inherits.
    fn found(&self, cgroup: Option<&Cgroup>) -> Result<(Found, Vec<OwnedFd>)> {
        let (placed, sources): (Vec<_>, Vec<_>) = target::make(self.root, &external::puts(self.launch.plan))?.into_iter().unzip();
        let mut found = Found {
            root: self.root.into(),
            external: external::restored(&placed, &sources, &own_mounts()?),
            inherit: descriptors::inherited(&self.restore.criu.images)?,
            cgroup_roots: cgroup_roots(cgroup, self.host.cgroups.as_ref()),
            ..Found::default()
        };
        let inherited = namespace::restore(&self.launch.bundle.spec, &mut found)?;
        Ok((found, inherited))
    }

    fn early_hooks(&self) -> impl Iterator<Item = (&str, HookKind, &Vec<crate::plan::hook::Hook>)> {
        self.launch.plan.parent.iter().filter_map(|step| match &step.op {
            ParentOp::Hooks(kind @ (HookKind::Prestart | HookKind::CreateRuntime), hooks) => {
                Some((step.origin.as_str(), *kind, hooks))
            }
            _ => None,
        })
    }

    fn answer(&self, moment: Moment, pid: Pid, interrupt: &Interrupt) -> Result<()> {
        match moment {
            Moment::Namespaces => self.hooks(pid, interrupt),
            Moment::Processes => confine::confine(self.launch.plan, pid),
        }
    }

    fn hooks(&self, pid: Pid, interrupt: &Interrupt) -> Result<()> {
        let state = |kind: HookKind| self.launch.state(kind.status(), pid);
        self.early_hooks()
            .try_for_each(|(place, kind, hooks)| hook::run_all(place, hooks, &self.launch.hooks_of(&state(kind)), interrupt))
    }
}

impl First {
    /// A child of ours keeps its number until we have waited for it.
    fn open(pid: Pid) -> Result<First> {
        let pidfd = pidfd_open(nix::unistd::Pid::from_raw(pid)).map_err(|e| setup("open the container's first process", e))?;
        Ok(First { pid, pidfd })
    }

    /// Its exit code; `kill` brings its end about.
    fn end(&self, kill: bool) -> Result<u8> {
        if kill {
            // ESRCH: it has ended by itself.
            let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        }
        let ended = process::wait(self.pid, 0).map_err(|e| setup("wait for the container", e))?;
        ended.map(|(_, how)| how.code()).ok_or_else(|| Error::new("the container's first process is not ours"))
    }
}

/// criu's own file, which it refuses to write over.
fn read_pid(file: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    // What stays there goes with the record.
    let _ = std::fs::remove_file(file);
    text.trim().parse().ok()
}

fn own_mounts() -> Result<Vec<Mount>> {
    let text = std::fs::read("/proc/self/mountinfo");
    Ok(mountinfo::parse(&text.map_err(|e| Error::new("cannot read /proc/self/mountinfo").cause(e))?))
}

/// `memory:/PATH` for each hierarchy of version 1, `/PATH` for version 2, from the root of the hierarchy.
fn cgroup_roots(cgroup: Option<&Cgroup>, host: Option<&Cgroups>) -> Vec<OsString> {
    let mut all = Vec::new();
    for group in cgroup.iter().flat_map(|cgroup| &cgroup.groups) {
        let same = host.into_iter().flat_map(|host| &host.hierarchies);
        let mut same = same.filter(|h| h.version == group.version && h.controllers == group.controllers);
        let dir = group.dir();
        let Some(path) = same.find_map(|h| dir.strip_prefix(&h.mount).ok()).map(|path| Path::new("/").join(path)) else {
            continue;
        };
        let root =
            |prefix: String| [OsString::from(prefix), PathBuf::into_os_string(path.clone())].into_iter().collect::<OsString>();
        match group.version {
            Version::V1 => all.extend(group.controllers.iter().map(|name| root(format!("{name}:")))),
            Version::V2 => all.push(root(String::new())),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cgroup::Hierarchy;
    use crate::plan::cgroup::Group;

    #[test]
    fn the_containers_cgroup_is_named_in_each_hierarchy() {
        let table = [(Version::V1, vec!["cpu", "cpuacct"], "/c/cpu"), (Version::V2, vec!["hugetlb"], "/c/unified")];
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let hierarchy = |(version, list, mount): &(Version, Vec<&str>, &str)| Hierarchy {
            version: *version,
            controllers: names(list),
            mount: mount.into(),
            own: mount.into(),
        };
        let group = |(version, list, mount): &(Version, Vec<&str>, &str)| Group {
            version: *version,
            controllers: names(list),
            base: Path::new(mount).join("own"),
            path: "a/b".into(),
        };
        let host = Cgroups { hierarchies: table.iter().map(hierarchy).collect(), user_namespace: false, systemd: None };
        let cgroup = Cgroup { groups: table.iter().map(group).collect(), ..Cgroup::default() };
        assert_eq!(cgroup_roots(Some(&cgroup), Some(&host)), ["cpu:/own/a/b", "cpuacct:/own/a/b", "/own/a/b"]);
        assert_eq!(cgroup_roots(None, Some(&host)), Vec::<OsString>::new());
    }
}
