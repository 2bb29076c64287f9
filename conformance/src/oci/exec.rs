//! `exec`: a second process is in the same container as the first, in every respect.

use super::Who::{Both, Root};
use super::console::Socket;
use super::container::{Container, until};
use super::engine::unescaped;
use super::process::status_line;
use super::turn::Turn;
use super::{Must, must};
use crate::launch::Ran;
use crate::report::{No, Verdict, fail};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub const CASES: &[Must] = &[
    must("exec.namespaces", "it is in every namespace of the container", Both, namespaces),
    must("exec.cgroup", "it is in the container's cgroups", Root, cgroup),
    must("exec.rootfs", "it sees the container's root file system and mounts", Both, rootfs),
    must("exec.cwd", "it starts in cwd", Both, cwd),
    must("exec.env", "its environment is what env says", Both, env),
    must("exec.user", "uid, gid, additional groups and umask are the given ones", Root, user),
    must("exec.capabilities", "its capabilities are the given ones, not the container's", Root, capabilities),
    must("exec.no-new-privileges", "noNewPrivileges holds for it", Both, no_new_privileges),
    must("exec.seccomp", "the container's seccomp filter holds for it", Both, seccomp),
    must("exec.rlimits", "its limits are the given ones", Both, rlimits),
    must("exec.oom-score-adj", "its oom_score_adj is the given one", Both, oom_score_adj),
    must("exec.tty", "with a terminal it has one, and its master comes through the socket", Both, tty),
    must("exec.streams", "without one its streams are the caller's", Both, streams),
    must("exec.exit-code", "the exit code is the process's own, 128+n for a signal", Both, exit_code),
    must("exec.detach", "--detach returns at once; pid file, parent and status as with `create`", Both, detach),
    must("exec.options", "--cwd, --env and --user do what the process file does", Root, options),
    must("exec.not-found", "runc's wording, exit 255", Both, not_found),
    must("exec.stopped", "an error in a stopped container", Both, stopped),
    must("exec.foreign-fds", "descriptors that the caller had open do not reach it", Both, foreign_fds),
    must("exec.dies-with-init", "it does not outlive the container's first process", Both, dies_with_init),
];

/// A process file with these changes.
pub fn process(turn: &Turn, args: &[&str], change: impl Fn(&mut Value)) -> Result<PathBuf, No> {
    let mut process = turn.config(args)["process"].clone();
    change(&mut process);
    let path = turn.dir.join(turn.fresh()).with_extension("json");
    fs::write(&path, process.to_string())?;
    turn.column.actor.own(&path)?;
    Ok(path)
}

/// `exec --process`, to its end.
fn exec(container: &Container, turn: &Turn, script: &str, change: impl Fn(&mut Value)) -> Result<Ran, No> {
    let file = process(turn, &["/bin/sh", "-c", script], change)?.display().to_string();
    turn.call(&["exec", "--process", &file, &container.id])
}

/// Runs a script beside a sleeper and compares what it prints.
fn prints(turn: &Turn, script: &str, expected: &str, change: impl Fn(&mut Value)) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let ran = exec(&container, turn, script, change)?;
    ran.must(&format!("exit 0, {expected:?}"), ran.code == 0 && ran.out == expected)
}

fn namespaces(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    super::bundle::push(&mut config["linux"]["namespaces"], json!({"type": "network"}));
    let container = turn.started(&config)?;
    let names = ["pid", "ipc", "uts", "mnt", "net", "user", "cgroup"];
    let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", names.join(" "));
    let ran = exec(&container, turn, &script, |_| ())?;
    let inside = names.iter().map(|n| container.proc(&format!("ns/{n}"))).collect::<Result<Vec<_>, No>>()?;
    let expected = inside.join("\n");
    ran.must(&expected, ran.code == 0 && ran.out.trim() == expected)
}

/// A second process that stays: its pid.
fn detached(container: &Container, turn: &Turn) -> Result<i32, No> {
    detached_as(container, turn, &process(turn, &["/bin/sleep", "1000"], |_| ())?, &[])
}

/// `exec --detach` of a process file. Like conmon, somebody waits for the process: the first one of a PID namespace is not
/// gone before all others have been collected, pid_namespaces(7).
pub fn detached_as(container: &Container, turn: &Turn, file: &Path, options: &[&str]) -> Result<i32, No> {
    let pid_file = file.with_extension("pid");
    let (file, path) = (file.display().to_string(), pid_file.display().to_string());
    let words = [&["exec", "--detach", "--pid-file", &path, "--process", &file], options, &[&container.id]].concat();
    turn.succeeds(&words)?;
    let text = fs::read_to_string(&pid_file)?;
    let Ok(pid) = text.parse() else {
        return fail("exec --detach --pid-file", "decimal digits and nothing else", format!("{text:?}"));
    };
    std::thread::spawn(move || waitpid(Pid::from_raw(pid), None));
    Ok(pid)
}

fn cgroup(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let pid = detached(&container, turn)?;
    let (seen, expected) = (fs::read_to_string(format!("/proc/{pid}/cgroup"))?, container.proc("cgroup")?);
    if seen == expected && seen.contains(&turn.tag) { Ok(()) } else { fail("exec --detach", expected, seen) }
}

fn rootfs(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("echo up; sleep 1000"))?;
    container.says("up")?;
    let ran = exec(&container, turn, "cat /etc/mark; readlink /proc/1/exe; stat -f -c %T /dev", |_| ())?;
    ran.must("busybox, /bin/busybox, tmpfs", ran.code == 0 && ran.out == "busybox\n/bin/busybox\ntmpfs\n")
}

fn cwd(turn: &Turn) -> Verdict {
    prints(turn, "pwd; readlink /proc/self/cwd", "/work\n/work\n", |p| p["cwd"] = json!("/work"))
}

fn env(turn: &Turn) -> Verdict {
    prints(turn, "echo $PATH $WORD $XDG_RUNTIME_DIR", "/bin only-here\n", |p| p["env"] = json!(["PATH=/bin", "WORD=only-here"]))
}

fn user(turn: &Turn) -> Verdict {
    let who = json!({"uid": 1234, "gid": 5678, "additionalGids": [7, 42], "umask": 0o27});
    prints(turn, "id -u; id -g; id -G; umask", "1234\n5678\n5678 7 42\n0027\n", |p| p["user"] = who.clone())
}

/// Of /proc/self/status.
fn status(turn: &Turn, config: &Value, change: impl Fn(&mut Value)) -> Result<String, No> {
    let container = turn.started(config)?;
    let ran = exec(&container, turn, "cat /proc/self/status", change)?;
    ran.must("exit 0", ran.code == 0)?;
    Ok(ran.out)
}

fn capabilities(turn: &Turn) -> Verdict {
    let text = status(turn, &turn.sleeper(), |p| {
        p["capabilities"] = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
    })?;
    for set in ["CapBnd", "CapPrm", "CapEff"] {
        let seen = status_line(&text, set);
        if seen != "0000000000000020" {
            return fail(set, "0000000000000020", seen);
        }
    }
    Ok(())
}

fn no_new_privileges(turn: &Turn) -> Verdict {
    let text = status(turn, &turn.sleeper(), |p| p["noNewPrivileges"] = json!(true))?;
    let seen = status_line(&text, "NoNewPrivs");
    if seen == "1" { Ok(()) } else { fail("NoNewPrivs", 1, seen) }
}

fn seccomp(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["noNewPrivileges"] = json!(true);
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95});
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let container = turn.started(&config)?;
    let ran = exec(&container, turn, "mkdir /tmp/x 2>&1; true", |p| p["noNewPrivileges"] = json!(true))?;
    ran.must("mkdir: Operation not supported", ran.out.contains("not supported"))
}

fn rlimits(turn: &Turn) -> Verdict {
    prints(turn, "ulimit -Sn; ulimit -Hn", "61\n72\n", |p| {
        p["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 61, "hard": 72}]);
    })
}

fn oom_score_adj(turn: &Turn) -> Verdict {
    prints(turn, "cat /proc/self/oom_score_adj", "432\n", |p| p["oomScoreAdj"] = json!(432))
}

fn tty(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let socket = Socket::new(turn)?;
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && (: < /dev/tty) && echo all-$(tty); sleep 1000";
    let file = process(turn, &["/bin/sh", "-c", script], |p| p["terminal"] = json!(true))?;
    let path = socket.path.display().to_string();
    detached_as(&container, turn, &file, &["--tty", "--console-socket", &path])?;
    socket.receive()?.says("all-/dev/")
}

fn streams(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let file = process(turn, &["/bin/sh", "-c", "cat; echo err >&2"], |_| ())?.display().to_string();
    let mut launch = turn.launch(&["exec", "--process", &file, &container.id]);
    launch.stdin = "in\n".into();
    let ran = launch.start(&turn.column.actor)?.finish_beside_others()?;
    ran.must("`in` on stdout, `err` on stderr", ran.code == 0 && ran.out == "in\n" && ran.err == "err\n")
}

fn exit_code(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        let ran = exec(&container, turn, script, |_| ())?;
        ran.must(&format!("exit {code}"), ran.code == code)?;
    }
    Ok(())
}

fn detach(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let pid = detached(&container, turn)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default();
    if parent == Pid::this().to_string() {
        container.is("running")
    } else {
        fail("exec --detach", format!("a child of {}", Pid::this()), stat)
    }
}

fn options(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let script = "pwd; echo $WORD; id -u; id -g";
    let words = ["exec", "--cwd", "/work", "--env", "WORD=x", "--user", "12:34", &container.id, "/bin/sh", "-c", script];
    let ran = turn.call(&words)?;
    ran.must("/work, x, 12, 34", ran.code == 0 && ran.out == "/work\nx\n12\n34\n")
}

fn not_found(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let cases = [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc", "exec: \"/etc\": permission denied"),
    ];
    for (word, text) in cases {
        let ran = turn.call(&["exec", &container.id, word])?;
        ran.must(&format!("exit 255, {text}"), ran.code == 255 && unescaped(&ran).contains(text))?;
    }
    Ok(())
}

fn stopped(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 0"))?;
    container.ended()?;
    turn.fails(&["exec", &container.id, "/bin/true"]).map(drop)
}

fn foreign_fds(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let mut launch = turn.launch(&["exec", &container.id, "/bin/ls", "/proc/self/fd"]);
    let script = "exec 5</etc/passwd 7</etc; exec \"$0\" \"$@\"";
    launch.argv.splice(0..0, ["/bin/sh", "-c", script].map(String::from));
    let ran = launch.start(&turn.column.actor)?.finish_beside_others()?;
    // 3 is the directory that ls reads.
    ran.must("0, 1, 2, 3", ran.code == 0 && ran.out == "0\n1\n2\n3\n")
}

fn dies_with_init(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let pid = detached(&container, turn)?;
    container.stopped()?;
    until(|| super::container::dead_or_gone(pid))
}
