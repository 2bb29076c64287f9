//! What engines tell about a container, and what they carry in and out.

use super::{Check, Group, On, Play, check};
use crate::engine::Name;
use crate::engine::cli::equal;
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "looks", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("inspect: status and pid are the kernel's", On::Every, inspected),
    check("ps lists the running ones", On::Every, listed),
    check("top shows the processes", On::Every, top),
    check("cp carries a file in and out", On::Every, copied),
    check("diff names what was made", On::Every, diff),
    check("commit makes an image that runs", On::Every, commit),
    check("export is a tar archive of it", On::Every, export),
    check("rename keeps it running", On::Every, rename),
    check("inspect of the runtime's failure: the text says what was not found", On::Every, told),
];

fn inspected(p: &Play) -> Verdict {
    let name = p.ready(&[], super::IDLE)?;
    equal("status", p.inspect(&name, ".State.Status")?, "running")?;
    let pid = p.inspect(&name, ".State.Pid")?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
    equal("the process is the container's", String::from_utf8_lossy(&line).starts_with("sh\0-c\0trap"), true)
}

fn listed(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let ran = p.cli.run(&["ps", "--format", "{{.Names}} {{.Status}}"])?;
    ran.must("the name, Up", ran.out.lines().any(|l| l.starts_with(&format!("{name} Up"))))
}

fn top(p: &Play) -> Verdict {
    let name = p.ready(&[], "sleep 5432 & echo ready; wait")?;
    let ran = p.cli.run(&["top", &name])?;
    ran.must("both processes", ran.code == 0 && ran.out.contains("sleep 5432") && ran.out.contains("sh -c"))
}

fn copied(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let file = p.cli.put("copied/in.txt", "carried\n")?;
    p.cli.run(&["cp", &file, &format!("{name}:/data/in.txt")])?.code_is(0)?;
    let ran = p.exec(&[], &name, "cat /data/in.txt && echo back > /data/out.txt")?;
    ran.must("carried", ran.out == "carried\n")?;
    let out = file.replace("in.txt", "out.txt");
    p.cli.run(&["cp", &format!("{name}:/data/out.txt"), &out])?.code_is(0)?;
    equal(&out, std::fs::read_to_string(&out)?, "back\n")
}

fn diff(p: &Play) -> Verdict {
    let name = p.ready(&[], ": > /data/made; echo ready; sleep 0.1")?;
    let ran = p.cli.run(&["diff", &name])?;
    ran.must("A /data/made", ran.out.lines().any(|l| l == "A /data/made"))
}

fn commit(p: &Play) -> Verdict {
    let name = p.ready(&[], "echo kept > /data/made; echo ready; sleep 0.1")?;
    let image = format!("localhost/{}:latest", p.number("image"));
    p.cli.run(&["commit", &name, &image])?.code_is(0)?;
    let ran = p.cli.run(&["run", "--rm", "--network=none", &image, "cat", "/data/made"])?;
    p.cli.run(&["rmi", "-f", &image])?.code_is(0)?;
    ran.must("kept", ran.out == "kept\n")
}

fn export(p: &Play) -> Verdict {
    let name = p.ready(&[], ": > /data/made; echo ready; sleep 0.1")?;
    let file = p.cli.dir().join("export.tar").display().to_string();
    p.cli.run(&["export", "-o", &file, &name])?.code_is(0)?;
    let listing = std::process::Command::new("tar").args(["-tf", &file]).output()?;
    equal("data/made is in it", String::from_utf8_lossy(&listing.stdout).contains("data/made"), true)
}

fn rename(p: &Play) -> Verdict {
    let (old, new) = (p.number("old"), p.name());
    p.cli.said(&["run", "-d", "--name", &old, "--network=none", crate::engine::image::NAME, "sh", "-c", super::IDLE])?;
    p.cli.run(&["rename", &old, &new])?.code_is(0)?;
    p.exec(&[], &new, "exit 0")?.code_is(0)
}

fn told(p: &Play) -> Verdict {
    let ran = p.run(&[], &["no-such-command"])?;
    let says = ran.err.contains("no-such-command") && ran.err.contains("not found");
    ran.must("`no-such-command`, not found", says && (ran.code == 127 || p.engine == Name::Build))
}
