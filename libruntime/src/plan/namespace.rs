//! `linux.namespaces`, the id maps, propagation, host name.

use super::join::Spaces;
use super::op::{Op, ParentOp, SelfMap, Sync};
use super::order::Stage;
use super::place::c_string;
use super::{Draft, ParentStep};
use crate::host::Host;
use crate::namespace::path;
use crate::sys::mount::MountAttr;
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType as Type, Spec};

const FLAGS: &[(Type, u64)] = &[
    (Type::User, libc::CLONE_NEWUSER as u64),
    (Type::Mount, libc::CLONE_NEWNS as u64),
    (Type::Pid, libc::CLONE_NEWPID as u64),
    (Type::Ipc, libc::CLONE_NEWIPC as u64),
    (Type::Network, libc::CLONE_NEWNET as u64),
    (Type::Uts, libc::CLONE_NEWUTS as u64),
    (Type::Cgroup, libc::CLONE_NEWCGROUP as u64),
    (Type::Time, TIME),
];

const TIME: u64 = libc::CLONE_NEWTIME as u64;

/// What clone3(2) must make: the others belong to this user namespace, and a pid namespace begins with a new process. The rest the
/// child makes itself, while the parent goes on: a network namespace alone takes a fifth of a launch.
const FIRST: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID) as u64;

const UNBINDABLE: u64 = 1 << 17;
pub(super) const PRIVATE: u64 = 1 << 18;
const SLAVE: u64 = 1 << 19;
const SHARED: u64 = 1 << 20;

const PROPAGATION: &[(&str, u64)] = &[
    ("private", PRIVATE),
    ("rprivate", PRIVATE),
    ("slave", SLAVE),
    ("rslave", SLAVE),
    ("shared", SHARED),
    ("rshared", SHARED),
    ("unbindable", UNBINDABLE),
    ("runbindable", UNBINDABLE),
];

/// Who writes the id maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maps {
    /// There is no user namespace.
    None,
    /// Nor any other: the process is the caller.
    Caller,
    /// The child: only itself is mapped, as (user, group) of the container. Groups cannot be set.
    Itself(u32, u32),
    /// As `Itself`, while mounting as 0: devpts(5) wants id 0 to be mapped. The ids come with the nested namespace.
    Nested(u32, u32),
    /// The parent, which has the right to.
    Parent,
    /// Somebody else: newuidmap(1) for an ordinary user, or who made the namespace that is joined. Groups may be out of reach.
    Foreign,
}

pub(super) fn plan(draft: &mut Draft, spec: &Spec) -> Maps {
    let absent;
    let linux = match spec.linux() {
        Some(linux) => linux,
        None => {
            absent = unsaid();
            &absent
        }
    };
    draft.spaces = spaces(draft, spec, linux);
    let (new, origin) = (draft.spaces.new, "linux.namespaces".to_owned());
    if !writes_own_maps(draft) {
        draft.before.push(ParentStep { op: ParentOp::Undumpable, origin: origin.clone() });
    }
    draft.before.push(ParentStep { op: ParentOp::Clone(new & FIRST), origin: origin.clone() });
    if new & !FIRST & !TIME != 0 {
        draft.step(Stage::Namespaces, Op::Unshare(new & !FIRST & !TIME), origin);
    }
    if draft.init && new & libc::CLONE_NEWPID as u64 == 0 {
        draft.refuse(format!("annotations[{}]", crate::annotation::INIT), "needs a pid namespace of its own");
    }
    if new & libc::CLONE_NEWNET as u64 != 0
        && let Some(i) = index(linux, Type::Network)
    {
        draft.step(Stage::Network, Op::Loopback, format!("linux.namespaces[{i}]"));
    }
    super::time::plan(draft, linux);
    names(draft, spec);
    propagation(draft, spec, linux);
    match (draft.spaces.new & libc::CLONE_NEWUSER as u64 != 0, draft.spaces.own(libc::CLONE_NEWUSER)) {
        (true, _) => maps(draft, spec, linux),
        (false, true) => super::join::user(draft, linux),
        (false, false) => without_maps(draft, linux),
    }
}

/// Whose files in /proc are root's could not write them, nor have them written by newuidmap(1). Nobody but the caller's own processes has
/// power over the namespace then, nor the caller's ids outside of it.
fn writes_own_maps(draft: &Draft) -> bool {
    draft.host.uid != 0 && draft.spaces.new & libc::CLONE_NEWUSER as u64 != 0
}

/// `linux` is optional, and without it every namespace is inherited, as with an empty one. (Its `Default` is a whole container's.)
fn unsaid() -> Linux {
    let empty = crate::bundle::spec(&serde_json::json!({"ociVersion": "1.0.0", "linux": {}}));
    empty.ok().and_then(|spec| spec.linux().clone()).unwrap_or_default()
}

fn index(linux: &Linux, typ: Type) -> Option<usize> {
    linux.namespaces().as_ref()?.iter().position(|n| n.typ() == typ)
}

fn spaces(draft: &mut Draft, spec: &Spec, linux: &Linux) -> Spaces {
    let mut spaces = Spaces::default();
    for (i, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let place = format!("linux.namespaces[{i}]");
        let Some((_, flag)) = FLAGS.iter().find(|(typ, _)| *typ == namespace.typ()) else { continue };
        if let Some(first) = index(linux, namespace.typ()).filter(|first| *first < i) {
            draft.refuse(&place, format!("has the type of [{first}]"));
        }
        match path(namespace) {
            Some(path) => {
                spaces.joined |= flag;
                super::join::plan(draft, spec, &format!("{place}.path"), *flag, path);
            }
            None => spaces.new |= flag,
        }
    }
    draft.chroots = !spaces.own(libc::CLONE_NEWNS);
    spaces
}

/// `__NEW_UTS_LEN` (uname(2)).
pub(super) const LONGEST_NAME: usize = 64;

fn names(draft: &mut Draft, spec: &Spec) {
    let uts = draft.spaces.own(libc::CLONE_NEWUTS);
    type Set = fn(Vec<u8>) -> Op;
    for (place, name, op) in
        [("hostname", spec.hostname(), Op::Hostname as Set), ("domainname", spec.domainname(), Op::Domainname)]
    {
        match name {
            Some(name) if name.len() > LONGEST_NAME => {
                draft.refuse(place, format!("has {} bytes, and the kernel takes {LONGEST_NAME}", name.len()));
            }
            Some(name) if name.contains('\0') => draft.refuse(place, "contains a NUL byte"),
            Some(name) if !name.is_empty() && !uts => draft.refuse(place, format!("`{name}` needs a uts namespace")),
            Some(name) if !name.is_empty() => draft.step(Stage::Hostname, op(name.clone().into_bytes()), place),
            _ => {}
        }
    }
}

/// The spec leaves the default open. `rprivate`: with `rslave` a file system that is mounted on the host later would appear
/// inside, without the attributes that its place asks for. But a bind that asks to hear of the host's mounts must be a copy of one that
/// does: then all are taken over as slaves, and binds that ask for nothing are private all the same. What the word says of the
/// container's own root comes after the pivot; before, it says how the host's mounts are taken over, and a mount that may not be
/// bound (unbindable) could not be.
fn propagation(draft: &mut Draft, spec: &Spec, linux: &Linux) {
    let place = "linux.rootfsPropagation";
    let private = MountAttr { propagation: PRIVATE, ..MountAttr::default() };
    let said = linux.rootfs_propagation().as_deref().filter(|w| !w.is_empty());
    if let Some(i) = super::mount::first_peer(spec).filter(|_| said.is_none() && !draft.chroots) {
        let place = format!("mounts[{i}].options");
        (draft.taken_over, draft.apart) = (SLAVE, true);
        draft.step(Stage::Propagation, Op::Propagation { flag: SLAVE, recursive: true }, &place);
        return draft.step(Stage::Placeholders, Op::RootAttr { attr: private, recursive: true }, place);
    }
    let word = said.unwrap_or("rprivate");
    let Some((_, flag)) = PROPAGATION.iter().find(|(name, _)| *name == word) else {
        return draft.refuse(place, format!("`{word}` is not a propagation type"));
    };
    if draft.chroots {
        draft.taken_over = PRIVATE;
        if *flag != PRIVATE {
            draft.refuse(place, format!("`{word}` needs a mount namespace: outside of one the root is private"));
        }
        return;
    }
    draft.taken_over = if *flag == UNBINDABLE { PRIVATE } else { *flag };
    draft.step(Stage::Propagation, Op::Propagation { flag: draft.taken_over, recursive: true }, place);
    if *flag == SHARED {
        // What is attached over a shared `/` would appear over the host's, and pivot_root(2) refuses both.
        draft.step(Stage::Propagation, Op::Propagation { flag: PRIVATE, recursive: false }, place);
        draft.step(Stage::Placeholders, Op::RootAttr { attr: private, recursive: false }, place);
        draft.shared = true;
    }
    if matches!(*flag, SHARED | UNBINDABLE) {
        draft.step(Stage::RootPropagation, Op::Propagation { flag: *flag, recursive: word.starts_with('r') }, place);
    }
}

fn without_maps(draft: &mut Draft, linux: &Linux) -> Maps {
    for (list, name) in [(linux.uid_mappings(), "linux.uidMappings"), (linux.gid_mappings(), "linux.gidMappings")] {
        if list.as_ref().is_some_and(|l| !l.is_empty()) {
            draft.refuse(name, "needs a user namespace");
        }
    }
    if !draft.host.privileged {
        draft.refuse("linux.namespaces", format!("user {} needs a user namespace to make the others", draft.host.uid));
    }
    Maps::None
}

fn maps(draft: &mut Draft, spec: &Spec, linux: &Linux) -> Maps {
    let (uids, gids) = (linux.uid_mappings().as_deref().unwrap_or_default(), linux.gid_mappings().as_deref().unwrap_or_default());
    for (list, name) in [(uids, "linux.uidMappings"), (gids, "linux.gidMappings")] {
        if list.is_empty() {
            draft.refuse(name, "is missing, but the user namespace is new");
        }
        refuse_faulty(draft, name, list);
    }
    draft.maps = (uids.to_vec(), gids.to_vec());
    let ([uid, ..], [gid, ..]) = (uids, gids) else { return Maps::Parent };
    let (u, g) = (draft.host.uid, draft.host.gid);
    if itself(uids, u) && itself(gids, g) {
        return map_itself(draft, spec, (uid.container_id(), u), (gid.container_id(), g));
    }
    map_by_parent(draft, uids, gids);
    if draft.host.privileged { Maps::Parent } else { Maps::Foreign }
}

/// Refuses what the kernel would take none of the list for (user_namespaces(7)).
pub(super) fn refuse_faulty(draft: &mut Draft, place: &str, list: &[LinuxIdMapping]) {
    if list.len() > MOST_MAPPINGS {
        draft.refuse(place, format!("has {} mappings, and the kernel takes {MOST_MAPPINGS}", list.len()));
    } else if lines(list).len() >= draft.host.page {
        draft.refuse(
            place,
            format!("is {} bytes long as the kernel reads it, and it takes {}", lines(list).len(), draft.host.page - 1),
        );
    }
    for (i, why) in faulty(list) {
        draft.refuse(format!("{place}[{i}]"), why);
    }
}

/// `UID_GID_MAP_MAX_EXTENTS`, in one write of less than a page.
const MOST_MAPPINGS: usize = 340;

fn faulty(list: &[LinuxIdMapping]) -> Vec<(usize, String)> {
    let ranges = |m: &LinuxIdMapping| {
        [m.container_id(), m.host_id()].map(|first| (u64::from(first), u64::from(first) + u64::from(m.size())))
    };
    let overlap = |a: (u64, u64), b: (u64, u64)| a.0 < b.1 && b.0 < a.1;
    let why = |(i, one): (usize, &LinuxIdMapping)| {
        if one.size() == 0 {
            return Some((i, "maps no ids: `size` is 0".to_owned()));
        }
        if ranges(one).iter().any(|(_, end)| *end > u64::from(u32::MAX)) {
            return Some((i, format!("goes beyond the last id, {}", u32::MAX - 1)));
        }
        let twice = |other: &LinuxIdMapping| ranges(one).into_iter().zip(ranges(other)).any(|(a, b)| overlap(a, b));
        list[..i].iter().position(twice).map(|other| (i, format!("maps ids that [{other}] maps already")))
    };
    list.iter().enumerate().filter_map(why).collect()
}

/// The CLONE_NEW* flags of the container's namespaces, new ones and those that it joined itself.
pub(super) fn joined(linux: &Linux) -> u64 {
    let flag = |typ: Type| FLAGS.iter().find(|(known, _)| *known == typ).map_or(0, |(_, flag)| *flag);
    linux.namespaces().iter().flatten().map(|namespace| flag(namespace.typ())).fold(0, |all, flag| all | flag)
}

/// How the ids of a container that runs already were mapped.
pub(super) fn maps_of(linux: &Linux, host: &Host, spec: &Spec, flags: u64) -> Maps {
    if flags & libc::CLONE_NEWUSER as u64 == 0 {
        return Maps::None;
    }
    if has_path(linux, Type::User) {
        return Maps::Foreign;
    }
    match (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref()) {
        (Some([uid]), Some([gid])) if itself(&[*uid], host.uid) && itself(&[*gid], host.gid) => {
            let (uid, gid) = (uid.container_id(), gid.container_id());
            if has_devpts(spec) && (uid, gid) != (0, 0) { Maps::Nested(uid, gid) } else { Maps::Itself(uid, gid) }
        }
        _ if !host.privileged => Maps::Foreign,
        _ => Maps::Parent,
    }
}

fn has_path(linux: &Linux, typ: Type) -> bool {
    linux.namespaces().iter().flatten().any(|n| n.typ() == typ && path(n).is_some())
}

/// devpts(5) wants id 0 to be mapped.
fn has_devpts(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(|m| m.typ().as_deref() == Some("devpts"))
}

fn itself(list: &[LinuxIdMapping], id: u32) -> bool {
    matches!(list, [one] if one.host_id() == id && one.size() == 1)
}

fn map_itself(draft: &mut Draft, spec: &Spec, uid: (u32, u32), gid: (u32, u32)) -> Maps {
    super::identity::drop_groups(draft, spec);
    if has_devpts(spec) && (uid.0, gid.0) != (0, 0) {
        push_map(draft, Stage::UserMap, Op::MapSelf, (0, uid.1), (0, gid.1));
        push_map(draft, Stage::NestUser, Op::NestUser, (uid.0, 0), (gid.0, 0));
        return Maps::Nested(uid.0, gid.0);
    }
    push_map(draft, Stage::UserMap, Op::MapSelf, uid, gid);
    Maps::Itself(uid.0, gid.0)
}

fn push_map(draft: &mut Draft, stage: Stage, op: fn(SelfMap) -> Op, uid: (u32, u32), gid: (u32, u32)) {
    let line = |(inside, outside)| c_string(format!("{inside} {outside} 1\n").as_bytes());
    if let (Ok(uid), Ok(gid)) = (line(uid), line(gid)) {
        draft.step(stage, op(SelfMap { uid, gid }), "linux.uidMappings");
    }
}

/// As uid_map takes them.
pub(super) fn lines(list: &[LinuxIdMapping]) -> String {
    list.iter().map(|m| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size())).collect()
}

/// Who makes the container inside: root of its user namespace, and where that has none, the first id.
fn become_first(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Op {
    let first = |list: &[LinuxIdMapping]| {
        let ids = list.iter().map(LinuxIdMapping::container_id);
        ids.clone().find(|id| *id == 0).or(ids.clone().next()).unwrap_or(0)
    };
    Op::Become { uid: first(uids), gid: first(gids) }
}

/// The same of a container that runs already; a user namespace that it joined has maps of its own.
pub(super) fn first_ids(linux: &Linux) -> Op {
    let list = |list: &Option<Vec<LinuxIdMapping>>| list.clone().filter(|_| !has_path(linux, Type::User)).unwrap_or_default();
    become_first(&list(linux.uid_mappings()), &list(linux.gid_mappings()))
}

fn map_by_parent(draft: &mut Draft, uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) {
    let origin = "linux.uidMappings".to_owned();
    let op = ParentOp::WriteMaps { uid: lines(uids), gid: lines(gids), helper: !draft.host.privileged };
    draft.parent.push(ParentStep { op, origin: origin.clone() });
    draft.parent.push(ParentStep { op: ParentOp::Tell(Sync::Maps), origin: origin.clone() });
    draft.step(Stage::UserMap, Op::Wait(Sync::Maps), &origin);
    draft.step(Stage::UserMap, become_first(uids, gids), origin);
}
