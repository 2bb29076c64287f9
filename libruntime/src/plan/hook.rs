//! `hooks`: programs of the host that run around the container's start and end.

use super::op::{HookKind, Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, ParentStep, annotation_of};
use crate::annotation;
use oci_spec::runtime::{self, Spec};
use std::path::PathBuf;
use std::time::Duration;

/// One hook, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program, absolute.
    pub path: PathBuf,
    /// argv, with argv[0].
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// After which it is killed, and counts as failed.
    pub timeout: Option<Duration>,
}

#[allow(deprecated)] // `prestart` is what docker uses
pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(hooks) = spec.hooks() else { return };
    for (list, name) in [(hooks.create_container(), "createContainer"), (hooks.start_container(), "startContainer")] {
        if list.as_ref().is_some_and(|l| !l.is_empty()) {
            draft.unsupported(format!("hooks.{name}"), "is not supported yet");
        }
    }
    let early = [(HookKind::Prestart, hooks.prestart()), (HookKind::CreateRuntime, hooks.create_runtime())];
    let steps: Vec<ParentStep> = early.iter().filter_map(|(kind, list)| step(draft, spec, *kind, list)).collect();
    if let Some(first) = steps.first() {
        let origin = first.origin.clone();
        draft.step(Stage::Hooks, Op::Tell(Sync::Mounted), &origin);
        draft.step(Stage::Hooks, Op::Wait(Sync::Hooked), &origin);
        draft.parent.push(ParentStep { op: ParentOp::Wait(Sync::Mounted), origin: origin.clone() });
        draft.parent.extend(steps);
        draft.parent.push(ParentStep { op: ParentOp::Tell(Sync::Hooked), origin });
    }
    let late = [(HookKind::Poststart, hooks.poststart()), (HookKind::Poststop, hooks.poststop())];
    for (kind, list) in late {
        if let Some(step) = step(draft, spec, kind, list) {
            if kind == HookKind::Poststop && draft.options.detach {
                // Nobody of ours is left to run them when the container ends.
                draft.unsupported("hooks.poststop", "is not supported yet for a detached container");
            }
            draft.after.push(step);
        }
    }
}

fn step(draft: &mut Draft, spec: &Spec, kind: HookKind, list: &Option<Vec<runtime::Hook>>) -> Option<ParentStep> {
    let kept_by_keeper = annotation_of(spec, annotation::PLACEHOLDERS).is_some();
    let mut hooks = Vec::new();
    for (i, hook) in list.iter().flatten().enumerate() {
        // The hook that removes placeholders under other runtimes; here the keeper does.
        if kind == HookKind::Poststop && kept_by_keeper && is_sweep(hook) {
            continue;
        }
        let place = format!("hooks.{}[{i}]", kind.name());
        if !hook.path().is_absolute() {
            draft.refuse(format!("{place}.path"), format!("`{}` is not an absolute path", hook.path().display()));
        }
        if let Some(entry) = hook.env().iter().flatten().find(|entry| !entry.contains('=')) {
            draft.refuse(format!("{place}.env"), format!("`{entry}` is not NAME=VALUE"));
        }
        match hook.timeout() {
            Some(seconds) if seconds <= 0 => draft.refuse(format!("{place}.timeout"), format!("{seconds} is not above 0")),
            _ => hooks.push(one(hook)),
        }
    }
    let origin = format!("hooks.{}", kind.name());
    (!hooks.is_empty()).then_some(ParentStep { op: ParentOp::Hooks(kind, hooks), origin })
}

fn one(hook: &runtime::Hook) -> Hook {
    let path = hook.path().clone();
    let args = hook.args().clone().filter(|a| !a.is_empty()).unwrap_or_else(|| vec![path.display().to_string()]);
    let timeout = hook.timeout().map(|s| Duration::from_secs(s as u64));
    Hook { path, args, env: hook.env().clone().unwrap_or_default(), timeout }
}

fn is_sweep(hook: &runtime::Hook) -> bool {
    matches!(hook.args().as_deref(), Some([name, verb, ..]) if name == "codexrun" && verb == "sweep")
}
