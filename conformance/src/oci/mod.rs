//! A case for each MUST of the OCI runtime specification 1.3.0 (runtime.md, config.md, config-linux.md, features.md), and for what
//! container engines rely on beyond its letter. codexrun must pass them all; runc and crun are asked the same, to show where the others
//! stand. `sentences.md` has the specification's words, each with its cases.

mod annotations;
pub mod bundle;
pub mod console;
pub mod container;
mod create;
mod delete;
pub mod doc;
mod engine;
mod exec;
mod hook;
mod hooks;
mod hostile;
pub mod idmap;
mod kill;
mod lifecycle;
mod linux;
mod mounts;
pub mod process;
mod required;
mod rlimits;
mod root;
mod seccomp;
mod start;
mod state;
pub mod storm;
pub mod turn;
mod user;

use crate::launch::{GRACE, orphans_end};
use crate::report::{No, Verdict, asked, fail, skip};
use crate::runtime::{Column, Kind};
use crate::scene::Stage;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use turn::Turn;

/// Who a case is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Root and the ordinary user.
    Both,
    /// Root alone: an ordinary user has one identity and no cgroup.
    Root,
}

/// One demand, and the case that asks for it.
pub struct Must {
    /// Its stable name: a row of the matrix.
    pub name: &'static str,
    /// What is demanded, as short as it can be said.
    pub says: &'static str,
    who: Who,
    run: fn(&Turn) -> Verdict,
    /// What succeeded once has succeeded: it is not asked again.
    is_attack: bool,
}

/// A demand.
pub const fn must(name: &'static str, says: &'static str, who: Who, run: fn(&Turn) -> Verdict) -> Must {
    Must { name, says, who, run, is_attack: false }
}

/// A demand that is put by an attack.
pub const fn attack(name: &'static str, says: &'static str, who: Who, run: fn(&Turn) -> Verdict) -> Must {
    Must { is_attack: true, ..must(name, says, who, run) }
}

/// The sources of the demands, and their cases.
pub const GROUPS: &[(&str, &[Must])] = &[
    ("runtime.md: scope, state, query state", state::CASES),
    ("runtime.md: lifecycle, errors", lifecycle::CASES),
    ("runtime.md: create", create::CASES),
    ("runtime.md: start", start::CASES),
    ("runtime.md: kill", kill::CASES),
    ("runtime.md: delete", delete::CASES),
    ("config.md: version, root", root::CASES),
    ("config.md: mounts", mounts::CASES),
    ("config.md: mounts, mapped ids and recursive options", idmap::CASES),
    ("config.md: process, hostname, domainname", process::CASES),
    ("config.md: process.rlimits", rlimits::CASES),
    ("config.md: process.user, capabilities", user::CASES),
    ("config.md: process.terminal", console::CASES),
    ("runtime.md, config.md: hooks", hooks::CASES),
    ("config.md: annotations, extensibility, valid values", annotations::CASES),
    ("config.md, config-linux.md: required fields", required::CASES),
    ("config-linux.md: namespaces, mappings, time offsets", linux::namespaces::CASES),
    ("config-linux.md: default filesystems, devices", linux::devices::CASES),
    ("config-linux.md: control groups", linux::cgroups::CASES),
    ("config-linux.md: masked and read-only paths, propagation, label", linux::paths::CASES),
    ("config-linux.md: seccomp", linux::filter::CASES),
    ("config-linux.md: seccomp, its agent", seccomp::CASES),
    ("config-linux.md: network devices", linux::netdevices::CASES),
    ("config-linux.md: sysctl, personality, memoryPolicy, intelRdt; config.md: scheduling", linux::kernel::CASES),
    ("features.md, features-linux.md", linux::features::CASES),
    ("engines: the command line", engine::CASES),
    ("engines: exec", exec::CASES),
    ("old holes", crate::hole::CASES),
    ("hostile bundles", hostile::CASES),
];

/// The rows, as they are printed.
pub fn rows() -> Vec<String> {
    all().map(|must| must.name.to_string()).collect()
}

fn all() -> impl Iterator<Item = &'static Must> {
    GROUPS.iter().flat_map(|(_, cases)| cases.iter())
}

/// Plays one column, if it has a runtime of its own.
pub fn run_one(stage: &Stage, column: &Column, wanted: &dyn Fn(&str) -> bool) {
    if column.runtime.kind == Kind::Sandbox {
        return;
    }
    let as_asked = |verdict: Verdict| if column.runtime.is_codexrun() { verdict } else { verdict.map_err(No::of_a_referee) };
    for must in all().filter(|must| wanted(must.name)) {
        let ask = || one(stage, column, must);
        crate::told::say(must.name, as_asked(if must.is_attack { ask() } else { asked(must.name, ask) }));
    }
}

/// Plays one case in one column, and looks at what is left of it.
pub fn one(stage: &Stage, column: &Column, must: &Must) -> Verdict {
    if let Some(reason) = column.obstacle() {
        return skip(reason);
    }
    if must.who == Who::Root && !column.actor.is_root() {
        return skip("an ordinary user has one identity and no cgroup; asked as root");
    }
    let busybox = busybox(stage)?;
    let (dir, tag) = stage.place("oci")?;
    let turn = Turn::new(column, dir.clone(), tag, &busybox)?;
    let mounts = host_mounts();
    let verdict = (must.run)(&turn);
    let clean = nothing_left(&turn, &mounts);
    fs::remove_dir_all(&dir)?;
    verdict.and(clean)
}

/// The payloads' program, where it can be linked into bundles.
pub fn busybox(stage: &Stage) -> Result<PathBuf, No> {
    if !Path::new(bundle::BUSYBOX).is_file() {
        return skip(format!("no {}: apt-get install busybox-static", bundle::BUSYBOX));
    }
    Ok(stage.program(Path::new(bundle::BUSYBOX))?)
}

/// The mount table of this namespace.
pub fn host_mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// The lines of a mount table, without what other cases have in their own places at this moment, of this stage or another.
fn own_mounts<'a>(table: &'a str, dir: &Path) -> Vec<&'a str> {
    let at = |line: &'a str| Path::new(line.split(' ').nth(4).unwrap_or_default());
    let of_a_case =
        |at: &Path| at.parent().is_some_and(|up| up.iter().any(|name| name.as_bytes().starts_with(b"codexrun-test-")));
    table.lines().filter(|line| !of_a_case(at(line)) || at(line).starts_with(dir)).collect()
}

/// After a case no process, mount, cgroup or state of it is there.
pub fn nothing_left(turn: &Turn, mounts: &str) -> Verdict {
    let mut left = orphans_end(GRACE);
    if own_mounts(&host_mounts(), &turn.dir) != own_mounts(mounts, &turn.dir) {
        left.push("a mount".into());
    }
    left.extend(named_in(&turn.state, &turn.tag));
    for cgroup in cgroups(&turn.tag) {
        // What is told need not stay: nobody else will ever remove it.
        let removed = fs::remove_dir(&cgroup).map_or_else(|e| e.to_string(), |()| "removed".into());
        left.push(format!("{cgroup} ({removed})"));
    }
    if left.is_empty() { Ok(()) } else { fail("(after delete --force)", "nothing is left", left.join("; ")) }
}

/// Entries of a directory whose name holds a word.
fn named_in(dir: &Path, word: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|e| e.path().display().to_string());
    paths.filter(|p| p.rsplit('/').next().is_some_and(|name| name.contains(word))).collect()
}

/// The cgroups of a turn, anywhere below any hierarchy; the innermost first, as they can be removed.
pub fn cgroups(tag: &str) -> Vec<String> {
    fn below(dir: &Path, tag: &str, found: &mut Vec<String>) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        for path in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()) {
            below(&path, tag, found);
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(tag)) {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    below(Path::new("/sys/fs/cgroup"), tag, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sentences.md: the specification's own words, each with what asks for it.
    #[test]
    fn every_sentence_of_the_specification_has_a_case_a_test_or_a_reason() {
        let page = include_str!("sentences.md");
        let (cases, tests) = (all().map(|must| must.name).chain(crate::vm::names()).collect::<Vec<_>>(), tests());
        let known = |one: &str| match one.strip_prefix("test ") {
            Some(test) => tests.contains(&format!("fn {}(", test.trim_matches('`'))),
            None => cases.contains(&one.trim_matches('`')),
        };
        let mut sentences = page.split("\n- ").skip(1).map(|line| line.split("\n\n").next().unwrap_or_default());
        let unproven = sentences.by_ref().filter(|line| match line.split_once("\n  → ") {
            Some((says, proof)) => {
                let demands = ["MUST", "REQUIRED", "SHALL"].iter().any(|word| says.contains(word));
                !demands || !proof.starts_with("– ") && !proof.trim().split(", ").all(known)
            }
            None => true,
        });
        assert_eq!(unproven.collect::<Vec<_>>(), [""; 0]);
        assert_eq!(page.matches("\n- ").count(), 197);
    }

    /// The first lines of every test of the workspace.
    fn tests() -> String {
        fn below(dir: &Path, text: &mut String) {
            for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                match path.extension() {
                    _ if path.is_dir() => below(&path, text),
                    Some(kind) if kind == "rs" => *text += &fs::read_to_string(path).unwrap(),
                    _ => {}
                }
            }
        }
        let mut text = String::new();
        for dir in ["libruntime/src", "libruntime/tests", "cmd/tests"] {
            below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir), &mut text);
        }
        text.split("#[test]\n").skip(1).filter_map(|test| test.lines().find(|line| line.contains("fn "))).collect()
    }

    #[test]
    fn every_demand_has_its_own_name_and_a_sentence() {
        let mut names: Vec<_> = all().map(|m| m.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "a name stands twice");
        assert!(all().all(|m| !m.says.is_empty() && m.says.len() < 200));
    }

    #[test]
    fn a_mount_is_left_unless_it_is_another_cases() {
        let table = "1 0 0:1 / / rw\n2 1 0:2 / /codexrun-test-b/oci-1/ro rw\n3 1 0:3 / /codexrun-test-a/oci-2/b rw\n4 1 0:4 / /codexrun-test-a rw";
        let own: Vec<&str> =
            own_mounts(table, Path::new("/codexrun-test-a/oci-2")).iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(own, ["1", "3", "4"]);
    }
}
