//! `process.apparmorProfile`, `process.selinuxLabel`, `linux.mountLabel`: what a security module is to make of the process and of
//! its mounts. Where the module is not on, nothing would hold the process to it, so that the label of a process is refused.

use super::Draft;
use super::op::{Label, Op};
use super::order::Stage;
use super::place::c_string;
use oci_spec::runtime::{Process, Spec};
use std::ffi::CString;

/// Whether there is a label to apply, so that it matters which module is on.
pub fn is_wanted(spec: &Spec, process: Option<&Process>) -> bool {
    let of = |process: &Process| process.apparmor_profile().is_some() || process.selinux_label().is_some();
    process.is_some_and(of) || spec.linux().as_ref().is_some_and(|linux| linux.mount_label().is_some())
}

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(process) = spec.process() else { return };
    let wanted = [
        ("process.apparmorProfile", process.apparmor_profile(), draft.host.apparmor, Label::AppArmor as fn(CString) -> Label),
        ("process.selinuxLabel", process.selinux_label(), draft.host.selinux, Label::SeLinux),
    ];
    let mut early = true;
    for (place, text, on, label) in wanted {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { continue };
        if !on {
            draft.refuse(place, format!("`{text}` cannot be applied: the kernel does not run this security module"));
        }
        let words = if place.contains("apparmor") { format!("exec {text}") } else { text.to_owned() };
        if let Some(words) = draft.take(place, c_string(words.as_bytes())) {
            if std::mem::take(&mut early) {
                draft.step(Stage::Modes, Op::OpenProc, place);
            }
            let label = label(words);
            // The kernel knows its profiles by name, so that saying it is asking for it.
            if matches!(label, Label::AppArmor(_)) {
                draft.step(Stage::Profile, Op::Label(label.clone()), place);
            }
            draft.step(Stage::Label, Op::Label(label), place);
        }
    }
}

/// The context of a new file system's files; the kernel's own file systems have none to give (as runc and crun do it).
pub(super) fn of_mount(draft: &mut Draft, spec: &Spec) -> Option<String> {
    let label = spec.linux().as_ref()?.mount_label().clone().filter(|label| !label.is_empty())?;
    if !draft.host.selinux {
        // Alone it confines nobody: the label of the process does, and is refused.
        let what = format!("no mount has the label `{label}`: the kernel does not run SELinux");
        draft.warnings.push(format!("config.json: linux.mountLabel: {what}"));
        return None;
    }
    Some(label)
}

/// Types that take no `context`.
pub(super) const UNLABELLED: &[&str] = &["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];
