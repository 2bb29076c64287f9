//! `process`: who the command is, what it may do, where it starts and what its environment says.

use super::choice::TMP;
use super::top::Style;
use super::{Identity, Request, limits};
use crate::Result;
use crate::policy::Network;
use crate::policy::view::View;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, User};
use std::collections::HashMap;
use std::path::Path;

/// Codex's variable: the network is not there.
const NETWORK_DISABLED: &str = "CODEX_SANDBOX_NETWORK_DISABLED=1";
/// Codex's variable: what the proxy variables name is all that can be reached.
const PROXY_ACTIVE: &str = "CODEX_NETWORK_PROXY_ACTIVE=1";
/// Tells a program that it is sandboxed.
const SANDBOXED: &str = "CODEX_SANDBOX=codexrun";

/// The process of a request, starting in the canonical directory `cwd`.
pub(super) fn process(request: &Request, cwd: &Path, style: Style, view: &dyn View) -> Result<Process> {
    let mut process = Process::default();
    process
        .set_terminal(Some(request.terminal))
        .set_user(user(request.identity, view))
        .set_args(Some(request.args.clone()))
        .set_env(Some(environment(request, cwd, style)))
        .set_cwd(cwd.into())
        .set_capabilities(Some(capabilities(style, view)?))
        .set_rlimits(limits::rlimits(request))
        .set_no_new_privileges(Some(style == Style::Sandbox));
    Ok(process)
}

fn user(identity: Identity, view: &dyn View) -> User {
    let (uid, gid) = inside(identity, view);
    let mut user = User::default();
    user.set_uid(uid).set_gid(gid);
    user
}

/// Ids of the command inside the user namespace.
pub(super) fn inside(identity: Identity, view: &dyn View) -> (u32, u32) {
    match identity {
        Identity::Keep => view.ids(),
        Identity::Root => (0, 0),
    }
}

/// None at all, except that root keeps what it has where nothing is taken away. In a user namespace every one of them
/// would be new: power over mounts that a policy made.
fn capabilities(style: Style, view: &dyn View) -> Result<LinuxCapabilities> {
    let kept = match (style, view.ids().0) {
        (Style::Host, 0) => named(view.capabilities()?),
        (Style::Host, _) | (Style::Sandbox, _) => Capabilities::new(),
    };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(kept.clone()))
        .set_effective(Some(kept.clone()))
        .set_permitted(Some(kept))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    Ok(sets)
}

fn named(bits: u64) -> Capabilities {
    CAPABILITIES.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, cap)| *cap).collect()
}

/// By number, capabilities(7).
const CAPABILITIES: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// The caller's variables, then ours; the last word about a name stays, where its first was.
fn environment(request: &Request, cwd: &Path, style: Style) -> Vec<String> {
    let network = |is| style == Style::Sandbox && request.policy.network == is;
    let tmpdir = request.env.iter().find_map(|var| var.strip_prefix("TMPDIR="));
    let private = request.policy.choices.private_tmp && tmpdir.is_some_and(|dir| Path::new(dir).starts_with(TMP));
    let ours = [
        private.then(|| format!("TMPDIR={TMP}")),
        network(Network::Restricted).then(|| NETWORK_DISABLED.into()),
        network(Network::Proxy).then(|| PROXY_ACTIVE.into()),
        (style == Style::Sandbox).then(|| SANDBOXED.into()),
        Some(format!("PWD={}", cwd.display())),
    ];
    let ours: Vec<String> = ours.into_iter().flatten().collect();
    let mut env: Vec<&String> = Vec::with_capacity(request.env.len() + ours.len());
    let mut places = HashMap::with_capacity(env.capacity());
    for var in request.env.iter().chain(&ours) {
        let place = *places.entry(name(var)).or_insert(env.len());
        match env.get_mut(place) {
            Some(old) => *old = var,
            None => env.push(var),
        }
    }
    env.into_iter().cloned().collect()
}

fn name(var: &str) -> &str {
    var.split_once('=').map_or(var, |(name, _)| name)
}
