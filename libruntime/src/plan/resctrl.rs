//! `linux.intelRdt`: the resctrl group in whose share of caches and memory bandwidth the container's processes run.

use super::op::{Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, ParentStep};
use oci_spec::runtime::{LinuxIntelRdt, Spec};
use std::path::PathBuf;

const PLACE: &str = "linux.intelRdt";

/// A group, decided; what is there already only the parent can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it may, or must, be there already.
    pub there: There,
    /// Lines of `l3CacheSchema` and `memBwSchema`: what a new group gets, and one that is there must have.
    pub schema: Vec<String>,
    /// Lines of `schemata`, which even a group that is there gets, after the others.
    pub schemata: Vec<String>,
    /// The directory of a monitoring group for this container alone.
    pub monitor: Option<PathBuf>,
}

/// config-linux.md, "IntelRdt": the rules of `closID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Named by the container's id, and its own.
    No,
    /// Made if it is missing.
    Maybe,
    /// Made by somebody else, and only joined.
    Yes,
}

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(rdt) = intel_rdt(spec) else { return };
    let named = rdt.clos_id().as_deref().filter(|name| !name.is_empty());
    let id = draft.options.id.clone().unwrap_or_default();
    if let Some(name) = named.filter(|name| *name != "/" && !is_name(name)) {
        draft.refuse(format!("{PLACE}.closID"), format!("`{}` is no name of a resctrl group", name.escape_debug()));
    }
    let (schema, schemata) = (schema(draft, rdt), schemata(draft, rdt));
    let monitored = monitored(draft, rdt);
    let Some(resctrl) = &draft.host.resctrl else {
        let error = crate::Error::new("needs the resctrl file system, and none is mounted").at(PLACE);
        let hint = "where the processor can do it, `mount -t resctrl resctrl /sys/fs/resctrl` mounts it";
        return draft.errors.push(error.hint(hint));
    };
    let there = match named {
        None => There::No,
        Some(_) if schema.is_empty() && schemata.is_empty() => There::Yes,
        Some(_) => There::Maybe,
    };
    let path = match named {
        Some("/") => resctrl.mount.clone(),
        name => resctrl.mount.join(name.unwrap_or(&id)),
    };
    let monitor = monitored.then(|| path.join("mon_groups").join(&id));
    let group = Group { path, there, schema, schemata, monitor };
    draft.before.insert(0, ParentStep { op: ParentOp::Resctrl(group), origin: PLACE.to_owned() });
    enter(draft);
}

/// The process is in the group before anything of the container runs, and whoever it makes with it.
fn enter(draft: &mut Draft) {
    draft.step(Stage::Cgroup, Op::Wait(Sync::Resctrl), PLACE);
    for op in [ParentOp::EnterResctrl, ParentOp::Tell(Sync::Resctrl)] {
        draft.parent.push(ParentStep { op, origin: PLACE.to_owned() });
    }
}

/// One more process of a container that has its group.
pub(super) fn join(draft: &mut Draft, spec: &Spec) {
    if intel_rdt(spec).is_some() {
        enter(draft);
    }
}

fn intel_rdt(spec: &Spec) -> Option<&LinuxIntelRdt> {
    spec.linux().as_ref()?.intel_rdt().as_ref()
}

/// Whether resctrl is to be looked for.
pub fn is_wanted(spec: &Spec) -> bool {
    intel_rdt(spec).is_some()
}

/// The lines of both fields. `memBwSchema` comes last, so that it would overrule what the other says of the bandwidth; the kernel takes a
/// resource once in a write.
fn schema(draft: &mut Draft, rdt: &LinuxIntelRdt) -> Vec<String> {
    let bandwidth = |line: &String| line.starts_with("MB:");
    let mut schema = lines(rdt.l3_cache_schema());
    if rdt.mem_bw_schema().is_some() && schema.iter().any(bandwidth) {
        draft
            .warnings
            .push(format!("config.json: {PLACE}.l3CacheSchema: its `MB:` lines have no effect: `memBwSchema` has the last word"));
        schema.retain(|line| !bandwidth(line));
    }
    if let Some(line) = rdt.mem_bw_schema() {
        if !bandwidth(line) || line.contains('\n') {
            draft.refuse(format!("{PLACE}.memBwSchema"), "is not one line that begins with `MB:`");
        }
        schema.push(line.clone());
    }
    schema
}

/// A line each.
fn schemata(draft: &mut Draft, rdt: &LinuxIntelRdt) -> Vec<String> {
    let all = rdt.schemata().as_deref().unwrap_or_default();
    for (n, _) in all.iter().enumerate().filter(|(_, line)| line.contains('\n')) {
        draft.refuse(format!("{PLACE}.schemata[{n}]"), "has more than one line");
    }
    lines(all)
}

fn lines<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    texts.into_iter().flat_map(|text| text.lines()).map(str::to_owned).filter(|line| !line.trim().is_empty()).collect()
}

/// Whether there is to be a monitoring group. Every one is watched for all that the processor can watch.
#[allow(deprecated)] // `enableCMT` and `enableMBM` are of bundles older than 1.3.0
fn monitored(draft: &mut Draft, rdt: &LinuxIntelRdt) -> bool {
    let asked = [
        ("enableCMT", rdt.enable_cmt(), "llc_occupancy"),
        ("enableMBM", rdt.enable_mbm(), "mbm_"),
        ("enableMonitoring", rdt.enable_monitoring(), ""),
    ];
    let asked = asked.into_iter().filter(|(_, asked, _)| **asked == Some(true)).map(|(field, _, feature)| (field, feature));
    let asked: Vec<_> = asked.collect();
    for (field, feature) in &asked {
        let can = |resctrl: &crate::host::resctrl::Resctrl| resctrl.monitored.iter().any(|name| name.starts_with(feature));
        if draft.host.resctrl.as_ref().is_some_and(|resctrl| !can(resctrl)) {
            draft.refuse(format!("{PLACE}.{field}"), "the processor, or its kernel, cannot monitor this");
        }
    }
    !asked.is_empty()
}

/// As the kernel takes it: one component, none of the file system's own.
fn is_name(name: &str) -> bool {
    !matches!(name, "." | ".." | "info" | "mon_groups" | "mon_data") && !name.contains(['/', '\n', '\0'])
}
