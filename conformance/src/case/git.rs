//! A real repository with a worktree and a submodule: reading it works, its metadata cannot be written.

use super::{Case, On, Play, WRITE, case, unchanged};
use crate::launch::{Launch, Ran};
use crate::matrix::gone;
use crate::on_path;
use crate::report::{No, Verdict, skip};
use crate::runtime::Job;
use std::path::PathBuf;

pub const CASES: &[Case] = &[
    case("status, diff and log work", On::Every, |p| reads(p, p.scene.w())),
    case("metadata is read-only, a file is not", On::Every, protected),
    case("a commit fails and changes nothing", On::Every, commit),
    case("a worktree: status, diff and log work", On::Every, |p| reads(p, p.scene.dir.join("tree"))),
    case("a worktree: its gitdir and its pointer are read-only", On::Every, worktree),
    case("a worktree beside its repository, both writable", On::Every, both),
    case("a submodule: status, diff and log work", On::Every, |p| reads(p, p.scene.w().join("mod"))),
    case("a submodule: its gitdir and its pointer are read-only", On::Every, submodule),
    case("a directory below a repository finds it and leaves nothing (16)", On::Every, below),
    case("a worktree: a commit works where the repository is granted by name (#19786)", On::Every, granted),
    case(
        "git = commit: a worktree can be committed to, and nothing that git obeys can be written (#7071)",
        On::Every,
        committing,
    ),
    case("git = commit: add, commit, branch, stash and rebase work", On::Every, working),
    case("git = commit: refused where it cannot be held, and for a pointer that a sandbox may have made", On::Sandbox, not_held),
    case("git = commit: where an earlier sandbox's links lead nothing is granted", On::Sandbox, planted),
    case("git = commit: a repository in a writable root is refused", On::Sandbox, exposed),
    case("git = commit: no link and no pipe is left for git outside to write to", On::Codexrun, left),
    case("git = commit: commands in an unfinished rebase are told of", On::Sandbox, unfinished),
    case("hooks, included configuration and submodules that git trusts are read-only (#37081)", On::Every, trusted),
    case("an agent below the top of a repository: what that trusts is read-only", On::Every, outer),
    case("a worktree below its repository keeps its pointer", On::Every, tree_inside),
    case("what the user's own configuration trusts is read-only without a repository too", On::Sandbox, users),
    case("nested_git: a repository inside the workspace is protected (#37081)", On::Every, nested),
    case("git init is refused where .git is missing", On::Every, init),
];

const SETUP: &str = "
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
rm -rf w/.git w/store x/.git x/.codex x/.agents w/escape w/escapedir
git init -q -b main x && git -C x add . && git -C x commit -qm x
git init -q -b main w && cd w
printf 'bin\\nlist.txt\\nmade*\\n' > .gitignore
git -c protocol.file.allow=always submodule --quiet add ../x mod
git add . && git commit -qm first
git worktree add -q -b side ../tree
echo changed >> plain.txt; echo changed >> mod/plain.txt; echo changed >> ../tree/plain.txt
";

/// Makes the repositories as the column's user, outside any sandbox.
fn repository(play: &Play) -> Verdict {
    if on_path("git").is_none() {
        return skip("git is not on PATH");
    }
    let made = Launch::new(&["/bin/sh", "-c", SETUP], &play.scene.dir).run(&play.column.actor)?;
    made.must("a repository with a worktree and a submodule", made.code == 0)
}

fn at(play: &Play, cwd: PathBuf, script: &str) -> Result<Ran, No> {
    play.column.run(&play.scene, &Job { cwd, ..Job::sh(WRITE, &play.scene, script) })
}

fn reads(play: &Play, cwd: PathBuf) -> Verdict {
    repository(play)?;
    let ran = at(play, cwd, "git status --short && git diff && git log --oneline")?;
    let all = ran.out.contains(" M plain.txt") && ran.out.contains("+changed") && ran.out.lines().count() > 5;
    ran.must("` M plain.txt`, a diff with `+changed`, a log, no `.codex`", ran.code == 0 && all && !ran.out.contains(".codex"))
}

/// Each place refuses with the words that people know.
fn read_only(play: &Play, cwd: PathBuf, places: &[&str]) -> Verdict {
    for place in places {
        let ran = at(play, cwd.clone(), &format!("echo x >> {place} 2>&1; echo end"))?;
        let refused = ran.err.contains("Read-only file system") || ran.out.contains("Read-only file system");
        ran.must(&format!("{place}: Read-only file system"), refused)?;
    }
    Ok(())
}

fn protected(play: &Play) -> Verdict {
    repository(play)?;
    let places = [".git/config", ".git/hooks/pre-commit", ".git/index.lock", ".codex/config.toml"];
    read_only(play, play.scene.w(), &places)?;
    play.write("echo fine > made")?.code_is(0)?;
    unchanged(&play.scene.w().join("made"), "fine\n")
}

fn commit(play: &Play) -> Verdict {
    repository(play)?;
    let ran = play.write("git -c user.name=a -c user.email=a@b commit -qam no; git log --oneline | wc -l")?;
    ran.must("Read-only file system, one commit", ran.err.contains("Read-only file system") && ran.out.trim() == "1")
}

fn worktree(play: &Play) -> Verdict {
    repository(play)?;
    let gitdir = play.scene.w().join(".git/worktrees/tree/index.lock").display().to_string();
    read_only(play, play.scene.dir.join("tree"), &[&gitdir, ".git", ".codex/config.toml"])?;
    at(play, play.scene.dir.join("tree"), "echo fine > made")?.code_is(0)
}

/// The worktree's gitdir lies in the repository, which is a root here: the pointer's target is still read-only.
fn both(play: &Play) -> Verdict {
    repository(play)?;
    let policy = serde_json::json!({"type": "workspace-write", "writable_roots": [play.scene.dir.join("tree")]});
    let file = play.scene.put("policy.json", &policy.to_string())?;
    let script = "echo x >> .git/worktrees/tree/HEAD; echo x >> ../tree/.git; echo x > .git/config; git -C ../tree status --short; echo fine > ../tree/made";
    let ran = play.sh(file.display(), script)?;
    let refused = ran.err.matches("Read-only file system").count() == 3;
    ran.must("three times Read-only file system, ` M plain.txt`", refused && ran.code == 0 && ran.out.contains(" M plain.txt"))
}

fn submodule(play: &Play) -> Verdict {
    repository(play)?;
    let gitdir = play.scene.w().join(".git/modules/mod/config").display().to_string();
    read_only(play, play.scene.w().join("mod"), &[&gitdir, ".git", ".codex/config.toml"])
}

fn below(play: &Play) -> Verdict {
    repository(play)?;
    let sub = play.scene.w().join("sub");
    let script =
        "git rev-parse --show-toplevel && git status --short . && ! git init -q 2>/dev/null && ! mkdir .codex 2>/dev/null";
    let ran = at(play, sub.clone(), script)?;
    let top = play.scene.w().display().to_string();
    ran.must(&format!("{top}, a clean status and no repository of its own"), ran.code == 0 && ran.out.trim() == top)?;
    gone(&[".git", ".codex", ".agents"].map(|n| sub.join(n)), &ran.line)
}

fn init(play: &Play) -> Verdict {
    if on_path("git").is_none() {
        return skip("git is not on PATH");
    }
    let sub = play.scene.w().join("sub");
    let ran = at(play, sub.clone(), "git init -q")?;
    ran.must("a failure", ran.code != 0)?;
    gone(&[sub.join(".git")], &ran.line)
}

fn policy(play: &Play, text: serde_json::Value) -> Result<String, No> {
    Ok(play.scene.put("policy.json", &text.to_string())?.display().to_string())
}

const COMMIT: &str = "git -c user.name=a -c user.email=a@b commit -qam more";

fn in_tree(play: &Play, policy: &str, script: &str) -> Result<Ran, No> {
    play.column.run(&play.scene, &Job { cwd: play.scene.dir.join("tree"), ..Job::sh(policy, &play.scene, script) })
}

fn granted(play: &Play) -> Verdict {
    repository(play)?;
    let text = serde_json::json!({"type": "workspace-write", "writable_roots": [play.scene.w().join(".git")]});
    let ran = in_tree(play, &policy(play, text)?, &format!("{COMMIT} && git log --oneline | wc -l"))?;
    ran.must("two commits", ran.code == 0 && ran.out.trim() == "2")
}

fn committing(play: &Play) -> Verdict {
    repository(play)?;
    let policy = policy(play, serde_json::json!({"type": "workspace-write", "codexrun": {"git": "commit"}}))?;
    let (git, own) = (play.scene.w().join(".git"), play.scene.w().join(".git/worktrees/tree"));
    let script = format!(
        "{COMMIT} && git log --oneline | wc -l
        for f in '{0}/config' '{0}/hooks/pre-commit' '{0}/commondir' '{1}/commondir' '{1}/gitdir' '{1}/config.worktree' .git; do
            {{ echo x >> \"$f\"; }} 2>/dev/null && echo \"$f\"; mv \"$f\" \"$f.old\" 2>/dev/null && echo \"$f\"
        done; git -c core.hooksPath=x status --short",
        git.display(),
        own.display()
    );
    let ran = in_tree(play, &policy, &script)?;
    ran.must("two commits, a clean worktree, nothing else written", ran.code == 0 && ran.out.trim() == "2")?;
    gone(&[own.join("config.worktree"), own.join("modules")], &ran.line)
}

fn not_held(play: &Play) -> Verdict {
    repository(play)?;
    let policy = policy(play, serde_json::json!({"type": "workspace-write", "codexrun": {"git": "commit"}}))?;
    let ran = play.sh(&policy, "echo started")?;
    ran.must("exit 1 and the remedy", ran.code == 1 && ran.out.is_empty() && ran.err.contains("git worktree add"))?;
    let sub = play.scene.w().join("forged");
    play.dir(&sub)?;
    std::fs::write(sub.join(".git"), format!("gitdir: {}\n", play.scene.w().join(".git/worktrees/tree").display()))?;
    play.column.actor.own(&sub)?;
    let ran = play.column.run(&play.scene, &Job { cwd: sub, ..Job::sh(&policy, &play.scene, "echo started") })?;
    ran.must("exit 1: the worktree does not name this pointer", ran.code == 1 && ran.out.is_empty())
}

fn commit_policy(play: &Play) -> Result<String, No> {
    policy(play, serde_json::json!({"type": "workspace-write", "codexrun": {"git": "commit"}}))
}

fn outside(play: &Play, dir: &std::path::Path, script: &str) -> Result<Ran, No> {
    Ok(Launch::new(&["/bin/sh", "-c", script], dir).run(&play.column.actor)?)
}

const WORK: &str = "set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
echo 1 > new; git add new plain.txt; git commit -qm one
git branch other; git checkout -q other; git checkout -q side
echo 2 > new; git stash -q; [ $(cat new) = 1 ]; git stash pop -q; [ $(cat new) = 2 ]; git checkout -q new
git rebase -q main
git log --format=%s; git status --short";

fn working(play: &Play) -> Verdict {
    repository(play)?;
    let more = "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m base";
    outside(play, &play.scene.w(), more)?.code_is(0)?;
    let ran = in_tree(play, &commit_policy(play)?, WORK)?;
    ran.must("one, base, first", ran.code == 0 && ran.out == "one\nbase\nfirst\n")?;
    let seen = outside(play, &play.scene.dir.join("tree"), "git log --format=%s && git status --short && git fsck --strict")?;
    seen.must("the same outside", seen.code == 0 && seen.out == "one\nbase\nfirst\n")
}

/// What looks like a worktree of a repository whose `refs` and `logs` lie elsewhere.
const FORGED: &str = "set -e; mkdir -p forged fake/worktrees/y fake/objects ../victim; echo mine > ../victim/file
echo \"gitdir: $PWD/fake/worktrees/y\" > forged/.git; echo \"$PWD/forged/.git\" > fake/worktrees/y/gitdir
echo ../.. > fake/worktrees/y/commondir; echo ref: refs/heads/m | tee fake/HEAD > fake/worktrees/y/HEAD
ln -s $PWD/../victim fake/refs; ln -s $PWD/../victim fake/logs";

fn planted(play: &Play) -> Verdict {
    let (policy, cwd) = (commit_policy(play)?, play.scene.w().join("forged"));
    outside(play, &play.scene.w(), FORGED)?.code_is(0)?;
    let script = "echo x >> ../../victim/file; echo started";
    let ran = play.column.run(&play.scene, &Job { cwd, ..Job::sh(&policy, &play.scene, script) })?;
    let named = ran.err.contains("fake/refs` is a symbolic link") && ran.err.contains("fake/logs` is a symbolic link");
    ran.must("exit 1 and both links by name", ran.code == 1 && ran.out.is_empty() && named)?;
    unchanged(&play.scene.dir.join("victim/file"), "mine\n")
}

fn exposed(play: &Play) -> Verdict {
    repository(play)?;
    let text = serde_json::json!({"type": "workspace-write", "writable_roots": [play.scene.dir], "codexrun": {"git": "commit"}});
    let ran = in_tree(play, &policy(play, text)?, "echo x > ../w/.git/hooks/pre-commit; echo started")?;
    let named = ran.err.contains("w/.git/worktrees/tree` lies in the writable root") && ran.err.contains("leave that root out");
    ran.must("exit 1, the place and the remedy", ran.code == 1 && ran.out.is_empty() && named)
}

fn left(play: &Play) -> Verdict {
    repository(play)?;
    let victim = play.scene.put("victim", "mine\n")?;
    play.column.actor.own(&victim)?;
    let script = format!(
        "own=$(git rev-parse --git-dir); all=$(git rev-parse --git-common-dir)
        for at in $own/COMMIT_EDITMSG $own/FETCH_HEAD $own/logs/x $all/logs/x $all/refs/heads/x $all/objects/x; do
            {{ ln -sf {0} $at || mkfifo $at || ln {0} $at; }} 2>/dev/null && echo $at
        done; printf 'planted\\n' > $own/MERGE_MSG
        ln -s {0} here && mkfifo pipe && mkdir fresh && mv here fresh/there && rm -r fresh pipe",
        victim.display()
    );
    for landlock in [false, true] {
        let text = serde_json::json!({"type": "workspace-write", "codexrun": {"git": "commit", "landlock": landlock}});
        let ran = in_tree(play, &policy(play, text)?, &script)?;
        ran.must("no link in a git directory, one in the workspace", ran.code == 0 && ran.out.is_empty())?;
    }
    let ran = outside(play, &play.scene.dir.join("tree"), &format!("GIT_EDITOR=true {COMMIT} --allow-empty"))?;
    ran.must("a commit outside", ran.code == 0)?;
    unchanged(&victim, "mine\n")
}

/// An interrupted rebase is real work; what it executes is told of.
fn unfinished(play: &Play) -> Verdict {
    repository(play)?;
    for (word, told) in [("exec", true), ("x", true), ("pick", false)] {
        let script = format!(
            "d=$(git rev-parse --git-dir)/rebase-merge; mkdir -p $d; printf 'noop\\n {word} id\\n' > $d/git-rebase-todo; exit 3"
        );
        let ran = in_tree(play, &commit_policy(play)?, &script)?;
        let said = ran.err.contains("rebase-merge/git-rebase-todo` has commands");
        ran.must(&format!("{word}: exit 3, a warning: {told}"), ran.code == 3 && said == told)?;
    }
    Ok(())
}

fn trusted(play: &Play) -> Verdict {
    repository(play)?;
    let set = "git config core.hooksPath .husky/_ && git config include.path ../.gitconfig && mkdir -p .husky/_ && echo '[alias]' > .gitconfig";
    Launch::new(&["/bin/sh", "-c", set], &play.scene.w()).run(&play.column.actor)?.code_is(0)?;
    read_only(play, play.scene.w(), &[".husky/pre-commit", ".husky/_/h", ".gitconfig", "mod/.git"])?;
    play.write("echo fine > mod/made && ! mv mod moved 2>/dev/null && ! rm -rf .husky 2>/dev/null")?.code_is(0)
}

fn outer(play: &Play) -> Verdict {
    repository(play)?;
    let set =
        "git config core.hooksPath sub/.husky/_ && git config include.path ../sub/inc && mkdir -p sub/.husky/_ && : > sub/inc
        git -c protocol.file.allow=always submodule --quiet add ../x sub/mod";
    Launch::new(&["/bin/sh", "-c", set], &play.scene.w()).run(&play.column.actor)?.code_is(0)?;
    let sub = play.scene.w().join("sub");
    read_only(play, sub.clone(), &[".husky/_/pre-commit", ".husky/x", "inc", "mod/.git"])?;
    at(play, sub, "echo fine > made && ! mv .husky moved 2>/dev/null && git status --short .")?.code_is(0)
}

fn tree_inside(play: &Play) -> Verdict {
    repository(play)?;
    let add = ["/bin/sh", "-c", "git worktree add -q -b inside trees/a"];
    Launch::new(&add, &play.scene.w()).run(&play.column.actor)?.code_is(0)?;
    let script = "! rm trees/a/.git 2>/dev/null && ! mv trees moved 2>/dev/null && echo fine > trees/a/made && git -C trees/a status --short";
    play.write(script)?.code_is(0)
}

fn users(play: &Play) -> Verdict {
    if on_path("git").is_none() {
        return skip("git is not on PATH");
    }
    let (home, dot) = (play.scene.dir.join("home"), play.scene.dir.join("dot"));
    play.dir(&home)?;
    std::fs::create_dir_all(dot.join("hooks"))?;
    std::fs::write(dot.join("gitconfig"), format!("[core]\n\thooksPath = {}\n", dot.join("hooks").display()))?;
    std::os::unix::fs::symlink("../dot/gitconfig", home.join(".gitconfig"))?;
    play.column.actor.own(&play.scene.dir)?;
    let codexrun = play.column.runtime.codexrun.display().to_string();
    for place in ["hooks/pre-commit", "gitconfig"] {
        let words = ["/usr/bin/env", &format!("HOME={}", home.display()), &codexrun, "sandbox", "--", "/bin/sh", "-c"];
        let script = format!("echo x >> {place}; : > made");
        let ran = Launch::new(&[&words[..], &[&script]].concat(), &dot).run(&play.column.actor)?;
        ran.must(
            &format!("{place}: Read-only file system"),
            ran.err.contains("Read-only file system") && dot.join("made").exists(),
        )?;
    }
    Ok(())
}

fn nested(play: &Play) -> Verdict {
    repository(play)?;
    let make = "mkdir -p vendor/lib && git init -q vendor/lib";
    Launch::new(&["/bin/sh", "-c", make], &play.scene.w()).run(&play.column.actor)?.code_is(0)?;
    let script = "! { echo x >> vendor/lib/.git/config; } 2>/dev/null && ! mv vendor/lib/.git vendor/lib/old 2>/dev/null && touch vendor/lib/made";
    let policy = policy(play, serde_json::json!({"type": "workspace-write", "codexrun": {"nested_git": true}}))?;
    play.sh(&policy, script)?.code_is(0)?;
    play.write("echo x >> vendor/lib/.git/config")?.code_is(0)
}
