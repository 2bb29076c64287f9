//! A policy, NUL, a recorded view, and perhaps NUL and words → bundle → plan → what `explain` says of it. The bundle is written and read
//! again as the same, a plan comes of it or reasons with places, nothing that the policy denies can be read, and of two accounts of one
//! bundle there is no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::bundle::Bundle;
use libruntime::explain::{Explained, HostMount, Kind, Look, Node, Verdict, diff};
use libruntime::fuzz::{self, Config};
use libruntime::host::Host;
use libruntime::plan::{Options, Plan};
use libruntime::policy::compile::{Identity, Proc, Request, Said, compile, said};
use libruntime::policy::parse::{Base, Format, parse};
use libruntime::policy::view::{self, Recorded, View};
use libruntime::policy::{Access, FileSystem};
use std::io;
use std::path::{Path, PathBuf};

const CWD: &str = "/home/dev/project";

fuzz_target!(|text: &str| {
    let mut parts = text.split('\0');
    let (Some(policy), Some(Ok(view))) = (parts.next(), parts.next().map(Recorded::parse)) else { return };
    let words = parts.next().unwrap_or_default();
    let format = if policy.trim_start().starts_with('{') { Format::Json } else { Format::Toml };
    let home = view.home().expect("a view knows it");
    let Ok(parsed) = parse("policy", policy, format, &Base { cwd: Path::new(CWD), home: home.as_deref() }) else { return };
    let policy = &parsed.policy;
    let request = Request {
        policy,
        digest: policy.digest(),
        cwd: CWD.into(),
        args: vec!["true".into()],
        env: vec!["PATH=/usr/bin".into()],
        identity: if words.contains('r') { Identity::Root } else { Identity::Keep },
        proc: if words.contains('o') { Proc::Outer } else { Proc::Fresh },
        terminal: words.contains('t'),
        routes: vec![],
        controllers: view.controllers().unwrap_or_default(),
        namespaces: !words.contains('n'),
    };
    match compile(&request, &view) {
        Ok(compiled) => {
            let restricted = matches!(policy.file_system, FileSystem::Restricted(_));
            judged(&compiled.bundle, &view, restricted.then(|| said(policy, Path::new(CWD), &view)));
        }
        Err(reasons) => assert!(!reasons.is_empty() && reasons.iter().all(|reason| !reason.what.is_empty())),
    }
});

fn judged(bundle: &Bundle, view: &Recorded, said: Option<Vec<Said>>) {
    let written = bundle.to_json().expect("a view is text");
    let Config { spec, unknown, warned } = fuzz::config(written.as_bytes()).expect("what was compiled is read");
    assert!(spec == bundle.spec && unknown.is_empty() && !warned, "{written}");
    let (uid, gid) = view.ids();
    let host = Host::recorded(uid, gid);
    let plan = match Plan::new(bundle, &host, &Options::default()) {
        Ok(plan) => plan,
        Err(reasons) => return assert!(reasons.iter().all(|reason| reason.place.is_some()), "{reasons:?}"),
    };
    let paper = Paper(view);
    let Ok(explained) = Explained::new(bundle, &plan, &host, &paper, said.clone()) else { return };
    let facts = explained.facts(&bundle.spec, &plan, &host).expect("what is planned has a filter that compiles");
    assert_eq!(diff((&explained, &facts), (&explained, &facts)), []);
    let said = said.unwrap_or_default();
    for place in explained.places().take(256) {
        for path in [place.to_owned(), place.join("new")] {
            let answer = explained.path(&path);
            assert!(!answer.to_string().is_empty());
            assert!(answer.read != Verdict::Yes || !is_denied(&said, &path), "{answer}");
        }
    }
}

/// Whether whoever says something of the nearest place denies it.
fn is_denied(said: &[Said], path: &Path) -> bool {
    let above = || said.iter().filter(|one| path.starts_with(&one.path));
    let Some(nearest) = above().map(|one| &one.path).max_by_key(|path| path.components().count()) else { return false };
    above().filter(|one| one.path == *nearest).all(|one| one.access == Access::Deny)
}

/// A host that is written down, as explain asks: everything is the caller's own, and open to him.
struct Paper<'a>(&'a Recorded);

impl Look for Paper<'_> {
    fn node(&self, path: &Path) -> io::Result<Node> {
        let (kind, mode) = match self.0.kind(path)? {
            view::Kind::Dir => (Kind::Dir, 0o755),
            view::Kind::File => (Kind::File, 0o755),
            view::Kind::Symlink => (Kind::Link(self.0.link(path)?), 0o777),
        };
        Ok(Node::made(kind, mode, self.0.ids()))
    }

    fn mounts(&self) -> Vec<HostMount> {
        let (at, root) = (PathBuf::from("/"), PathBuf::from("/"));
        vec![HostMount { id: (1, 0), at, device: (8, 0), root, fstype: "ext4".into(), flags: 0, unbindable: false }]
    }

    fn protected_symlinks(&self) -> bool {
        true
    }

    fn groups(&self) -> Vec<u32> {
        vec![]
    }
}
