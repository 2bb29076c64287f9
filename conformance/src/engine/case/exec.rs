//! A second process in a running container.

use super::{Check, Group, On, Play, check};
use crate::engine::Name;
use crate::engine::cli::holds;
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "exec", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("the exit code is the command's own", On::Every, |p| p.exec(&[], &p.idle(&[])?, "exit 3")?.code_is(3)),
    check("a command that is not found is 127", On::Every, |p| refused(p, "no-such-command", 127)),
    check("a file that is not executable is 126", On::Every, |p| refused(p, "/plain", 126)),
    check("streams stay apart", On::Every, apart),
    check("stdin arrives with -i", On::Every, stdin),
    check("the user is changed", On::Every, |p| says(p, &["-u", "1000:2000"], "id -u; id -g", "1000\n2000")),
    check("the environment is the container's and the call's", On::Every, environment),
    check("the working directory is entered", On::Every, |p| says(p, &["-w", "/data"], "pwd", "/data")),
    check("-d returns, and the command goes on", On::Every, detached),
    check("it is in the container's namespaces", On::Every, namespaces),
    check("it is in the container's cgroup", On::Rights, group),
    check("it has the container's capabilities", On::Every, capabilities),
    check("it has the container's seccomp filter", On::Every, |p| {
        says(p, &[], "grep Seccomp: /proc/self/status | tr -d '\\t'", "Seccomp:2")
    }),
    check("no descriptor but the first three is open", On::Every, |p| says(p, &[], "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3")),
    check("a stopped container is refused", On::Every, stopped),
    check("ten at once all run", On::Every, many),
];

fn says(p: &Play, options: &[&str], script: &str, expected: &str) -> Verdict {
    let ran = p.exec(options, &p.idle(&[])?, script)?;
    ran.must(&format!("exit 0, {expected:?}"), ran.code == 0 && ran.out.trim_end() == expected)
}

/// docker 20.10 answers 126 to both.
fn refused(p: &Play, command: &str, code: i32) -> Verdict {
    let code = if p.engine == Name::Docker { 126 } else { code };
    p.cli.run(&["exec", &p.idle(&[])?, command])?.code_is(code)
}

fn apart(p: &Play) -> Verdict {
    let ran = p.exec(&[], &p.idle(&[])?, "echo out; echo err >&2")?;
    ran.must("`out` and `err`", ran.code == 0 && ran.out == "out\n" && ran.err == "err\n")
}

fn stdin(p: &Play) -> Verdict {
    let ran = p.cli.fed(&["exec", "-i", &p.idle(&[])?, "cat"], "fed")?;
    ran.must("what was fed", ran.code == 0 && ran.out == "fed")
}

fn environment(p: &Play) -> Verdict {
    let name = p.idle(&["-e", "A=1", "-e", "B=1"])?;
    let ran = p.exec(&["-e", "B=2"], &name, "echo $A $B")?;
    ran.must("1 2", ran.out == "1 2\n")
}

fn detached(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    p.exec(&["-d"], &name, "until [ -e /tmp/go ]; do sleep 0.05; done; : > /tmp/gone")?.code_is(0)?;
    p.exec(&[], &name, ": > /tmp/go")?.code_is(0)?;
    holds("the detached command has seen the file", || p.exec(&[], &name, "test -e /tmp/gone").is_ok_and(|r| r.code == 0))
}

fn namespaces(p: &Play) -> Verdict {
    let same =
        "for n in pid net ipc uts mnt cgroup; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done";
    says(p, &[], same, "")
}

fn group(p: &Play) -> Verdict {
    let names = "memory pids cpu devices freezer";
    let script = format!(
        "for n in {names}; do [ \"$(grep :$n: /proc/1/cgroup)\" = \"$(grep :$n: /proc/self/cgroup)\" ] || echo $n; done; grep -q memory: /proc/self/cgroup"
    );
    says(p, &[], &script, "")
}

fn capabilities(p: &Play) -> Verdict {
    let name = p.idle(&["--cap-drop=all", "--cap-add=CHOWN"])?;
    let ran = p.exec(&[], &name, "grep CapEff /proc/self/status")?;
    ran.must("CapEff 1", ran.out.trim_end().ends_with("\t0000000000000001"))
}

fn stopped(p: &Play) -> Verdict {
    let name = p.background(&[], "exit 0")?;
    p.becomes(&name, ".State.Status", "exited")?;
    let ran = p.exec(&[], &name, "exit 0")?;
    ran.must("a failure", ran.code != 0)
}

fn many(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let calls: Vec<_> =
        (0..10).map(|n| p.cli.start(&["exec", &name, "sh", "-c", &format!("exit {n}")])).collect::<Result<_, _>>()?;
    calls.into_iter().zip(0..).try_for_each(|(call, n)| call.finish_beside_others()?.code_is(n))
}
