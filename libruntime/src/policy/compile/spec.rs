//! Puts the parts of a spec together: versions, namespaces, id maps, hooks, annotations.

use super::mounts::Layers;
use super::process::inside;
use super::roots::Ground;
use super::top::Style;
use super::{Proc, Request, kernel, limits, process, seccomp};
use crate::bridge::Route;
use crate::landlock::Config;
use crate::policy::choice::StdioSockets;
use crate::policy::isolation::{Clause, Isolation};
use crate::policy::view::View;
use crate::policy::{Network, Policy};
use crate::{Error, Result, annotation};
use oci_spec::runtime::{
    Hook, HookBuilder, Hooks, Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp,
    Root, Spec,
};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// The first version with recursive mount options (`rro`); crun 1.8.1 refuses 1.2.0 and above.
const RECURSIVE: &str = "1.1.0";
/// The first version with the hooks of the bridge.
const HOOKS: &str = "1.0.2";
/// Enough for everything else.
const PLAIN: &str = "1.0.0";
/// Seconds for a hook of ours.
const PATIENCE: i64 = 10;

/// The spec of a request whose mounts are known.
pub(super) fn spec(
    request: &Request,
    cwd: &Path,
    style: Style,
    ground: &Ground,
    layers: &Layers,
    wall: Option<&Config>,
    view: &dyn View,
) -> Result<Spec> {
    let placeholders = placeholders(ground);
    let mut spec = Spec::default();
    spec.set_version(version(layers, request).into())
        .set_root(Some(root()))
        .set_mounts(Some(layers.layers.iter().map(|layer| layer.mount.clone()).collect()))
        .set_process(Some(process::process(request, cwd, style, view)?))
        .set_hostname(None)
        .set_hooks(hooks(&placeholders, &request.routes, view)?)
        .set_annotations(Some(annotations(request, style, &placeholders, ground, wall)?))
        .set_linux(Some(linux(request, style, view)?));
    Ok(spec)
}

fn version(layers: &Layers, request: &Request) -> &'static str {
    let mut options = layers.layers.iter().flat_map(|layer| layer.mount.options().iter().flatten());
    let recursive = |option: &String| matches!(option.as_str(), "rro" | "rnosuid" | "rnodev" | "rnoexec");
    match () {
        () if options.any(recursive) => RECURSIVE,
        () if !request.routes.is_empty() => HOOKS,
        () => PLAIN,
    }
}

/// Read-only: a write outside every bind fails instead of vanishing with the skeleton.
fn root() -> Root {
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(true));
    root
}

fn linux(request: &Request, style: Style, view: &dyn View) -> Result<Linux> {
    let network = request.policy.network;
    let ids = view.ids();
    let (uid, gid) = inside(request.identity, view);
    let sandbox = style == Style::Sandbox;
    // Root needs no user namespace to make a mount namespace.
    let user = sandbox || ids.0 != 0;
    let fresh = sandbox && request.proc == Proc::Fresh;
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(sandbox, user, network)))
        .set_uid_mappings(user.then(|| one(uid, ids.0)).transpose()?)
        .set_gid_mappings(user.then(|| one(gid, ids.1)).transpose()?)
        .set_readonly_paths(fresh.then(|| kernel::owned(kernel::READONLY)))
        .set_masked_paths(fresh.then(|| kernel::owned(kernel::MASKED)))
        .set_seccomp(sandbox.then(|| filter(request, view)).transpose()?)
        .set_resources(limits::resources(request))
        .set_devices(None);
    Ok(linux)
}

fn filter(request: &Request, view: &dyn View) -> Result<LinuxSeccomp> {
    let choices = &request.policy.choices;
    seccomp::filter(request.policy.network, choices.tcp_ports.is_some(), &choices.allow_syscalls, view.arch())
}

fn namespaces(sandbox: bool, user: bool, network: Network) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Ipc, Mount, Network as Net, Pid, User};
    let wanted = [
        (User, user),
        (Pid, sandbox),
        (Ipc, sandbox), // System V segments and message queues of the host
        (Mount, true),
        (Net, sandbox && network != Network::Enabled),
    ];
    let namespace = |typ| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(typ);
        namespace
    };
    wanted.into_iter().filter(|(_, on)| *on).map(|(typ, _)| namespace(typ)).collect()
}

fn one(inside: u32, outside: u32) -> Result<Vec<LinuxIdMapping>> {
    let map = LinuxIdMappingBuilder::default().container_id(inside).host_id(outside).size(1u32).build();
    map.map(|map| vec![map]).map_err(|e| Error::new("cannot write the id maps").cause(e))
}

fn placeholders(ground: &Ground) -> Vec<String> {
    ground.placeholders.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

fn hooks(placeholders: &[String], routes: &[Route], view: &dyn View) -> Result<Option<Hooks>> {
    if placeholders.is_empty() && routes.is_empty() {
        return Ok(None);
    }
    let (mut hooks, mut poststop) = (Hooks::default(), Vec::new());
    if !placeholders.is_empty() {
        // Every runtime makes missing mount points on the host; this removes them, whoever made them.
        let words = ["sweep", "--"].map(String::from).into_iter().chain(placeholders.iter().cloned());
        poststop.push(hook(view, words)?);
    }
    if !routes.is_empty() {
        let words = ["bridge".into()].into_iter().chain(routes.iter().map(Route::to_string));
        hooks.set_create_runtime(Some(vec![without_environment(hook(view, words)?)]));
        let inside = hook(view, ["bridge", "--inside"].map(String::from))?;
        hooks.set_create_container(Some(vec![without_environment(inside)]));
        poststop.push(without_environment(hook(view, ["bridge", "--end"].map(String::from))?));
    }
    hooks.set_poststop(Some(poststop));
    Ok(Some(hooks))
}

/// codexrun itself.
fn hook(view: &dyn View, words: impl IntoIterator<Item = String>) -> Result<Hook> {
    HookBuilder::default()
        .path(view.exe())
        .args(["codexrun".into()].into_iter().chain(words).collect::<Vec<_>>())
        .timeout(PATIENCE)
        .build()
        .map_err(|e| Error::new("cannot write the hooks").cause(e))
}

/// The bridge stays, and needs nothing of the runtime's; without the field runc passes on its own.
fn without_environment(mut hook: Hook) -> Hook {
    hook.set_env(Some(Vec::new()));
    hook
}

/// Who leaves open by what the policy is kept has said what may be lost.
fn gives_up_processes(policy: &Policy) -> bool {
    policy.choices.isolation == Isolation::Auto && policy.choices.accepts(Clause::Processes)
}

/// What may be a standard stream, where not anything may.
pub(super) fn stdio(request: &Request, style: Style) -> Option<&'static str> {
    match (request.policy.choices.stdio_sockets, request.policy.network) {
        (StdioSockets::None, _) => Some(annotation::STDIO_NONE),
        _ if style == Style::Host => None,
        (StdioSockets::Any, _) => Some(annotation::STDIO_ANY),
        (StdioSockets::Connected, Network::Enabled) => Some(annotation::STDIO_INTERNET),
        (StdioSockets::Connected, Network::Proxy | Network::Restricted) => Some("connected"),
    }
}

fn annotations(
    request: &Request,
    style: Style,
    placeholders: &[String],
    ground: &Ground,
    wall: Option<&Config>,
) -> Result<HashMap<String, String>> {
    let mut all = vec![
        (annotation::POLICY_SHA256, request.digest.clone()),
        (annotation::DIE_WITH_PARENT, "true".into()),
        (annotation::RESOLVE, "nofollow".into()),
    ];
    if style == Style::Sandbox {
        all.push((annotation::INIT, "reaper".into()));
    }
    if style == Style::Sandbox && request.policy.choices.unix_datagrams {
        all.push((annotation::UNIX_DATAGRAMS, "true".into()));
    }
    all.extend(stdio(request, style).map(|which| (annotation::STDIO_SOCKETS, which.into())));
    if request.proc == Proc::Outer && gives_up_processes(request.policy) {
        all.push((annotation::LOST, json!([Clause::Processes.to_string()]).to_string()));
    }
    all.extend(wall.map(super::wall::text).transpose()?.map(|text| (annotation::LANDLOCK, text)));
    all.extend(request.policy.choices.limits.wall.map(|seconds| (annotation::WALL_TIME, seconds.to_string())));
    let lists = [
        (annotation::PLACEHOLDERS, placeholders, !placeholders.is_empty()),
        (annotation::DENY_GLOBS, &ground.globs, !ground.globs.is_empty()),
        // With none the sandbox has its own.
        (annotation::UNIX_SOCKETS, &ground.sockets, style == Style::Sandbox),
    ];
    for (key, list, said) in lists {
        if said {
            let json = serde_json::to_string(list).map_err(|e| Error::new(format!("cannot write `{key}`")).cause(e))?;
            all.push((key, json));
        }
    }
    Ok(all.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
}
