//! Who the process is, and what the kernel lets it do with a file: inode_permission(9), acl(5), capabilities(7).

use super::look::Look;
use super::node::{Grant, Node, Whose};
use crate::bundle::Bundle;
use crate::host::Host;
use crate::plan::op::{Op, ParentOp};
use crate::plan::{self, Plan};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};

pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
pub(super) const ENTER: u32 = 1;

const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;

/// The process, in ids of the caller's user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Effective after execve(2).
    pub capabilities: u64,
    /// (first id of the caller's namespace, how many): over whose files capabilities hold. `None`: over all.
    mapped: Option<[Vec<(u32, u32)>; 2]>,
}

impl Who {
    pub fn of(bundle: &Bundle, plan: &Plan, host: &Host, look: &dyn Look) -> Who {
        let spec = &bundle.spec;
        let linux = spec.linux().as_ref();
        let own = linux.is_some_and(|l| l.namespaces().iter().flatten().any(|n| n.typ() == LinuxNamespaceType::User));
        let list = |list: Option<&Option<Vec<LinuxIdMapping>>>| list.cloned().flatten().filter(|_| own);
        let (uids, gids) = (list(linux.map(|l| l.uid_mappings())), list(linux.map(|l| l.gid_mappings())));
        let user = spec.process().as_ref().map(|p| p.user().clone()).unwrap_or_default();
        let ranges = |list: &[LinuxIdMapping]| list.iter().map(|m| (m.host_id(), m.size())).collect();
        Who {
            uid: outside(user.uid(), uids.as_deref()),
            gid: outside(user.gid(), gids.as_deref()),
            groups: groups(plan, host, look, gids.as_deref()),
            capabilities: capabilities(plan, spec, user.uid()),
            mapped: uids.as_deref().zip(gids.as_deref()).map(|(uids, gids)| [ranges(uids), ranges(gids)]),
        }
    }

    /// Who makes the mounts: the caller, or root of the new user namespace, with every capability over the ids that are mapped.
    pub fn launcher(&self, bundle: &Bundle, plan: &Plan, host: &Host) -> Who {
        let becomes =
            plan.child.iter().find_map(|step| if let Op::Become { uid, gid } = step.op { Some((uid, gid)) } else { None });
        let linux = bundle.spec.linux().as_ref();
        let id = |id: u32, list: Option<&Option<Vec<LinuxIdMapping>>>| outside(id, list.and_then(|list| list.as_deref()));
        let (uid, gid) = match becomes {
            Some((uid, gid)) => (id(uid, linux.map(|l| l.uid_mappings())), id(gid, linux.map(|l| l.gid_mappings()))),
            None => (host.uid, host.gid),
        };
        let capabilities = if self.mapped.is_some() { u64::MAX } else { host.permitted };
        Who { uid, gid, capabilities, ..self.clone() }
    }

    /// The caller of codexrun.
    pub fn caller(&self, host: &Host) -> Who {
        Who { uid: host.uid, gid: host.gid, capabilities: host.permitted, mapped: None, ..self.clone() }
    }

    fn can(&self, capability: u32, node: &Node) -> bool {
        let holds = |ranges: &Vec<(u32, u32)>, id: u32| ranges.iter().any(|(first, size)| id.wrapping_sub(*first) < *size);
        let over = self.mapped.as_ref().is_none_or(|[uids, gids]| holds(uids, node.uid) && holds(gids, node.gid));
        self.capabilities >> capability & 1 == 1 && over
    }

    fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Whether the mode, the list or a capability permits all of `want`; otherwise why not.
    pub fn may(&self, node: &Node, want: u32) -> Result<(), String> {
        if want & WRITE != 0 && node.immutable {
            return Err("it is immutable (chattr +i)".into());
        }
        if self.by_mode(node, want) || self.by_capability(node, want) {
            return Ok(());
        }
        let list = if node.acl.is_empty() { "" } else { " and its access control list" };
        Err(format!("mode {:04o} of {}:{}{list}", node.mode, node.uid, node.gid))
    }

    /// The first class that the process belongs to decides alone.
    fn by_mode(&self, node: &Node, want: u32) -> bool {
        if self.uid == node.uid {
            return node.mode >> 6 & want == want;
        }
        // Without a bit for the group the mask permits nothing, and the list is not asked.
        if !node.acl.is_empty() && node.mode & 0o070 != 0 {
            return self.by_list(node, want);
        }
        node.mode >> (if self.is_in(node.gid) { 3 } else { 0 }) & want == want
    }

    fn by_list(&self, node: &Node, want: u32) -> bool {
        let find = |wanted: fn(&Whose) -> bool| node.acl.iter().find(|line| wanted(&line.whose));
        let mask = find(|whose| *whose == Whose::Mask).map_or(7, |line| line.bits);
        if let Some(line) = node.acl.iter().find(|line| line.whose == Whose::User(self.uid)) {
            return line.bits & mask & want == want;
        }
        let ours = |line: &&Grant| match line.whose {
            Whose::OwningGroup => self.is_in(node.gid),
            Whose::Group(gid) => self.is_in(gid),
            Whose::Owner | Whose::User(_) | Whose::Mask | Whose::Other => false,
        };
        let mut groups = node.acl.iter().filter(ours).peekable();
        match groups.peek() {
            Some(_) => groups.any(|line| line.bits & mask & want == want),
            None => find(|whose| *whose == Whose::Other).is_some_and(|line| line.bits & want == want),
        }
    }

    /// capabilities(7): CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE.
    fn by_capability(&self, node: &Node, want: u32) -> bool {
        let search = match node.is_dir() {
            true => want & WRITE == 0,
            false => want == READ,
        };
        let executable = node.is_dir() || want & ENTER == 0 || node.mode & 0o111 != 0;
        (search && self.can(DAC_READ_SEARCH, node)) || (executable && self.can(DAC_OVERRIDE, node))
    }

    /// Whether an entry may be taken out of a directory: the right to write there, and the rule of sticky directories.
    pub fn may_take(&self, node: &Node, from: &Node) -> Result<(), String> {
        if from.append || node.immutable || node.append {
            return Err("it, or its directory, is immutable or append-only (chattr)".into());
        }
        self.may(from, WRITE | ENTER).map_err(|why| format!("its directory: {why}"))?;
        let sticky = from.mode & 0o1000 != 0 && self.uid != node.uid && self.uid != from.uid && !self.can(FOWNER, node);
        if sticky { Err(format!("its directory is sticky, and its owner is {}", node.uid)) } else { Ok(()) }
    }
}

/// An id of the container as one of the caller's user namespace.
pub(super) fn outside(id: u32, map: Option<&[LinuxIdMapping]>) -> u32 {
    let Some(map) = map else { return id };
    let hit = map.iter().find(|m| id.wrapping_sub(m.container_id()) < m.size());
    hit.map_or(u32::MAX, |m| m.host_id() + (id - m.container_id()))
}

/// The supplementary groups: those that are set, none where they were dropped, and otherwise still the caller's.
fn groups(plan: &Plan, host: &Host, look: &dyn Look, map: Option<&[LinuxIdMapping]>) -> Vec<u32> {
    let set = plan.child.iter().find_map(|step| match &step.op {
        Op::Groups { gids, denied_is_fine } if host.setgroups || !denied_is_fine => Some(gids),
        _ => None,
    });
    let dropped = plan.parent.iter().any(|step| step.op == ParentOp::DropGroups);
    match set {
        Some(gids) => gids.iter().map(|gid| outside(*gid, map)).collect(),
        None if dropped => Vec::new(),
        None => look.groups(),
    }
}

/// After execve(2) of a program without file capabilities (capabilities(7), "Transformation of capabilities during execve()").
fn capabilities(plan: &Plan, spec: &Spec, uid: u32) -> u64 {
    let mut sets = (0, 0, 0, 0);
    for step in &plan.child {
        match step.op {
            Op::Bounding { keep, .. } => sets.0 = keep,
            Op::Capabilities { permitted, inheritable, ambient, .. } => {
                (sets.1, sets.2, sets.3) = (permitted, inheritable, ambient)
            }
            _ => {}
        }
    }
    let (bounding, permitted, inheritable, ambient) = sets;
    let confined = spec.process().as_ref().and_then(|p| p.no_new_privileges()) == Some(true);
    match uid {
        0 if confined => (bounding | inheritable) & permitted,
        0 => bounding | inheritable,
        _ => ambient,
    }
}

/// The names of capabilities, by number.
pub(super) fn names(bits: u64) -> Vec<String> {
    let all = plan::capabilities();
    all.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, name)| name.to_string()).collect()
}
