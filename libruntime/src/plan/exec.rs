//! `exec`: one more process in a running container, as confined as the first one. It makes nothing and mounts nothing: it joins.

use super::namespace::{self, Maps};
use super::op::{Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, Options, ParentStep, Plan, check, device, identity, process, resctrl, seccomp};
use crate::Error;
use crate::bundle::Bundle;
use crate::host::Host;

pub(super) fn plan(bundle: &Bundle, host: &Host, options: &Options) -> Result<Plan, Vec<Error>> {
    let spec = &bundle.spec;
    let mut draft = Draft::new(bundle, host, options);
    // It is not PID 1, and what the container dies with is the container's affair.
    draft.init = false;
    draft.joins = true;
    if let Some(process) = spec.process() {
        check::process(&mut draft, process);
    }
    let maps = join(&mut draft, bundle);
    device::terminal(&mut draft, spec);
    let mut warnings = identity::plan(&mut draft, spec, &maps);
    process::plan(&mut draft, spec);
    warnings.extend(seccomp::plan(&mut draft, spec));
    draft.hand_over("exec");
    draft.settle(warnings)
}

/// CVE-2016-9962: from the moment that the container sees the process, nobody in it may look into it.
fn join(draft: &mut Draft, bundle: &Bundle) -> Maps {
    let linux = bundle.spec.linux().as_ref();
    let flags = linux.map_or(0, namespace::joined);
    draft.spaces.joined = flags;
    let origin = "linux.namespaces";
    draft.before.push(ParentStep { op: ParentOp::Clone(0), origin: origin.to_owned() });
    // Before it joins: whatever it does inside counts as the container's.
    if !draft.options.no_cgroup {
        draft.step(Stage::Cgroup, Op::EnterCgroup, "linux.cgroupsPath");
    }
    resctrl::join(draft, &bundle.spec);
    draft.step(Stage::Join, Op::Undumpable, "exec");
    draft.step(Stage::Join, Op::Join(flags), origin);
    if flags & libc::CLONE_NEWPID as u64 != 0 {
        draft.step(Stage::Join, Op::Descend, origin);
        draft.step(Stage::Join, Op::Wait(Sync::Joined), origin);
        draft.parent.push(ParentStep { op: ParentOp::Joined, origin: origin.to_owned() });
        draft.parent.push(ParentStep { op: ParentOp::Tell(Sync::Joined), origin: origin.to_owned() });
    }
    let maps = linux.map_or(Maps::None, |linux| namespace::maps_of(linux, draft.host, &bundle.spec, flags));
    if matches!(maps, Maps::Parent | Maps::Foreign) {
        draft.step(Stage::Join, Op::BecomeRoot, "linux.uidMappings");
    }
    maps
}
