//! What git obeys beside the top of `.git`: its configuration names directories of hooks, more files of configuration and submodules,
//! any of which may lie where the sandbox writes. And the choice `git = "commit"`: a worktree in which one can commit, but in which
//! nothing can be made that git obeys later.

use super::Findings;
use super::metadata::{guard, path_in};
use super::roots::Ground;
use super::tree::Spot;
use super::walk::{End, Walk};
use crate::Error;
use crate::policy::Access;
use crate::policy::choice::Git;
use crate::policy::view::Kind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Of a worktree's git directory, which may be written, what stays read-only or must not be made.
const KEPT: &[&str] = &[
    "commondir",       // leads to the configuration and the hooks
    "gitdir",          // says which worktree this is
    "config.worktree", // names programs, as every configuration does
    "modules",         // repositories of submodules, each with a configuration and hooks
];
/// Of a repository that a worktree shares: all that a commit writes.
const SHARED: &[&str] = &["objects", "refs", "logs"];
/// Files that include others: what stands in the rest would not be known.
const MAX_FILES: usize = 64;

/// Protects what the repository's configuration, and the user's own, trusts of what the sandbox may write. `common` has the configuration,
/// and `gitdir`, which mostly is the same, the worktree's own.
pub(super) fn trusted(common: &Path, gitdir: &Path, root: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let mut files = vec![common.join("config"), gitdir.join("config.worktree"), "/etc/gitconfig".into()];
    files.extend(walk.home().into_iter().flat_map(|home| [home.join(".gitconfig"), home.join(".config/git/config")]));
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        let dir = file.parent().unwrap_or(root);
        for Setting { section, name, key, value } in configuration(&file, walk) {
            match (section.as_str(), key.as_str()) {
                ("core", "hookspath") => hooks(&resolve(&value, root, walk), ground, walk, found),
                ("include" | "includeif", "path") => {
                    let included = resolve(&value, dir, walk);
                    keep(&included, Kind::File, ground, walk, found);
                    if !files.contains(&included) {
                        files.push(included);
                    }
                }
                ("submodule", "url") => submodule(&common.join("modules").join(name), ground, walk, found),
                _ => {}
            }
        }
        if files.len() > MAX_FILES {
            let what = format!("git's configuration in `{}` includes more than {MAX_FILES} files", common.display());
            return found.errors.push(Error::new(what).hint("what they name could not all be protected"));
        }
    }
}

/// `.husky/_`, as husky has it, runs what lies beside it.
fn hooks(dir: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let dir = if dir.ends_with("_") { dir.parent().unwrap_or(dir) } else { dir };
    keep(dir, Kind::Dir, ground, walk, found);
}

/// The pointer of a submodule that was set up: replaced, it would lead git to another git directory.
fn submodule(gitdir: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let Some(worktree) = worktree(gitdir, walk) else { return };
    if let End::Dir(at) = walk.trace(&worktree).end
        && ground.tree.access(&at) == Some(Access::Write)
        && walk.kind(&at.join(".git")) == Ok(Kind::File)
        && ground.tree.get(&at.join(".git")).is_none()
    {
        guard(&at, ".git", Git::Protect, ground, walk, found);
    }
}

/// `core.worktree` of a git directory.
fn worktree(gitdir: &Path, walk: &Walk) -> Option<PathBuf> {
    let of = configuration(&gitdir.join("config"), walk).into_iter().find(|s| s.section == "core" && s.key == "worktree")?;
    Some(resolve(&of.value, gitdir, walk))
}

/// Keeps a place from being written or made. Behind a link that the sandbox can replace it cannot be kept; that is no reason to refuse
/// every command, as git is told of it by the user, not by the policy.
fn keep(path: &Path, kind: Kind, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let trace = walk.trace(path);
    if let Some(link) = trace.links.iter().find(|link| ground.tree.replaceable(&link.at)) {
        let (path, link) = (path.display(), link.at.display());
        found.warnings.push(format!("git trusts `{path}`, which is not protected: it lies behind the writable symlink `{link}`"));
        return;
    }
    match trace.end {
        End::Dir(at) => shut(at, true, ground),
        End::File(at) => shut(at, false, ground),
        // What is held is a directory, outside too, and git could not read it as a file.
        End::Missing(at) if kind == Kind::File && ground.tree.replaceable(&at) => {
            let path = at.display();
            found
                .warnings
                .push(format!("git includes `{path}`, which the sandbox can make: make an empty file, and it is protected"));
        }
        End::Missing(at) => ground.hold(&at, walk),
        End::Barred(_) => {}
    }
}

fn shut(at: PathBuf, dir: bool, ground: &mut Ground) {
    let named = ground.tree.get(&at).is_some();
    if !named && ground.tree.access(&at) == Some(Access::Write) {
        ground.tree.put(at, Spot { access: Access::Read, dir });
    }
}

/// In a repository's own git directory a file `commondir` would lead git to a configuration of the sandbox's making, and no mount can
/// keep a file from being made without a file that stands there for git to read.
pub(super) fn refuse(gitdir: &Path) -> Error {
    let what =
        format!("`git = \"commit\"` cannot be held in `{}`: a sandbox could give it another configuration", gitdir.display());
    Error::new(what).hint("work in a linked worktree (`git worktree add`), whose git directory says where its configuration is")
}

/// Makes a worktree's git directory writable but for what git obeys, and of the repository what a commit writes.
pub(super) fn open(gitdir: &Path, common: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let place = |path: &Path| if let End::Dir(at) = walk.trace(path).end { Some(at) } else { None };
    let own = place(gitdir);
    for at in own.iter().cloned().chain(SHARED.iter().filter_map(|name| place(&common.join(name)))) {
        if ground.tree.access(&at) != Some(Access::Deny) {
            ground.opened.push(at.clone());
            ground.tree.set(at, Spot { access: Access::Write, dir: true });
        }
    }
    for path in own.iter().flat_map(|gitdir| KEPT.iter().map(|name| gitdir.join(name))) {
        match walk.kind(&path) {
            Ok(kind) => ground.tree.put(path, Spot { access: Access::Read, dir: kind == Kind::Dir }),
            Err(_) if path.ends_with("config.worktree") && has_own_configuration(common, walk) => {
                let what = format!("`git = \"commit\"` cannot be held: `{}` is missing, and git would read it", path.display());
                found.errors.push(Error::new(what).hint("make an empty file there"));
            }
            Err(_) => ground.hold(&path, walk),
        }
    }
}

/// `extensions.worktreeConfig`
fn has_own_configuration(common: &Path, walk: &Walk) -> bool {
    configuration(&common.join("config"), walk)
        .iter()
        .any(|s| s.section == "extensions" && s.key == "worktreeconfig" && s.value != "false")
}

/// The repository of a linked worktree, if its git directory says that it belongs to the pointer: an earlier sandbox may have made a
/// pointer to anywhere, but could not write there.
pub(super) fn linked(gitdir: &Path, common: Option<PathBuf>, pointer: &Path, walk: &Walk) -> Option<PathBuf> {
    let end = |path: &Path| walk.trace(path).end.place();
    let back = gitdir.join(path_in(&gitdir.join("gitdir"), walk)?);
    let common = common
        .filter(|common| end(gitdir).is_some_and(|at| end(common).is_some_and(|top| at.starts_with(top.join("worktrees")))));
    common.filter(|_| end(&back).is_some() && end(&back) == end(pointer))
}

fn resolve(value: &OsStr, base: &Path, walk: &Walk) -> PathBuf {
    match (value.as_bytes().strip_prefix(b"~/"), walk.home()) {
        (Some(below), Some(home)) => home.join(OsStr::from_bytes(below)),
        _ => base.join(value),
    }
}

/// One line of git-config(1).
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    /// Lower case, as are keys.
    section: String,
    /// `[section "name"]`
    name: OsString,
    key: String,
    value: OsString,
}

/// What is set in a file; nothing where there is none. A backslash at its end joins a line to the next one, though not in a comment:
/// both readings count, as to protect too much is harmless.
fn configuration(file: &Path, walk: &Walk) -> Vec<Setting> {
    let text = walk.read(file).unwrap_or_default();
    let mut joined: Vec<u8> = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let open = line.strip_suffix(b"\\\n").or(line.strip_suffix(b"\\\r\n"));
        joined.extend(open.unwrap_or(line));
    }
    let mut all = settings(&text);
    all.extend(settings(&joined).into_iter().filter(|_| joined.len() < text.len()));
    all
}

fn settings(text: &[u8]) -> Vec<Setting> {
    let (mut section, mut name, mut all) = (String::new(), OsString::new(), Vec::new());
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if let Some((head, rest)) = line.strip_prefix(b"[").and_then(|line| cut(line, b']')) {
            let (word, quoted) = cut(head, b' ').unwrap_or((head, b""));
            (section, name) = (lower(word), value(quoted));
            all.extend(setting(&section, &name, rest));
        } else {
            all.extend(setting(&section, &name, line));
        }
    }
    all
}

fn setting(section: &str, name: &OsStr, line: &[u8]) -> Option<Setting> {
    let (key, text) = cut(line, b'=')?;
    let key = lower(key);
    let is_key = !key.starts_with(['#', ';']) && !key.is_empty();
    is_key.then(|| Setting { section: section.into(), name: name.into(), key, value: value(text) })
}

/// Up to a comment, without quotation marks.
fn value(text: &[u8]) -> OsString {
    let (mut all, mut quoted, mut rest) = (Vec::new(), false, text.trim_ascii().iter());
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' | b';' if !quoted => break,
            b'\\' => all.extend(rest.next()),
            _ => all.push(*byte),
        }
    }
    all.truncate(all.trim_ascii_end().len());
    OsString::from_vec(all)
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == at)?;
    Some((&text[..end], &text[end + 1..]))
}

fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word.trim_ascii()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<String> {
        let line = |s: Setting| format!("{} {} {} {}", s.section, s.name.display(), s.key, s.value.display());
        settings(text).into_iter().map(line).collect()
    }

    #[test]
    fn a_configuration_is_read_as_git_reads_it() {
        let text = b"; a comment\n[Core]\n\thooksPath = .githooks # ours\n\tbare\n[submodule \"lib/x\"] url = \"a;b\"\n\
                     #[core]\n#hooksPath = no\n[include]\npath=../.gitconfig\n";
        assert_eq!(read(text), ["core  hookspath .githooks", "submodule lib/x url a;b", "include  path ../.gitconfig"]);
    }

    #[test]
    fn what_git_understands_does_not_hide_a_setting() {
        assert_eq!(read(b"[user]\nname = Ren\xe9\n[core]\nhooksPath = a\" #\\\"\"b ;\n")[1], "core  hookspath a #\"b");
        assert_eq!(settings(b"[core]\nhooksPath = \xe9")[0].value.as_bytes(), b"\xe9");
        assert_eq!(read(b"[submodule \"a\\\\b\"]\nurl = x"), ["submodule a\\b url x"]);
        for broken in [&b"["[..], b"=", b"[]=", b"[\"", b"\\", b"[core]\nhooksPath", b"k=\"\\"] {
            assert!(settings(broken).iter().all(|s| s.value.is_empty()), "{broken:?}");
        }
        let view = |text: &str| {
            let view = serde_json::json!({"paths": {"/c": {"file": text}}});
            let view = crate::policy::view::Recorded::parse(&view.to_string()).unwrap();
            let all = configuration(Path::new("/c"), &Walk::new(&view));
            all.into_iter().map(|s| s.value.display().to_string()).collect::<Vec<_>>()
        };
        assert!(view("[core]\r\nhooksPath = a\\\r\nb").contains(&"ab".to_owned()));
        assert!(view("[core]\n# a comment \\\nhooksPath = a").contains(&"a".to_owned()));
    }
}
