//! containerd's own command line: tasks through the shim, without the comforts of docker.

use super::{Check, Group, On, Play, check, group_file};
use crate::engine::cli::{equal, holds, until};
use crate::engine::image;
use crate::engine::left::Look;
use crate::launch::Ran;
use crate::report::{No, Verdict, fail};

pub const GROUPS: &[Group] = &[
    Group { name: "ctr run", checks: RUN },
    Group { name: "ctr task", checks: TASK },
    Group { name: "ctr task exec", checks: EXEC },
];

const RUN: &[Check] = &[
    check("the exit code is the command's own", On::Every, |p| sh(p, &[], "exit 7")?.code_is(7)),
    check("a command that is not found is told", On::Every, |p| {
        refused(p, "no-such-command", "executable file not found in $PATH")
    }),
    check("a path that is not there is told", On::Every, |p| refused(p, "/no/such/path", "no such file or directory")),
    check("a file that is not executable is told", On::Every, |p| refused(p, "/plain", "permission denied")),
    check("stdout and stderr stay apart", On::Every, apart),
    check("a large output arrives whole", On::Every, large),
    check("the environment arrives", On::Every, |p| says(p, &["--env=WORD=a b"], "echo $WORD", "a b")),
    check("the working directory is entered", On::Every, |p| says(p, &["--cwd=/data"], "pwd", "/data")),
    check("--read-only", On::Every, |p| says(p, &["--read-only"], "touch /new 2>/dev/null || echo refused", "refused")),
    check("--mount binds", On::Every, bound),
    check("--tty gives a terminal", On::Every, terminal),
    check("--memory-limit kills", On::Every, |p| sh(p, &["--memory-limit=16777216"], "exec tail /dev/zero")?.code_is(137)),
    check("--cpus is a quota", On::Every, |p| written(p, "--cpus=0.5", "cpu.cfs_quota_us", "50000")),
    check("--cpu-shares", On::Every, |p| written(p, "--cpu-shares=300", "cpu.shares", "300")),
    check("--cgroup is the path", On::Every, |p| group(p, "/mine/leaf")),
    check("--cap-drop", On::Every, |p| status(p, &["--cap-drop=CAP_CHOWN"], "CapEff", "00000000a80425fa")),
    check("--cap-add", On::Every, |p| status(p, &["--cap-add=CAP_SYS_TIME"], "CapEff", "00000000aa0425fb")),
    check("no new privileges, unless --allow-new-privs", On::Every, privileges),
    check("--seccomp", On::Every, |p| status(p, &["--seccomp"], "Seccomp", "2")),
    check("--seccomp-profile forbids mkdir", On::Every, seccomp),
    check("--device", On::Every, device),
    check("--net-host", On::Every, |p| says(p, &["--net-host"], "readlink /proc/self/ns/net", &link("self", "net"))),
    check("--with-ns joins by path", On::Every, joined),
    check("--uidmap and --gidmap", On::Every, mapped),
    check("--rootfs runs a directory", On::Every, rootfs),
    check("--pid-file holds the pid alone", On::Every, pid_file),
    check("no descriptor but the first three is open", On::Every, |p| says(p, &[], "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3")),
    check("twenty in a row leave nothing", On::Every, row),
];

const TASK: &[Check] = &[
    check("ls shows a running one with its pid", On::Every, listed),
    check("kill -s USR1 reaches the trap", On::Every, |p| killed(p, "USR1", "exit 5", "STOPPED")),
    check("kill -s KILL ends it", On::Every, |p| killed(p, "KILL", ":", "STOPPED")),
    check("kill --all reaches every process", On::Every, all),
    check("kill of a stopped one is refused", On::Every, dead),
    check("pause stops every process, resume lets them go on", On::Every, pause),
    check("ps lists the pids", On::Every, ps),
    check("metrics has memory and pids", On::Every, metrics),
    check("delete refuses a running task", On::Every, running),
    check("delete --force removes a running task", On::Every, |p| {
        let n = idle(p, &[])?;
        p.cli.run(&["task", "rm", "-f", &n])?.must("exit 0", true)
    }),
    check("a task can be made again after delete", On::Every, again),
];

const EXEC: &[Check] = &[
    check("the exit code is the command's own", On::Every, |p| exec(p, &idle(p, &[])?, &[], "exit 3")?.code_is(3)),
    check("a command that is not found is told", On::Every, exec_refused),
    check("streams stay apart", On::Every, exec_apart),
    check("--cwd", On::Every, |p| exec_says(p, &["--cwd=/data"], "pwd", "/data")),
    check("--user", On::Every, |p| exec_says(p, &["--user=1000:2000"], "id -u; id -g", "1000\n2000")),
    check("--tty gives a terminal", On::Every, exec_terminal),
    check("--detach returns, and the command goes on", On::Every, exec_detached),
    check("it is in the container's cgroup", On::Every, |p| {
        exec_says(p, &[], "diff /proc/1/cgroup /proc/self/cgroup && echo same", "same")
    }),
    check("ten at once all run", On::Every, exec_many),
];

fn runtime(p: &Play) -> [String; 4] {
    let root = p.site.dir.join("runtime").display().to_string();
    ["--runc-binary".into(), p.site.runtime.display().to_string(), "--runc-root".into(), root]
}

fn call(p: &Play, verb: &[&str], options: &[&str], words: &[&str]) -> Result<Ran, No> {
    let runtime = runtime(p);
    let runtime: Vec<&str> = runtime.iter().map(String::as_str).collect();
    p.cli.run(&[verb, &runtime, options, words].concat())
}

/// `ctr run --rm`, to its end; its name is removed too, should the run have failed half-way.
fn sh(p: &Play, options: &[&str], script: &str) -> Result<Ran, No> {
    call(p, &["run", "--rm"], options, &[image::NAME, &p.name(), "sh", "-c", script])
}

fn says(p: &Play, options: &[&str], script: &str, expected: &str) -> Verdict {
    let ran = sh(p, options, script)?;
    ran.must(&format!("exit 0, {expected:?}"), ran.code == 0 && ran.out.trim_end() == expected)
}

/// A task that runs until it is killed.
fn background(p: &Play, options: &[&str], script: &str) -> Result<String, No> {
    let name = p.name();
    let options = [&["--detach", "--null-io"], options].concat();
    call(p, &["run"], &options, &[image::NAME, &name, "sh", "-c", script])?.code_is(0)?;
    Ok(name)
}

fn idle(p: &Play, options: &[&str]) -> Result<String, No> {
    background(p, options, "while :; do sleep 0.1; done")
}

/// Kills, deletes, forgets; each may have been done already.
pub fn remove(p: &Play, name: &str) -> Verdict {
    p.cli.run(&["task", "rm", "-f", name])?;
    p.cli.run(&["container", "rm", name])?;
    let listed = p.cli.said(&["container", "ls", "-q"])?;
    if listed.lines().any(|l| l == name) { fail(format!("ctr container rm {name}"), "gone", listed) } else { Ok(()) }
}

/// `NAME PID STATUS` of a task.
fn task(p: &Play, name: &str) -> Result<(String, String), No> {
    let listed = p.cli.said(&["task", "ls"])?;
    let mut words = listed.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    match words.find(|w| w.first() == Some(&name)) {
        Some(w) if w.len() == 3 => Ok((w[1].into(), w[2].into())),
        _ => fail("ctr task ls", name, listed),
    }
}

fn becomes(p: &Play, name: &str, status: &str) -> Verdict {
    until(&format!("status of {name}"), status, || Ok(task(p, name)?.1))
}

fn link(pid: &str, namespace: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).map(|l| l.display().to_string()).unwrap_or_default()
}

fn refused(p: &Play, command: &str, text: &str) -> Verdict {
    let ran = call(p, &["run", "--rm"], &[], &[image::NAME, &p.name(), command])?;
    ran.must(&format!("a failure, `{text}`"), ran.code != 0 && ran.err.contains(text))
}

fn apart(p: &Play) -> Verdict {
    let ran = sh(p, &[], "echo out; echo err >&2")?;
    ran.must("`out` and `err`", ran.code == 0 && ran.out == "out\n" && ran.err == "err\n")
}

fn large(p: &Play) -> Verdict {
    let ran = sh(p, &[], "head -c 3000000 /dev/zero | tr '\\0' x")?;
    ran.must("3000000 bytes", ran.code == 0 && ran.out.len() == 3_000_000)
}

fn bound(p: &Play) -> Verdict {
    let file = p.cli.put("shared/file.txt", "of the host\n")?;
    let mount = format!("type=bind,src={},dst=/v,options=rbind:ro", file.trim_end_matches("/file.txt"));
    says(p, &["--mount", &mount], "cat /v/file.txt; touch /v/x 2>/dev/null || echo refused", "of the host\nrefused")
}

fn terminal(p: &Play) -> Verdict {
    let runtime = runtime(p);
    let runtime: Vec<&str> = runtime.iter().map(String::as_str).collect();
    let script = "test -t 0 && test -t 1 && tty; exit 5";
    let ran =
        p.cli.on_terminal(&[&["run", "--rm", "--tty"], &runtime[..], &[image::NAME, &p.name(), "sh", "-c", script]].concat())?;
    ran.must("a terminal, exit 5", ran.code == 5 && ran.out.contains("/dev/"))
}

fn written(p: &Play, option: &str, file: &str, expected: &str) -> Verdict {
    let name = idle(p, &[option])?;
    equal(file, group_file(&task(p, &name)?.0, "cpu", file)?, expected)
}

fn group(p: &Play, path: &str) -> Verdict {
    let name = idle(p, &["--cgroup", path])?;
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", task(p, &name)?.0))?;
    equal("it is there", text.contains(&format!("pids:{path}\n")), true)
}

fn status(p: &Play, options: &[&str], field: &str, expected: &str) -> Verdict {
    says(p, options, &format!("grep ^{field}: /proc/self/status | tr -d ' \\t' | cut -d: -f2"), expected)
}

fn privileges(p: &Play) -> Verdict {
    status(p, &[], "NoNewPrivs", "1")?;
    status(p, &["--allow-new-privs"], "NoNewPrivs", "0")
}

fn seccomp(p: &Play) -> Verdict {
    let text =
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let file = p.cli.put("seccomp/no-mkdir.json", text)?;
    let ran = sh(p, &["--seccomp", "--seccomp-profile", &file], "touch /tmp/x && mkdir /tmp/d")?;
    ran.must("Operation not permitted", ran.code == 1 && ran.err.contains("not permitted"))
}

fn device(p: &Play) -> Verdict {
    says(p, &["--device=/dev/fuse"], "ls -l /dev/fuse | cut -c1; head -c 0 < /dev/fuse && echo opened", "c\nopened")
}

fn joined(p: &Play) -> Verdict {
    let pid = task(p, &idle(p, &[])?)?.0;
    for (name, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let option = format!("--with-ns={name}:/proc/{pid}/ns/{file}");
        says(p, &[&option], &format!("readlink /proc/self/ns/{file}"), &link(&pid, file))?;
    }
    Ok(())
}

fn mapped(p: &Play) -> Verdict {
    let options = ["--uidmap=0:100000:5000", "--gidmap=0:100000:5000"];
    says(p, &options, "awk '{print $1, $2, $3}' /proc/self/uid_map; id -u", "0 100000 5000\n0")
}

fn rootfs(p: &Play) -> Verdict {
    let dir = p.site.dir.join("rootfs").display().to_string();
    let ran = call(p, &["run", "--rm", "--rootfs"], &[], &[&dir, &p.name(), "/bin/cat", "/data/first"])?;
    ran.must("the file's text", ran.code == 0 && ran.out == "from the image\n")
}

fn pid_file(p: &Play) -> Verdict {
    let file = p.cli.dir().join("task.pid").display().to_string();
    let name = idle(p, &["--pid-file", &file])?;
    equal("the pid file", std::fs::read_to_string(&file)?, task(p, &name)?.0)
}

fn row(p: &Play) -> Verdict {
    let before = Look::now(p.site);
    (0..20).try_for_each(|n| sh(p, &[], &format!("exit {n}"))?.code_is(n))?;
    before.compare(p.site)
}

fn listed(p: &Play) -> Verdict {
    let name = idle(p, &[])?;
    let (pid, status) = task(p, &name)?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
    equal("status", status, "RUNNING")?;
    equal("the process is the container's", String::from_utf8_lossy(&line).starts_with("sh\0-c\0while"), true)
}

fn killed(p: &Play, signal: &str, trap: &str, status: &str) -> Verdict {
    let dir = p.number("ready");
    let file = p.cli.put(&format!("{dir}/file.txt"), "")?;
    let mount = format!("type=bind,src={},dst=/v,options=rbind:rw", file.trim_end_matches("/file.txt"));
    let script = format!("trap '{trap}' USR1; : > /v/ready; while :; do sleep 0.05; done");
    let name = background(p, &["--mount", &mount], &script)?;
    let ready = p.cli.dir().join(&dir).join("ready");
    holds("it is ready", || ready.exists())?;
    p.cli.run(&["task", "kill", "-s", signal, &name])?.code_is(0)?;
    becomes(p, &name, status)
}

fn all(p: &Play) -> Verdict {
    let name = background(p, &[], "setsid sleep 6543 & while :; do sleep 0.1; done")?;
    let alive = || crate::launch::processes().iter().any(|(_, _, line)| line.ends_with(": sleep 6543"));
    holds("the second process runs", alive)?;
    p.cli.run(&["task", "kill", "--all", "-s", "KILL", &name])?.code_is(0)?;
    becomes(p, &name, "STOPPED")?;
    holds("the second process is gone", || !alive())
}

fn dead(p: &Play) -> Verdict {
    let name = background(p, &[], "exit 0")?;
    becomes(p, &name, "STOPPED")?;
    let ran = p.cli.run(&["task", "kill", "-s", "KILL", &name])?;
    ran.must("a failure, `already finished`", ran.code != 0 && ran.err.contains("finished"))
}

fn pause(p: &Play) -> Verdict {
    let name = background(p, &[], "(while :; do echo >> /tmp/count; done) & while :; do sleep 0.1; done")?;
    let file = format!("/proc/{}/root/tmp/count", task(p, &name)?.0);
    let count = || std::fs::metadata(&file).map_or(0, |m| m.len());
    holds("it counts", || count() > 0)?;
    p.cli.run(&["task", "pause", &name])?.code_is(0)?;
    equal("status", task(p, &name)?.1, "PAUSED")?;
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(300));
    equal("count while it is paused", count(), before)?;
    p.cli.run(&["task", "resume", &name])?.code_is(0)?;
    holds("it counts again", || count() > before)
}

fn ps(p: &Play) -> Verdict {
    let name = background(p, &[], "sleep 6000 & sleep 6000 & wait")?;
    let (pid, _) = task(p, &name)?;
    until("three pids, the first process among them", "3 true", || {
        let text = p.cli.said(&["task", "ps", &name])?;
        let pids: Vec<&str> = text.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
        Ok(format!("{} {}", pids.len(), pids.contains(&pid.as_str())))
    })
}

fn metrics(p: &Play) -> Verdict {
    let name = idle(p, &["--memory-limit=67108864"])?;
    let ran = p.cli.run(&["task", "metrics", &name])?;
    let row = |key: &str| ran.out.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_whitespace().nth(1)).unwrap_or("0");
    let pids = row("pids.current").parse::<u32>().unwrap_or(0) > 0;
    ran.must("the limit, and processes", row("memory.limit_in_bytes") == "67108864" && pids)
}

fn running(p: &Play) -> Verdict {
    let name = idle(p, &[])?;
    let ran = p.cli.run(&["task", "rm", &name])?;
    ran.must("a failure", ran.code != 0)?;
    equal("status", task(p, &name)?.1, "RUNNING")
}

fn again(p: &Play) -> Verdict {
    let name = background(p, &[], "exit 0")?;
    becomes(p, &name, "STOPPED")?;
    p.cli.run(&["task", "rm", &name])?.code_is(0)?;
    p.cli.run(&["task", "start", &name])?.code_is(0)
}

fn exec(p: &Play, name: &str, options: &[&str], script: &str) -> Result<Ran, No> {
    let id = p.number("e");
    p.cli.run(&[&["task", "exec", "--exec-id", &id], options, &[name, "sh", "-c", script]].concat())
}

fn exec_says(p: &Play, options: &[&str], script: &str, expected: &str) -> Verdict {
    let ran = exec(p, &idle(p, &[])?, options, script)?;
    ran.must(&format!("exit 0, {expected:?}"), ran.code == 0 && ran.out.trim_end() == expected)
}

fn exec_refused(p: &Play) -> Verdict {
    let ran = p.cli.run(&["task", "exec", "--exec-id", &p.number("e"), &idle(p, &[])?, "no-such-command"])?;
    ran.must("a failure, `executable file not found`", ran.code != 0 && ran.err.contains("executable file not found in $PATH"))
}

fn exec_apart(p: &Play) -> Verdict {
    let ran = exec(p, &idle(p, &[])?, &[], "echo out; echo err >&2")?;
    ran.must("`out` and `err`", ran.code == 0 && ran.out == "out\n" && ran.err == "err\n")
}

fn exec_terminal(p: &Play) -> Verdict {
    let name = idle(p, &[])?;
    let call =
        ["task", "exec", "--tty", "--exec-id", &p.number("e"), &name, "sh", "-c", "test -t 0 && tty; exit 4"].map(str::to_string);
    let call: Vec<&str> = call.iter().map(String::as_str).collect();
    let ran = p.cli.on_terminal(&call)?;
    ran.must("a terminal, exit 4", ran.code == 4 && ran.out.contains("/dev/"))
}

fn exec_detached(p: &Play) -> Verdict {
    let name = idle(p, &[])?;
    exec(p, &name, &["--detach"], "until [ -e /tmp/go ]; do sleep 0.05; done; : > /tmp/gone")?.code_is(0)?;
    exec(p, &name, &[], ": > /tmp/go")?.code_is(0)?;
    holds("the detached command has seen the file", || exec(p, &name, &[], "test -e /tmp/gone").is_ok_and(|r| r.code == 0))
}

fn exec_many(p: &Play) -> Verdict {
    let name = idle(p, &[])?;
    let start = |n: i32| {
        let (id, script) = (p.number("e"), format!("exit {n}"));
        p.cli.start(&["task", "exec", "--exec-id", &id, &name, "sh", "-c", &script])
    };
    let calls: Vec<_> = (0..10).map(start).collect::<Result<_, _>>()?;
    calls.into_iter().zip(0..).try_for_each(|(call, n)| call.finish_beside_others()?.code_is(n))
}
