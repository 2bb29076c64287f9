//! A config.json without a mount namespace: the container stays in the runtime's (config-linux.md, "Namespaces"), where nothing may be
//! mounted for it. Its mounts are a tree that is attached nowhere, and chroot(2) leads into it. What such a tree cannot give is refused.

use super::options::Options;
use super::{Draft, alone, annotation_of, namespace};
use crate::annotation::PLACEHOLDERS;
use crate::sys::mount::attr::RDONLY;
use oci_spec::runtime::{Mount, Spec};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whether a spec asks for it.
pub(super) fn is_asked(spec: &Spec) -> bool {
    let own = |linux| namespace::joined(linux) & libc::CLONE_NEWNS as u64 != 0;
    !alone::is_asked(spec) && !spec.linux().as_ref().is_some_and(own)
}

/// Refuses what cannot be had, and warns of what is other than in a mount namespace.
pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    if !draft.chroots {
        return;
    }
    power(draft);
    if annotation_of(spec, PLACEHOLDERS).is_some() {
        draft.refuse(format!("annotations[{PLACEHOLDERS}]"), "needs a mount namespace");
    }
    let grounds = mounts(draft, spec);
    covers(draft, spec, &grounds);
    warn(draft, spec);
}

fn power(draft: &mut Draft) {
    let place = "linux.namespaces";
    if draft.spaces.own(libc::CLONE_NEWUSER) {
        draft.refuse(place, "a user namespace needs a mount namespace too: it has no power over the runtime's");
    } else if !draft.host.trees {
        let what = "has no mount namespace: this needs CAP_SYS_ADMIN, and a kernel that attaches mounts to what is attached nowhere itself";
        draft.refuse(place, format!("{what} (Linux 6.15)"));
    }
}

/// What a name lies in. A mount point is busy in its own mount namespace only (rename(2), unlink(2): EBUSY): in this tree, which is in
/// none, it can be renamed or removed by whoever may write the directory that it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// No name can be changed: it is read-only, or the kernel's procfs or sysfs.
    Fixed,
    /// The host's, and can be written: its names mean something outside.
    Host,
    /// The container's own.
    Own,
}

/// By place, the number of the last mount there and what it is.
struct Grounds(HashMap<PathBuf, (usize, Ground)>);

impl Grounds {
    fn of(&self, at: &Path) -> Ground {
        let above = at.ancestors().skip(1).filter_map(|dir| self.0.get(dir));
        above.max_by_key(|(n, _)| n).map_or(Ground::Own, |(_, ground)| *ground)
    }
}

fn mounts(draft: &mut Draft, spec: &Spec) -> Grounds {
    let readonly = spec.root().as_ref().and_then(|root| root.readonly()) == Some(true);
    let root = if readonly { Ground::Fixed } else { Ground::Own };
    let mut grounds = Grounds(HashMap::from([("/".into(), (0, root))]));
    for (i, mount) in spec.mounts().iter().flatten().enumerate() {
        let options = Options::of(mount);
        let place = format!("mounts[{i}]");
        let at = clean(draft, &format!("{place}.destination"), mount.destination());
        // What is wrong with the options is said where the mount is planned.
        let (Ok(options), Some(at)) = (options, at) else { continue };
        one(draft, &place, &options, &at, &grounds);
        if !options.remount {
            grounds.0.insert(at, (i + 1, ground(mount, &options)));
        }
    }
    grounds
}

fn one(draft: &mut Draft, place: &str, options: &Options, at: &Path, grounds: &Grounds) {
    let told = options.attrs.own.propagation | options.attrs.tree.propagation;
    let options_place = format!("{place}.options");
    if told & !namespace::PRIVATE != 0 {
        draft.refuse(&options_place, "only `private` can be had without a mount namespace");
    }
    if options.remount {
        draft.refuse(
            &options_place,
            "`remount` needs a mount namespace: outside of one a mount is what it was when it was attached",
        );
    }
    if at == Path::new("/") {
        draft.refuse(format!("{place}.destination"), "`/` can be covered in a mount namespace only");
    } else if grounds.of(at) == Ground::Host {
        let what =
            "lies in a bind that can be written, where without a mount namespace the mount point could be renamed or removed";
        draft.refuse(format!("{place}.destination"), what);
    }
}

/// A recursive bind is read-only only with all below.
fn ground(mount: &Mount, options: &Options) -> Ground {
    let tree = options.attrs.tree.set & RDONLY != 0;
    let own = options.attrs.own.set & RDONLY != 0;
    let typ = mount.typ().as_deref();
    match options.bind.or((typ == Some("bind")).then_some(false)) {
        _ if tree => Ground::Fixed,
        Some(recursive) if recursive || !own => Ground::Host,
        None if !own && !matches!(typ, Some("proc" | "sysfs")) => Ground::Own,
        _ => Ground::Fixed,
    }
}

/// What is covered must not come to light, or be gone, by a change of its name.
fn covers(draft: &mut Draft, spec: &Spec, grounds: &Grounds) {
    let Some(linux) = spec.linux() else { return };
    let lists = [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())];
    for (name, list) in lists {
        for (i, path) in list.iter().flatten().enumerate() {
            let place = format!("{name}[{i}]");
            if clean(draft, &place, Path::new(path)).is_some_and(|at| grounds.of(&at) != Ground::Fixed) {
                let what = "lies where names can be changed, which without a mount namespace are not held: only what is below a read-only \
                            mount, procfs or sysfs can be covered";
                draft.refuse(place, what);
            }
        }
    }
}

fn clean(draft: &mut Draft, place: &str, path: &Path) -> Option<PathBuf> {
    let at = draft.at(place, &Path::new("/").join(path))?;
    Some(OsStr::from_bytes(at.path.to_bytes()).into())
}

fn warn(draft: &mut Draft, spec: &Spec) {
    let what = "without a mount namespace nothing can be mounted inside, /proc/mounts is empty, and set-user-ID bits and file capabilities \
                have no effect";
    draft.warnings.push(format!("config.json: linux.namespaces: {what}"));
    if spec.process().as_ref().is_some_and(super::identity::may_join_mounts) {
        let what = "CAP_SYS_ADMIN leads out of the root, into the runtime's mount namespace (setns(2))";
        draft.warnings.push(format!("config.json: process.capabilities: {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan_on;
    use super::super::{Options, Plan};
    use crate::host::Host;
    use serde_json::{Value, json};

    fn planned(host: &Host, change: impl FnOnce(&mut Value)) -> Result<Plan, Vec<String>> {
        let mut spec = json!({
            "ociVersion": "1.0.2", "root": { "path": "r" }, "linux": { "namespaces": [{ "type": "pid" }], "maskedPaths": ["/proc/kcore"] },
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["true"], "cwd": "/", "env": ["HOME=/"] },
            "mounts": [
                { "destination": "/proc", "type": "proc" },
                { "destination": "/w", "source": "/host", "options": ["rbind"] },
                { "destination": "/r", "source": "/host", "options": ["bind", "ro"] },
            ],
        });
        change(&mut spec);
        plan_on(host, spec, &Options::default())
    }

    fn refused(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let said = planned(&Host::recorded(0, 0), change).err().unwrap_or_default();
        said.into_iter().map(|line| line.trim_start_matches("config.json: ").to_owned()).collect()
    }

    #[test]
    fn the_root_is_attached_nowhere_and_entered_by_chroot() {
        let plan = planned(&Host::recorded(0, 0), |_| {}).unwrap();
        let text = plan.to_string();
        let order = [
            "make the root from /r, private and attached nowhere",
            "mount proc → /proc",
            "mask /proc/kcore",
            "chroot into it",
            "exec true",
        ];
        let at: Vec<usize> = order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
        assert!(at.is_sorted() && !text.contains("set propagation"), "{text}");
        assert!(plan.warnings[0].starts_with("config.json: linux.namespaces: without a mount namespace"), "{:?}", plan.warnings);
    }

    #[test]
    fn power_over_the_runtimes_mounts_is_a_warning() {
        let with = |power: &str| {
            let capabilities = json!({ "bounding": [power] });
            planned(&Host::recorded(0, 0), |spec| spec["process"]["capabilities"] = capabilities).unwrap().warnings
        };
        let told = |power: &str| with(power).iter().any(|warning| warning.contains("CAP_SYS_ADMIN leads out of the root"));
        assert!(told("CAP_SYS_ADMIN") && !told("CAP_SYS_CHROOT"));
    }

    #[test]
    fn what_needs_a_mount_namespace_is_refused_by_name() {
        let mount = |mount: Value| move |spec: &mut Value| spec["mounts"].as_array_mut().unwrap().push(mount);
        let tmpfs = |at: &str, option: &str| mount(json!({ "destination": at, "type": "tmpfs", "options": [option] }));
        let long = "x".repeat(256);
        let cases: Vec<(&str, Vec<String>)> = vec![
            ("linux.rootfsPropagation: ", refused(|spec| spec["linux"]["rootfsPropagation"] = json!("rslave"))),
            ("mounts[3].options: only `private`", refused(tmpfs("/t", "shared"))),
            ("mounts[3].options: `remount`", refused(tmpfs("/proc", "remount"))),
            ("mounts[3].options: a value of more than 255 bytes", refused(tmpfs("/t", &format!("size={long}")))),
            ("mounts[3].destination: `/` can be covered", refused(tmpfs("/x/..", "ro"))),
            ("mounts[3].destination: lies in a bind that can be written", refused(tmpfs("/w/a/b", "ro"))),
            ("linux.maskedPaths[0]: lies where", refused(|spec| spec["linux"]["maskedPaths"] = json!(["/etc/x"]))),
            ("linux.readonlyPaths[0]: lies where", refused(|spec| spec["linux"]["readonlyPaths"] = json!(["/w/x"]))),
            ("annotations[dev.codexrun.placeholders]: ", {
                refused(|spec| spec["annotations"] = json!({ "dev.codexrun.placeholders": "[]" }))
            }),
        ];
        for (wanted, said) in cases {
            assert!(said.len() == 1 && said[0].starts_with(wanted), "{wanted}: {said:?}");
        }
        let user = refused(|spec| spec["linux"]["namespaces"] = json!([{ "type": "user", "path": "/u" }]));
        assert!(user[0].starts_with("linux.namespaces: a user namespace needs a mount namespace too"), "{user:?}");
        let old = planned(&Host { trees: false, ..Host::recorded(0, 0) }, |_| {}).unwrap_err();
        assert!(old.len() == 1 && old[0].contains("Linux 6.15"), "{old:?}");
    }

    #[test]
    fn what_lies_where_no_name_can_be_changed_is_taken() {
        let paths = json!(["/proc/kcore", "/r/x", "/r/../proc/irq"]);
        assert_eq!(refused(|spec| spec["linux"]["maskedPaths"] = paths), [""; 0]);
        assert_eq!(refused(|spec| spec["root"]["readonly"] = json!(true)), [""; 0]);
        let whole = |spec: &mut Value| {
            spec["root"]["readonly"] = json!(true);
            spec["linux"]["readonlyPaths"] = json!(["/etc/x"]);
        };
        assert_eq!(refused(whole), [""; 0]);
    }
}
