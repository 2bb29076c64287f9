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
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Of a worktree's git directory, which may be written, what stays read-only or must not be made.
const KEPT: &[&str] = &[
    "commondir",       // leads to the configuration and the hooks
    "gitdir",          // says which worktree this is
    "config.worktree", // names programs, as every configuration does
    "modules",         // repositories of submodules, each with a configuration and hooks
];
/// Of a repository that a worktree shares: all that a commit writes, and what of it no commit does.
const SHARED: &[(&str, &[&str])] = &[
    ("objects", &["info"]), // `alternates`: objects of other repositories, which the sandbox may not see
    ("refs", &["replace"]), // other commits are shown in the place of those that are there, and pushed
    ("logs", &[]),
];
/// Where Debian's git, and everybody else's that a distribution has built, was installed.
const PREFIX: &str = "/usr";
/// Files that include others: what stands in the rest would not be known.
const MAX_FILES: usize = 64;

/// Protects the user's own configuration, and what it trusts of what the sandbox may write. A directory of hooks that is named without a
/// path from `/` on is another one in each repository ([`trusted`]).
pub(super) fn users(ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let home = walk.home();
    let own = home.iter().flat_map(|home| [home.join(".gitconfig"), home.join(".config/git/config")]);
    let all = std::iter::once("/etc/gitconfig".into()).chain(own);
    let files: Vec<PathBuf> = all.filter(|file: &PathBuf| walk.kind(file).is_ok()).collect();
    for file in &files {
        keep(file, Kind::File, ground, walk, found);
    }
    for Setting { section, key, value, .. } in included(files, ground, walk, found) {
        match (section.as_str(), key.as_str()) {
            ("core", "hookspath") if resolve(&value, Path::new(""), walk).is_relative() => ground.hooks.push(value),
            ("core", "hookspath") => hooks(&resolve(&value, Path::new("/"), walk), ground, walk, found),
            _ => {}
        }
    }
}

/// Protects what the repository's configuration trusts of what the sandbox may write. `common` has the configuration, and `gitdir`, which
/// mostly is the same, the worktree's own.
pub(super) fn trusted(common: &Path, gitdir: &Path, root: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let files = vec![common.join("config"), gitdir.join("config.worktree")];
    for Setting { section, name, key, value } in included(files, ground, walk, found) {
        match (section.as_str(), key.as_str()) {
            ("core", "hookspath") => hooks(&resolve(&value, root, walk), ground, walk, found),
            ("submodule", "url") => submodule(&common.join("modules").join(path(&name)), ground, walk, found),
            _ => {}
        }
    }
    for value in ground.hooks.clone() {
        hooks(&root.join(path(&value)), ground, walk, found);
    }
    worktrees(common, ground, walk, found);
}

/// What these files set, and those that they include, which are kept too.
fn included(mut files: Vec<PathBuf>, ground: &mut Ground, walk: &Walk, found: &mut Findings) -> Vec<Setting> {
    let (mut next, mut all) = (0, Vec::new());
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        let dir = file.parent().unwrap_or(Path::new("/"));
        for setting in configuration(&file, walk) {
            if matches!((setting.section.as_str(), setting.key.as_str()), ("include" | "includeif", "path")) {
                let included = resolve(&setting.value, dir, walk);
                keep(&included, Kind::File, ground, walk, found);
                if !files.contains(&included) {
                    files.push(included);
                }
            }
            all.push(setting);
        }
        if files.len() > MAX_FILES {
            let what = format!("git's configuration includes more than {MAX_FILES} files, the last in `{}`", file.display());
            found.errors.push(Error::new(what).hint("what they name could not all be protected"));
            break;
        }
    }
    all
}

/// The pointers of linked worktrees, as their repository names them: replaced, one would lead git to another git directory.
fn worktrees(common: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let Some(common) = walk.trace(common).end.place().filter(|common| ground.commons.insert(common.clone())) else { return };
    for gitdir in walk.list(&common.join("worktrees")) {
        let pointer = path_in(&gitdir.join("gitdir"), walk).map(|path| gitdir.join(path));
        if let Some(worktree) = pointer.as_deref().and_then(Path::parent) {
            guard_pointer(worktree, ground, walk, found);
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
    if let Some(worktree) = worktree(gitdir, walk) {
        guard_pointer(&worktree, ground, walk, found);
    }
}

fn guard_pointer(worktree: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    if let End::Dir(at) = walk.trace(worktree).end
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
    for link in walk.list(gitdir).iter().filter(|at| walk.kind(at) == Ok(Kind::Symlink)) {
        found.errors.push(planted(link));
    }
    writable(gitdir, KEPT, common, ground, walk, found);
    for (name, kept) in SHARED {
        writable(&common.join(name), kept, common, ground, walk, found);
    }
}

/// Opens a directory but for some names in it. It is opened where it stands: by a link it would be another one.
fn writable(at: &Path, kept: &[&str], common: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    match walk.kind(at) {
        Ok(Kind::Symlink) => return found.errors.push(planted(at)),
        Ok(Kind::Dir) if ground.tree.access(at) != Some(Access::Deny) => {}
        Ok(_) | Err(_) => return,
    }
    ground.opened.push(at.into());
    ground.tree.set(at.into(), Spot { access: Access::Write, dir: true });
    for path in kept.iter().map(|name| at.join(name)) {
        match walk.kind(&path) {
            Ok(Kind::Symlink) => found.errors.push(planted(&path)),
            Ok(kind) => ground.tree.put(path, Spot { access: Access::Read, dir: kind == Kind::Dir }),
            Err(_) if path.ends_with("config.worktree") && has_own_configuration(common, walk) => {
                let what = format!("`git = \"commit\"` cannot be held: `{}` is missing, and git would read it", path.display());
                found.errors.push(Error::new(what).hint("make an empty file there"));
            }
            Err(_) => ground.hold(&path, walk),
        }
    }
}

/// git makes no links in a git directory: what they lead to would be granted, and outside git would write to it.
fn planted(link: &Path) -> Error {
    let what =
        format!("`git = \"commit\"` cannot be held: `{}` is a symbolic link, which a sandbox may have made", link.display());
    Error::new(what).hint("remove it, or put what it leads to in its place")
}

/// `extensions.worktreeConfig`
fn has_own_configuration(common: &Path, walk: &Walk) -> bool {
    configuration(&common.join("config"), walk)
        .iter()
        .any(|s| s.section == "extensions" && s.key == "worktreeconfig" && s.value != "false")
}

/// The git directory of a linked worktree and the repository that it shares, as `git worktree add` makes them: one lies in `worktrees` of
/// the other and names the pointer. An earlier sandbox may have made the pointer and links, but could not write to a repository; to one in
/// a writable root it could, and nothing that is said there counts.
pub(super) fn linked(gitdir: &Path, pointer: &Path, ground: &Ground, walk: &Walk) -> Result<(PathBuf, PathBuf), Error> {
    let Some(own) = straight(gitdir, pointer, walk)? else { return Err(refuse(gitdir)) };
    let (Some(common), Some(back)) = (named(&own, "commondir", walk)?, named(&own, "gitdir", walk)?) else {
        return Err(refuse(&own));
    };
    if own.parent() != Some(&common.join("worktrees")) || back != pointer {
        return Err(refuse(&own));
    }
    for place in [&own, &common] {
        if let Some((root, _)) = ground.tree.nearest(place).filter(|(_, spot)| spot.access == Access::Write) {
            return Err(exposed(place, root));
        }
    }
    Ok((own, common))
}

/// Where the path leads that stands in a file of a git directory.
fn named(gitdir: &Path, name: &str, walk: &Walk) -> Result<Option<PathBuf>, Error> {
    let file = gitdir.join(name);
    match walk.kind(&file) {
        Ok(Kind::Symlink) => Err(planted(&file)),
        Ok(Kind::File) => path_in(&file, walk).map_or(Ok(None), |path| straight(&gitdir.join(path), &file, walk)),
        Ok(Kind::Dir) | Err(_) => Ok(None),
    }
}

/// The place of a path, which stands in `file`. git writes paths without links.
fn straight(path: &Path, file: &Path, walk: &Walk) -> Result<Option<PathBuf>, Error> {
    let trace = walk.trace(path);
    let Some(link) = trace.links.first() else { return Ok(trace.end.place()) };
    let (file, link) = (file.display(), link.at.display());
    let what = format!(
        "`git = \"commit\"` cannot be held: the path in `{file}` crosses the symbolic link `{link}`, which a sandbox may have made"
    );
    Err(Error::new(what).hint("name the target of the link there instead"))
}

fn exposed(place: &Path, root: &Path) -> Error {
    let (place, root) = (place.display(), root.display());
    let what = format!(
        "`git = \"commit\"` cannot be held: `{place}` lies in the writable root `{root}`, where a sandbox may have made it"
    );
    Error::new(what).hint("keep the repository outside of writable roots, or leave that root out")
}

/// As git does (git-config(1), "pathname"). `%(prefix)/` is where git was installed: mostly below /usr, and the sandbox has no say in it.
fn resolve(value: &str, base: &Path, walk: &Walk) -> PathBuf {
    let value = value.strip_prefix(":(optional)").unwrap_or(value);
    if let Some(below) = value.strip_prefix("%(prefix)/") {
        return Path::new(PREFIX).join(path(below));
    }
    let Some((user, below)) = value.strip_prefix('~').and_then(|rest| rest.split_once('/')) else {
        return base.join(path(value));
    };
    let home = if user.is_empty() { walk.home() } else { walk.home_of(path(user).as_os_str()) };
    home.map_or_else(|| base.join(path(value)), |home| home.join(path(below)))
}

/// One line of git-config(1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Lower case, as are keys.
    pub section: String,
    /// `[section "name"]`
    pub name: String,
    pub key: String,
    pub value: String,
}

/// What is set in a file; nothing where there is none.
fn configuration(file: &Path, walk: &Walk) -> Vec<Setting> {
    let text = walk.read(file).unwrap_or_default();
    settings(&text.into_iter().map(char::from).collect::<String>())
}

/// git knows no encoding: each byte of a file is read as the character of that number, and here made a byte again.
fn path(text: &str) -> PathBuf {
    OsString::from_vec(text.chars().map(|c| c as u8).collect()).into()
}

pub(crate) fn settings(text: &str) -> Vec<Setting> {
    // A byte order mark, of which git skips one.
    let text = text.strip_prefix("\u{ef}\u{bb}\u{bf}").unwrap_or(text);
    let (mut section, mut name, mut all, mut rest) = (String::new(), String::new(), Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or(rest);
        if let Some(head) = rest.strip_prefix('[') {
            (section, name, rest) = header(head);
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            let value;
            (value, rest) = self::value(&rest[key.len() + 1..]);
            all.push(Setting { section: section.clone(), name: name.clone(), key: key.trim().to_lowercase(), value });
        } else {
            rest = &rest[line.len()..];
        }
        rest = rest.trim_start();
    }
    all
}

/// What stands behind a `[`: the section, its name, and the rest of the text. `[section.name]` is the old way.
fn header(text: &str) -> (String, String, &str) {
    let (mut section, mut name, mut quoted, mut end) = (String::new(), String::new(), false, text.len());
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => name.extend(chars.next().map(|(_, c)| c)),
            '\n' | ']' if c == '\n' || !quoted => {
                end = at + 1;
                break;
            }
            c if quoted => name.push(c),
            c => section.push(c),
        }
    }
    let section = section.trim().to_lowercase();
    match section.split_once('.').filter(|_| name.is_empty()) {
        Some((section, name)) => (section.to_owned(), name.to_owned(), &text[end..]),
        None => (section, name, &text[end..]),
    }
}

/// A value, which may have quotes anywhere and go on in the next line after a `\`, and the rest of the text.
fn value(text: &str) -> (String, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    // What is blank at the end counts only where it is quoted.
    let (mut value, mut kept, mut quoted, mut end) = (String::new(), 0, false, text.len());
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => {
                end = at;
                break;
            }
            '"' => quoted = !quoted,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('b') => value.push('\x08'),
                Some('\n') | None => continue,
                Some(c) => value.push(c),
            },
            ';' | '#' if !quoted => {
                end = at + text[at..].find('\n').unwrap_or(text.len() - at);
                break;
            }
            c => value.push(c),
        }
        if quoted || !c.is_ascii_whitespace() {
            kept = value.len();
        }
    }
    value.truncate(kept);
    (value, &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_git_reads_it() {
        let text = "; a comment\n[Core]\n\thooksPath = .githooks # ours\n\tbare\n[submodule \"lib/x\"] url = \"a;b\"\n\
                    #[core]\n#hooksPath = no\n[include]\npath=../.gitconfig\n";
        let all: Vec<String> =
            settings(text).into_iter().map(|s| format!("{} {} {} {}", s.section, s.name, s.key, s.value)).collect();
        assert_eq!(all, ["core  hookspath .githooks", "submodule lib/x url a;b", "include  path ../.gitconfig"]);
    }

    #[test]
    fn a_byte_order_mark_hides_no_section() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, b"\xef\xbb\xbf[core]\n\thooksPath = h\n").unwrap();
        let disk = crate::policy::view::Disk::new();
        let all = configuration(&file, &Walk::new(&disk));
        assert_eq!(all.iter().map(|s| (s.section.as_str(), s.value.as_str())).collect::<Vec<_>>(), [("core", "h")]);
    }

    #[test]
    fn a_path_is_resolved_as_git_resolves_it() {
        let disk = crate::policy::view::Disk::new();
        let (walk, base) = (Walk::new(&disk), Path::new("/w"));
        let home = walk.home().unwrap();
        for (value, path) in [
            ("~root/x", "/root/x".into()),
            ("~/x", home.join("x")),
            ("~nobody-has-this-name/x", "/w/~nobody-has-this-name/x".into()),
            ("~x", "/w/~x".into()),
            ("%(prefix)/x", "/usr/x".into()),
            (":(optional)h", "/w/h".into()),
            (":(optional)~root/x", "/root/x".into()),
            ("../h", "/w/../h".into()),
            ("/h", "/h".into()),
        ] {
            assert_eq!(resolve(value, base, &walk), path, "{value}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_does_not_hide_a_setting() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, b"[user]\nname = Ren\xe9\n[core]\nhooksPath = \xc3\xa0\n").unwrap();
        let disk = crate::policy::view::Disk::new();
        let all = configuration(&file, &Walk::new(&disk));
        assert_eq!(all.iter().map(|s| path(&s.value)).next_back(), Some("à".into()));
    }

    /// As `git config --list` says it; found by writing values as git writes them (`fuzz/targets/foreign.rs`).
    #[test]
    fn quotes_may_stand_anywhere_and_a_line_may_go_on_in_the_next() {
        let text = "[submodule \"a]\\\"b\"]\nurl = x\n[core]\nhooksPath = \".git\"h\"oo ks\" ; c\na = b\\\\\nc = d\\\n  e\\tf \n\
                    [submodule.Old] url=\" # \"\nbare\n# x = y\n[broken\nk = v";
        let all: Vec<String> =
            settings(text).into_iter().map(|s| format!("{}|{}|{}|{}", s.section, s.name, s.key, s.value)).collect();
        let expected = [
            "submodule|a]\"b|url|x",
            "core||hookspath|.githoo ks",
            "core||a|b\\",
            "core||c|d  e\tf",
            "submodule|old|url| # ",
            "broken||k|v",
        ];
        assert_eq!(all, expected);
    }
}
