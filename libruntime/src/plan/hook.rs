//! `hooks`: programs of the host that run around the container's start and end.

use super::op::{ChildHook, HookKind, Op, ParentOp, Sync};
use super::order::Stage;
use super::place::{c_path, c_string, not_too_long};
use super::{Draft, ParentStep, annotation_of, check, process};
use crate::annotation;
use oci_spec::runtime::{self, Spec};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// One hook, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program, absolute.
    pub path: PathBuf,
    /// argv, the program's own name first.
    pub args: Vec<String>,
    /// Its whole environment. Without one it has the runtime's own, a program of the container's (`startContainer`) that of `process`,
    /// as with runc and crun, and `createContainer` none.
    pub env: Option<Vec<String>>,
    /// After which it is killed, and counts as failed.
    pub timeout: Option<Duration>,
    /// Whether its failure is an error, which ends the container; or else a warning, and the remaining hooks run all the same.
    pub fatal: bool,
}

/// The words of a hook that policies ask for; under codexrun it leaves it to us to say why it failed.
const BRIDGE: [&str; 2] = ["codexrun", "bridge"];

impl Hook {
    /// Whether it is one of the bridge's.
    pub fn is_bridge(&self) -> bool {
        self.args.iter().map(String::as_str).take(2).eq(BRIDGE)
    }
}

impl ChildHook {
    /// Whether it is one of the bridge's. Allocates nothing.
    pub fn is_bridge(&self) -> bool {
        self.args.iter().map(|word| word.to_bytes()).take(2).eq(BRIDGE.map(str::as_bytes))
    }
}

#[allow(deprecated)] // `prestart` is what docker uses
pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(hooks) = spec.hooks() else { return };
    let early = [(HookKind::Prestart, hooks.prestart()), (HookKind::CreateRuntime, hooks.create_runtime())];
    let steps: Vec<ParentStep> = early.iter().filter_map(|(kind, list)| step(draft, spec, *kind, list)).collect();
    let inside = [
        (HookKind::CreateContainer, Stage::Hooks, hooks.create_container()),
        (HookKind::StartContainer, Stage::StartHooks, hooks.start_container()),
    ];
    // Those inside read a state that the parent writes once it knows the pid: they wait for it too.
    let first_inside = inside.iter().find(|(.., list)| list.as_ref().is_some_and(|l| !l.is_empty()));
    let first = steps.first().map(|step| step.origin.clone());
    if let Some(origin) = first.or_else(|| first_inside.map(|(kind, ..)| format!("hooks.{}", kind.name()))) {
        draft.step(Stage::Hooks, Op::Tell(Sync::Mounted), &origin);
        draft.step(Stage::Hooks, Op::Wait(Sync::Hooked), &origin);
        draft.parent.push(ParentStep { op: ParentOp::Wait(Sync::Mounted), origin: origin.clone() });
        draft.parent.extend(steps);
        draft.parent.push(ParentStep { op: ParentOp::Tell(Sync::Hooked), origin });
    }
    let mut index = 0;
    for (kind, stage, list) in inside {
        for (i, hook) in checked(draft, spec, kind, list).into_iter().enumerate() {
            let place = format!("hooks.{}[{i}]", kind.name());
            // What is wrong with its strings has been said.
            if let Ok(hook) = child_hook(index, kind, hook) {
                draft.step(stage, Op::Hook(hook), place);
                index += 1;
            }
        }
    }
    if draft.child.iter().any(|step| step.stage == Stage::StartHooks) {
        draft.step(Stage::StartHooks, Op::Hooked, "hooks.startContainer");
    }
    let late = [(HookKind::Poststart, hooks.poststart()), (HookKind::Poststop, hooks.poststop())];
    for (kind, list) in late {
        if let Some(step) = step(draft, spec, kind, list) {
            draft.after.push(step);
        }
    }
}

fn step(draft: &mut Draft, spec: &Spec, kind: HookKind, list: &Option<Vec<runtime::Hook>>) -> Option<ParentStep> {
    let hooks = checked(draft, spec, kind, list);
    let origin = format!("hooks.{}", kind.name());
    (!hooks.is_empty()).then_some(ParentStep { op: ParentOp::Hooks(kind, hooks), origin })
}

/// The hooks of one kind, or what is wrong with them.
fn checked(draft: &mut Draft, spec: &Spec, kind: HookKind, list: &Option<Vec<runtime::Hook>>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for (i, hook) in list.iter().flatten().enumerate() {
        if is_the_keepers(spec, kind, hook) {
            continue;
        }
        let place = format!("hooks.{}[{i}]", kind.name());
        if !hook.path().is_absolute() {
            draft.refuse(format!("{place}.path"), format!("`{}` is not an absolute path", hook.path().display()));
        }
        let words = hook.args().iter().chain(hook.env()).flatten().map(String::as_bytes);
        for text in words.chain([hook.path().as_os_str().as_bytes()]).filter(|text| text.contains(&0)) {
            draft.refuse(&place, format!("`{}` contains a NUL byte", text.escape_ascii()));
        }
        draft.take(&format!("{place}.path"), not_too_long(hook.path()));
        for (name, list) in [("args", hook.args()), ("env", hook.env())] {
            process::too_long(draft, &format!("{place}.{name}"), list.as_deref().unwrap_or_default());
        }
        if let Some(entry) = hook.env().iter().flatten().find(|entry| !entry.contains('=')) {
            draft.refuse(format!("{place}.env"), format!("`{entry}` is not NAME=VALUE"));
        }
        match hook.timeout() {
            Some(seconds) if seconds <= 0 => draft.refuse(format!("{place}.timeout"), format!("{seconds} is not above 0")),
            _ => hooks.push(one(spec, kind, hook)),
        }
    }
    hooks
}

fn child_hook(index: usize, kind: HookKind, hook: Hook) -> crate::Result<ChildHook> {
    let strings = |list: &[String]| list.iter().map(|s| c_string(s.as_bytes())).collect::<crate::Result<Vec<_>>>();
    let env = hook.env.as_deref().or((kind == HookKind::CreateContainer).then_some(&[][..]));
    let (path, args, env) = (c_path(&hook.path)?, strings(&hook.args)?, env.map(strings).transpose()?);
    Ok(ChildHook { index, kind, path, args, env, timeout: hook.timeout })
}

/// The hooks that `start` and `delete` run, who have no plan: poststart or poststop.
pub fn late(spec: &Spec, kind: HookKind) -> Vec<Hook> {
    let list = spec.hooks().as_ref().and_then(|hooks| match kind {
        HookKind::Poststart => hooks.poststart().as_ref(),
        _ => hooks.poststop().as_ref(),
    });
    list.into_iter().flatten().filter(|hook| !is_the_keepers(spec, kind, hook)).map(|hook| one(spec, kind, hook)).collect()
}

fn one(spec: &Spec, kind: HookKind, hook: &runtime::Hook) -> Hook {
    let path = hook.path().clone();
    let args = hook.args().clone().filter(|a| !a.is_empty()).unwrap_or_else(|| vec![path.display().to_string()]);
    let timeout = hook.timeout().map(|s| Duration::from_secs(s as u64));
    Hook { path, args, env: hook.env().clone(), timeout, fatal: is_fatal(spec, kind) }
}

/// runtime.md, "Lifecycle". To fail for a failed poststart hook it asks since version 1.3.0; before, it asked for a warning, and a bundle
/// says which version it complies with.
fn is_fatal(spec: &Spec, kind: HookKind) -> bool {
    match kind {
        HookKind::Poststart => check::minor(spec.version()).is_none_or(|minor| minor >= 3),
        HookKind::Poststop => false,
        HookKind::Prestart | HookKind::CreateRuntime | HookKind::CreateContainer | HookKind::StartContainer => true,
    }
}

/// The hook that removes placeholders under other runtimes; here the keeper does.
fn is_the_keepers(spec: &Spec, kind: HookKind, hook: &runtime::Hook) -> bool {
    let sweep = || matches!(hook.args().as_deref(), Some([name, verb, ..]) if name == "codexrun" && verb == "sweep");
    kind == HookKind::Poststop && annotation_of(spec, annotation::PLACEHOLDERS).is_some() && sweep()
}
