//! What podman, buildah, containerd and docker rely on beyond the specification: files, texts and exit codes.

use super::Who::{Both, Root};
use super::container::{Container, until};
use super::turn::Turn;
use super::{Must, must};
use crate::launch::{Launch, Ran, processes};
use crate::report::{No, Verdict, fail};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;

pub const CASES: &[Must] = &[
    must("engine.pid-file", "the pid file is decimal digits and nothing else, complete when `create` returns", Both, pid_file),
    must("engine.subreaper", "the process is a child of whoever is subreaper when `create` returns", Both, subreaper),
    must("engine.exit-status", "its exit status there is the payload's own", Both, exit_status),
    must("engine.silent", "create, start, exec, kill and delete print nothing", Both, silent),
    must("engine.unknown-id", "`container does not exist` for every verb; exit 1, of exec 255", Both, unknown_id),
    must("engine.delete-force.unknown", "`delete --force` of an unknown id exits 0 and is silent", Both, force_unknown),
    must("engine.delete-force.running", "`delete --force` kills and deletes a running container", Both, force_running),
    must("engine.delete-force.created", "the same of a created one", Both, force_created),
    must("engine.delete-force.paused", "the same of a paused one", Root, force_paused),
    must("engine.delete-force.twice", "`delete` and then `delete --force` both exit 0", Both, force_twice),
    must(
        "engine.delete-created",
        "`delete` of a created container kills and deletes it: buildah counts on it",
        Both,
        delete_created,
    ),
    must("engine.kill-stopped", "`kill` of a stopped container: exit 1, `container not running`", Both, kill_stopped),
    must("engine.kill-all.stopped", "`kill --all` of a stopped container exits 0", Both, kill_all_stopped),
    must("engine.kill-all.processes", "`kill --all` reaches every process without a PID namespace", Root, kill_all),
    must(
        "engine.state-dead",
        "`state` of a dead container exits 0 with `stopped`, its process collected or not",
        Both,
        state_dead,
    ),
    must("engine.not-found.path", "`exec: \"x\": executable file not found in $PATH`, from `create`", Both, not_in_path),
    must("engine.not-found.file", "`exec: \"/x\": stat /x: no such file or directory`, from `create`", Both, no_file),
    must("engine.not-found.directory", "`exec: \"/d\": permission denied` for a directory, from `create`", Both, a_directory),
    must("engine.not-found.mode", "the same for a file without the execute bit", Both, not_executable),
    must("engine.log.one-record", "one JSON record per failed call: level, msg, time; appended", Both, one_record),
    must("engine.log.success-none", "none for a call that succeeds", Both, success_none),
    must("engine.log.stderr-too", "the error is on stderr as well, in one line", Both, stderr_too),
    must("engine.foreign-fds", "descriptors that the caller had open do not reach the payload", Both, foreign_fds),
    must("engine.preserve-fds", "`--preserve-fds 2` passes 3 and 4, and no more", Both, preserve_fds),
    must("engine.no-environment", "every call works with an empty environment", Root, no_environment),
    must("engine.bundle-default", "without --bundle the working directory is the bundle", Both, bundle_default),
    must("engine.ids", "ids of engines: 64 hex digits; letters, digits, `_+-.`", Both, ids),
    must("engine.ps-json", "`ps --format json` prints an array of host pids", Root, ps_json),
    must("engine.options-equals", "`--opt=value` and `--opt value` are the same", Both, equals),
    must("engine.version", "`--version`: `NAME version X`, then lines `commit: ` and `spec: `", Both, version),
];

fn pid_file(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    let text = fs::read_to_string(&container.pid_file)?;
    let state = container.state()?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && state["pid"].as_i64() == text.parse().ok() {
        return Ok(());
    }
    fail(&container.made.line, format!("{}, without a newline", state["pid"]), format!("{text:?}"))
}

fn parent(pid: i32) -> Option<Pid> {
    processes().into_iter().find(|(p, _, _)| p.as_raw() == pid).map(|(_, parent, _)| parent)
}

fn subreaper(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    let seen = parent(container.pid()?);
    if seen == Some(Pid::this()) {
        Ok(())
    } else {
        fail(&container.made.line, format!("a child of {}", Pid::this()), format!("{seen:?}"))
    }
}

fn exit_status(turn: &Turn) -> Verdict {
    for (script, expected) in [("exit 0", 0), ("exit 42", 42), ("exit 255", 255)] {
        let code = turn.started(&turn.sh(script))?.ended()?;
        if code != expected {
            return fail(script, expected, code);
        }
    }
    Ok(())
}

fn silent(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    let id = container.id.as_str();
    let started = turn.call(&["start", id])?;
    let executed = turn.call(&["exec", id, "/bin/true"])?;
    let killed = turn.call(&["kill", id, "KILL"])?;
    container.ended()?;
    let deleted = turn.call(&["delete", id])?;
    [&container.made, &started, &executed, &killed, &deleted].into_iter().try_for_each(quiet)
}

fn quiet(ran: &Ran) -> Verdict {
    ran.must("exit 0, nothing on stdout and stderr", ran.code == 0 && ran.out.is_empty() && ran.err.is_empty())
}

/// Every verb that engines give an id.
fn unknown_id(turn: &Turn) -> Verdict {
    let id = "no-such-container";
    let calls: &[&[&str]] = &[&["state", id], &["start", id], &["kill", id, "9"], &["delete", id], &["exec", id, "/bin/true"]];
    let of_root: &[&[&str]] = &[&["pause", id], &["resume", id], &["ps", id], &["update", "--pids-limit", "20", id]];
    let of_root = if turn.column.actor.is_root() { of_root } else { &[] };
    for words in calls.iter().chain(of_root) {
        let (ran, code) = (turn.call(words)?, if words[0] == "exec" { 255 } else { 1 });
        ran.must(
            &format!("exit {code}, `container does not exist`"),
            ran.code == code && ran.err.contains("container does not exist"),
        )?;
    }
    Ok(())
}

fn force_unknown(turn: &Turn) -> Verdict {
    quiet(&turn.call(&["delete", "--force", "no-such-container"])?)
}

fn force(turn: &Turn, container: &Container) -> Verdict {
    quiet(&turn.call(&["delete", "--force", &container.id])?)?;
    container.ended()?;
    turn.unknown(&container.id)
}

fn force_running(turn: &Turn) -> Verdict {
    force(turn, &turn.started(&turn.sleeper())?)
}

fn force_created(turn: &Turn) -> Verdict {
    force(turn, &turn.created(&turn.sleeper())?)
}

fn force_paused(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    turn.succeeds(&["pause", &container.id])?;
    force(turn, &container)
}

fn force_twice(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 0"))?;
    container.ended()?;
    container.delete()?;
    quiet(&turn.call(&["delete", "--force", &container.id])?)
}

fn delete_created(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    container.delete()?;
    container.ended()?;
    turn.unknown(&container.id)
}

/// A container whose process has ended.
fn dead<'t>(turn: &'t Turn) -> Result<Container<'t>, No> {
    let container = turn.started(&turn.sh("exit 0"))?;
    container.ended()?;
    Ok(container)
}

fn kill_stopped(turn: &Turn) -> Verdict {
    let container = dead(turn)?;
    let ran = turn.call(&["kill", &container.id, "9"])?;
    ran.must("exit 1, `container not running`", ran.code == 1 && ran.err.contains("container not running"))
}

fn kill_all_stopped(turn: &Turn) -> Verdict {
    let container = dead(turn)?;
    quiet(&turn.call(&["kill", "--all", &container.id, "9"])?)
}

fn kill_all(turn: &Turn) -> Verdict {
    let mut config = turn.traced("for n in 1 2 3; do sleep 1000 & echo $! >> /trace/pids; done; wait");
    super::bundle::without_namespace(&mut config, "pid");
    config["mounts"][0] = super::bundle::bind("/proc".as_ref(), "/proc");
    let container = turn.started(&config)?;
    until(|| turn.mark("pids").lines().count() == 3)?;
    turn.succeeds(&["kill", "--all", &container.id, "KILL"])?;
    container.ended()?;
    let pids: Vec<i32> = turn.mark("pids").lines().filter_map(|l| l.parse().ok()).collect();
    until(|| pids.iter().all(|pid| super::container::dead_or_gone(*pid)))
}

fn state_dead(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 0"))?;
    // A zombie first: nobody has collected it.
    until(|| container.pid().is_ok_and(super::container::dead_or_gone))?;
    container.is("stopped")?;
    container.ended()?;
    container.is("stopped")
}

/// stderr as it was meant: runc's own format puts a backslash before each quote.
pub fn unescaped(ran: &Ran) -> String {
    ran.err.replace("\\\"", "\"")
}

/// runc's wording, wherever in the sentence; its exit code is nobody's business.
fn not_found(turn: &Turn, config: &Value, text: &str) -> Verdict {
    let container = turn.create(config)?;
    container.made.must(text, container.made.code != 0 && unescaped(&container.made).contains(text))?;
    turn.unknown(&container.id)
}

fn not_in_path(turn: &Turn) -> Verdict {
    not_found(turn, &turn.config(&["nosuch"]), "exec: \"nosuch\": executable file not found in $PATH")
}

fn no_file(turn: &Turn) -> Verdict {
    not_found(turn, &turn.config(&["/no/such"]), "exec: \"/no/such\": stat /no/such: no such file or directory")
}

fn a_directory(turn: &Turn) -> Verdict {
    not_found(turn, &turn.config(&["/etc"]), "exec: \"/etc\": permission denied")
}

fn not_executable(turn: &Turn) -> Verdict {
    not_found(turn, &turn.config(&["/etc/mark"]), "exec: \"/etc/mark\": permission denied")
}

/// The log that the call is given, with what stood there before.
fn log_of(turn: &Turn, words: &[&str], before: &str) -> Result<(Ran, String), No> {
    let path = turn.dir.join("log.json");
    fs::write(&path, before)?;
    turn.column.actor.own(&path)?;
    let file = path.display().to_string();
    let ran = turn.call(&[&["--log", &file, "--log-format", "json"], words].concat())?;
    Ok((ran, fs::read_to_string(&path)?))
}

const EARLIER: &str = "{\"level\":\"error\",\"msg\":\"earlier\",\"time\":\"2020-01-01T00:00:00Z\"}\n";

fn one_record(turn: &Turn) -> Verdict {
    let bundle = turn.bundle(&turn.config(&["nosuch"]))?.display().to_string();
    let id = turn.fresh();
    for words in [&["state", "no-such-container"][..], &["create", "--bundle", &bundle, &id], &["exec", "no-such-container", "x"]]
    {
        let (ran, text) = log_of(turn, words, EARLIER)?;
        let added: Vec<&str> = text.strip_prefix(EARLIER).unwrap_or_default().lines().collect();
        let record: Value = added.first().and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
        let message = record["msg"].as_str().is_some_and(|m| !m.is_empty());
        let time = record["time"].as_str().is_some_and(|t| t.len() >= 20 && t.as_bytes()[10] == b'T');
        if ran.code == 0 || added.len() != 1 || record["level"] != "error" || !message || !time {
            return fail(&ran.line, "the earlier record, then one more with level error, msg and time", text);
        }
    }
    Ok(())
}

fn success_none(turn: &Turn) -> Verdict {
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    let id = turn.fresh();
    for words in [&["create", "--bundle", &bundle, &id][..], &["start", &id], &["state", &id], &["delete", "--force", &id]] {
        let (ran, text) = log_of(turn, words, EARLIER)?;
        if ran.code != 0 || text != EARLIER {
            turn.call(&["delete", "--force", &id])?;
            return fail(&ran.line, "exit 0, and nothing in the log", format!("{}\nlog: {text}", ran.summary()));
        }
    }
    Ok(())
}

fn stderr_too(turn: &Turn) -> Verdict {
    let (ran, text) = log_of(turn, &["state", "no-such-container"], "")?;
    let record: Value = serde_json::from_str(text.trim()).unwrap_or_default();
    let message = record["msg"].as_str().unwrap_or("(no message)");
    ran.must(&format!("{message} on stderr"), ran.err.contains(message) && ran.err.lines().count() == 1)
}

/// The payload lists what it has open; 3 is what lists.
const DESCRIPTORS: &str = "for n in /proc/self/fd/*; do n=${n##*/}; [ -e /proc/$$/fd/$n ] && echo $n; done";

/// The call with descriptors open on things of the host.
fn holding(turn: &Turn, words: &[&str], opened: &str) -> Launch {
    let mut launch = turn.launch(words);
    let script = format!("exec {opened}; exec \"$0\" \"$@\"");
    launch.argv.splice(0..0, ["/bin/sh".into(), "-c".into(), script]);
    launch
}

/// Creates with open descriptors, starts, and reads what the payload has.
fn descriptors(turn: &Turn, options: &[&str], opened: &str) -> Result<String, No> {
    let (bundle, id) = (turn.bundle(&turn.traced(&format!("({DESCRIPTORS}) > /trace/fds")))?, turn.fresh());
    let (dir, pid) = (bundle.display().to_string(), bundle.join("pid").display().to_string());
    let words = [&["create"], options, &["--bundle", &dir, "--pid-file", &pid, &id]].concat();
    let made = holding(turn, &words, opened).start(&turn.column.actor)?.finish_beside_others()?;
    let started = turn.call(&["start", &id])?;
    let read = until(|| turn.call(&["state", &id]).is_ok_and(|s| !s.out.contains("\"running\"")));
    turn.call(&["delete", "--force", &id])?;
    made.must("create exits 0", made.code == 0)?;
    started.must("start exits 0", started.code == 0)?;
    read.map(|()| turn.mark("fds"))
}

/// What the shell itself holds: its three streams, and for the redirection a copy above 9.
fn of_the_host(text: &str) -> Vec<u32> {
    text.lines().filter_map(|l| l.parse().ok()).filter(|n| (3..10).contains(n)).collect()
}

fn foreign_fds(turn: &Turn) -> Verdict {
    let text = descriptors(turn, &[], "5</etc/passwd 7</etc 9</dev/null")?;
    let seen = of_the_host(&text);
    if !text.is_empty() && seen.is_empty() { Ok(()) } else { fail("create 5<… 7<… 9<…", "0, 1, 2", text) }
}

fn preserve_fds(turn: &Turn) -> Verdict {
    let text = descriptors(turn, &["--preserve-fds", "2"], "3</etc/passwd 4</etc/passwd 5</etc/passwd")?;
    let seen = of_the_host(&text);
    if seen == [3, 4] { Ok(()) } else { fail("create --preserve-fds 2 3<… 4<… 5<…", "3 and 4", text) }
}

fn no_environment(turn: &Turn) -> Verdict {
    let (bundle, id) = (turn.bundle(&turn.sleeper())?.display().to_string(), turn.fresh());
    let calls: &[&[&str]] = &[&["create", "--bundle", &bundle, &id], &["start", &id], &["state", &id], &["kill", &id, "9"]];
    let verdict = calls.iter().try_for_each(|words| {
        let mut launch = turn.launch(words);
        launch.argv.splice(0..0, ["/usr/bin/env".into(), "-i".into()]);
        // The wrapper of a referee finds its own programs by PATH.
        if launch.keeps_root {
            launch.argv.insert(2, "PATH=/usr/bin:/usr/sbin:/bin".into());
        }
        let ran = launch.start(&turn.column.actor)?.finish_beside_others()?;
        ran.must("exit 0", ran.code == 0)
    });
    turn.succeeds(&["delete", "--force", &id])?;
    verdict
}

fn bundle_default(turn: &Turn) -> Verdict {
    let (bundle, id) = (turn.bundle(&turn.sleeper())?, turn.fresh());
    let mut launch = turn.launch(&["create", &id]);
    launch.dir = bundle;
    let made = launch.start(&turn.column.actor)?.finish_beside_others()?;
    turn.succeeds(&["delete", "--force", &id])?;
    made.must("exit 0", made.code == 0)
}

fn ids(turn: &Turn) -> Verdict {
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    let hex = "0123456789abcdef".repeat(4);
    for id in [hex.as_str(), "a_b+c-d.e", "0", "buildah-working-container", "UPPER"] {
        let made = turn.call(&["create", "--bundle", &bundle, id])?;
        turn.succeeds(&["delete", "--force", id])?;
        made.must("exit 0", made.code == 0)?;
    }
    Ok(())
}

fn ps_json(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let ran = turn.succeeds(&["ps", "--format", "json", &container.id])?;
    let pids: Value = serde_json::from_str(&ran.out).unwrap_or_default();
    ran.must("the container's pid in an array", pids == json!([container.pid()?]))
}

fn equals(turn: &Turn) -> Verdict {
    let (bundle, id, log) = (turn.bundle(&turn.sleeper())?, turn.fresh(), turn.dir.join("log"));
    let pid = bundle.join("pid");
    let words = [
        format!("--log={}", log.display()),
        "--log-format=json".into(),
        "create".into(),
        format!("--bundle={}", bundle.display()),
        format!("--pid-file={}", pid.display()),
        id.clone(),
    ];
    let made = turn.call(&words.each_ref().map(String::as_str))?;
    let written = pid.exists();
    turn.succeeds(&["delete", "--force", &id])?;
    made.must("exit 0, and the pid file", made.code == 0 && written)
}

fn version(turn: &Turn) -> Verdict {
    let ran = turn.call(&["--version"])?;
    let first = ran.out.lines().next().unwrap_or_default();
    let words = first.split(' ').nth(1) == Some("version");
    let rest = ["commit: ", "spec: "].iter().all(|word| ran.out.lines().any(|l| l.starts_with(word)));
    ran.must("NAME version X, commit:, spec:", ran.code == 0 && words && rest)
}
