//! What is no path: who the process is, what it shares with the host, which system calls and limits it has.

use super::Explained;
use super::right::names;
use crate::bpf::{self, Calls};
use crate::bridge::Route;
use crate::host::Host;
use crate::landlock::connectable;
use crate::plan::op::{Broker, ParentOp};
use crate::plan::{ParentStep, Plan, annotation_of as said};
use crate::policy::compile::{Lift, lifts};
use crate::{Error, annotation, namespace};
use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use std::path::PathBuf;

/// A bundle without its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// User and group inside.
    pub inside: (u32, u32),
    /// The same for the caller.
    pub outside: (u32, u32),
    /// Supplementary groups, as the caller sees them.
    pub groups: Vec<u32>,
    /// Effective in the command.
    pub capabilities: Vec<String>,
    /// execve(2) gives nothing more.
    pub no_new_privileges: bool,
    /// Each kind, and whose it is.
    pub namespaces: Vec<(&'static str, Whose)>,
    /// `namespaces` or `landlock`.
    pub isolation: &'static str,
    /// Whether Landlock has rules.
    pub landlock: bool,
    /// Clauses of the policy that were given up.
    pub lost: Vec<String>,
    /// What a bridge carries to and from a network of its own.
    pub routes: Vec<Route>,
    /// TCP ports that Landlock's rules let it connect to. None: all.
    pub tcp_ports: Option<Vec<u16>>,
    /// Unix sockets of the host that may be connected to besides the sandbox's own. None: nobody looks, and the filter alone decides.
    pub unix_sockets: Option<Vec<PathBuf>>,
    /// Whether these may be datagrams.
    pub unix_datagrams: bool,
    /// None: every call is made.
    pub system_calls: Option<Calls>,
    /// Of a bundle that was made from a policy: what its filter refuses and a choice would lift, with the calls and the reason.
    pub lifts: Vec<Lift>,
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
    /// What is limited and to how much: `RLIMIT_NOFILE` = `1024, at most 4096`, `memory.max` = `67108864`.
    pub limits: Vec<(String, String)>,
}

/// Whose a namespace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A new one.
    Own,
    /// The caller's.
    Caller,
    /// That of this file.
    Joined(PathBuf),
}

/// As config.json names them.
const KINDS: [(Type, &str); 8] = [
    (Type::User, "user"),
    (Type::Pid, "pid"),
    (Type::Ipc, "ipc"),
    (Type::Mount, "mount"),
    (Type::Network, "network"),
    (Type::Uts, "uts"),
    (Type::Cgroup, "cgroup"),
    (Type::Time, "time"),
];

impl Explained<'_> {
    /// Everything that is no path, or what is wrong with the seccomp profile.
    pub fn facts(&self, spec: &Spec, plan: &Plan, host: &Host) -> Result<Facts, Vec<Error>> {
        let process = spec.process().as_ref();
        let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let system_calls = seccomp.map(|seccomp| bpf::calls(seccomp, host.native)).transpose()?;
        let isolation = if said(spec, annotation::ISOLATION).is_some() { "landlock" } else { "namespaces" };
        Ok(Facts {
            lifts: seccomp.filter(|_| of_a_policy(spec)).map_or(Vec::new(), |filter| lifts(filter, isolation == "landlock")),
            inside: process.map_or((0, 0), |process| (process.user().uid(), process.user().gid())),
            outside: (self.who.uid, self.who.gid),
            groups: self.who.groups.clone(),
            capabilities: names(self.who.capabilities),
            no_new_privileges: process.and_then(|process| process.no_new_privileges()) == Some(true),
            namespaces: KINDS.map(|(kind, name)| (name, whose(spec, kind))).into(),
            isolation,
            landlock: said(spec, annotation::LANDLOCK).is_some(),
            lost: said(spec, annotation::LOST).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default(),
            routes: routes(spec),
            tcp_ports: plan.parent.iter().find_map(tcp_ports),
            unix_sockets: granted(plan),
            unix_datagrams: plan.parent.iter().find_map(broker).is_some_and(|broker| broker.datagrams),
            system_calls,
            environment: process.and_then(|process| process.env().clone()).unwrap_or_default(),
            limits: limits(spec, plan),
        })
    }
}

fn of_a_policy(spec: &Spec) -> bool {
    spec.annotations().as_ref().is_some_and(|all| all.contains_key(annotation::POLICY_SHA256))
}

fn whose(spec: &Spec, kind: Type) -> Whose {
    match namespace::all(spec).find(|namespace| namespace.typ() == kind) {
        None => Whose::Caller,
        Some(namespace) => namespace::path(namespace).map_or(Whose::Own, |path| Whose::Joined(path.into())),
    }
}

/// Words of the hook that opens the bridge; words of others are no routes.
fn routes(spec: &Spec) -> Vec<Route> {
    let hooks = spec.hooks().iter().flat_map(|hooks| hooks.create_runtime().iter().flatten());
    hooks.flat_map(|hook| hook.args().iter().flatten()).filter_map(|word| word.parse().ok()).collect()
}

fn tcp_ports(step: &ParentStep) -> Option<Vec<u16>> {
    if let ParentOp::Ruleset { handled, ports } = &step.op { connectable(handled, ports) } else { None }
}

fn broker(step: &ParentStep) -> Option<&Broker> {
    if let ParentOp::Broker(broker) = &step.op { Some(broker) } else { None }
}

/// The host's Unix sockets that may be connected to; `None`: nobody looks.
pub(super) fn granted(plan: &Plan) -> Option<Vec<PathBuf>> {
    plan.parent.iter().find_map(broker).map(|broker| broker.grants.clone())
}

/// Of the process, then of its cgroup: the file that the host has first.
fn limits(spec: &Spec, plan: &Plan) -> Vec<(String, String)> {
    let rlimits = spec.process().iter().flat_map(|process| process.rlimits().iter().flatten());
    let rlimits = rlimits.map(|limit| (limit.typ().to_string(), format!("{}, at most {}", limit.soft(), limit.hard())));
    let cgroup = plan.parent.iter().filter_map(|step| if let ParentOp::Cgroup(cgroup) = &step.op { Some(cgroup) } else { None });
    let writes = cgroup.flat_map(|cgroup| &cgroup.writes).filter_map(|write| write.choices.first().cloned());
    let wall = spec.annotations().iter().filter_map(|all| all.get(annotation::WALL_TIME));
    rlimits.chain(writes).chain(wall.map(|seconds| ("wall time".into(), format!("{seconds} s")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_namespace_with_an_empty_path_is_the_containers_own() {
        let namespaces = json!([{"type": "pid", "path": ""}, {"type": "ipc", "path": "/i"}]);
        let spec = serde_json::from_value(json!({"ociVersion": "1.0.2", "linux": {"namespaces": namespaces}})).unwrap();
        let kinds = [Type::Pid, Type::Ipc, Type::Uts].map(|kind| whose(&spec, kind));
        assert!(matches!(&kinds, [Whose::Own, Whose::Joined(path), Whose::Caller] if path.as_os_str() == "/i"));
    }
}
