//! Builds and `buildah run`: the runtime sees create, start, state and a plain delete.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::{Cli, equal};
use crate::engine::{image, podman};
use crate::launch::Ran;
use crate::report::{No, Verdict};

pub const GROUPS: &[Group] = &[Group { name: "build", checks: BUILDS }, Group { name: "buildah run", checks: RUNS }];

const BUILDS: &[Check] = &[
    check("RUN writes into the image", On::Every, |p| built(p, "RUN echo made > /made", "cat /made", "made")),
    check("RUN as a list of words", On::Every, |p| built(p, "RUN [\"touch\", \"/a b\"]", "ls / | grep 'a b'", "a b")),
    check("a RUN that fails fails the build with its exit code", On::Every, |p| failed(p, "RUN exit 7", "7")),
    check("a RUN whose command is not found fails the build", On::Every, |p| {
        failed(p, "RUN [\"no-such-command\"]", "no-such-command")
    }),
    check("RUN's output is shown", On::Every, output),
    check("ENV and ARG reach RUN", On::Every, |p| built(p, "ARG A=1\nENV B=2\nRUN echo $A$B > /made", "cat /made", "12")),
    check("WORKDIR is where RUN runs", On::Every, |p| built(p, "WORKDIR /deep/er\nRUN pwd > /made", "cat /made", "/deep/er")),
    check("USER is who RUN is", On::Every, |p| {
        built(p, "USER 1000:2000\nRUN id -u > /tmp/made; id -g >> /tmp/made", "cat /tmp/made", "1000\n2000")
    }),
    check("SHELL is what RUN uses", On::Every, |p| {
        result(
            p,
            &["--format=docker"],
            "SHELL [\"/bin/ash\", \"-c\"]\nRUN tr '\\0' ' ' < /proc/$$/cmdline | cut -d' ' -f1 > /made",
            "cat /made",
            "/bin/ash",
        )
    }),
    check("COPY, then RUN", On::Every, |p| {
        built(p, "COPY Dockerfile /copied\nRUN chmod 600 /copied", "stat -c %a /copied", "600")
    }),
    check("two stages", On::Every, stages),
    check("RUN --mount=type=tmpfs", On::Every, |p| {
        built(p, "RUN --mount=type=tmpfs,target=/t echo x > /t/x && ls /t > /made", "cat /made; ls /t", "x")
    }),
    check("RUN --mount=type=bind", On::Every, |p| {
        built(p, "RUN --mount=type=bind,target=/ctx cp /ctx/Dockerfile /made", "head -c 4 /made", "FROM")
    }),
    check("RUN --mount=type=cache keeps between builds", On::Every, cache),
    check("--network=none has only lo", On::Every, |p| {
        built(p, "RUN ls /sys/class/net | grep -v -e sit -e tunl > /made", "cat /made", "lo")
    }),
    check("a process that RUN leaves does not hold the build", On::Every, |p| {
        built(p, "RUN sleep 300 >/dev/null 2>&1 & echo x > /made", "cat /made", "x")
    }),
    check("--cap-drop", On::Every, |p| capabilities(p, &["--cap-drop=all"], "0000000000000000")),
    check("--cap-add", On::Every, |p| capabilities(p, &["--cap-drop=all", "--cap-add=CHOWN"], "0000000000000001")),
    check("--ulimit", On::Every, |p| with(p, &["--ulimit=nofile=1000:1100"], "RUN ulimit -Hn > /made", "1100")),
    check("--memory is the limit of a RUN", On::Every, |p| {
        with(p, &["--memory=64m"], "RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes > /made", "67108864")
    }),
    check("--cgroup-parent", On::Every, |p| {
        with(p, &["--cgroup-parent=/mine"], "RUN grep -c pids:/mine /proc/self/cgroup > /made", "1")
    }),
    check("--security-opt seccomp=FILE", On::Every, seccomp),
    check("--volume", On::Every, volume),
];

const RUNS: &[Check] = &[
    check("the exit code is the command's own", On::Every, |p| run(p, &[], "exit 5")?.code_is(5)),
    check("a command that is not found fails", On::Every, |p| {
        let r = p.cli.run(&["run", &from(p)?, "no-such-command"])?;
        r.must("a failure", r.code != 0)
    }),
    check("streams stay apart", On::Every, apart),
    check("the user is changed", On::Every, |p| says(p, &["--user", "1000:2000"], "id -u; id -g", "1000\n2000")),
    check("the environment arrives", On::Every, |p| says(p, &["--env", "WORD=x"], "echo $WORD", "x")),
    check("the working directory is entered", On::Every, |p| says(p, &["--workingdir", "/data"], "pwd", "/data")),
    check("--hostname", On::Every, |p| says(p, &["--hostname", "boxed"], "hostname", "boxed")),
    check("a terminal", On::Every, terminal),
    check("a second run sees the first one's files", On::Every, second),
];

/// Writes a Dockerfile and builds it; the image's name.
fn build(p: &Play, options: &[&str], text: &str) -> Result<(Ran, String), No> {
    let name = p.number("built");
    let file = p.cli.put(&format!("{name}/Dockerfile"), &format!("FROM {}\n{text}\n", image::NAME))?;
    let context = p.cli.dir().join(&name).display().to_string();
    let image = format!("localhost/{name}");
    let words = ["build", "--isolation=oci", "--network=none", "--layers=false", "-t", &image, "-f", &file];
    let call = [&words[..], options, &[&context]].concat();
    Ok((podman_build(p)?.run(&call)?, image))
}

/// `podman build` on buildah's store.
fn podman_build(p: &Play) -> Result<Cli, No> {
    podman::command(p.site, &p.site.root, "podman")
}

/// Builds, and looks at the result with a script.
fn result(p: &Play, options: &[&str], text: &str, script: &str, expected: &str) -> Verdict {
    let (ran, name) = build(p, options, text)?;
    ran.code_is(0)?;
    let looked =
        podman_build(p)?.run(&["run", "--rm", "--network=none", "--user=0", "--workdir=/", &name, "sh", "-c", script])?;
    podman_build(p)?.run(&["rmi", "-f", &name])?.code_is(0)?;
    looked.must(expected, looked.out.trim_end() == expected)
}

fn built(p: &Play, text: &str, script: &str, expected: &str) -> Verdict {
    result(p, &[], text, script, expected)
}

fn with(p: &Play, options: &[&str], text: &str, expected: &str) -> Verdict {
    result(p, options, text, "cat /made", expected)
}

/// Into /tmp: without capabilities root may not write where others may not.
fn capabilities(p: &Play, options: &[&str], expected: &str) -> Verdict {
    result(p, options, "RUN grep CapEff /proc/self/status | cut -f2 > /tmp/made", "cat /tmp/made", expected)
}

fn failed(p: &Play, text: &str, says: &str) -> Verdict {
    let (ran, _) = build(p, &[], text)?;
    ran.must(&format!("a failure that says `{says}`"), ran.code != 0 && ran.err.contains(says))
}

fn output(p: &Play) -> Verdict {
    let (ran, _) = build(p, &[], "RUN echo to stdout; echo to stderr >&2")?;
    ran.must("both lines", ran.out.contains("to stdout") && ran.err.contains("to stderr"))
}

fn stages(p: &Play) -> Verdict {
    let text = format!("RUN echo one > /made\nFROM {}\nCOPY --from=0 /made /second\nRUN echo two >> /second", image::NAME);
    built(p, &text, "cat /second; ls /made 2>/dev/null", "one\ntwo")
}

fn cache(p: &Play) -> Verdict {
    let text = "RUN --mount=type=cache,target=/c echo x >> /c/x && wc -l < /c/x > /made";
    built(p, text, "cat /made", "1")?;
    built(p, text, "cat /made", "2")
}

fn seccomp(p: &Play) -> Verdict {
    let text =
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let file = p.cli.put("seccomp/no-mkdir.json", text)?;
    with(p, &[&format!("--security-opt=seccomp={file}")], "RUN mkdir /d 2>&1 | grep -c 'not permitted' > /made", "1")
}

fn volume(p: &Play) -> Verdict {
    let file = p.cli.put("shared/file.txt", "of the host\n")?;
    let dir = file.trim_end_matches("/file.txt");
    with(p, &[&format!("--volume={dir}:/v:ro")], "RUN cat /v/file.txt > /made", "of the host")
}

/// A working container, removed after the check.
fn from(p: &Play) -> Result<String, No> {
    let name = p.name();
    p.cli.said(&["from", "--pull-never", "--name", &name, image::NAME])?;
    Ok(name)
}

fn run_in(p: &Play, name: &str, options: &[&str], script: &str) -> Result<Ran, No> {
    let runtime = p.site.runtime.display().to_string();
    p.cli.run(
        &[&["run", "--isolation=oci", "--runtime", &runtime, "--network=none"], options, &[name, "sh", "-c", script]].concat(),
    )
}

fn run(p: &Play, options: &[&str], script: &str) -> Result<Ran, No> {
    run_in(p, &from(p)?, options, script)
}

fn says(p: &Play, options: &[&str], script: &str, expected: &str) -> Verdict {
    let ran = run(p, options, script)?;
    ran.must(&format!("exit 0, {expected:?}"), ran.code == 0 && ran.out.trim_end() == expected)
}

fn apart(p: &Play) -> Verdict {
    let ran = run(p, &[], "echo out; echo err >&2")?;
    ran.must("`out` and `err`", ran.code == 0 && ran.out == "out\n" && ran.err == "err\n")
}

fn terminal(p: &Play) -> Verdict {
    let (name, runtime) = (from(p)?, p.site.runtime.display().to_string());
    let ran =
        p.cli.on_terminal(&["run", "--isolation=oci", "--runtime", &runtime, "-t", &name, "sh", "-c", "test -t 1 && tty"])?;
    ran.must("a terminal", ran.code == 0 && ran.out.contains("/dev/"))
}

fn second(p: &Play) -> Verdict {
    let name = from(p)?;
    run_in(p, &name, &[], "echo kept > /data/new")?.code_is(0)?;
    let ran = run_in(p, &name, &[], "cat /data/new")?;
    ran.must("kept", ran.out == "kept\n")?;
    equal("exit code", ran.code, 0)
}
