//! Explain on a host that is written down: what needs no kernel to be told.

use super::*;
use crate::bundle::Bundle;
use crate::policy::compile::{self, Identity, Proc, Request, said};
use crate::policy::parse::{Base, Format, parse};
use crate::policy::view::Recorded;
use crate::sys::mount::attr;
use std::collections::BTreeMap;
use std::io;

/// Paths with mode and owner; `/` and what is above a path is 0755 of root.
struct Paper {
    nodes: BTreeMap<PathBuf, Node>,
    mounts: Vec<HostMount>,
}

impl Look for Paper {
    fn node(&self, path: &Path) -> io::Result<Node> {
        let above = || self.nodes.keys().any(|known| known.starts_with(path)).then(|| Node::made(Kind::Dir, 0o755, (0, 0)));
        self.nodes.get(path).cloned().or_else(above).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn mounts(&self) -> Vec<HostMount> {
        self.mounts.clone()
    }
    fn protected_symlinks(&self) -> bool {
        true
    }
    fn groups(&self) -> Vec<u32> {
        vec![50]
    }
}

const VIEW: &str = r#"{"uid": 7, "gid": 7, "paths": {"/w/sub": "dir", "/w/f": "file", "/w/.git": "dir", "/w/ro": "dir", "/etc": "dir",
    "/tmp": "dir", "/dev/null": "file", "/secret": "dir", "/etc/its.sock": "file", "/etc/shut.sock": "file"}}"#;
const POLICY: &str = r#"{"file_system": {"kind": "restricted", "entries": [
    {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
    {"path": {"type": "special", "value": {"kind": "project_roots"}}, "access": "write"},
    {"path": {"type": "special", "value": {"kind": "slash_tmp"}}, "access": "write"},
    {"path": {"type": "path", "path": "/secret"}, "access": "deny"}]}, "network": "restricted"}"#;

fn paper() -> Paper {
    let dir = |mode, uid| Node::made(Kind::Dir, mode, (uid, uid));
    let file = |mode, uid, gid| Node::made(Kind::File, mode, (uid, gid));
    let mut listed = file(0o660, 0, 0);
    listed.acl = node::acl(&[&[2, 0, 0, 0][..], &[2, 0, 4, 0, 7, 0, 0, 0], &[0x10, 0, 7, 0, 0, 0, 0, 0]].concat());
    let nodes = [
        ("/w", dir(0o755, 7)),
        ("/w/f", file(0o644, 7, 7)),
        ("/w/group", file(0o060, 0, 50)),
        ("/w/listed", listed),
        ("/w/sub", dir(0o1777, 0)),
        ("/w/sub/others", file(0o666, 9, 9)),
        ("/w/sub/link", Node::made(Kind::Link("/w/f".into()), 0o777, (9, 9))),
        ("/w/.git/config", file(0o644, 7, 7)),
        ("/w/ro/f", file(0o666, 7, 7)),
        ("/etc/passwd", file(0o644, 0, 0)),
        ("/tmp", dir(0o1777, 0)),
        ("/secret/key", file(0o644, 7, 7)),
        ("/etc/its.sock", Node::made(Kind::Socket, 0o666, (0, 0))),
        ("/etc/shut.sock", Node::made(Kind::Socket, 0o600, (0, 0))),
        ("/etc/other.sock", Node::made(Kind::Socket, 0o666, (0, 0))),
        ("/dev/null", Node::made(Kind::Device, 0o666, (0, 0))),
    ];
    let mount = |id, at: &str, (device, root): (u32, &str), flags| HostMount {
        id,
        at: at.into(),
        device: (8, device),
        root: root.into(),
        fstype: "ext4".into(),
        flags,
        unbindable: false,
    };
    let nodes = nodes.into_iter().map(|(path, node)| (path.into(), node)).collect();
    let devices = ["zero", "full", "random", "urandom", "tty"].map(|name| (PathBuf::from(format!("/dev/{name}")), dir(0o666, 0)));
    let nodes: BTreeMap<_, _> = devices.into_iter().chain::<BTreeMap<_, _>>(nodes).collect();
    let alias = mount((3, 1), "/mnt/alias", (0, "/w/sub"), 0);
    Paper { nodes, mounts: vec![mount((1, 0), "/", (0, "/"), 0), mount((2, 1), "/w/ro", (1, "/"), attr::RDONLY), alias] }
}

fn compiled(policy: &str) -> (Bundle, Vec<Said>) {
    let view = Recorded::parse(VIEW).unwrap();
    let parsed = parse("p", policy, Format::Json, &Base { cwd: Path::new("/w"), home: None }).unwrap();
    let request = Request {
        policy: &parsed.policy,
        digest: parsed.policy.digest(),
        cwd: "/w".into(),
        args: vec!["sh".into()],
        env: vec!["PATH=/bin".into()],
        identity: Identity::Keep,
        proc: Proc::Fresh,
        terminal: false,
        routes: Vec::new(),
        controllers: Vec::new(),
        namespaces: true,
    };
    let said = said(&parsed.policy, Path::new("/w"), &view);
    (compile::compile(&request, &view).unwrap().bundle, said)
}

fn explained<T>(tell: impl FnOnce(Explained) -> T) -> T {
    explained_of(POLICY, tell)
}

fn explained_of<T>(policy: &str, tell: impl FnOnce(Explained) -> T) -> T {
    let (bundle, said) = compiled(policy);
    let (host, look) = (Host { setgroups: false, ..Host::recorded(7, 7) }, paper());
    let plan = Plan::new(&bundle, &host, &crate::plan::Options::default()).unwrap();
    tell(Explained::new(&bundle, &plan, &host, &look, Some(said)).unwrap())
}

/// `PATH letters`, and what is said of it.
fn ask(path: &str) -> (String, String) {
    let answer = explained(|explained| explained.path(Path::new(path)));
    let letters = answer.rights().into_iter().zip("rwcdx".chars()).filter(|((_, may), _)| *may == &Verdict::Yes).map(|(_, c)| c);
    (letters.collect(), answer.to_string())
}

#[test]
fn a_socket_that_is_granted_is_connected_to_by_its_mode_and_no_other_is() {
    let granted = r#""network": "restricted", "codexrun": {"unix_sockets": ["/etc/its.sock", "/etc/shut.sock"]}}"#;
    let policy = POLICY.replace(r#""network": "restricted"}"#, granted);
    let ask = |path: &str| explained_of(&policy, |explained| explained.path(Path::new(path)));
    let (its, shut, other) = (ask("/etc/its.sock"), ask("/etc/shut.sock"), ask("/etc/other.sock"));
    assert!(its.to_string().starts_with("/etc/its.sock: socket: connect\n"), "{its}");
    assert_eq!(its.json()["connect"], serde_json::json!({ "allowed": true }));
    assert!(shut.to_string().contains("not connect: mode 0600 of 0:0"), "{shut}");
    let why = "not connect: it is the host's, and not granted (annotations[dev.codexrun.unix-sockets])";
    assert!(other.to_string().starts_with("/etc/other.sock: socket: nothing\n") && other.to_string().contains(why), "{other}");
    // Of what is no socket nothing is said.
    assert!(ask("/etc/passwd").connect.is_none() && ask("/etc/passwd").json().get("connect").is_none());
}

#[test]
fn modes_lists_groups_and_sticky_directories_decide_as_in_the_kernel() {
    for (path, want) in [
        ("f", "rwd"),
        ("group", "rwd"), // by the caller's own supplementary group
        ("listed", "rd"),
        ("sub", "rwdx"),
        ("sub/others", "rw"),
        ("sub/link", ""), // fs.protected_symlinks
        ("new", "c"),
        ("new/deep", "c"),
        (".git/config", "r"),
        (".git", "rx"),
        (".codex", "rx"),
        ("ro/f", "r"),
        ("ro", "rx"),
        ("/etc/passwd", "r"),
        ("/etc/new", ""),
        ("/tmp/new", "c"),
        ("/secret", ""),
        ("/secret/key", ""),
        ("/dev/null", "rw"),
        ("/nowhere", ""),
    ] {
        assert_eq!(ask(path).0, want, "{}", ask(path).1);
    }
}

#[test]
fn a_file_of_the_hosts_is_rewritten_by_any_name_that_it_has_inside() {
    let by = |file: &str| explained(|explained| explained.rewrites(Path::new(file))).map(|name| name.display().to_string());
    for (file, name) in [
        ("/w/sub/log", Some("/w/sub/log")),
        ("/mnt/alias/log", Some("/w/sub/log")),
        ("/w/f", Some("/w/f")),
        ("/w/.git/log", None),
        ("/w/ro/log", None),
        ("/etc/log", None),
    ] {
        assert_eq!(by(file).as_deref(), name, "{file}");
    }
}

#[test]
fn the_mount_and_the_entry_are_named() {
    let (_, said) = ask(".git/config");
    assert!(said.contains("protected metadata of entries[1]: :workspace_roots"), "{said}");
    assert!(ask("ro/f").1.contains("the mount is read-only (the host's mount on `/w/ro`)"), "{}", ask("ro/f").1);
    assert!(ask("/secret").1.contains("entries[3]: /secret = deny"), "{}", ask("/secret").1);
    assert!(ask(".git").1.contains("it is a mount point (mounts["), "{}", ask(".git").1);
}

#[test]
fn paths_begin_at_the_hosts_root_wherever_it_stands_in_the_list() {
    let mut paper = paper();
    paper.mounts.reverse();
    let table = super::table::Table::new(&paper);
    assert_eq!((table.host, table.root), (2, 2));
}
