//! Policies over recorded views: each table line is a rule.

use super::testing::*;
use super::*;
use crate::annotation;
use crate::bundle::{Node, Skeleton};
use crate::policy::choice::{Choices, Git};
use crate::policy::view::Recorded;
use crate::policy::{Entry, Restricted, Special, Target};
use oci_spec::runtime::{LinuxNamespaceType, Mount};

/// An ordinary machine; `extra` are more lines of `paths`.
fn host(extra: &str) -> Recorded {
    host_of("1000", extra)
}

/// The same, of another user; `uid` may be followed by more of what a view says.
fn host_of(uid: &str, extra: &str) -> Recorded {
    let base = r#""/bin": {"link": "usr/bin"}, "/usr/bin": "dir", "/etc/passwd": "file", "/tmp": "dir", "/proc": "dir",
        "/dev/shm": "dir", "/opt": "dir", "/lost+found": {"dir": "unreadable"}, "/file": "file", "/w": "dir""#;
    let comma = if extra.is_empty() { "" } else { "," };
    let text = format!(r#"{{"uid": {uid}, "gid": 100, "home": "/home/u", "paths": {{{base}{comma}{extra}}}}}"#);
    Recorded::parse(&text).unwrap()
}

fn restricted(entries: Vec<Entry>) -> Policy {
    let file_system = FileSystem::Restricted(Restricted { entries, glob_scan_max_depth: None });
    Policy { file_system, network: Network::Restricted, choices: Default::default() }
}

fn made(entries: Vec<Entry>, extra: &str) -> Compiled {
    compile(&request(&restricted(entries)), &host(extra)).unwrap()
}

fn refused(entries: Vec<Entry>, extra: &str) -> Vec<String> {
    let errors = compile(&request(&restricted(entries)), &host(extra)).unwrap_err();
    errors.into_iter().map(|e| e.what).collect()
}

fn mounts(compiled: &Compiled) -> &[Mount] {
    compiled.bundle.spec.mounts().as_deref().unwrap()
}

fn line(mount: &Mount) -> String {
    let source = mount.source().as_ref().unwrap().display();
    format!("{source} {} {}", mount.destination().display(), mount.options().as_ref().unwrap().join(","))
}

/// The mounts that a policy adds to those of every sandbox and of the entries of `/`.
fn own(compiled: &Compiled) -> Vec<String> {
    let common = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/usr", "/etc", "/opt", "/file", "/home"];
    let common = |m: &&Mount| common.iter().any(|at| m.destination() == Path::new(at));
    mounts(compiled).iter().filter(|m| !common(m)).map(line).collect()
}

fn skeleton(compiled: &Compiled) -> &Skeleton {
    match &compiled.bundle.rootfs {
        Rootfs::Skeleton(skeleton) => skeleton,
        Rootfs::Dir(_) => panic!("compile makes skeletons"),
    }
}

fn nodes(compiled: &Compiled) -> Vec<String> {
    let show = |node: &Node| match node {
        Node::Dir { path, mode } => format!("{} {mode:o}", path.display()),
        Node::File { path } => format!("{} file", path.display()),
        Node::Symlink { path, target } => format!("{} -> {}", path.display(), target.display()),
    };
    skeleton(compiled).entries.iter().map(show).collect()
}

fn placeholders(compiled: &Compiled) -> Vec<PathBuf> {
    let all = compiled.bundle.spec.annotations().as_ref().unwrap();
    all.get(annotation::PLACEHOLDERS).map(|json| serde_json::from_str(json).unwrap()).unwrap_or_default()
}

const RO: &str = "rbind,rro,rnosuid,rnodev";
const RW: &str = "rbind,rnosuid,rnodev";
const HELD: &str = "ro,nosuid,nodev,noexec,mode=0555,size=4k";
use Access::{Deny, Read, Write};

#[test]
fn read_only_is_one_bind_per_entry_of_the_root() {
    let c = made(vec![root(Read)], "");
    let all: Vec<String> = mounts(&c).iter().map(line).collect();
    let want = [
        "proc /proc nosuid,noexec,nodev".into(),
        "tmpfs /dev nosuid,strictatime,mode=755,size=65536k".into(),
        format!("/etc /etc {RO}"),
        "/file /file bind,ro,nosuid,nodev".into(),
        format!("/opt /opt {RO}"),
        format!("/tmp /tmp {RO}"),
        format!("/usr /usr {RO}"),
        format!("/w /w {RO}"),
        "devpts /dev/pts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620".into(),
        "shm /dev/shm nosuid,noexec,nodev,mode=1777,size=65536k".into(),
    ];
    assert_eq!(all, want);
    let want = [
        "/bin -> usr/bin",
        "/dev 755",
        "/etc 755",
        "/file file",
        "/lost+found 0",
        "/opt 755",
        "/proc 755",
        "/tmp 755",
        "/usr 755",
        "/w 755",
    ];
    assert_eq!(nodes(&c), want);
    assert_eq!(c.bundle.spec.version(), "1.1.0");
    assert!(c.bundle.spec.hooks().is_none());
}

#[test]
fn a_writable_root_replaces_the_bind_of_its_directory_and_protects_its_metadata() {
    let c = made(vec![root(Read), project(Write), tmp()], r#""/w/.git/config": "file", "/w/.codex": "file""#);
    let want = [
        format!("/tmp /tmp {RW}"),
        format!("/w /w {RW}"),
        "/w/.codex /w/.codex bind,ro,nosuid,nodev".into(),
        format!("/w/.git /w/.git {RO}"),
        format!("tmpfs /tmp/.agents {HELD}"),
        format!("tmpfs /tmp/.codex {HELD}"),
        format!("tmpfs /tmp/.git {HELD}"),
        format!("tmpfs /w/.agents {HELD}"),
    ];
    assert_eq!(own(&c), want);
    let held = ["/tmp/.agents", "/tmp/.codex", "/tmp/.git", "/w/.agents"].map(PathBuf::from);
    assert_eq!(placeholders(&c), held);
    let hook = &c.bundle.spec.hooks().as_ref().unwrap().poststop().as_ref().unwrap()[0];
    assert_eq!(hook.path(), Path::new("/usr/bin/codexrun"));
    let args = ["codexrun", "sweep", "--", "/tmp/.agents", "/tmp/.codex", "/tmp/.git", "/w/.agents"];
    assert_eq!(hook.args().as_ref().unwrap(), &args);
}

#[test]
fn one_line_per_rule_of_a_writable_root() {
    let git = r#""/w/.git": "dir", "/w/.agents": "dir", "/w/.codex": "dir""#;
    let meta = |root: &str| [".agents", ".codex", ".git"].map(|n| format!("{root}/{n} {root}/{n} {RO}")).to_vec();
    let with = |lines: &[String]| {
        let mut all = vec![format!("/tmp /tmp {RO}")];
        all.extend_from_slice(lines);
        all
    };
    let cases: Vec<(&str, Vec<Entry>, String, Vec<String>)> = vec![
        (
            "an explicit grant of .git lifts its protection",
            vec![root(Read), project(Write), sub(".git", Write)],
            git.into(),
            with(&[&[format!("/w /w {RW}")], &meta("/w")[..2]].concat()),
        ),
        (
            "a grant below .codex re-opens only that place",
            vec![root(Read), project(Write), sub(".codex/mem", Write)],
            r#""/w/.git": "dir", "/w/.agents": "dir", "/w/.codex/mem/.git": "dir", "/w/.codex/mem/.agents": "dir",
               "/w/.codex/mem/.codex": "dir""#
                .into(),
            with(
                &[
                    &[format!("/w /w {RW}")],
                    &meta("/w")[..],
                    &[format!("/w/.codex/mem /w/.codex/mem {RW}")],
                    &meta("/w/.codex/mem")[..],
                ]
                .concat(),
            ),
        ),
        (
            "a writable root behind a link is bound at its target, with its protections",
            vec![root(Read), path("/opt/link", Write)],
            format!(r#""/opt/link": {{"link": "/w"}}, {git}"#),
            with(&[&[format!("/w /w {RW}")], &meta("/w")[..]].concat()),
        ),
        (
            "a missing writable root is skipped",
            vec![root(Read), path("/opt/none", Write)],
            git.into(),
            with(&[format!("/w /w {RO}")]),
        ),
        (
            "a file can be a root",
            vec![root(Read), path("/etc/passwd", Write)],
            git.into(),
            with(&[format!("/w /w {RO}"), "/etc/passwd /etc/passwd bind,nosuid,nodev".into()]),
        ),
        (
            "a read entry below a root is bound read-only, a file too",
            vec![root(Read), project(Write), sub("d", Read), sub("f", Read)],
            format!(r#"{git}, "/w/d": "dir", "/w/f": "file""#),
            with(
                &[
                    &[format!("/w /w {RW}")],
                    &meta("/w")[..],
                    &[format!("/w/d /w/d {RO}"), "/w/f /w/f bind,ro,nosuid,nodev".into()],
                ]
                .concat(),
            ),
        ),
        (
            "denied directories and files are covered, and what is granted below them is bound on the cover",
            vec![root(Read), project(Write), sub("d", Deny), sub("d/in/ok", Read), sub("f", Deny), sub("e", Deny)],
            format!(r#"{git}, "/w/d/in/ok": "dir", "/w/f": "file", "/w/e": "dir""#),
            with(
                &[
                    &[format!("/w /w {RW}")],
                    &meta("/w")[..],
                    &[
                        "ramfs /w/d nosuid,nodev,noexec,mode=0111".into(),
                        "ramfs /w/e ro,nosuid,nodev,noexec,mode=0000".into(),
                        "/dev/null /w/f bind,ro,nosuid,nodev,noexec".into(),
                        format!("/w/d/in/ok /w/d/in/ok {RO}"),
                        "ramfs /w/d remount,ro,nosuid,nodev,noexec,mode=0111".into(),
                    ],
                ]
                .concat(),
            ),
        ),
        (
            "a missing protected path is held at its first missing component",
            vec![root(Read), project(Write), sub("a/b", Deny), sub("a/c", Read), path("/opt/x", Deny)],
            git.into(),
            with(&[&[format!("/w /w {RW}")], &meta("/w")[..], &[format!("tmpfs /w/a {HELD}")]].concat()),
        ),
    ];
    for (rule, entries, extra, want) in cases {
        let c = made(entries, &extra);
        assert_eq!(own(&c), want, "{rule}");
    }
}

#[test]
fn a_placeholder_of_another_sandbox_counts_as_missing() {
    let held = |name: &str| format!(r#""/w/{name}": {{"dir": "placeholder"}}"#);
    let extra = [held(".git"), held(".agents"), held(".codex"), held("a")].join(",");
    let c = made(vec![root(Read), project(Write), sub("a/b", Read), sub(".git", Read)], &extra);
    let want = ["/w/.agents", "/w/.codex", "/w/.git", "/w/a"].map(PathBuf::from);
    assert_eq!(placeholders(&c), want);
    let c = made(vec![root(Read), project(Write)], r#""/w": {"dir": "unwritable"}"#);
    assert!(placeholders(&c).is_empty(), "nothing can be created there");
}

#[test]
fn no_directory_above_a_protected_name_can_be_renamed() {
    let c = made(vec![root(Read), project(Write), sub("a/b/ro", Read)], r#""/w/a/b/ro": "dir""#);
    let at: Vec<_> = mounts(&c).iter().map(Mount::destination).collect();
    for dir in ["/w", "/w/a", "/w/a/b", "/w/a/b/ro"] {
        assert!(at.iter().any(|at| *at == Path::new(dir)), "{dir}: {at:?}");
    }
}

#[test]
fn a_pointer_file_protects_what_it_points_to() {
    let rest = r#""/w/.agents": "dir", "/w/.codex": "dir", "/w/m/.git/worktrees/x": "dir", "/w/m/.git/hooks": "dir",
        "/home/u/g": "dir", "/opt/g": "dir""#;
    let cases = [
        // With the three directories on the way to it, which must not be renamed.
        ("gitdir: m/.git/worktrees/x\n", vec!["/w/m/.git/worktrees/x"], 3),
        ("gitdir:/opt/g", vec![], 0),
        ("gitdir: ~/g", vec![], 0),
    ];
    for (text, want, pins) in cases {
        let pointer = format!(r#"{rest}, "/w/.git": {{"file": {}}}"#, serde_json::to_string(text).unwrap());
        let c = made(vec![root(Read), project(Write)], &pointer);
        let lines = own(&c);
        assert!(lines.contains(&"/w/.git /w/.git bind,ro,nosuid,nodev".into()), "{text}");
        for path in &want {
            assert!(lines.contains(&format!("{path} {path} {RO}")), "{text}: {lines:?}");
        }
        assert_eq!(lines.len(), 5 + want.len() + pins, "{text}: {lines:?}");
        assert!(c.warnings.is_empty(), "{text}");
    }
    // Whoever makes the directory that is gone makes the repository.
    let c = made(vec![root(Read), project(Write)], &format!(r#"{rest}, "/w/.git": {{"file": "gitdir: none/x"}}"#));
    assert_eq!(placeholders(&c), [PathBuf::from("/w/none")]);
    // A `.git` that is granted by name is granted with what is missing in it.
    let granted = vec![root(Read), project(Write), sub("m/.git", Write)];
    let pointer = r#""/w/.git": {"file": "gitdir: m/.git/worktrees/gone"}"#;
    assert!(placeholders(&made(granted, &format!("{rest}, {pointer}"))).is_empty());
    let common = r#""/w/.git": {"file": "gitdir: m/.git/worktrees/x"}, "/w/m/.git/worktrees/x/commondir": {"file": "../.."}"#;
    let c = made(vec![root(Read), project(Write)], &format!("{rest},{common}"));
    assert!(own(&c).contains(&format!("/w/m/.git /w/m/.git {RO}")), "hooks of the shared repository");
    let c = made(vec![root(Read), project(Write)], r#""/w/.git": {"file": "hello"}"#);
    assert_eq!(c.warnings, ["`/w/.git` is no `gitdir: PATH` pointer; only it is protected"]);
}

#[test]
fn what_lies_above_a_protection_cannot_be_renamed() {
    let rw = "rbind,rnosuid,rnodev";
    let c = made(vec![root(Read), project(Write), sub("a/b/c", Read)], r#""/w/a/b/c": "dir""#);
    for pin in ["/w/a", "/w/a/b"] {
        assert!(own(&c).contains(&format!("{pin} {pin} {rw}")), "{pin}: {:?}", own(&c));
    }
    // A root within a root: its `.git` would move away with it.
    let c = made(vec![root(Read), project(Write), sub("in/ner", Write)], r#""/w/in/ner": "dir""#);
    for pin in ["/w/in", "/w/in/ner"] {
        assert!(own(&c).contains(&format!("{pin} {pin} {rw}")), "{pin}: {:?}", own(&c));
    }
}

#[test]
fn protections_behind_replaceable_links_are_refused_all_at_once() {
    let extra = r#""/w/.git": {"link": "/opt"}, "/w/l": {"link": "/opt"}, "/w/.codex": {"link": "none"}"#;
    let entries = vec![root(Read), project(Write), sub("l/x", Deny), sub(".git", Read)];
    let read = |p: &str| format!("cannot enforce sandbox read-only path `/w/{p}` because it crosses writable symlink `/w/{p}`");
    let deny = "cannot enforce sandbox deny-read path `/w/l/x` because it crosses writable symlink `/w/l`";
    assert_eq!(refused(entries, extra), [read(".git"), read(".codex"), deny.into()]);
}

#[test]
fn a_writable_root_behind_a_replaceable_link_is_refused_unless_it_gains_nothing() {
    let entries = || vec![root(Read), project(Write), sub("out", Write)];
    let what = "cannot grant writable root `/w/out` because it crosses writable symlink `/w/out`, which a sandbox may have made";
    assert_eq!(refused(entries(), r#""/w/out": {"link": "/home/u"}, "/home/u": "dir""#), [what]);
    assert_eq!(refused(entries(), r#""/w/out": {"link": "/home/u/.bashrc"}, "/home/u/.bashrc": "file""#), [what]);
    made(entries(), r#""/w/out": {"link": "real"}, "/w/real": "dir""#);
    made(entries(), r#""/w/out": {"link": "nowhere"}"#);
}

#[test]
fn a_link_that_the_sandbox_cannot_replace_is_followed() {
    let c = made(vec![root(Read), path("/opt/l/x", Deny)], r#""/opt/l": {"link": "real"}, "/opt/real/x": "dir""#);
    assert!(own(&c).contains(&"ramfs /opt/real/x ro,nosuid,nodev,noexec,mode=0000".into()));
}

/// Like [`made`], with choices.
fn chosen(json: &str, entries: Vec<Entry>, extra: &str) -> Compiled {
    let text = format!(r#"{{"kind": "restricted", "codexrun": {json}}}"#);
    let base = crate::policy::parse::Base { cwd: Path::new("/w"), home: None };
    let parsed = crate::policy::parse::parse("p", &text, crate::policy::parse::Format::Json, &base).unwrap();
    let policy = Policy { choices: parsed.policy.choices, ..restricted(entries) };
    let controllers = vec!["memory".into()];
    compile(&Request { controllers, ..request(&policy) }, &host(extra)).unwrap()
}

#[test]
fn a_private_tmp_is_a_new_one_and_holds_what_is_granted_below_it() {
    let entries = vec![root(Read), tmp(), path("/tmp/a/b", Write), path("/tmp/a/b/ro", Read), path("/tmp/no", Deny)];
    let c = chosen(r#"{"private_tmp": true}"#, entries, r#""/tmp/a/b/ro": "dir", "/tmp/a/b/.git": "dir", "/tmp/no": "dir""#);
    let want = [
        "tmpfs /tmp nosuid,nodev,mode=1777".into(),
        format!("/w /w {RO}"),
        format!("/tmp/a/b /tmp/a/b {RW}"),
        format!("/tmp/a/b/.git /tmp/a/b/.git {RO}"),
        format!("/tmp/a/b/ro /tmp/a/b/ro {RO}"),
        format!("tmpfs /tmp/a/b/.agents {HELD}"),
        format!("tmpfs /tmp/a/b/.codex {HELD}"),
    ];
    assert_eq!(own(&c), want, "/tmp itself holds no names, and /tmp/no is not there");
}

#[test]
fn choices_below_home_and_dev_are_paths_like_others() {
    let extra = r#""/home/u/.npm": "dir", "/home/u/.ssh": "dir", "/home/u/.netrc": "file", "/dev/dri": "dir", "/dev/nvidia0": "file",
        "/dev/nvidiactl": "file", "/dev/vda": "file""#;
    let choices = r#"{"caches": ["npm", "pip"], "deny_secrets": true, "devices": ["dri", "nvidia", "kvm"]}"#;
    let c = chosen(choices, vec![root(Read)], extra);
    let all: Vec<String> = mounts(&c).iter().map(line).collect();
    for want in [
        &format!("/home/u/.npm /home/u/.npm {RW}"),
        "ramfs /home/u/.ssh ro,nosuid,nodev,noexec,mode=0000",
        "/dev/null /home/u/.netrc bind,ro,nosuid,nodev,noexec",
        "/dev/dri /dev/dri rbind,rro,rnosuid",
        "/dev/nvidia0 /dev/nvidia0 bind,ro,nosuid",
        "/dev/nvidiactl /dev/nvidiactl bind,ro,nosuid",
    ] {
        assert!(all.iter().any(|line| line == want), "{want}: {all:?}");
    }
    assert!(!all.iter().any(|line| line.contains("/dev/vda")));
    assert!(placeholders(&c).is_empty(), "a cache holds no repository");
    assert_eq!(c.warnings, ["there is no device `/dev/kvm` on this host"]);
}

#[test]
fn a_granted_socket_is_held_in_place_and_named_without_links() {
    let extra = r#""/w/x.sock": "file", "/l": {"link": "/w"}"#;
    let c = chosen(r#"{"unix_sockets": ["/l/x.sock", "/run/none"]}"#, vec![root(Read), project(Write)], extra);
    let spec = serde_json::to_value(&c.bundle.spec).unwrap();
    assert_eq!(spec["annotations"][annotation::UNIX_SOCKETS], r#"["/w/x.sock"]"#);
    assert!(mounts(&c).iter().map(line).any(|line| line.starts_with("/w/x.sock /w/x.sock bind,ro")), "{:?}", mounts(&c));
    let moved =
        "`/l/x.sock`, which is granted, lies where a sandbox can write: an earlier one may have moved another socket there";
    assert_eq!(c.warnings, ["there is no socket `/run/none` on this host", moved]);
    let none = chosen("{}", vec![root(Read)], "");
    assert_eq!(serde_json::to_value(&none.bundle.spec).unwrap()["annotations"][annotation::UNIX_SOCKETS], "[]");
}

#[test]
fn a_limit_is_a_cgroup_s_where_there_is_one_and_else_the_process_s_own() {
    let c = chosen(r#"{"limits": {"pids": 9, "memory": "1m", "files": 99, "wall": 5}}"#, vec![root(Read)], "");
    let spec = serde_json::to_value(&c.bundle.spec).unwrap();
    assert_eq!(spec["linux"]["resources"]["memory"]["limit"], 1 << 20);
    assert!(spec["linux"]["resources"].get("pids").is_none(), "no such controller");
    let rlimits = serde_json::json!([
        {"type": "RLIMIT_NOFILE", "hard": 99, "soft": 99}, {"type": "RLIMIT_NPROC", "hard": 9, "soft": 9}
    ]);
    assert_eq!(spec["process"]["rlimits"], rlimits);
    assert_eq!(spec["annotations"][annotation::WALL_TIME], "5");
}

#[test]
fn what_the_configuration_of_git_trusts_is_kept() {
    let config = "[core]\n hooksPath = .husky/_\n[include]\n path = ../.gitconfig\n[submodule \"m\"]\n url = x\n";
    let extra = format!(
        r#""/w/.git/config": {{"file": {}}}, "/w/.git/modules/m/config": {{"file": "[core]\n worktree = ../../../sub\n"}},
        "/w/.husky/_": "dir", "/w/sub/.git": {{"file": "gitdir: ../.git/modules/m"}}, "/w/.agents": "dir", "/w/.codex": "dir""#,
        serde_json::to_string(config).unwrap()
    );
    let c = made(vec![root(Read), project(Write)], &extra);
    for want in [
        format!("/w/.husky /w/.husky {RO}"),
        "/w/sub/.git /w/sub/.git bind,ro,nosuid,nodev".into(),
        format!("/w/sub /w/sub {RW}"),
    ] {
        assert!(own(&c).contains(&want), "{want}: {:?}", own(&c));
    }
    assert!(placeholders(&c).is_empty(), "git could not read a directory");
    assert!(c.warnings[0].starts_with("git includes `/w/.gitconfig`, which the sandbox can make"), "{:?}", c.warnings);
}

#[test]
fn files_of_configuration_that_include_each_other_are_read_once_and_too_many_are_refused() {
    let include = |to: &str| format!(r#"{{"file": "[include]\npath = {to}\n"}}"#);
    let ring = format!(
        r#""/w/.git/config": {}, "/opt/a": {}, "/opt/b": {{"file": "[include]\npath=a\n[core]\nhooksPath=/w/hooks\n"}}, "/w/hooks": "dir""#,
        include("/opt/a"),
        include("b")
    );
    let c = made(vec![root(Read), project(Write)], &ring);
    assert!(own(&c).contains(&format!("/w/hooks /w/hooks {RO}")), "{:?}", own(&c));
    let chain: Vec<String> = (0..70).map(|n| format!(r#""/opt/{n}": {}"#, include(&(n + 1).to_string()))).collect();
    let extra = format!(r#""/w/.git/config": {}, {}"#, include("/opt/0"), chain.join(", "));
    assert_eq!(
        refused(vec![root(Read), project(Write)], &extra),
        ["git's configuration includes more than 64 files, the last in `/opt/61`"]
    );
}

#[test]
fn what_an_outer_repository_trusts_is_kept() {
    let config = |text: &str| format!(r#"{{"file": {}}}"#, serde_json::to_string(text).unwrap());
    let hooks = config("[core]\n hooksPath = app/.husky/_\n[include]\n path = ../app/inc\n");
    let own_of = |repository: String| {
        let extra = format!(r#"{repository}, "/opt/mono/app/.husky/_": "dir", "/opt/mono/app/inc": "file""#);
        own(&made(vec![root(Read), path("/opt/mono/app", Write)], &extra))
    };
    let of = |lines: &[String], at: &str, how: &str| lines.contains(&format!("{at} {at} {how}"));
    let top = own_of(format!(r#""/opt/mono/.git/config": {hooks}"#));
    assert!(of(&top, "/opt/mono/app/.husky", RO) && of(&top, "/opt/mono/app/inc", "bind,ro,nosuid,nodev"), "{top:?}");
    // A worktree, whose configuration lies elsewhere.
    let linked = own_of(format!(
        r#""/opt/mono/.git": {{"file": "gitdir: /opt/g/.git/worktrees/m"}}, "/opt/g/.git/worktrees/m/config.worktree": {}"#,
        config("[core]\n hooksPath = app/.husky/_\n")
    ));
    assert!(of(&linked, "/opt/mono/app/.husky", RO), "{linked:?}");
    // One that lies in another writable root is kept itself, and what is not there is not held.
    let entries = || vec![root(Read), path("/opt", Write), path("/opt/mono/app", Write)];
    let c = made(entries(), r#""/opt/mono/.git/config": "file", "/opt/mono/app": "dir""#);
    assert!(of(&own(&c), "/opt/mono/.git", RO), "{:?}", own(&c));
    assert!(!placeholders(&made(entries(), r#""/opt/mono/app": "dir""#)).contains(&"/opt/mono/.git".into()));
}

#[test]
fn worktrees_below_their_repository_keep_their_pointers() {
    let one = |name: &str| {
        format!(
            r#""/w/.git/worktrees/{name}/gitdir": {{"file": "/w/trees/{name}/.git\n"}},
            "/w/.git/worktrees/{name}/commondir": {{"file": "../.."}},
            "/w/trees/{name}/.git": {{"file": "gitdir: /w/.git/worktrees/{name}"}}"#
        )
    };
    let c = made(vec![root(Read), project(Write)], &format!(r#"{}, {}, "/w/.git/config": "file""#, one("a"), one("b")));
    for name in ["a", "b"] {
        let line = format!("/w/trees/{name}/.git /w/trees/{name}/.git bind,ro,nosuid,nodev");
        assert!(own(&c).contains(&line), "{:?}", own(&c));
    }
}

#[test]
fn what_the_users_own_configuration_of_git_trusts_is_kept_without_a_repository_too() {
    let entries = || vec![root(Read), project(Write)];
    let file = |text: &str| format!(r#"{{"file": {}}}"#, serde_json::to_string(text).unwrap());
    let hooks = format!(r#""/home/u/.gitconfig": {}, "/w/hooks": "dir""#, file("[core]\nhooksPath = /w/hooks\n"));
    assert!(own(&made(entries(), &hooks)).contains(&format!("/w/hooks /w/hooks {RO}")));
    // Another directory in each repository.
    let hooks = format!(
        r#""/home/u/.config/git/config": {}, "/w/hooks": "dir", "/w/.git/config": "file""#,
        file("[core]\nhooksPath = hooks\n")
    );
    assert!(own(&made(entries(), &hooks)).contains(&format!("/w/hooks /w/hooks {RO}")));
    let c = made(entries(), r#""/home/u/.gitconfig": {"link": "../../w/gitconfig"}, "/w/gitconfig": "file""#);
    assert!(own(&c).contains(&"/w/gitconfig /w/gitconfig bind,ro,nosuid,nodev".into()), "{:?}", own(&c));
}

#[test]
fn codexruns_own_programs_are_read_only_where_they_could_be_replaced() {
    let compiled = |exe: &str, extra: &str| {
        let view = host_of(&format!(r#"1000, "exe": "{exe}""#), extra);
        compile(&request(&restricted(vec![root(Read), project(Write)])), &view)
    };
    let c = compiled("/w/bin/codexrun", r#""/w/bin/codexrun": "file", "/w/bin/codexrun-proxy": "file""#).unwrap();
    for line in [
        format!("/w/bin /w/bin {RW}"),
        "/w/bin/codexrun /w/bin/codexrun bind,ro,nosuid,nodev".into(),
        "/w/bin/codexrun-proxy /w/bin/codexrun-proxy bind,ro,nosuid,nodev".into(),
    ] {
        assert!(own(&c).contains(&line), "{line}: {:?}", own(&c));
    }
    let c = compiled("/w/bin/codexrun", r#""/w/bin/codexrun": "file""#).unwrap();
    assert!(placeholders(&c).contains(&"/w/bin/codexrun-proxy".into()), "it would be started next time");
    let errors = compiled("/w/cx", r#""/w/cx": {"link": "/opt/codexrun"}, "/opt/codexrun": "file""#).unwrap_err();
    let what = "the sandbox could replace codexrun: `/w/cx` leads to it by the writable symlink `/w/cx`";
    assert_eq!((errors[0].what.as_str(), errors[0].hint.as_deref()), (what, Some("call it by `/opt/codexrun`")));
    let elsewhere = compiled("/opt/codexrun", r#""/opt/codexrun": "file""#).unwrap();
    assert_eq!(own(&elsewhere), own(&compiled("/none/codexrun", "").unwrap()));
}

#[test]
fn what_somebody_else_has_put_into_tmp_neither_stops_a_launch_nor_says_anything() {
    let includes: String = (0..70).map(|n| format!("[include]\npath = /w/{n}\n")).collect();
    let hostile = format!(r#""/tmp/.git/config": {{"file": {}}}"#, serde_json::to_string(&includes).unwrap());
    let link = r#""/tmp/.codex": {"link": "/w"}"#;
    let compiled = |uid: &str, name: &str, extra: &str| {
        let view = host_of(&format!(r#"{uid}, "others": ["/tmp/{name}"]"#), extra);
        compile(&request(&restricted(vec![root(Read), project(Write), tmp()])), &view).unwrap()
    };
    // The kernel lets nobody replace it but its owner.
    let plain = own(&made(vec![root(Read), project(Write), tmp()], ""));
    for (name, extra) in [(".git", hostile.as_str()), (".codex", link)] {
        let c = compiled("1000", name, extra);
        let without: Vec<_> = plain.iter().filter(|line| !line.contains(&format!("/tmp/{name} "))).cloned().collect();
        assert_eq!((own(&c), c.warnings), (without, vec![]), "{name}");
    }
    // Root, who owns /tmp, may: of what is no link a mount keeps it.
    let c = compiled("0", ".git", &hostile);
    assert!(own(&c).contains(&format!("/tmp/.git /tmp/.git {RO}")), "{:?}", own(&c));
    let c = compiled("0", ".codex", link);
    assert!(own(&c).contains(&format!("/tmp /tmp {RO}")), "{:?}", own(&c));
    let said = "`/tmp` is not granted for writing: somebody else has made the link `/tmp/.codex`; remove it";
    assert_eq!(c.warnings, [said]);
    // A repository around the workspace.
    let view = host_of(r#"1000, "others": ["/tmp/.git"]"#, &format!(r#"{hostile}, "/tmp/p": "dir""#));
    let c = compile(&request(&restricted(vec![root(Read), path("/w", Read), path("/tmp/p", Write)])), &view);
    assert!(c.is_ok_and(|c| c.warnings.is_empty()));
}

#[test]
fn hooks_that_a_worktree_has_to_itself_are_kept() {
    let extra = r#""/w/.git": {"file": "gitdir: /opt/g/.git/worktrees/w"}, "/opt/g/.git/worktrees/w/commondir": {"file": "../.."},
        "/opt/g/.git/worktrees/w/config.worktree": {"file": "[core]\n hooksPath = hooks\n"}, "/opt/g/.git/config": "file", "/w/hooks": "dir""#;
    let c = made(vec![root(Read), project(Write)], extra);
    assert!(own(&c).contains(&format!("/w/hooks /w/hooks {RO}")), "{:?}", own(&c));
}

#[test]
fn pointers_of_git_that_lead_round_in_circles_protect_themselves() {
    for pointer in ["gitdir: .git", "gitdir: /w", "gitdir: ../w/loop", "gitdir: /dev/zero", "gitdir: ~", "gitdir:", ""] {
        let extra =
            format!(r#""/w/.git": {{"file": "{pointer}"}}, "/w/commondir": {{"file": "."}}, "/w/loop": {{"link": "loop"}}"#);
        match compile(&request(&restricted(vec![root(Read), project(Write)])), &host(&extra)) {
            Ok(c) => assert!(own(&c).contains(&"/w/.git /w/.git bind,ro,nosuid,nodev".to_owned()), "{pointer}: {:?}", own(&c)),
            Err(errors) => assert!(errors[0].what.contains("loop"), "{pointer}: {errors:?}"),
        }
    }
}

#[test]
fn a_commit_is_for_a_worktree_that_its_repository_knows() {
    let worktree = |back: &str| {
        format!(
            r#""/w/.git": {{"file": "gitdir: /opt/g/.git/worktrees/w"}}, "/opt/g/.git/worktrees/w/commondir": {{"file": "../.."}},
            "/opt/g/.git/worktrees/w/gitdir": {{"file": "{back}"}}, "/opt/g/.git/objects": "dir", "/opt/g/.git/refs": "dir",
            "/opt/g/.git/config": "file", "/w/.agents": "dir", "/w/.codex": "dir""#
        )
    };
    let entries = || vec![root(Read), project(Write)];
    let c = chosen(r#"{"git": "commit"}"#, entries(), &worktree("/w/.git"));
    for at in ["/opt/g/.git/worktrees/w", "/opt/g/.git/objects", "/opt/g/.git/refs"] {
        assert!(mounts(&c).iter().any(|m| line(m) == format!("{at} {at} {RW}")), "{at}");
    }
    let commit = Policy { choices: Choices { git: Git::Commit, ..Choices::default() }, ..restricted(entries()) };
    for extra in [worktree("/elsewhere/.git"), r#""/w/.git": "dir""#.into()] {
        let errors = compile(&request(&commit), &host(&extra)).unwrap_err();
        assert!(errors[0].what.starts_with("`git = \"commit\"` cannot be held"), "{errors:?}");
    }
}

/// A worktree in /w of the repository `common`, and the choice to commit in it.
fn commit(common: &str, extra: &[&str]) -> Result<Compiled, Vec<String>> {
    let own = format!("{common}/worktrees/w");
    let real = [
        format!(r#""/w/.git": {{"file": "gitdir: {own}"}}"#),
        format!(r#""{own}/commondir": {{"file": "../.."}}"#),
        format!(r#""{own}/gitdir": {{"file": "/w/.git"}}"#),
        format!(r#""{common}/objects/info": "dir""#),
        format!(r#""{common}/refs": "dir""#),
        format!(r#""{common}/logs": "dir""#),
        r#""/w/.agents": "dir", "/w/.codex": "dir", "/tmp/.git": "file", "/tmp/.agents": "dir", "/tmp/.codex": "dir""#.to_owned(),
    ];
    let place = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
    let replaced = |line: &String| !extra.iter().any(|one| place(line).starts_with(place(one).trim_end_matches('"')));
    let lines: Vec<String> = real.into_iter().filter(replaced).chain(extra.iter().map(ToString::to_string)).collect();
    let policy = Policy {
        choices: Choices { git: Git::Commit, ..Choices::default() },
        ..restricted(vec![root(Read), project(Write), tmp()])
    };
    let errors = |errors: Vec<Error>| errors.into_iter().map(|e| e.what).collect();
    compile(&request(&policy), &host(&lines.join(","))).map_err(errors)
}

#[test]
fn a_commit_opens_nothing_that_a_link_leads_to() {
    for (extra, crossed) in [
        (&[r#""/opt/g/refs": {"link": "/home/u/.ssh"}"#, r#""/home/u/.ssh": "dir""#][..], "/opt/g/refs"),
        (&[r#""/opt/g/logs": {"link": "/home/u"}"#], "/opt/g/logs"),
        (&[r#""/opt/g/objects": {"link": "/home/u"}"#], "/opt/g/objects"),
        (&[r#""/opt/g/objects/info": {"link": "/home/u"}"#, r#""/opt/g/objects/x": "dir""#], "/opt/g/objects/info"),
        (&[r#""/w/.git": {"file": "gitdir: /opt/l/worktrees/w"}"#, r#""/opt/l": {"link": "g"}"#], "/opt/l"),
        (&[r#""/opt/g/worktrees/w/commondir": {"file": "/opt/l"}"#, r#""/opt/l": {"link": "g"}"#], "/opt/l"),
        (&[r#""/opt/g/worktrees/w/gitdir": {"file": "/opt/l/.git"}"#, r#""/opt/l": {"link": "/w"}"#], "/opt/l"),
        (
            &[r#""/opt/g/worktrees/w/gitdir": {"link": "/opt/x"}"#, r#""/opt/x": {"file": "/w/.git"}"#],
            "/opt/g/worktrees/w/gitdir",
        ),
        (&[r#""/opt/g/worktrees/w/COMMIT_EDITMSG": {"link": "/home/u/.bashrc"}"#], "/opt/g/worktrees/w/COMMIT_EDITMSG"),
        (&[r#""/opt/g/worktrees/w/modules": {"link": "/home/u"}"#], "/opt/g/worktrees/w/modules"),
    ] {
        let errors = commit("/opt/g", extra).err().unwrap_or_default();
        let said = |e: &String| e.starts_with("`git = \"commit\"` cannot be held") && e.contains(&format!("`{crossed}`"));
        assert!(errors.iter().any(said), "{crossed}: {errors:?}");
    }
}

#[test]
fn a_repository_in_a_writable_root_is_not_believed() {
    for common in ["/tmp/g/.git", "/tmp/g", "/w/g"] {
        let errors = commit(common, &[]).err().unwrap_or_default();
        let said = |e: &String| e.contains(&format!("`{common}/worktrees/w` lies in the writable root"));
        assert!(errors.iter().any(said), "{common}: {errors:?}");
    }
    let elsewhere =
        [r#""/opt/g/worktrees/w/commondir": {"file": "/opt"}"#, r#""/opt/g/worktrees/w/gitdir": {"file": "/w/.git"}"#];
    let errors = commit("/opt/g", &elsewhere).err().unwrap_or_default();
    assert!(errors.iter().any(|e| e.contains("another configuration")), "`worktrees` is not the repository's: {errors:?}");
}

#[test]
fn what_no_commit_writes_of_a_repository_stays_shut() {
    let c = commit("/opt/g", &[]).unwrap();
    let all = own(&c);
    for want in [
        format!("/opt/g/refs /opt/g/refs {RW}"),
        format!("/opt/g/objects/info /opt/g/objects/info {RO}"),
        "/opt/g/worktrees/w/commondir /opt/g/worktrees/w/commondir bind,ro,nosuid,nodev".into(),
        format!("tmpfs /opt/g/refs/replace {HELD}"),
    ] {
        assert!(all.contains(&want), "{want}: {all:?}");
    }
}

#[test]
fn links_and_pipes_are_not_made_in_a_git_directory() {
    let c = commit("/opt/g", &[]).unwrap();
    assert_eq!(rules(&c), ["refer: /", "make_fifo,make_sock,make_sym: /dev /proc /tmp /w"]);
    assert_eq!(landlock(&c).ruleset[0].handled_access_fs, ["make_fifo", "make_sock", "make_sym", "refer"]);
    let choices = Choices { git: Git::Commit, landlock: true, ..Choices::default() };
    let policy = Policy { choices, ..restricted(vec![root(Read), project(Write)]) };
    let view = r#""/w/.git": {"file": "gitdir: /opt/g/worktrees/w"}, "/opt/g/worktrees/w/commondir": {"file": "../.."},
        "/opt/g/worktrees/w/gitdir": {"file": "/w/.git"}, "/opt/g/refs": "dir", "/w/.agents": "dir", "/w/.codex": "dir""#;
    let both = compile(&request(&policy), &host(view)).unwrap();
    let [read, write, opened] = &rules(&both)[..] else { panic!("{:?}", rules(&both)) };
    assert_eq!((read.as_str(), write.as_str()), ("v5.read_execute: /", "v5.all: /dev /proc /w"));
    let (rights, places) = opened.split_once(": ").unwrap();
    assert_eq!(places, "/opt/g/worktrees/w /opt/g/refs");
    assert!(rights.contains("make_reg") && !rights.contains("make_sym") && !rights.contains("make_fifo"), "{rights}");
    crate::landlock::Config::rules(&landlock(&both)).unwrap();
}

#[test]
fn a_nested_root_is_bound_before_the_protections_of_both() {
    let c = made(vec![root(Read), project(Write), sub("a", Read), sub("a/b", Write)], r#""/w/a/b": "dir""#);
    let at: Vec<String> = own(&c).iter().map(|l| l.split(' ').nth(1).unwrap().to_string()).collect();
    let place = |p: &str| at.iter().position(|a| a == p).unwrap();
    assert!(place("/w") < place("/w/a") && place("/w/a") < place("/w/a/b") && place("/w/a/b") < place("/w/a/b/.git"));
}

#[test]
fn restricted_read_shows_only_what_is_granted() {
    let grant = vec![special(Special::Minimal, Read), project(Write), path("/home/u/l/x", Read)];
    let c = made(grant, r#""/home/u/l": {"link": "r"}, "/home/u/r/x": "file", "/home/u/secret": "file""#);
    let want = [
        "/bin -> usr/bin",
        "/dev 755",
        "/etc 755",
        "/home 755",
        "/home/u 755",
        "/home/u/l -> r",
        "/home/u/r 755",
        "/home/u/r/x file",
        "/proc 755",
        "/usr 755",
        "/w 755",
    ];
    assert_eq!(nodes(&c), want);
    assert!(!mounts(&c).iter().any(|m| m.destination() == Path::new("/opt")));
    let only = vec![path("/usr", Read)];
    assert_eq!(refused(only, ""), ["the policy hides the working directory `/w`"]);
}

#[test]
fn everything_writable_but_one_place_keeps_a_fresh_dev() {
    let c = made(vec![root(Write), path("/opt", Deny)], r#""/w/.git": "dir""#);
    let all: Vec<String> = mounts(&c).iter().map(line).collect();
    assert!(
        all.contains(&format!("/etc /etc {RW}")) && all.contains(&"tmpfs /dev nosuid,strictatime,mode=755,size=65536k".into())
    );
    assert!(nodes(&c).contains(&"/opt 0".into()), "a denied entry of `/` needs no mount");
}

#[test]
fn places_below_dev_and_proc() {
    let c = made(vec![root(Read), path("/dev/shm", Write), path("/dev/dri", Read)], r#""/dev/dri": "dir""#);
    let all: Vec<String> = mounts(&c).iter().map(line).collect();
    assert!(all.contains(&"/dev/shm /dev/shm rbind,rnosuid".into()) && !all.iter().any(|l| l.starts_with("shm ")));
    assert!(all.contains(&"/dev/dri /dev/dri rbind,rro,rnosuid".into()), "a device on a nodev mount is useless");
    for (entry, count) in [
        (path("/dev/null", Write), 0),
        (path("/dev", Read), 0),
        (path("/proc", Read), 0),
        (path("/proc/sys", Write), 1),
        (path("/dev/null", Deny), 1),
        (path("/proc", Deny), 1),
    ] {
        let policy = restricted(vec![root(Read), entry.clone()]);
        let errors = compile(&request(&policy), &host("")).map_or_else(|e| e.len(), |_| 0);
        assert_eq!(errors, count, "{entry:?}");
    }
}

#[test]
fn full_access_takes_nothing_away() {
    let policy = Policy { file_system: FileSystem::Unrestricted, network: Network::Enabled, choices: Default::default() };
    let spec = compile(&request(&policy), &host("")).unwrap().bundle.spec;
    let types = |spec: &oci_spec::runtime::Spec| -> Vec<LinuxNamespaceType> {
        spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap().iter().map(|n| n.typ()).collect()
    };
    assert_eq!(types(&spec), [LinuxNamespaceType::User, LinuxNamespaceType::Mount]);
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.env().as_ref().unwrap(), &["PATH=/usr/bin", "PWD=/w"]);
    assert_eq!(process.no_new_privileges(), Some(false));
    assert!(spec.linux().as_ref().unwrap().seccomp().is_none());
    assert_eq!(spec.version(), "1.0.0");
    let all: Vec<String> = spec.mounts().as_ref().unwrap().iter().map(line).collect();
    assert!(all.contains(&"/proc /proc rbind".into()) && all.contains(&"/dev /dev rbind".into()));
    let root = Recorded::parse(r#"{"capabilities": 5, "paths": {"/w": "dir"}}"#).unwrap();
    let spec = compile(&request(&policy), &root).unwrap().bundle.spec;
    assert_eq!(types(&spec), [LinuxNamespaceType::Mount]);
    let caps = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
    assert_eq!(caps.effective().as_ref().unwrap().len(), 2);
    assert!(caps.ambient().as_ref().unwrap().is_empty());
}

#[test]
fn a_network_of_proxies_is_an_empty_namespace_and_two_hooks_also_with_full_access() {
    let policy = Policy { file_system: FileSystem::Unrestricted, network: Network::Proxy, choices: Default::default() };
    let env = vec!["HTTP_PROXY=http://u:secret@localhost:3128".into()];
    let spec = compile(&Request { env, ..request(&policy) }, &host("")).unwrap().bundle.spec;
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.namespaces().as_ref().unwrap().iter().any(|n| n.typ() == LinuxNamespaceType::Network && n.path().is_none()));
    assert!(linux.seccomp().is_some());
    let env = ["HTTP_PROXY=http://u:secret@127.0.0.1:3128", "CODEX_NETWORK_PROXY_ACTIVE=1", "CODEX_SANDBOX=codexrun", "PWD=/w"];
    assert_eq!(spec.process().as_ref().unwrap().env().as_ref().unwrap(), &env);
    let hooks = spec.hooks().as_ref().unwrap();
    let words = |list: &Option<Vec<oci_spec::runtime::Hook>>| list.as_ref().unwrap()[0].args().clone().unwrap().join(" ");
    assert_eq!(words(hooks.create_runtime()), "codexrun bridge inside:127.0.0.1:3128=127.0.0.1:3128");
    assert_eq!(words(hooks.create_container()), "codexrun bridge --inside");
    assert_eq!(words(hooks.poststop()), "codexrun bridge --end");
    let errors = compile(&request(&policy), &host("")).unwrap_err();
    assert_eq!(errors[0].what, "managed proxy mode requires proxy environment variables");
}

#[test]
fn a_sandbox_has_no_capability_and_says_what_it_is() {
    let c = made(vec![root(Read)], "");
    let process = c.bundle.spec.process().as_ref().unwrap();
    let want = ["PATH=/usr/bin", "PWD=/w", "CODEX_SANDBOX_NETWORK_DISABLED=1", "CODEX_SANDBOX=codexrun"];
    assert_eq!(process.env().as_ref().unwrap(), &want);
    assert_eq!((process.user().uid(), process.user().gid()), (1000, 100));
    let caps = process.capabilities().as_ref().unwrap();
    for set in [caps.bounding(), caps.effective(), caps.permitted(), caps.inheritable(), caps.ambient()] {
        assert!(set.as_ref().unwrap().is_empty());
    }
    let all = c.bundle.spec.annotations().as_ref().unwrap();
    for (key, value) in [
        (annotation::INIT, "reaper"),
        (annotation::DIE_WITH_PARENT, "true"),
        (annotation::RESOLVE, "nofollow"),
        (annotation::POLICY_SHA256, "00"),
    ] {
        assert_eq!(all.get(key).map(String::as_str), Some(value), "{key}");
    }
    let policy = restricted(vec![root(Read)]);
    let mapped = Request { identity: Identity::Root, proc: Proc::Outer, ..request(&policy) };
    let spec = compile(&mapped, &host("")).unwrap().bundle.spec;
    let linux = spec.linux().as_ref().unwrap();
    let map = linux.uid_mappings().as_ref().unwrap()[0];
    assert_eq!((map.container_id(), map.host_id(), map.size()), (0, 1000, 1));
    assert!(linux.masked_paths().is_none() && linux.readonly_paths().is_none());
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let text = |_| {
        let c = made(vec![root(Read), project(Write), tmp(), sub("x", Deny)], r#""/w/x": "dir""#);
        serde_json::to_value(&c.bundle.spec).unwrap().to_string()
    };
    let all: Vec<String> = (0..5).map(text).collect();
    assert!(all.iter().all(|one| *one == all[0]));
}

/// Small and repeatable: Marsaglia's xorshift.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn random_policies_keep_the_order_and_hide_no_protection() {
    const NAMES: &[&str] = &["w", "opt", "a", "b", ".git", "c"];
    let tree: Vec<String> = NAMES[..4]
        .iter()
        .flat_map(|a| NAMES.iter().flat_map(move |b| NAMES[2..5].iter().map(move |c| format!(r#""/{a}/{b}/{c}": "dir""#))))
        .collect();
    let view = host(&tree.join(","));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let mut entries = vec![root(Read), path("/w", [Read, Write][dice.roll(2)])];
        for _ in 0..dice.roll(6) {
            let parts: Vec<&str> = (0..=dice.roll(3)).map(|_| NAMES[dice.roll(NAMES.len())]).collect();
            let access = [Read, Write, Deny][dice.roll(3)];
            entries.push(entry(Target::Path(format!("/{}", parts.join("/")).into()), access));
        }
        let policy = restricted(entries.clone());
        if let Ok(c) = compile(&request(&policy), &view) {
            check(&c, &entries);
        }
    }
}

fn check(c: &Compiled, entries: &[Entry]) {
    let all = mounts(c);
    let closes = |m: &Mount| m.options().as_ref().unwrap().iter().any(|o| o == "remount");
    let opens: Vec<&Mount> = all.iter().filter(|m| !closes(m)).collect();
    for (n, later) in opens.iter().enumerate() {
        for earlier in &opens[..n] {
            assert!(!earlier.destination().starts_with(later.destination()), "{entries:?}: {}", line(later));
        }
    }
    for held in placeholders(c) {
        let above = opens.iter().filter(|m| held.starts_with(m.destination()) && *m.destination() != held);
        let above = above.max_by_key(|m| m.destination().components().count()).unwrap();
        assert!(line(above).ends_with(RW), "{entries:?}: {held:?} below {}", line(above));
    }
}

#[test]
fn who_resolves_names_inside_is_told_of_no_other_resolver() {
    let extra = r#""/etc/resolv.conf": {"link": "/run/resolve/stub"}, "/run/resolve/stub": "file", "/usr/bin/env": "file""#;
    let covered = |entries: Vec<Entry>, dns: &[u16]| {
        let mut policy = restricted(entries);
        (policy.network, policy.choices.dns) = (Network::Proxy, dns.into());
        let env = vec!["HTTP_PROXY=http://localhost:3128".into()];
        let made = compile(&Request { env, ..request(&policy) }, &host(extra)).unwrap();
        let covers = mounts(&made).iter().filter(|m| m.source().as_deref() == Some(Path::new("/dev/null"))).map(line);
        covers.collect::<Vec<_>>()
    };
    assert_eq!(covered(vec![root(Access::Read)], &[443]), ["/dev/null /run/resolve/stub bind,ro,nosuid"]);
    assert!(covered(vec![root(Access::Read)], &[]).is_empty());
    let unseen = vec![path("/usr", Access::Read), path("/w", Access::Read)];
    assert!(covered(unseen, &[443]).is_empty(), "what is not seen names nobody");
}

fn alone(policy: &Policy, accept: &[&str], extra: &str) -> Result<Compiled, Vec<String>> {
    let mut policy = policy.clone();
    policy.choices.isolation = crate::policy::isolation::Isolation::Landlock;
    policy.choices.accept_loss = accept.iter().map(ToString::to_string).collect();
    compile(&request(&policy), &host(extra)).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn landlock(compiled: &Compiled) -> crate::landlock::Config {
    let annotations = compiled.bundle.spec.annotations().as_ref().unwrap();
    crate::landlock::Config::parse(&annotations[crate::annotation::LANDLOCK]).unwrap()
}

/// `RIGHTS: PLACE…`, a line a rule.
fn rules(compiled: &Compiled) -> Vec<String> {
    let places = |rule: &crate::landlock::PathBeneath| rule.parent.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
    landlock(compiled).path_beneath.iter().map(|r| format!("{}: {}", r.allowed_access.join(","), places(r).join(" "))).collect()
}

const USUAL: &[&str] = &["processes", "attributes", "metadata"];

#[test]
fn without_namespaces_what_is_readable_and_what_is_writable_become_rules() {
    let policy = restricted(vec![root(Read), project(Write)]);
    let made = alone(&policy, USUAL, r#""/w/.git": "dir", "/dev/null": "file""#).unwrap();
    let expected = ["read_dir: /", "v5.read_execute: /proc /etc /file /opt /tmp /usr", "v5.all: /w /dev/null"];
    assert_eq!(rules(&made), expected);
    let spec = &made.bundle.spec;
    assert!(spec.mounts().is_none() && spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap().is_empty());
    assert_eq!(made.bundle.rootfs, Rootfs::Dir("/".into()));
    assert_eq!(spec.root().as_ref().unwrap().path(), Path::new(crate::bundle::NO_ROOT), "other runtimes find no root");
    assert_eq!(spec.annotations().as_ref().unwrap()[annotation::LOST], r#"["processes","attributes","metadata"]"#);
}

#[test]
fn what_is_lost_without_namespaces_is_refused_by_name() {
    let write = restricted(vec![root(Read), project(Write)]);
    let said = alone(&write, &[], r#""/w/.git": "dir""#).unwrap_err();
    for clause in USUAL {
        assert!(said.iter().any(|line| line.contains(&format!("`--accept-loss {clause}`"))), "{clause}: {said:?}");
    }
    // Nothing is writable, so the filter can refuse every change of a mode, and nothing lies below a writable place.
    let read = restricted(vec![root(Read)]);
    assert_eq!(alone(&read, &[], "").unwrap_err().len(), 1);
    let calls =
        |made: &Compiled| made.bundle.spec.linux().as_ref().unwrap().seccomp().clone().unwrap().syscalls().clone().unwrap();
    let refuses = |made: &Compiled, name: &str| calls(made).iter().any(|call| call.names().iter().any(|known| known == name));
    assert!(refuses(&alone(&read, &["processes"], "").unwrap(), "fchmodat"));
    assert!(!refuses(&alone(&write, USUAL, "").unwrap(), "fchmodat"));

    let carved = restricted(vec![root(Read), project(Write), path("/w/secret", Deny)]);
    let said = alone(&carved, USUAL, r#""/w/secret": "dir""#).unwrap_err();
    assert!(said.len() == 1 && said[0].contains("`carve-outs` is lost (`/w/secret`)"), "{said:?}");
    let mut tmp = read.clone();
    tmp.choices.private_tmp = true;
    assert!(alone(&tmp, &["processes"], "").unwrap_err().iter().any(|line| line.contains("`private-tmp`")));
    tmp.network = Network::Proxy;
    assert!(alone(&tmp, &["processes"], "").unwrap_err().iter().any(|line| line.contains("`proxy-only`")));
}

#[test]
fn what_lies_beside_something_denied_is_granted_one_by_one() {
    let policy = restricted(vec![root(Read), path("/home/u/.ssh", Deny), path("/home/u/.ssh/known_hosts", Read)]);
    let extra = r#""/home/u/.ssh/id": "file", "/home/u/.ssh/known_hosts": "file", "/home/u/a": "file", "/home/u/l": {"link": ".ssh"},
        "/home/v": "dir""#;
    let made = alone(&policy, &["processes"], extra).unwrap();
    let granted = rules(&made);
    assert_eq!(granted, ["v5.read_execute: /proc /etc /file /home/u/a /home/v /home/u/.ssh/known_hosts /opt /tmp /usr /w"]);
}

#[test]
fn proxies_are_reached_by_their_ports_alone() {
    let mut policy = restricted(vec![root(Read)]);
    policy.network = Network::Proxy;
    policy.choices.isolation = crate::policy::isolation::Isolation::Landlock;
    policy.choices.accept_loss = ["processes", "proxy-only"].map(String::from).into();
    let env = vec!["HTTP_PROXY=http://localhost:3128".to_owned()];
    let made = compile(&Request { env: env.clone(), ..request(&policy) }, &host("")).unwrap();
    let config = landlock(&made);
    assert_eq!(
        (config.net_port[0].port.as_slice(), config.ruleset[0].handled_access_net.as_slice()),
        (&[3128][..], &["v4.all".to_owned()][..])
    );
    let process = made.bundle.spec.process().as_ref().unwrap().env().as_ref().unwrap();
    assert!(process.contains(&env[0]), "{process:?}");
}

#[test]
fn listed_ports_of_tcp_are_connected_to_and_those_of_the_bridge() {
    let compiled = |network: Network, ports: &[u16], dns: &[u16], second: bool| {
        let mut policy = restricted(vec![root(Read)]);
        policy.network = network;
        (policy.choices.tcp_ports, policy.choices.dns, policy.choices.landlock) = (Some(ports.into()), dns.into(), second);
        let env = vec!["HTTP_PROXY=http://localhost:3128".to_owned()];
        compile(&Request { env, ..request(&policy) }, &host(""))
    };
    let ports = |made: &Compiled| landlock(made).net_port.into_iter().flat_map(|rule| rule.port).collect::<Vec<_>>();
    let off = compiled(Network::Restricted, &[], &[], false).unwrap();
    assert_eq!((ports(&off), rules(&off)), (vec![], vec![]), "TCP alone is denied, and all of it");
    assert_eq!(landlock(&off).ruleset[0].handled_access_net, ["connect_tcp"]);
    let proxy = compiled(Network::Proxy, &[5432, 3128], &[443], true).unwrap();
    assert_eq!((ports(&proxy), rules(&proxy).len()), (vec![53, 443, 3128, 5432], 2));
    let on = compiled(Network::Enabled, &[443], &[], false).unwrap_err();
    assert!(on[0].what.contains("`tcp_ports` confines nothing"), "{on:?}");
}

#[test]
fn behind_the_mounts_landlock_permits_what_they_show() {
    let mut policy = restricted(vec![root(Read), project(Write), path("/w/x", Read), path("/opt", Deny)]);
    policy.choices.landlock = true;
    let made = compile(&request(&policy), &host(r#""/w/x": "dir", "/w/.git": "dir""#)).unwrap();
    assert_eq!(rules(&made), ["v5.read_execute: /", "v5.all: /dev /proc /w"]);
    assert_eq!(landlock(&made).ruleset[0].scoped, ["abstract_unix_socket", "signal"]);
    policy.network = Network::Enabled;
    let made = compile(&request(&policy), &host("")).unwrap();
    assert_eq!(landlock(&made).ruleset[0].scoped, ["signal"]);
}

#[test]
fn without_namespaces_an_older_landlock_will_do_where_that_is_accepted() {
    use crate::policy::isolation::{Clause, Isolation};
    let asks = |network, accepted: &[Clause]| {
        let mut policy = restricted(vec![root(Read)]);
        (policy.network, policy.choices.isolation) = (network, Isolation::Landlock);
        policy.choices.accept_loss = [&[Clause::Processes], accepted].concat().iter().map(ToString::to_string).collect();
        let made = compile(&request(&policy), &host("")).unwrap();
        let ruleset = landlock(&made).ruleset[0].clone();
        [ruleset.handled_access_fs, ruleset.handled_access_net, ruleset.scoped].map(|words| words.join(" "))
    };
    assert_eq!(asks(Network::Restricted, &[]), ["v5.all", "v4.all", "abstract_unix_socket signal"]);
    let older = [Clause::Signals, Clause::AbstractSockets, Clause::DeviceIoctl];
    assert_eq!(asks(Network::Restricted, &older), ["v4.all", "", ""], "the third version has all of these");
    assert_eq!(asks(Network::Enabled, &[]), ["v5.all", "", "signal"]);
}

#[test]
fn auto_takes_namespaces_where_there_can_be_some() {
    let mut policy = restricted(vec![root(Read)]);
    policy.choices.isolation = crate::policy::isolation::Isolation::Auto;
    let made = |namespaces| compile(&Request { namespaces, ..request(&policy) }, &host(""));
    assert!(made(true).unwrap().bundle.spec.mounts().is_some());
    assert!(made(false).unwrap_err()[0].what.contains("`processes` is lost"));
}
