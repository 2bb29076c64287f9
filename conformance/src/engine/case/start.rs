//! How a container starts: what its first process gets, and how a start that cannot be is reported.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::equal;
use crate::engine::image;
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "start", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("the exit code is the command's own", On::Every, |p| p.sh(&[], "exit 7")?.code_is(7)),
    check("a command that is not found is 127", On::Every, |p| refused(p, "no-such-command", 127)),
    check("a path that is not there is 127", On::Every, |p| refused(p, "/no/such/path", 127)),
    check("a file that is not executable is 126", On::Every, |p| refused(p, "/plain", 126)),
    check("a directory as the command is 126", On::Every, |p| refused(p, "/data", 126)),
    check("the environment arrives", On::Every, |p| p.says(&["-e", "WORD=a b"], "echo \"$WORD\"", "a b")),
    check("the working directory is entered", On::Every, |p| p.says(&["-w", "/data"], "pwd", "/data")),
    check("a working directory that is missing is made", On::Docker, |p| p.says(&["-w", "/new/dir"], "pwd", "/new/dir")),
    check("the host name is set", On::Every, |p| p.says(&["--hostname", "boxed"], "hostname", "boxed")),
    check("arguments arrive byte for byte", On::Every, arguments),
    check("the command is process 1", On::Every, |p| p.says(&[], "echo $$", "1")),
    check("--init puts an init before it, which passes the exit code", On::Every, init),
    check("no descriptor but the first three is open", On::Every, |p| p.says(&[], "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3")),
    check("create, then start --attach", On::Every, created),
    check("create makes no process of the command", On::Every, only_created),
    check("a finished container starts again", On::Every, again),
    check("start of a running container changes nothing", On::Every, twice),
    check("descriptors are handed on by --preserve-fds", On::Podmans, preserved),
    check("--rootfs runs a directory", On::Podman, rootfs),
    check("--personality is set", On::Podmans, |p| p.says(&["--personality", "LINUX32"], "uname -m", "i686")),
    check("--umask is set", On::Podmans, |p| p.says(&["--umask", "0027"], "umask", "0027")),
];

fn refused(p: &Play, command: &str, code: i32) -> Verdict {
    p.run(&[], &[command])?.code_is(code)
}

fn arguments(p: &Play) -> Verdict {
    let ran = p.run(&[], &["printf", "%s|", "a b", "", "$x", "\"q'", "ü\n"])?;
    ran.must("the words as they are", ran.out == "a b||$x|\"q'|ü\n|")
}

fn init(p: &Play) -> Verdict {
    let ran = p.sh(&["--init"], "cat /proc/1/comm; exit 9")?;
    ran.must("another process 1, exit 9", ran.code == 9 && !ran.out.trim().is_empty() && ran.out.trim() != "sh")
}

fn create(p: &Play, script: &str) -> Result<String, crate::report::No> {
    let name = p.name();
    p.cli.said(&super::words(&["create", "--name", &name], &[], &["sh", "-c", script]))?;
    Ok(name)
}

fn created(p: &Play) -> Verdict {
    let name = create(p, "echo out; exit 4")?;
    let ran = p.cli.run(&["start", "--attach", &name])?;
    ran.must("`out`, exit 4", ran.code == 4 && ran.out == "out\n")
}

fn only_created(p: &Play) -> Verdict {
    let name = create(p, "echo out")?;
    let pid = p.inspect(&name, ".State.Pid")?;
    equal("State.Pid of a created container", pid, "0")
}

fn again(p: &Play) -> Verdict {
    let name = create(p, "echo once")?;
    for _ in 0..2 {
        p.cli.run(&["start", "--attach", &name])?.code_is(0)?;
    }
    let logs = p.cli.run(&["logs", &name])?;
    logs.must("`once` twice", logs.out == "once\nonce\n")
}

fn twice(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let pid = p.inspect(&name, ".State.Pid")?;
    p.cli.run(&["start", &name])?.code_is(0)?;
    equal("State.Pid", p.inspect(&name, ".State.Pid")?, pid)
}

fn preserved(p: &Play) -> Verdict {
    let file = p.cli.put("files/handed.txt", "handed on\n")?;
    let call = ["run", "--rm", "--network=none", "--preserve-fds=1", image::NAME, "cat", "/proc/self/fd/3"];
    let ran = p.cli.in_shell(&format!("exec 3<'{file}'"), &call)?;
    ran.must("the file's text", ran.code == 0 && ran.out == "handed on\n")
}

fn rootfs(p: &Play) -> Verdict {
    let root = p.site.dir.join("rootfs").display().to_string();
    let ran = p.cli.run(&["run", "--rm", "--network=none", "--rootfs", &root, "cat", "/data/first"])?;
    ran.must("the file's text", ran.code == 0 && ran.out == "from the image\n")
}
