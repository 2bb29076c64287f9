//! Short names for policies and views in tests.

use super::{Identity, Proc, Request};
use crate::policy::{Access, Entry, Policy, Special, Target};

pub fn request(policy: &Policy) -> Request<'_> {
    Request {
        policy,
        digest: "00".into(),
        cwd: "/w".into(),
        args: vec!["true".into()],
        env: vec!["PATH=/usr/bin".into(), "PWD=/elsewhere".into()],
        identity: Identity::Keep,
        proc: Proc::Fresh,
        terminal: false,
        controllers: Vec::new(),
        namespaces: true,
        routes: Vec::new(),
    }
}

pub fn entry(target: Target, access: Access) -> Entry {
    Entry { target, access, skip_missing: false }
}
pub fn path(path: &str, access: Access) -> Entry {
    entry(Target::Path(path.into()), access)
}
pub fn special(special: Special, access: Access) -> Entry {
    entry(Target::Special(special), access)
}
pub fn root(access: Access) -> Entry {
    special(Special::Root, access)
}
pub fn project(access: Access) -> Entry {
    special(Special::ProjectRoots { subpath: None }, access)
}
pub fn sub(sub: &str, access: Access) -> Entry {
    special(Special::ProjectRoots { subpath: Some(sub.into()) }, access)
}
pub fn tmp() -> Entry {
    special(Special::SlashTmp, Access::Write)
}
pub fn tmpdir_entry() -> Entry {
    special(Special::Tmpdir, Access::Write)
}
