//! What a bundle is confined by: that it is said, and that nobody can have it otherwise than it was compiled.

use crate::choose::Isolation;
use crate::make::POLICY;
use crate::report;
use libruntime::bundle::Bundle;
use libruntime::host::namespaces::{self, Reach};
use libruntime::plan::annotation_of;
use libruntime::{Error, Result, annotation, namespace};
use oci_spec::runtime::{LinuxNamespaceType, LinuxSeccompAction, LinuxSyscall};
use std::path::Path;

/// By what it is enforced, what was given up for it, and what nobody could give up.
pub fn say(bundle: &Bundle) {
    let lost: Vec<String> =
        annotation_of(&bundle.spec, annotation::LOST).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    let mode = match annotation_of(&bundle.spec, annotation::ISOLATION) {
        Some(_) if annotation_of(&bundle.spec, annotation::LANDLOCK).is_none() => "none, as the policy forbids nothing",
        mode => mode.unwrap_or("namespaces"),
    };
    let lost = if lost.is_empty() { String::new() } else { format!("; given up: {}", lost.join(", ")) };
    let left = annotation_of(&bundle.spec, annotation::ISOLATION).and_then(|_| sockets(bundle)).unwrap_or_default();
    report::note(&format!("isolation: {mode}{lost}{left}"));
}

/// What the filter leaves of sockets, where there is no network namespace that would have a loopback.
fn sockets(bundle: &Bundle) -> Option<&'static str> {
    let seccomp = bundle.spec.linux().as_ref()?.seccomp().as_ref()?;
    let whole = |rule: &&LinuxSyscall| {
        rule.action() == LinuxSeccompAction::ScmpActErrno && rule.args().as_ref().is_none_or(|args| args.is_empty())
    };
    let refused: Vec<&String> = seccomp.syscalls().iter().flatten().filter(whole).flat_map(LinuxSyscall::names).collect();
    let shut = |name: &str| refused.iter().any(|refused| *refused == name);
    Some(match () {
        () if shut("socket") => "; no loopback, and no sockets but pairs",
        () if shut("listen") => "; no loopback, and no sockets but pairs and TCP to the proxies",
        () => "; no Unix sockets but pairs",
    })
}

/// The same of a bundle on disk, where anybody would ask. Nothing is said of namespaces that cannot be made: the launch is about to say why.
pub fn say_of(bundle: &Bundle, asked: Option<Isolation>) {
    if annotation_of(&bundle.spec, annotation::ISOLATION).is_some() || asked.is_some() && !lacks_namespaces(bundle) {
        say(bundle);
    }
}

fn lacks_namespaces(bundle: &Bundle) -> bool {
    let user = namespace::is_new(&bundle.spec, LinuxNamespaceType::User);
    user && namespaces::reach(false).is_ok_and(|reach| reach == Reach::Nothing)
}

/// Refuses another isolation than that of the bundle in `dir`: what Landlock alone would lose of namespaces and mounts only a policy tells.
pub fn must_be(asked: Option<Isolation>, bundle: &Bundle, dir: &Path) -> Result<()> {
    let alone = annotation_of(&bundle.spec, annotation::ISOLATION).is_some();
    match asked {
        Some(Isolation::Landlock) if !alone => {
            let what = "`--isolation landlock`: the bundle was made for namespaces and mounts, and only its policy tells what would be lost without them";
            let file = dir.join(POLICY);
            let policy = if file.exists() { file.display().to_string() } else { "POLICY".into() };
            let spec = format!("codexrun spec --from-policy {policy} --isolation landlock --bundle DIR -- CMD…");
            Err(Error::new(what)
                .hint(format!("`{spec}`, with the other options that the bundle was made with, makes one of Landlock alone, and names what `--accept-loss` must give up")))
        }
        Some(Isolation::Namespaces) if alone => {
            let what = "`--isolation namespaces`: the bundle was made for Landlock alone, and has neither namespaces nor mounts";
            Err(Error::new(what).hint("`codexrun spec --from-policy POLICY --bundle DIR -- CMD…`, with the other options that the bundle was made with, makes one of namespaces"))
        }
        None | Some(Isolation::Namespaces | Isolation::Landlock | Isolation::Auto) => Ok(()),
    }
}
