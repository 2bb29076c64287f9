//! The command line: refusals that say where, nothing overwritten, the same bytes each time.

use super::{Case, On, Play, WRITE, case, unchanged};
use crate::launch::Launch;
use crate::report::{Verdict, fail};
use crate::runtime::Job;

pub const CASES: &[Case] = &[
    case("a policy that is no JSON: file, line and column", On::Sandbox, |p| {
        bad(p, "{\"type\": \"read-only\",\n  oops}\n", ":2:")
    }),
    case("an unknown type: file, line and column", On::Sandbox, |p| bad(p, "{\"type\": \"no-such-type\"}\n", ":1:")),
    case("a wrong access word: file, line and column", On::Sandbox, |p| bad(p, WRONG_ACCESS, ":2:")),
    case("a relative path in an entry", On::Sandbox, |p| bad(p, RELATIVE, ":2:")),
    case("a policy file that is not there", On::Sandbox, missing),
    case("no command", On::Sandbox, no_command),
    case("an unknown verb", On::Sandbox, |p| refused(p, &["no-such-verb"])),
    case("a working directory that is not there", On::Sandbox, no_directory),
    case("spec does not overwrite config.json", On::Sandbox, no_overwrite),
    case("spec twice gives the same bytes", On::Sandbox, deterministic),
    case("plan prints the operations with their origins", On::Sandbox, plan),
    case("--portable-to prints the losses", On::Sandbox, portable),
    case("a policy on stdin", On::Sandbox, from_stdin),
    case("a policy in TOML", On::Sandbox, toml),
    case("a preset with a colon", On::Sandbox, |p| p.sh(":read-only", "touch x 2>/dev/null && exit 9; exit 0")?.code_is(0)),
    case("an unknown special place loads and warns", On::Sandbox, unknown_special),
    case("--identity root is root inside", On::Sandbox, identity_root),
    case("the ids of the caller are kept", On::Sandbox, identity_kept),
    case(
        "codexrun's own file in the workspace is not replaced, and what is put in its place not executed",
        On::Sandbox,
        own_program,
    ),
    case("a link in the workspace that leads to codexrun is refused", On::Sandbox, own_link),
];

/// The hook that ends a bridge is codexrun, by its path, outside.
fn own_program(play: &Play) -> Verdict {
    let (w, proof) = (play.scene.w(), play.scene.w().join("proof"));
    let own = w.join("bin/codexrun");
    play.dir(&w.join("bin"))?;
    std::fs::copy(&play.column.runtime.codexrun, &own)?;
    play.column.actor.own(&w)?;
    let script = format!(
        "printf '#!/bin/sh\\n: > {0}\\n' > evil; chmod 755 evil
        for way in 'mv -f evil bin/codexrun' 'cp evil bin/codexrun' 'mv bin moved' 'cp evil bin/codexrun-proxy'; do $way && echo \"$way\"; done",
        proof.display()
    );
    let own = own.display().to_string();
    let ran =
        Launch::new(&[&own, "sandbox", "--allow-host-port", "9", "--", "/bin/sh", "-c", &script], &w).run(&play.column.actor)?;
    ran.must("nothing is replaced", ran.out.is_empty() && w.join("evil").exists())?;
    if proof.exists() { fail(&ran.line, "nothing of the sandbox's is executed outside", "it was") } else { Ok(()) }
}

fn own_link(play: &Play) -> Verdict {
    let link = play.scene.w().join("cx");
    std::os::unix::fs::symlink(&play.column.runtime.codexrun, &link)?;
    let words = [&link.display().to_string(), "sandbox", "--", "/bin/echo", "started"];
    let ran = Launch::new(&words, &play.scene.w()).run(&play.column.actor)?;
    let says = ran.err.contains("the sandbox could replace codexrun") && ran.err.contains("hint: call it by");
    ran.must("exit 1 and the remedy", ran.code == 1 && ran.out.is_empty() && says)?;
    let words = [words[0], "sandbox", "--policy", "read-only", "--", "/bin/echo", "started"];
    Launch::new(&words, &play.scene.w()).run(&play.column.actor)?.code_is(0)
}

const WRONG_ACCESS: &str = "{\"file_system\": {\"kind\": \"restricted\", \"entries\": [\n\
  {\"path\": {\"type\": \"path\", \"path\": \"/usr\"}, \"access\": \"readwrite\"}]}, \"network\": \"restricted\"}\n";
const RELATIVE: &str = "{\"file_system\": {\"kind\": \"restricted\", \"entries\": [\n\
  {\"path\": {\"type\": \"path\", \"path\": \"not/absolute\"}, \"access\": \"read\"}]}, \"network\": \"restricted\"}\n";

fn bad(play: &Play, text: &str, place: &str) -> Verdict {
    let file = play.scene.put("bad.json", text)?.display().to_string();
    let ran = play.sh(&file, "echo started")?;
    let says = ran.err.starts_with("codexrun: error: ") && ran.err.contains(&format!("{file}{place}"));
    ran.must(&format!("exit 1, `codexrun: error: …{file}{place}COLUMN`"), ran.code == 1 && says && ran.out.is_empty())
}

fn missing(play: &Play) -> Verdict {
    let ran = play.sh("/no/such/policy.json", "echo started")?;
    let says = ran.err.starts_with("codexrun: error: ") && ran.err.contains("/no/such/policy.json");
    ran.must("exit 1, `codexrun: error: …` that names the file", ran.code == 1 && says && ran.out.is_empty())
}

fn refused(play: &Play, words: &[&str]) -> Verdict {
    let ran = play.codexrun(words)?;
    ran.must("exit 1, `codexrun: error: …`", ran.code == 1 && ran.err.starts_with("codexrun: error: "))
}

fn no_command(play: &Play) -> Verdict {
    refused(play, &["sandbox", "--policy", "read-only"])
}

fn no_directory(play: &Play) -> Verdict {
    refused(play, &["sandbox", "--cwd", "/no/such/directory", "--", "/bin/true"])
}

/// `spec` into a directory; the text of config.json.
fn spec(play: &Play, bundle: &std::path::Path) -> Result<String, crate::report::No> {
    play.column.spec(&play.scene, bundle, &Job::sh(WRITE, &play.scene, "true"))?.code_is(0)?;
    Ok(std::fs::read_to_string(bundle.join("config.json"))?)
}

fn no_overwrite(play: &Play) -> Verdict {
    let bundle = play.scene.bundle(&play.column.actor)?;
    let text = spec(play, &bundle)?;
    let again = play.column.spec(&play.scene, &bundle, &Job::sh("read-only", &play.scene, "false"))?;
    let says = again.err.starts_with("codexrun: error: ") && again.err.contains("config.json");
    again.must("exit 1, `codexrun: error: …config.json…`", again.code == 1 && says)?;
    unchanged(&bundle.join("config.json"), &text)
}

fn deterministic(play: &Play) -> Verdict {
    let bundle = play.scene.bundle(&play.column.actor)?;
    let first = spec(play, &bundle)?;
    std::fs::remove_dir_all(&bundle)?;
    std::fs::create_dir(&bundle)?;
    play.column.actor.own(&bundle)?;
    let second = spec(play, &bundle)?;
    if first == second { Ok(()) } else { fail("codexrun spec, twice", first, second) }
}

fn plan(play: &Play) -> Verdict {
    let bundle = play.scene.bundle(&play.column.actor)?;
    spec(play, &bundle)?;
    let ran = play.codexrun(&["plan", &bundle.display().to_string()])?;
    let lists = ran.out.lines().count() > 10 && ran.out.contains("mounts[");
    ran.must("a listing with origins such as `mounts[3]`", ran.code == 0 && lists)
}

fn portable(play: &Play) -> Verdict {
    for runtime in ["runc", "crun"] {
        let bundle = play.scene.bundle(&play.column.actor)?.display().to_string();
        let words = ["spec", "--from-policy", WRITE, "--bundle", &bundle, "--portable-to", runtime, "--", "/bin/true"];
        let ran = play.codexrun(&words)?;
        ran.must("exit 0 and a list, or that it is empty", ran.code == 0 && !ran.out.trim().is_empty())?;
    }
    Ok(())
}

fn from_stdin(play: &Play) -> Verdict {
    let job = Job { stdin: "{\"type\":\"read-only\"}".into(), ..Job::sh("-", &play.scene, "touch x 2>&1; echo end") };
    let ran = play.column.run(&play.scene, &job)?;
    ran.must("Read-only file system, end", ran.out.contains("Read-only file system") && ran.out.ends_with("end\n"))
}

fn toml(play: &Play) -> Verdict {
    let x = play.scene.x();
    let text = format!("sandbox_mode = \"workspace-write\"\n[sandbox_workspace_write]\nwritable_roots = [{x:?}]\n");
    let file = play.scene.put("config.toml", &text)?;
    let script = format!("touch made '{}/made' && ! touch '{}/made' 2>/dev/null", x.display(), play.scene.out().display());
    play.sh(file.display(), &script)?.code_is(0)
}

fn unknown_special(play: &Play) -> Verdict {
    let future =
        serde_json::json!({"path": {"type": "special", "value": {"kind": "unknown", "path": ":future"}}, "access": "read"});
    let policy = crate::policy::pair(vec![crate::policy::special("root", "read"), future]);
    let file = play.scene.put("policy.json", &policy.to_string())?;
    let ran = play.sh(file.display(), "echo started")?;
    ran.must("it runs, and `:future` is named on stderr", ran.out == "started\n" && ran.err.contains(":future"))
}

fn identity_root(play: &Play) -> Verdict {
    let ran = play.codexrun(&["sandbox", "--identity", "root", "--", "/usr/bin/id", "-u"])?;
    ran.must("0", ran.code == 0 && ran.out == "0\n")
}

fn identity_kept(play: &Play) -> Verdict {
    let (uid, gid) = (play.column.actor.uid, play.column.actor.gid);
    let ran = play.write("id -u; id -g")?;
    ran.must(&format!("{uid} and {gid}"), ran.out == format!("{uid}\n{gid}\n"))
}
