//! The hooks: when each kind is called, where it is executed, what it reads, and what its failure does.

use super::Who::{Both, Root};
use super::container::{Container, dead_or_gone, until};
use super::hook::{During, KINDS, Kind, Side, add, payload, program, shell};
use super::turn::Turn;
use super::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

pub const CASES: &[Must] = &[
    must("runtime.hooks.prestart.invoked", "prestart hooks are called as part of `create`", Both, |t| invoked(t, 0)),
    must("runtime.hooks.create-runtime.invoked", "createRuntime hooks are called as part of `create`", Both, |t| invoked(t, 1)),
    must("runtime.hooks.create-container.invoked", "createContainer hooks are called as part of `create`", Both, |t| {
        invoked(t, 2)
    }),
    must("runtime.hooks.start-container.invoked", "startContainer hooks are called as part of `start`", Both, |t| invoked(t, 3)),
    must("runtime.hooks.poststart.invoked", "poststart hooks are called before `start` returns, not before", Both, |t| {
        invoked(t, 4)
    }),
    must("runtime.hooks.poststop.invoked", "poststop hooks are called before `delete` returns, not before", Both, |t| {
        invoked(t, 5)
    }),
    must("runtime.hooks.prestart.failure", "a failed prestart hook: an error, nothing is started", Both, |t| create_fails(t, 0)),
    must("runtime.hooks.create-runtime.failure", "a failed createRuntime hook: the same", Both, |t| create_fails(t, 1)),
    must("runtime.hooks.create-container.failure", "a failed createContainer hook: the same", Both, |t| create_fails(t, 2)),
    must(
        "runtime.hooks.start-container.failure",
        "a failed startContainer hook: an error, the container is stopped",
        Both,
        start_container_fails,
    ),
    must("runtime.hooks.poststart.failure", "a failed poststart hook: an error, the container is stopped", Both, poststart_fails),
    must(
        "runtime.hooks.poststart.failure-1.2",
        "the same, of a version before 1.3.0: the others and the container go on",
        Both,
        poststart_goes_on,
    ),
    must("runtime.hooks.poststop.failure", "a failed poststop hook: the others and `delete` go on", Both, poststop_fails),
    must("runtime.hooks.prestart.failure-cleans", "a failed prestart hook: destroyed, poststop hooks called", Both, |t| {
        cleans(t, 0)
    }),
    must("runtime.hooks.create-runtime.failure-cleans", "a failed createRuntime hook: the same", Both, |t| cleans(t, 1)),
    must("runtime.hooks.create-container.failure-cleans", "a failed createContainer hook: the same", Both, |t| cleans(t, 2)),
    must("runtime.hooks.start-container.failure-cleans", "a failed startContainer hook: the same", Both, |t| cleans(t, 3)),
    must("runtime.hooks.poststart.failure-cleans", "a failed poststart hook: the same", Both, |t| cleans(t, 4)),
    must("config.hooks.order.kinds", "the kinds follow one another as the lifecycle says", Both, order_of_kinds),
    must("config.hooks.order.listed", "hooks of a kind are called in the listed order", Both, order_listed),
    must("config.hooks.order.stops", "after a failed hook of `create` the later ones are not called", Both, order_stops),
    must("config.hooks.namespace.prestart", "prestart is executed in the runtime's namespaces", Both, |t| namespace(t, 0)),
    must("config.hooks.namespace.create-runtime", "createRuntime is executed in the runtime's namespaces", Both, |t| {
        namespace(t, 1)
    }),
    must("config.hooks.namespace.create-container", "createContainer is executed in the container's", Both, |t| namespace(t, 2)),
    must("config.hooks.namespace.start-container", "startContainer is executed in the container's", Both, |t| namespace(t, 3)),
    must("config.hooks.namespace.poststart", "poststart is executed in the runtime's", Both, |t| namespace(t, 4)),
    must("config.hooks.namespace.poststop", "poststop is executed in the runtime's", Both, |t| namespace(t, 5)),
    must(
        "config.hooks.path.runtime",
        "paths resolve in the runtime's namespace, of all but startContainer",
        Both,
        path_of_runtime,
    ),
    must("config.hooks.path.container", "the path of startContainer resolves in the container", Both, path_of_container),
    must("config.hooks.path.absolute", "a path that is not absolute is an error", Both, path_relative),
    must("config.hooks.path.missing", "a path where nothing is makes the hook fail", Both, path_missing),
    must("config.hooks.before-pivot", "hooks of `create` run in new namespaces and before pivot_root", Root, before_pivot),
    must("config.hooks.before-process", "startContainer is called before the user's process is executed", Both, before_process),
    must("config.hooks.after-process", "poststart is called after the user's process is executed", Both, after_process),
    must("config.hooks.state.prestart", "prestart reads the state on stdin", Both, |t| state(t, 0)),
    must("config.hooks.state.create-runtime", "createRuntime reads the state on stdin", Both, |t| state(t, 1)),
    must("config.hooks.state.create-container", "createContainer reads the state on stdin", Both, |t| state(t, 2)),
    must("config.hooks.state.start-container", "startContainer reads the state on stdin", Both, |t| state(t, 3)),
    must("config.hooks.state.poststart", "poststart reads the state on stdin", Both, |t| state(t, 4)),
    must("config.hooks.state.poststop", "poststop reads the state on stdin", Both, |t| state(t, 5)),
    must(
        "config.hooks.state.pid",
        "pid is the runtime's view in its namespaces, the container's in the others",
        Both,
        pid_in_state,
    ),
    must("config.hooks.args", "args are the hook's argv, from the first on", Both, args),
    must("config.hooks.env", "env is the hook's environment", Both, env),
    must("config.hooks.timeout.aborts", "a hook that takes longer than its timeout is ended and has failed", Both, timeout),
    must("config.hooks.timeout.positive", "a timeout that is not greater than zero is an error", Both, timeout_positive),
    must("config.hooks.stdin-unread", "a hook need not read its stdin, however long the state is", Both, stdin_unread),
    must("config.hooks.signalled", "a hook that dies by a signal has failed", Both, signalled),
];

/// A container's life with hooks, up to the point after which nothing of a kind may be missing.
struct Life<'t> {
    container: Container<'t>,
    turn: &'t Turn<'t>,
}

impl<'t> Life<'t> {
    fn new(turn: &'t Turn<'t>, config: &Value) -> Result<Life<'t>, No> {
        Ok(Life { container: turn.created(config)?, turn })
    }

    fn reach(&self, during: During) -> Verdict {
        match during {
            During::Create => Ok(()),
            During::Start => self.container.start(),
            During::Delete => {
                self.container.start()?;
                self.container.stopped()?;
                self.container.delete()
            }
        }
    }

    /// Up to the end of `delete`, with looks in between.
    fn each(&self, mut look: impl FnMut(During) -> Verdict) -> Verdict {
        look(During::Create)?;
        self.container.start()?;
        look(During::Start)?;
        self.container.stopped()?;
        self.container.delete()?;
        look(During::Delete)
    }
}

fn invoked(turn: &Turn, n: usize) -> Verdict {
    let (kind, mut config) = (&KINDS[n], payload(turn, "sleep 1000"));
    add(&mut config, kind.name, shell(turn, "echo called >> $T/mark"));
    let life = Life::new(turn, &config)?;
    let mut due = false;
    life.each(|during| {
        due |= during == kind.during;
        let (expected, seen) = (if due { "called\n" } else { "" }, turn.mark("mark"));
        if seen == expected {
            Ok(())
        } else {
            fail(format!("{} after {during:?}", kind.name), format!("{expected:?}"), format!("{seen:?}"))
        }
    })
}

/// A payload that would leave a mark, and a hook that fails.
fn failing(turn: &Turn, kind: &Kind) -> Value {
    let mut config = payload(turn, "echo ran > $T/payload; sleep 1000");
    if kind.name == "poststart" {
        // Earlier versions ask for the contrary.
        config["ociVersion"] = json!("1.3.0");
    }
    add(&mut config, kind.name, shell(turn, "echo called >> $T/failing; exit 3"));
    add(&mut config, "poststop", shell(turn, "echo called >> $T/poststop"));
    config
}

fn not_run(turn: &Turn) -> Verdict {
    if turn.trace("payload").exists() { fail("after the failed hook", "the program has not run", "it has") } else { Ok(()) }
}

fn create_fails(turn: &Turn, n: usize) -> Verdict {
    let container = turn.create(&failing(turn, &KINDS[n]))?;
    container.made.must("create fails", container.made.code != 0)?;
    if turn.mark("failing").is_empty() {
        return fail(&container.made.line, "the hook was called", "it was not");
    }
    not_run(turn)
}

fn start_container_fails(turn: &Turn) -> Verdict {
    let container = turn.created(&failing(turn, &KINDS[3]))?;
    turn.fails(&["start", &container.id])?;
    container.ended()?;
    not_run(turn)
}

fn poststart_fails(turn: &Turn) -> Verdict {
    let container = turn.created(&failing(turn, &KINDS[4]))?;
    let start = turn.fails(&["start", &container.id])?;
    if turn.mark("failing").is_empty() {
        return fail(&start.line, "the hook was called", "it was not");
    }
    container.ended().map(drop)
}

fn poststart_goes_on(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    add(&mut config, "poststart", shell(turn, "echo first >> $T/mark; exit 3"));
    add(&mut config, "poststart", shell(turn, "echo second >> $T/mark"));
    let container = turn.started(&config)?;
    let mark = turn.mark("mark");
    if mark != "first\nsecond\n" {
        return fail("poststart hooks of a config of 1.0.2", "both are called", mark);
    }
    container.is("running")
}

/// Steps 12 and 13 of the lifecycle: destroyed, and poststop hooks called.
fn cleans(turn: &Turn, n: usize) -> Verdict {
    let container = turn.create(&failing(turn, &KINDS[n]))?;
    if container.made.code == 0 {
        turn.fails(&["start", &container.id])?;
    }
    turn.unknown(&container.id)?;
    let mark = turn.mark("poststop");
    if mark == "called\n" { Ok(()) } else { fail(&container.made.line, "poststop hooks called once", format!("{mark:?}")) }
}

fn poststop_fails(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    add(&mut config, "poststop", shell(turn, "echo first >> $T/mark; exit 3"));
    add(&mut config, "poststop", shell(turn, "echo second >> $T/mark"));
    let container = turn.started(&config)?;
    container.stopped()?;
    let ran = turn.call(&["delete", &container.id])?;
    turn.unknown(&container.id)?;
    let mark = turn.mark("mark");
    if mark == "first\nsecond\n" { ran.must("exit 0", ran.code == 0) } else { fail(&ran.line, "both hooks are called", mark) }
}

fn order_of_kinds(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    // Written down in the opposite order.
    for kind in KINDS.iter().rev() {
        add(&mut config, kind.name, shell(turn, &format!("echo {} >> $T/mark", kind.name)));
    }
    Life::new(turn, &config)?.reach(During::Delete)?;
    let (seen, expected) = (turn.mark("mark"), KINDS.map(|k| format!("{}\n", k.name)).concat());
    if seen == expected { Ok(()) } else { fail("hooks of a life", expected, seen) }
}

fn order_listed(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    for kind in &KINDS {
        for n in 1..=3 {
            add(&mut config, kind.name, shell(turn, &format!("echo {n} >> $T/{}", kind.name)));
        }
    }
    Life::new(turn, &config)?.reach(During::Delete)?;
    let wrong = KINDS.iter().find(|kind| turn.mark(kind.name) != "1\n2\n3\n");
    wrong.map_or(Ok(()), |kind| fail(kind.name, "1, 2, 3", turn.mark(kind.name)))
}

fn order_stops(turn: &Turn) -> Verdict {
    for kind in &KINDS[..3] {
        let mut config = payload(turn, "sleep 1000");
        add(&mut config, kind.name, shell(turn, "exit 3"));
        add(&mut config, kind.name, shell(turn, "echo later >> $T/later"));
        turn.refused(&config)?;
        if turn.trace("later").exists() {
            return fail(kind.name, "the second hook is not called", "it is");
        }
    }
    Ok(())
}

fn namespace(turn: &Turn, n: usize) -> Verdict {
    let (kind, mut config) = (&KINDS[n], payload(turn, "sleep 1000"));
    add(&mut config, kind.name, shell(turn, "for n in uts ipc mnt; do readlink /proc/self/ns/$n; done > $T/seen"));
    let life = Life::new(turn, &config)?;
    let inside = ["uts", "ipc", "mnt"].map(|n| life.container.proc(&format!("ns/{n}")).unwrap_or_default());
    life.reach(kind.during)?;
    until(|| turn.mark("seen").lines().count() == 3)?;
    let seen: Vec<String> = turn.mark("seen").lines().map(str::to_string).collect();
    let ours =
        ["uts", "ipc"].map(|n| fs::read_link(format!("/proc/self/ns/{n}")).map(|p| p.display().to_string()).unwrap_or_default());
    let right = match kind.side {
        Side::Container => seen == inside,
        // A referee may have been given a mount namespace of its own, so that one only must not be the container's.
        // After the container's end the number of its mount namespace may be another's.
        Side::Runtime => seen.len() == 3 && seen[..2] == ours && (seen[2] != inside[2] || kind.during == During::Delete),
    };
    if right {
        Ok(())
    } else {
        fail(kind.name, format!("{:?}", kind.side), format!("hook {seen:?}, container {inside:?}, host {ours:?}"))
    }
}

/// A script whose name exists on one side only.
fn script(at: &Path, marks: &Path) -> Result<(), No> {
    fs::write(at, format!("#!/bin/sh\ncat > /dev/null\necho called >> {}/mark\n", marks.display()))?;
    Ok(fs::set_permissions(at, fs::Permissions::from_mode(0o755))?)
}

fn path_of_runtime(turn: &Turn) -> Verdict {
    let (at, marks) = (turn.dir.join("hook.sh"), turn.dir.join("trace"));
    script(&at, &marks)?;
    let mut config = payload(turn, "sleep 1000");
    let kinds = KINDS.iter().filter(|k| k.name != "startContainer");
    kinds.clone().for_each(|kind| add(&mut config, kind.name, program(&at)));
    Life::new(turn, &config)?.reach(During::Delete)?;
    let calls = turn.mark("mark").lines().count();
    if calls == kinds.count() { Ok(()) } else { fail("a program of the host", "called 5 times", calls) }
}

fn path_of_container(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    add(&mut config, "startContainer", program(Path::new("/work/hook.sh")));
    let bundle = turn.bundle(&config)?;
    script(&bundle.join("rootfs/work/hook.sh"), &turn.dir.join("trace"))?;
    let container = Container::create(turn, bundle, &[])?;
    container.made.must("create exits 0", container.made.code == 0)?;
    container.start()?;
    until(|| turn.mark("mark") == "called\n").or_else(|_| fail("/work/hook.sh", "called", "not called"))
}

fn path_relative(turn: &Turn) -> Verdict {
    for kind in &KINDS {
        let mut config = turn.sleeper();
        add(&mut config, kind.name, json!({"path": "bin/true"}));
        turn.refused(&config)?;
    }
    Ok(())
}

fn path_missing(turn: &Turn) -> Verdict {
    for kind in &KINDS[..3] {
        let mut config = turn.sleeper();
        add(&mut config, kind.name, json!({"path": "/no/such/hook"}));
        turn.refused(&config)?;
    }
    Ok(())
}

const PID: &str = "p=$(echo \"$S\" | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p')";

fn before_pivot(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    // What the old root had is still to be seen from the container's process.
    let old = turn.dir.join("state").display().to_string();
    let of_pid = format!("{PID}; readlink /proc/$p/ns/uts; ls -d /proc/$p/root{old}");
    add(&mut config, "prestart", shell(turn, &format!("({of_pid}) > $T/prestart")));
    add(&mut config, "createRuntime", shell(turn, &format!("({of_pid}) > $T/createRuntime")));
    add(&mut config, "createContainer", shell(turn, &format!("(readlink /proc/self/ns/uts; ls -d {old}) > $T/createContainer")));
    let container = turn.created(&config)?;
    let uts = container.proc("ns/uts")?;
    for name in ["prestart", "createRuntime", "createContainer"] {
        let mark = turn.mark(name);
        if !mark.starts_with(&uts) || !mark.trim().ends_with(&old) {
            return fail(name, format!("{uts}, and the host's tree"), mark);
        }
    }
    Ok(())
}

fn before_process(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "echo payload >> $T/mark; sleep 1000");
    add(&mut config, "startContainer", shell(turn, "echo hook >> $T/mark"));
    let life = Life::new(turn, &config)?;
    life.container.start()?;
    until(|| turn.mark("mark").contains("payload"))?;
    let seen = turn.mark("mark");
    if seen == "hook\npayload\n" { Ok(()) } else { fail("start", "the hook, then the program", seen) }
}

fn after_process(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    add(&mut config, "poststart", shell(turn, &format!("{PID}; tr '\\0' ' ' < /proc/$p/cmdline > $T/mark")));
    let life = Life::new(turn, &config)?;
    life.container.start()?;
    let seen = life.turn.mark("mark");
    let program = ["/bin/sh -c", "sleep 1000"].iter().any(|word| seen.contains(word));
    if program { Ok(()) } else { fail("command line of the container's process in poststart", "the user's program", seen) }
}

fn state(turn: &Turn, n: usize) -> Verdict {
    let (kind, mut config) = (&KINDS[n], payload(turn, "sleep 1000"));
    config["annotations"] = json!({"org.example": "value"});
    add(&mut config, kind.name, shell(turn, "echo \"$S\" > $T/state"));
    let life = Life::new(turn, &config)?;
    life.reach(kind.during)?;
    until(|| turn.mark("state").ends_with('\n'))?;
    let text = turn.mark("state");
    let state: Value = serde_json::from_str(&text).unwrap_or_default();
    let status = state["status"].as_str().is_some_and(|s| kind.status.contains(&s));
    let rest = state["id"] == life.container.id.as_str()
        && state["bundle"] == life.container.bundle.display().to_string()
        && state["ociVersion"].is_string()
        && state["annotations"]["org.example"] == "value";
    let expected = format!("id, bundle, ociVersion, annotations, and status of {:?}", kind.status);
    if status && rest { Ok(()) } else { fail(format!("stdin of {}", kind.name), expected, text) }
}

fn pid_in_state(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    for kind in &KINDS[..5] {
        add(&mut config, kind.name, shell(turn, &format!("echo \"$S\" > $T/{}", kind.name)));
    }
    let life = Life::new(turn, &config)?;
    life.container.start()?;
    let pid = life.container.pid()?;
    until(|| KINDS[..5].iter().all(|kind| turn.mark(kind.name).ends_with('\n')))?;
    for kind in &KINDS[..5] {
        let seen: Value = serde_json::from_str(&turn.mark(kind.name)).unwrap_or_default();
        super::state::adheres(&seen)?;
        let expected = if kind.side == Side::Runtime { pid } else { 1 };
        if seen["pid"] != expected {
            return fail(kind.name, format!("pid {expected}"), seen);
        }
    }
    Ok(())
}

fn args(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    let script = format!("echo \"$0|$1|$2\" > {}/mark", turn.dir.join("trace").display());
    add(&mut config, "createRuntime", json!({"path": "/bin/sh", "args": ["zero", "-c", script, "one", "", "two words"]}));
    turn.created(&config)?;
    let seen = turn.mark("mark");
    if seen == "one||two words\n" { Ok(()) } else { fail("args of a hook", "one||two words", seen) }
}

/// busybox's and dash's own additions are no part of what the kernel was given.
fn env(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    let script = format!("cat /proc/$$/environ > {}/mark", turn.dir.join("trace").display());
    add(
        &mut config,
        "createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin", "A=1", "B=x=y"]}),
    );
    turn.created(&config)?;
    let seen = turn.mark("mark");
    let mut words: Vec<&str> = seen.split_terminator('\0').collect();
    words.sort_unstable();
    if words == ["A=1", "B=x=y", "PATH=/bin"] {
        Ok(())
    } else {
        fail("environment of a hook", "PATH, A, B", seen.replace('\0', " "))
    }
}

fn timeout(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    let mut hook = shell(turn, "echo $$ > $T/hook; exec sleep 1000");
    hook["timeout"] = json!(1);
    add(&mut config, "createRuntime", hook);
    let started = Instant::now();
    turn.refused(&config)?;
    let took = started.elapsed();
    let pid: i32 = turn.mark("hook").trim().parse().unwrap_or(0);
    if pid == 0 || took < Duration::from_secs(1) || took > Duration::from_secs(10) {
        return fail("timeout 1", "the hook is called, and ended after a second", format!("{took:?}"));
    }
    until(|| dead_or_gone(pid))
}

fn timeout_positive(turn: &Turn) -> Verdict {
    for seconds in [0, -1] {
        let mut config = payload(turn, "sleep 1000");
        let mut hook = shell(turn, "true");
        hook["timeout"] = json!(seconds);
        add(&mut config, "createRuntime", hook);
        turn.refused(&config)?;
    }
    Ok(())
}

/// The state is longer than a pipe holds.
fn stdin_unread(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["annotations"] = json!({"org.example.long": "x".repeat(200_000)});
    for kind in &KINDS {
        add(&mut config, kind.name, json!({"path": "/bin/true"}));
    }
    Life::new(turn, &config)?.reach(During::Delete)
}

fn signalled(turn: &Turn) -> Verdict {
    let mut config = payload(turn, "sleep 1000");
    add(&mut config, "createRuntime", shell(turn, "kill -KILL $$"));
    turn.refused(&config)
}
