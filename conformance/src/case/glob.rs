//! Denied patterns: what they match when the sandbox is made cannot be read inside.

use super::{Case, On, Play, case};
use crate::policy::{pair, path, special};
use crate::report::{No, Verdict};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

pub const CASES: &[Case] = &[
    case("every file that matches is denied, at every depth", On::Every, every_depth),
    case("glob_scan_max_depth is the depth of the search", On::Sandbox, limited),
    case("a prefix of a name outside of the workspace", On::Every, prefix),
    case("a directory that matches is denied with all that is in it", On::Every, directory),
    case("a file granted by name below a directory that matches", On::Every, granted),
    case("a bracket that is not closed is itself (69)", On::Every, bracket),
    case("where everything is writable a pattern denies too (43)", On::Every, everywhere),
    case("a link that matches denies the file it leads to", On::Every, link),
    case("a pattern without a directory to begin in is refused", On::Sandbox, unbounded),
    case("a name that is no text and matches is refused, not passed over", On::Sandbox, not_text),
    case("a file that a sandbox makes itself is its own", On::Sandbox, made_inside),
    case("a search whose results are kept finds what is new", On::Sandbox, cached),
    case("nobody inside can write down what a search has found", On::Codexrun, cache_is_protected),
    case("a search mounts nothing that autofs waits to mount", On::Sandbox, autofs),
];

fn glob(pattern: &str) -> Value {
    json!({"path": {"type": "glob_pattern", "pattern": pattern}, "access": "deny"})
}

fn policy(play: &Play, more: &[Value]) -> Result<String, No> {
    let mut entries = vec![special("root", "read"), special("project_roots", "write")];
    entries.extend_from_slice(more);
    Ok(play.scene.put("policy.json", &pair(entries).to_string())?.display().to_string())
}

/// Files below the workspace, each with its name as its text.
fn files(play: &Play, names: &[&str]) -> Result<(), No> {
    for name in names {
        let file = play.scene.w().join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
        std::fs::write(&file, format!("{name}\n"))?;
    }
    Ok(play.column.actor.own(&play.scene.dir)?)
}

/// What `cat` can read of the files, in order.
fn readable(play: &Play, policy: &str, names: &[&str], want: &[&str]) -> Verdict {
    let ran = play.sh(policy, &format!("cat {} 2>/dev/null; :", names.join(" ")))?;
    let want: String = want.iter().map(|name| format!("{name}\n")).collect();
    ran.must(&format!("{want:?}"), ran.code == 0 && ran.out == want)
}

const NAMES: &[&str] = &[".env", "a/x.env", "a/b/c/.env", "a/b/env", "keep.envrc"];

fn every_depth(play: &Play) -> Verdict {
    files(play, NAMES)?;
    readable(play, &policy(play, &[glob("codex-project-roots://**/*.env")])?, NAMES, &["a/b/env", "keep.envrc"])
}

fn limited(play: &Play) -> Verdict {
    files(play, NAMES)?;
    let entries = vec![special("root", "read"), special("project_roots", "write"), glob("codex-project-roots://**/*.env")];
    let policy = json!({"kind": "restricted", "entries": entries, "glob_scan_max_depth": 2});
    let file = play.scene.put("policy.json", &policy.to_string())?.display().to_string();
    readable(play, &file, NAMES, &["a/b/c/.env", "a/b/env", "keep.envrc"])
}

fn prefix(play: &Play) -> Verdict {
    let out = play.scene.out();
    std::fs::write(out.join("dir/id_rsa"), "key\n")?;
    play.column.actor.own(&out)?;
    let policy = policy(play, &[glob(&format!("{}/**/id_*", out.display()))])?;
    let ran = play.sh(policy, &format!("cd '{}'; cat dir/id_rsa dir/inner.txt 2>/dev/null; :", out.display()))?;
    ran.must("`inner`", ran.out == "inner\n")
}

fn directory(play: &Play) -> Verdict {
    files(play, &["a/keys/x", "keys/y/z", "keysring"])?;
    let policy = policy(play, &[glob("codex-project-roots://**/keys")])?;
    readable(play, &policy, &["a/keys/x", "keys/y/z", "keysring"], &["keysring"])
}

fn granted(play: &Play) -> Verdict {
    files(play, &["keys/x", "keys/pub/y", "keys/pub/z.env"])?;
    let open = path(play.scene.w().join("keys/pub"), "read");
    let policy = policy(play, &[glob("codex-project-roots://**/keys"), glob("codex-project-roots://**/*.env"), open])?;
    readable(play, &policy, &["keys/x", "keys/pub/y", "keys/pub/z.env"], &["keys/pub/y"])
}

fn bracket(play: &Play) -> Verdict {
    files(play, &["[x.env", "x.env"])?;
    readable(play, &policy(play, &[glob("codex-project-roots://[*.env")])?, &["'[x.env'", "x.env"], &["x.env"])
}

fn everywhere(play: &Play) -> Verdict {
    files(play, NAMES)?;
    let entries = vec![special("root", "write"), glob("codex-project-roots://**/*.env")];
    let file = play.scene.put("policy.json", &pair(entries).to_string())?.display().to_string();
    readable(play, &file, NAMES, &["a/b/env", "keep.envrc"])
}

fn link(play: &Play) -> Verdict {
    symlink("../out/file.txt", play.scene.w().join("link.env"))?;
    let policy = policy(play, &[glob("codex-project-roots://*.env")])?;
    readable(play, &policy, &["link.env", "../out/file.txt", "../out/victim"], &["victim"])
}

fn unbounded(play: &Play) -> Verdict {
    let ran = play.sh(policy(play, &[glob("/**/*.env")])?, "echo started")?;
    ran.must("exit 1 and a sentence", ran.code == 1 && ran.out.is_empty() && ran.err.contains("non-root directory prefix"))
}

/// config.json could not name it.
fn not_text(play: &Play) -> Verdict {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"\xff.env");
    std::fs::write(play.scene.w().join(name), "secret")?;
    let ran = play.sh(policy(play, &[glob("codex-project-roots://**/*.env")])?, "echo started")?;
    ran.must("exit 1 and a sentence", ran.code == 1 && ran.out.is_empty() && ran.err.contains("is not UTF-8"))
}

fn made_inside(play: &Play) -> Verdict {
    let ran = play.sh(policy(play, &[glob("codex-project-roots://**/*.env")])?, "echo own > own.env && cat own.env")?;
    ran.must("`own`", ran.code == 0 && ran.out == "own\n")
}

/// Enough directories for a search to be written down, and old enough.
fn cached(play: &Play) -> Verdict {
    let names: Vec<String> = (0..80).map(|n| format!("d{n}/x.env")).collect();
    files(play, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    std::thread::sleep(std::time::Duration::from_millis(3100));
    let policy = policy(play, &[glob("codex-project-roots://**/*.env")])?;
    readable(play, &policy, &["d7/x.env", "d7/new.env"], &[])?;
    files(play, &["d7/new.env", "d7/new"])?;
    let found = readable(play, &policy, &["d7/x.env", "d7/new.env", "d7/new"], &["d7/new"]);
    if play.column.actor.is_root() {
        std::fs::remove_dir_all("/run/codexrun-scan")?; // the machine's own
    }
    found
}

fn cache_is_protected(play: &Play) -> Verdict {
    let run = if play.column.actor.is_root() { "/run".into() } else { play.scene.run() };
    let entries = vec![special("root", "write"), glob("codex-project-roots://**/*.env")];
    let file = play.scene.put("policy.json", &pair(entries).to_string())?;
    let script = format!(
        "mkdir -p '{0}/codexrun-scan/x'; touch '{0}/codexrun-scan/x'; mv '{0}/codexrun-scan' '{0}/old'; :",
        run.display()
    );
    let ran = play.sh(file.display(), &script)?;
    let made = run.join("codexrun-scan/x").exists() || run.join("old").exists();
    ran.must("nothing can be made there", ran.code == 0 && !made)
}

/// The automounter is a pipe: whoever enters its directory is reported there, and waits.
fn autofs(play: &Play) -> Verdict {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let at = play.scene.w().join("auto");
    play.dir(&at)?;
    let (mut hears, says) = std::io::pipe()?;
    let options = format!("fd={},minproto=5,maxproto=5,direct", says.as_raw_fd());
    if let Err(e) = mount(Some("test"), &at, Some("autofs"), MsFlags::empty(), Some(options.as_str())) {
        return crate::report::skip(format!("autofs cannot be mounted here: {e}"));
    }
    drop(says); // the kernel has its own
    let policy = policy(play, &[glob("codex-project-roots://**/*.env")]);
    let ran = policy.and_then(|policy| play.sh(policy, "echo ran"));
    umount2(&at, MntFlags::MNT_DETACH).map_err(std::io::Error::from)?;
    let mut asked = Vec::new();
    hears.read_to_end(&mut asked)?;
    let ran = ran?;
    ran.must("`ran`, and nobody asked for the mount", ran.out == "ran\n" && asked.is_empty())
}
