//! compile(policy, view) → bundle. Pure apart from the view: the same request and view give the same bundle.
//!
//! entries → wishes (`resolve`) → a tree of canonical paths (`roots`, `globs`, `metadata`, `top`) → mounts (`mounts`) and what they
//! land on (`skeleton`) → the spec (`spec`).

mod alone;
mod because;
mod choice;
pub(crate) mod git;
mod globs;
mod kernel;
mod limits;
mod metadata;
mod mounts;
mod own;
mod process;
mod proxy;
mod resolve;
mod roots;
mod seccomp;
mod skeleton;
mod spec;
#[cfg(test)]
mod testing;
mod top;
mod tree;
mod walk;
mod wall;

pub use because::{Said, said};

use super::isolation::{Clause, Isolation};
use super::view::View;
use super::{Access, FileSystem, Network, Policy, Restricted, Target};
use crate::Error;
use crate::bridge::Route;
use crate::bundle::{Bundle, Rootfs};
use resolve::Wishes;
use roots::Ground;
use std::path::{Path, PathBuf};
use top::Style;
use tree::Spot;
use walk::{End, Walk};

pub use proxy::{PROXY_VARIABLES, names_a_proxy, to_own_proxy};
pub use seccomp::{Lift, lifts};

/// resolv.conf(5).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Who the command is inside its user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The caller's ids.
    Keep,
    /// Root, which is the caller outside; rootless runc knows nothing else.
    Root,
}

/// Where `/proc` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proc {
    /// A new one, which shows the sandbox's processes only.
    Fresh,
    /// The caller's, read-only: for an outer container that forbids a new one.
    Outer,
}

/// Everything that a bundle depends on besides the host.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What is permitted.
    pub policy: &'a Policy,
    /// SHA-256 of the policy, lower-case hex.
    pub digest: String,
    /// The working directory, and what `project_roots` means; absolute.
    pub cwd: PathBuf,
    /// The command.
    pub args: Vec<String>,
    /// `KEY=VALUE`; compile adds and overrides its own.
    pub env: Vec<String>,
    /// Who the command is.
    pub identity: Identity,
    /// Where `/proc` comes from.
    pub proc: Proc,
    /// Whether the command gets a terminal of its own.
    pub terminal: bool,
    /// Ports that are published or allowed; a network of proxies adds its own.
    pub routes: Vec<Route>,
    /// The cgroup controllers by which the sandbox can be limited; looked for only where there are limits.
    pub controllers: Vec<String>,
    /// Whether the caller may make namespaces here; asked only where that decides (`isolation` = `auto`).
    pub namespaces: bool,
}

/// A bundle, and what the user should know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// With a skeleton as its root.
    pub bundle: Bundle,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// What was noticed on the way; with an error among it there is no bundle.
#[derive(Debug, Default)]
struct Findings {
    warnings: Vec<String>,
    errors: Vec<Error>,
}

/// Turns a policy into a bundle, or says every reason why it cannot.
pub fn compile(request: &Request, view: &dyn View) -> Result<Compiled, Vec<Error>> {
    let walk = Walk::new(view);
    // Nothing below it could be protected, which would be one more sentence for each protected name.
    if let End::File(_) = walk.trace(&request.cwd).end {
        return Err(vec![no_directory(request)]);
    }
    match request.policy.choices.isolation {
        Isolation::Landlock => return alone::compile(request, view),
        Isolation::Auto if !request.namespaces => return alone::compile(request, view),
        Isolation::Auto | Isolation::Namespaces => {}
    }
    let mut found = Findings::default();
    let request = &proxy::routed(request, &mut found);
    let (style, mut ground) = ground(request, &walk, &mut found);
    enterable(request, style, &walk)?;
    ground.sockets = choice::granted(&request.policy.choices, &ground.tree, &walk, &mut found);
    let wall = if style == Style::Sandbox { wall::behind(&ground, request) } else { None };
    let barred = top::expand(&mut ground, style, &walk, &mut found);
    ground.resolver = resolver(request, &ground, &walk);
    let cwd = working_directory(request, style, &ground, &walk, &mut found);
    let layers = mounts::layers(&ground, style, request.proc);
    portable(&layers, &ground, &cwd, &mut found);
    limits::judge(request, view, &mut found);
    let spec = spec::spec(request, &cwd, style, &ground, &layers, wall.as_ref(), view).map_err(|e| found.errors.push(e));
    let unanswered = walk.unanswered();
    if !unanswered.is_empty() {
        return Err(distinct(unanswered));
    }
    match spec {
        Ok(spec) if found.errors.is_empty() => {
            let rootfs = Rootfs::Skeleton(skeleton::skeleton(&layers, &ground.links, &barred));
            Ok(Compiled { bundle: Bundle { spec, rootfs, unknown: Vec::new() }, warnings: distinct(found.warnings) })
        }
        _ => Err(distinct(found.errors)),
    }
}

/// Two entries may fail, or be warned about, for the same reason; it is said once.
fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut out = Vec::new();
    for one in all {
        if !out.contains(&one) {
            out.push(one);
        }
    }
    out
}

/// The decided places of a policy, and who makes `/proc` and `/dev`.
fn ground(request: &Request, walk: &Walk, found: &mut Findings) -> (Style, Ground) {
    let choices = &request.policy.choices;
    let restricted = match &request.policy.file_system {
        FileSystem::Unrestricted | FileSystem::External => {
            found.errors.extend(choices.of_files().map(unrestricted));
            None
        }
        FileSystem::Restricted(policy) => {
            let mut wishes = resolve::resolve(policy, &request.cwd, walk, found);
            choice::wishes(choices, &mut wishes, walk, found);
            (choices.private_tmp || !writes_everything(policy, &wishes)).then_some((policy, wishes))
        }
    };
    match (restricted, request.policy.network) {
        (Some((policy, wishes)), _) => {
            let (mut ground, traced) = roots::land(&wishes, walk, found);
            ground.caches = choice::caches(choices, walk).iter().filter_map(|path| walk.trace(path).end.place()).collect();
            if choices.private_tmp {
                renew(choice::TMP, &mut ground, walk, found);
            }
            globs::deny(policy, &request.cwd, &mut ground, walk, found);
            globs::keep_cache(&mut ground, walk, found);
            own::keep(&mut ground, walk, found);
            let alone = choices.isolation == Isolation::Landlock;
            globs::keep_records(!alone, &mut ground, walk, found);
            if !alone || !choices.accepts(Clause::Metadata) {
                metadata::protect(choices, &mut ground, walk, found);
            }
            roots::judge(&traced, walk, &mut ground, found);
            (Style::Sandbox, ground)
        }
        (None, Network::Enabled) => (Style::Host, everything()),
        (None, Network::Restricted | Network::Proxy) => (Style::Sandbox, everything()),
    }
}

/// Where resolvers are named, if the sandbox sees it: it must name the one inside.
fn resolver(request: &Request, ground: &Ground, walk: &Walk) -> Option<PathBuf> {
    if request.policy.choices.dns.is_empty() {
        return None;
    }
    let End::File(at) = walk.trace(Path::new(RESOLV_CONF)).end else { return None };
    matches!(ground.tree.access(&at), Some(Access::Read | Access::Write)).then_some(at)
}

fn unrestricted(choice: &str) -> Error {
    let what = format!("`{choice}` has no effect where the file system is unrestricted");
    Error::new(what).hint("grant `:root` for writing instead, as an entry")
}

fn renew(dir: &str, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    match walk.trace(Path::new(dir)).end {
        End::Dir(at) => ground.tree.renew(at),
        End::File(_) | End::Missing(_) | End::Barred(_) => {
            found.errors.push(Error::new(format!("`{dir}` cannot be private: it is no directory")));
        }
    }
}

/// `root = write` and nothing that narrows it is the same as no restriction.
fn writes_everything(policy: &Restricted, wishes: &Wishes) -> bool {
    let glob = policy.entries.iter().any(|entry| matches!(entry.target, Target::Glob(_)));
    !glob && wishes.contains_key(Path::new("/")) && wishes.values().all(|wish| wish.access == Access::Write)
}

fn everything() -> Ground {
    let mut ground = Ground::default();
    ground.tree.put("/".into(), Spot { access: Access::Write, dir: true });
    ground
}

/// The working directory without symbolic links; it must exist inside too.
fn working_directory(request: &Request, style: Style, ground: &Ground, walk: &Walk, found: &mut Findings) -> PathBuf {
    let with_power = (style == Style::Host).then(|| Walk::with_power(walk.view));
    let end = with_power.as_ref().unwrap_or(walk).trace(&request.cwd).end;
    found.errors.extend(with_power.iter().flat_map(Walk::unanswered));
    let error = match end {
        End::Dir(cwd) => return inside(cwd, style, ground, found),
        End::File(_) | End::Missing(_) => no_directory(request),
        End::Barred(at) => no_directory(request).cause(walk.barred(&at)),
    };
    found.errors.push(error);
    request.cwd.clone()
}

/// Of a working directory that cannot be entered there is one reason, and none about the names below it; who keeps the host's root has the
/// power that is looked with there.
fn enterable(request: &Request, style: Style, walk: &Walk) -> Result<(), Vec<Error>> {
    match walk.trace(&request.cwd).end {
        End::Barred(at) if style == Style::Sandbox => {
            let unanswered = walk.unanswered();
            Err(if unanswered.is_empty() { vec![no_directory(request).cause(walk.barred(&at))] } else { distinct(unanswered) })
        }
        _ => Ok(()),
    }
}

fn no_directory(request: &Request) -> Error {
    Error::new(format!("working directory `{}` is no directory", request.cwd.display()))
}

fn inside(cwd: PathBuf, style: Style, ground: &Ground, found: &mut Findings) -> PathBuf {
    let own = ["/", "/proc", "/dev", "/dev/shm"].iter().any(|path| cwd == Path::new(path));
    let seen = matches!(ground.tree.access(&cwd), Some(Access::Read | Access::Write));
    let seen = seen && !ground.placeholders.contains(&cwd);
    if !seen && !own && style == Style::Sandbox {
        let what = format!("the policy hides the working directory `{}`", cwd.display());
        found.errors.push(Error::new(what).hint("grant it for reading, or choose another with --cwd"));
    }
    cwd
}

/// config.json is JSON: what is not UTF-8 cannot be named in it, and must not be named wrongly. Of a directory and what lies below it the
/// directory is told.
fn portable(layers: &mounts::Layers, ground: &Ground, cwd: &Path, found: &mut Findings) {
    let paths = layers.layers.iter().map(|layer| layer.at.as_path());
    let paths = paths.chain(ground.placeholders.iter().map(PathBuf::as_path)).chain([cwd]);
    for path in paths.filter_map(|path| path.ancestors().filter(|path| path.to_str().is_none()).last()) {
        found.errors.push(Error::new(format!("`{}` is not UTF-8, so config.json cannot name it", path.display())));
    }
}

#[cfg(test)]
mod tests;
