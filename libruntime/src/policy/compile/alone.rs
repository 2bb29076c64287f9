//! A policy without namespaces and mounts: what Landlock and the filter hold, and by name what they do not.

use super::roots::Ground;
use super::top::Style;
use super::tree::Tree;
use super::walk::Walk;
use super::{
    Compiled, Findings, Identity, Request, distinct, enterable, ground, limits, process, proxy, seccomp, top, wall,
    working_directory,
};
use crate::bridge::Side;
use crate::bundle::{Bundle, NO_ROOT, Rootfs};
use crate::policy::choice::StdioSockets;
use crate::policy::isolation::{Clause, Isolation};
use crate::policy::view::View;
use crate::policy::{Access, Network, Policy};
use crate::{Error, Result, annotation};
use oci_spec::runtime::{Linux, LinuxSeccomp, Root, Spec};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Turns a policy into a bundle that has no namespaces, or says every reason why it cannot.
pub(super) fn compile(request: &Request, view: &dyn View) -> Result<Compiled, Vec<Error>> {
    let walk = Walk::new(view);
    let mut found = Findings::default();
    let policy = relaxed(request.policy);
    let request = &Request { policy: &policy, ..request.clone() };
    let (style, mut ground) = ground(request, &walk, &mut found);
    enterable(request, style, &walk)?;
    let mut lost = lost(style, &ground, request);
    narrow(&mut ground, &mut lost);
    let accepted = |clause: Clause| policy.choices.accepts(clause);
    found.errors.extend(lost.iter().filter(|(clause, _)| !accepted(*clause)).map(|(clause, what)| refused(*clause, what)));
    unfit(request, view, &mut found);
    let cwd = working_directory(request, style, &ground, &walk, &mut found);
    let ports = ports(request, &mut found);
    limits::judge(request, view, &mut found);
    let attributes = lost.iter().any(|(clause, _)| *clause == Clause::Attributes) || writes_all(&ground.tree);
    let rules = (style == Style::Sandbox).then(|| {
        let listed = ground.tree.get(Path::new("/")).is_some() && ground.tree.iter().all(|(_, spot)| spot.access != Access::Deny);
        top::expand(&mut ground, style, &walk, &mut found);
        wall::only(&ground.tree, listed, policy.network, &ports, &accepted, &walk, &mut found)
    });
    let unanswered = walk.unanswered();
    if !unanswered.is_empty() {
        return Err(distinct(unanswered));
    }
    let given = lost.into_iter().map(|(clause, _)| clause.to_string()).collect::<Vec<_>>();
    let written = || -> Result<Spec> {
        let filter =
            rules.as_ref().map(|_| seccomp::alone(policy.network, attributes, &lifted(&policy), view.arch())).transpose()?;
        let annotations = annotations(request, style, &ground, rules.as_ref().map(wall::text).transpose()?, &given)?;
        spec(request, &cwd, style, view, filter, annotations)
    };
    match written() {
        Ok(spec) if found.errors.is_empty() => {
            let bundle = Bundle { spec, rootfs: Rootfs::Dir("/".into()), unknown: Vec::new() };
            Ok(Compiled { bundle, warnings: distinct(found.warnings) })
        }
        Ok(_) => Err(distinct(found.errors)),
        Err(e) => Err(distinct([found.errors, vec![e]].concat())),
    }
}

/// The lines of the filter that the policy does without, by name.
fn lifted(policy: &Policy) -> Vec<String> {
    let sockets = (policy.choices.stdio_sockets == StdioSockets::Any).then(|| "stdio_sockets".to_owned());
    policy.choices.allow_syscalls.iter().cloned().chain(sockets).collect()
}

fn relaxed(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    let choices = &policy.choices;
    let (own_tmp, nested) = (choices.accepts(Clause::PrivateTmp), choices.accepts(Clause::Metadata));
    policy.choices.isolation = Isolation::Landlock;
    policy.choices.private_tmp &= !own_tmp;
    policy.choices.nested_git &= !nested;
    policy
}

/// Each clause that is lost, and where.
fn lost(style: Style, ground: &Ground, request: &Request) -> Vec<(Clause, String)> {
    if style == Style::Host {
        return Vec::new();
    }
    let mut lost = vec![(Clause::Processes, "a PID namespace and a /proc of its own".to_owned())];
    let tree = &ground.tree;
    if tree.iter().any(|(_, spot)| spot.access == Access::Write) && !writes_all(tree) {
        lost.push((Clause::Attributes, "modes, owners, times and extended attributes of what is not writable".to_owned()));
    }
    if request.policy.choices.accepts(Clause::Metadata) && tree.iter().any(|(_, spot)| spot.access == Access::Write) {
        // Nobody has looked for it any more.
        lost.push((Clause::Metadata, METADATA.join(", ")));
    }
    if request.policy.choices.private_tmp {
        lost.push((Clause::PrivateTmp, "a /tmp of its own".to_owned()));
    }
    if request.policy.network == Network::Proxy {
        lost.push((Clause::ProxyOnly, "nothing is reached but the proxies".to_owned()));
    }
    let accepted = [Clause::Signals, Clause::AbstractSockets, Clause::DeviceIoctl].into_iter();
    lost.extend(accepted.filter(|clause| request.policy.choices.accepts(*clause)).map(|clause| (clause, clause.to_string())));
    lost
}

fn writes_all(tree: &Tree) -> bool {
    tree.get(Path::new("/")).is_some() && tree.iter().all(|(_, spot)| spot.access == Access::Write)
}

const METADATA: &[&str] = &[".git", ".agents", ".codex"];

/// Takes out what lies below a writable place and is less: the rules of that place hold there too.
fn narrow(ground: &mut Ground, lost: &mut Vec<(Clause, String)>) {
    let mut below: Vec<PathBuf> = std::mem::take(&mut ground.placeholders).into_iter().collect();
    let narrower = |tree: &Tree| {
        let mut all = tree.iter().filter(|(path, spot)| tree.around(path) == Some(Access::Write) && spot.access != Access::Write);
        all.next().map(|(path, _)| path.to_path_buf())
    };
    while let Some(path) = narrower(&ground.tree) {
        ground.tree.take(&path);
        below.push(path);
    }
    for path in below {
        let metadata = path.components().any(|part| METADATA.iter().any(|name| part.as_os_str() == *name));
        let clause = if metadata { Clause::Metadata } else { Clause::CarveOuts };
        lost.push((clause, format!("`{}`", path.display())));
    }
    // One place of a kind will do.
    let mut seen = Vec::new();
    lost.retain(|(clause, _)| {
        !seen.contains(clause) && {
            seen.push(*clause);
            true
        }
    });
}

fn refused(clause: Clause, what: &str) -> Error {
    let error = Error::new(format!("without namespaces `{clause}` is lost ({what}): {}", clause.consequence()));
    error.hint(format!("`--accept-loss {clause}` gives it up"))
}

/// What nobody can give up, since there would be nothing left of it.
fn unfit(request: &Request, view: &dyn View, found: &mut Findings) {
    let mut refuse = |what: &str| found.errors.push(Error::new(what).hint("it needs namespaces: `--isolation namespaces`"));
    if request.routes.iter().any(|route| !route.says.client) {
        refuse("a port cannot be published or allowed: the network is the caller's own");
    }
    if !request.policy.choices.dns.is_empty() {
        refuse("`dns` cannot be had: nobody can listen on port 53 for the sandbox alone");
    }
    if request.policy.choices.tcp_ports.is_some() {
        refuse(
            "`tcp_ports` cannot be had: there is no loopback of the sandbox's own, and the host's is reached at the proxies' ports alone",
        );
    }
    if request.policy.network != Network::Enabled && request.policy.choices.allow_syscalls.iter().any(|name| name == "interfaces")
    {
        refuse("`allow_syscalls` interfaces cannot be had: the network's interfaces are the caller's own");
    }
    if !request.policy.choices.unix_sockets.is_empty() {
        refuse("a Unix socket cannot be granted: without a network namespace nobody could tell it from others");
    }
    if request.policy.choices.unix_datagrams {
        refuse("Unix datagrams cannot be had: without namespaces there are no Unix sockets but pairs");
    }
    if request.identity == Identity::Root && view.ids().0 != 0 {
        refuse("the command cannot be root: there is no user namespace");
    }
    if request.policy.choices.limits.pids.is_some() && !request.controllers.iter().any(|name| name == "pids") {
        refuse("`limits.pids` cannot be held: without a cgroup all processes of the user would count");
    }
}

/// The ports of the proxies, which the environment goes on naming.
fn ports(request: &Request, found: &mut Findings) -> Vec<u16> {
    let routed = proxy::routed(request, found);
    let mut ports: Vec<u16> =
        routed.routes.iter().filter(|route| route.side == Side::Inside).map(|route| route.dial.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn spec(
    request: &Request,
    cwd: &Path,
    style: Style,
    view: &dyn View,
    filter: Option<LinuxSeccomp>,
    annotations: HashMap<String, String>,
) -> Result<Spec> {
    let mut root = Root::default();
    root.set_path(NO_ROOT.into()).set_readonly(None);
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(Vec::new()))
        .set_readonly_paths(None)
        .set_masked_paths(None)
        .set_seccomp(filter)
        .set_resources(limits::resources(request))
        .set_devices(None);
    let mut spec = Spec::default();
    spec.set_version("1.0.0".into())
        .set_root(Some(root))
        .set_mounts(None)
        .set_process(Some(process::process(request, cwd, style, view)?))
        .set_hostname(None)
        .set_annotations(Some(annotations))
        .set_linux(Some(linux));
    Ok(spec)
}

fn annotations(
    request: &Request,
    style: Style,
    ground: &Ground,
    rules: Option<String>,
    given: &[String],
) -> Result<HashMap<String, String>> {
    let json = |list: &[String]| serde_json::to_string(list).map_err(|e| Error::new("cannot write the annotations").cause(e));
    let listed = |list: &[String]| (!list.is_empty()).then(|| json(list)).transpose();
    let all = [
        (annotation::POLICY_SHA256, Some(request.digest.clone())),
        (annotation::DIE_WITH_PARENT, Some("true".into())),
        (annotation::RESOLVE, Some("nofollow".into())),
        (annotation::ISOLATION, Some("landlock".into())),
        (annotation::STDIO_SOCKETS, super::spec::stdio(request, style).map(str::to_owned)),
        (annotation::LANDLOCK, rules),
        (annotation::LOST, listed(given)?),
        (annotation::DENY_GLOBS, listed(&ground.globs)?),
        (annotation::WALL_TIME, request.policy.choices.limits.wall.map(|seconds| seconds.to_string())),
    ];
    Ok(all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}
