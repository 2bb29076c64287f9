//! `linux.resources` → writes: the frame, and the controllers with a single file.

use super::{Group, Write, cpu, io, memory};
use crate::Error;
use crate::host::cgroup::Version;
use crate::plan::check::rivals;
use crate::plan::netdevice;
use oci_spec::runtime::LinuxResources;
use std::fmt::Display;
use std::hash::Hash;

/// What changing the limits of a cgroup comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// In order.
    pub writes: Vec<Write>,
    /// Fields that are accepted and have no effect.
    pub warnings: Vec<String>,
}

/// The table in the making.
pub(super) struct Table<'a> {
    groups: &'a [Group],
    /// The cgroup exists: a value that a new one has by itself must be written too.
    pub update: bool,
    pub writes: Vec<Write>,
    pub warnings: Vec<String>,
    pub errors: Vec<Error>,
}

/// A controller has another name in each interface; `""` when that interface has none.
pub(super) struct Controller(pub &'static str, pub &'static str);

const PIDS: Controller = Controller("pids", "pids");
const HUGETLB: Controller = Controller("hugetlb", "hugetlb");
const RDMA: Controller = Controller("rdma", "rdma");
const NET_CLS: Controller = Controller("net_cls", "");
const NET_PRIO: Controller = Controller("net_prio", "");

/// Everything of `resources` but `devices`, for these groups; and every reason why not.
pub fn limits(resources: Option<&LinuxResources>, groups: &[Group], update: bool) -> (Change, Vec<Error>) {
    let mut table = Table { groups, update, writes: Vec::new(), warnings: Vec::new(), errors: Vec::new() };
    if let Some(resources) = resources {
        memory::limits(&mut table, resources);
        cpu::limits(&mut table, resources);
        io::limits(&mut table, resources);
        pids(&mut table, resources);
        hugetlb(&mut table, resources);
        network(&mut table, resources);
        rdma(&mut table, resources);
        // Last: it says the same in the kernel's own words, and so has the last one.
        unified(&mut table, resources);
    }
    (Change { writes: table.writes, warnings: table.warnings }, table.errors)
}

impl Table<'_> {
    /// The group that this controller's files are in; without one the field is refused.
    pub fn home(&mut self, controller: &Controller, field: &str) -> Option<(usize, Version)> {
        let Controller(v1, v2) = controller;
        let has = |group: &Group| match group.version {
            Version::V1 => group.controllers.iter().any(|name| name == v1),
            Version::V2 => group.controllers.iter().any(|name| name == v2),
        };
        let found = self.groups.iter().position(has).map(|at| (at, self.groups[at].version));
        if found.is_none() {
            let unified = self.groups.iter().any(|group| group.version == Version::V2);
            let name = if unified && !v2.is_empty() { v2 } else { v1 };
            self.refuse(field, format!("this host has no cgroup controller `{name}`"));
        }
        found
    }

    /// [`Table::home`] of several fields, each of which is refused without one.
    pub fn home_of(&mut self, controller: &Controller, fields: &[&str]) -> Option<(usize, Version)> {
        fields.iter().fold(None, |found, field| self.home(controller, field).or(found))
    }

    /// Refuses those of a list that are at odds with an earlier one.
    pub fn refuse_rivals<'b, T: PartialEq, N: Display + Hash + Eq>(
        &mut self,
        field: &str,
        list: &'b [T],
        about: impl Fn(&'b T) -> N,
    ) {
        rivals(list, about).into_iter().for_each(|(i, why)| self.refuse(&format!("{field}[{i}]"), why));
    }

    pub fn refuse(&mut self, field: &str, what: impl Into<String>) {
        self.errors.push(Error::new(what).at(origin(field)));
    }

    /// What is limited: zero stands for "as it is", -1 for no limit, and another number below zero for nothing.
    pub fn limit(&mut self, field: &str, value: Option<i64>) -> Option<i64> {
        let value = given(value)?;
        if value < -1 {
            self.refuse(field, format!("{value} is no limit: -1 takes it away"));
            return None;
        }
        Some(value)
    }

    /// A value for a file; what is special about it is set on what this returns.
    pub fn put(&mut self, group: usize, field: &str, file: impl Into<String>, value: impl Display) -> &mut Write {
        let choices = vec![(file.into(), value.to_string())];
        let write = Write { group, choices, origin: origin(field), may_miss: false, again: false, above: None };
        let at = self.writes.len();
        self.writes.push(write);
        &mut self.writes[at]
    }
}

fn origin(field: &str) -> String {
    format!("linux.resources.{field}")
}

/// -1 is `max` to version 2.
pub(super) fn max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Zero stands for "as it is".
pub(super) fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// As many as can be numbered (`PID_MAX_LIMIT` of the kernel).
const MOST_PIDS: i64 = 4 << 20;

fn pids(t: &mut Table, r: &LinuxResources) {
    let field = "pids.limit";
    let Some(limit) = t.limit(field, r.pids().as_ref().map(|p| p.limit())) else { return };
    if limit > MOST_PIDS {
        t.refuse(field, format!("{limit} is above {MOST_PIDS}"));
    }
    if let Some((at, _)) = t.home(&PIDS, field) {
        t.put(at, field, "pids.max", max(limit));
    }
}

fn hugetlb(t: &mut Table, r: &LinuxResources) {
    t.refuse_rivals("hugepageLimits", r.hugepage_limits().as_deref().unwrap_or_default(), |limit| limit.page_size());
    for (i, limit) in r.hugepage_limits().iter().flatten().enumerate() {
        let field = format!("hugepageLimits[{i}]");
        let size = limit.page_size();
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_alphanumeric()) {
            t.refuse(&format!("{field}.pageSize"), format!("`{}` is no page size such as 2MB", size.escape_debug()));
            continue;
        }
        let Some((at, version)) = t.home(&HUGETLB, &field) else { continue };
        if limit.limit() < -1 {
            t.refuse(&field, format!("{} is no limit: -1 takes it away", limit.limit()));
            continue;
        }
        let (suffix, value) = match version {
            Version::V1 => ("limit_in_bytes", limit.limit().to_string()),
            Version::V2 => ("max", max(limit.limit())),
        };
        // Linux 5.7: reservations are counted too. Then mmap(2) fails, where a page fault would end the process.
        t.put(at, &field, format!("hugetlb.{size}.rsvd.{suffix}"), &value).may_miss = true;
        t.put(at, &field, format!("hugetlb.{size}.{suffix}"), value);
    }
}

fn network(t: &mut Table, r: &LinuxResources) {
    let Some(network) = r.network() else { return };
    if let Some(id) = given(network.class_id())
        && let Some((at, _)) = t.home(&NET_CLS, "network.classID")
    {
        t.put(at, "network.classID", "net_cls.classid", id);
    }
    t.refuse_rivals("network.priorities", network.priorities().as_deref().unwrap_or_default(), |priority| priority.name());
    for (i, priority) in network.priorities().iter().flatten().enumerate() {
        let field = format!("network.priorities[{i}]");
        if !netdevice::is_name(priority.name()) {
            t.refuse(&format!("{field}.name"), format!("`{}` is no name of a network device", priority.name().escape_debug()));
        }
        if let Some((at, _)) = t.home(&NET_PRIO, &field) {
            t.put(at, &field, "net_prio.ifpriomap", format!("{} {}", priority.name(), priority.priority()));
        }
    }
}

fn rdma(t: &mut Table, r: &LinuxResources) {
    let mut devices: Vec<_> = r.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("rdma[{}]", name.escape_debug());
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            t.refuse(&field, "is no name of a device");
            continue;
        }
        let part = |key: &str, value: Option<u32>| value.map(|value| format!("{key}={value}"));
        let parts: Vec<_> =
            [part("hca_handle", limit.hca_handles()), part("hca_object", limit.hca_objects())].into_iter().flatten().collect();
        if parts.is_empty() {
            t.refuse(&field, "has neither `hcaHandles` nor `hcaObjects`");
        } else if let Some((at, _)) = t.home(&RDMA, &field) {
            t.put(at, &field, "rdma.max", format!("{name} {}", parts.join(" ")));
        }
    }
}

/// The others say which processes are there, or what becomes of them: `cgroup.procs` would have any process of the host's moved in, and
/// killed with the container.
const LIMITS_OF_CORE: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

fn unified(t: &mut Table, r: &LinuxResources) {
    let mut keys: Vec<_> = r.unified().iter().flatten().collect();
    keys.sort();
    let home = t.groups.iter().position(|group| group.version == Version::V2);
    for (key, value) in keys {
        let field = format!("unified[{}]", key.escape_debug());
        let controller = key.split('.').next().unwrap_or_default();
        match home {
            _ if key.contains(['/', '\0']) || !key.contains('.') || key.len() > 255 => {
                t.refuse(&field, "is not a file name, CONTROLLER.VALUE")
            }
            _ if controller == "cgroup" && !LIMITS_OF_CORE.contains(&key.as_str()) => {
                t.refuse(&field, format!("is no limit; of the files `cgroup.*` there are {}", LIMITS_OF_CORE.join(", ")));
            }
            None => t.refuse(&field, "invalid configuration: it needs cgroup version 2, which this host has not mounted"),
            Some(at) if controller != "cgroup" && !t.groups[at].controllers.iter().any(|name| name == controller) => {
                t.refuse(
                    &field,
                    format!("invalid configuration: the version 2 hierarchy of this host has no controller `{controller}`"),
                );
            }
            Some(_) if value.contains('\0') => t.refuse(&field, "contains a NUL byte"),
            Some(_) if value.trim().is_empty() => t.refuse(&field, "is empty: there is nothing to write"),
            // The files take one line at a time.
            Some(at) => {
                for line in value.lines() {
                    t.put(at, &field, key, line);
                }
            }
        }
    }
}
