//! What is mounted into a container.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::equal;
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "mounts", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("a volume can be written", On::Every, writable),
    check("a read-only volume cannot", On::Every, |p| bound(p, "/v:ro", "echo x > /v/new", false)),
    check("the mount point of a volume is made", On::Every, |p| bound(p, "/not/there", "cat /not/there/file.txt", true)),
    check("a file covers a file", On::Every, over_file),
    check("a volume behind a link of the image stays inside", On::Every, |p| bound(p, "/bin/../v", "cat /v/file.txt", true)),
    check("a named volume keeps what was written, and what the image had", On::Every, named),
    check("a tmpfs with its size and options", On::Every, tmpfs),
    check("a tmpfs over a directory of the image is empty or a copy", On::Every, tmpfs_over),
    check("--read-only", On::Every, |p| p.says(&["--read-only"], "touch /new 2>/dev/null || echo refused", "refused")),
    check("--read-only leaves a tmpfs writable", On::Every, |p| {
        p.says(&["--read-only", "--tmpfs=/v"], "echo x > /v/x && cat /v/x", "x")
    }),
    check("--shm-size", On::Every, |p| p.says(&["--shm-size=1m"], "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024")),
    check("hosts, hostname and resolv.conf are files of the engine", On::Every, |p| {
        p.says(&["--hostname=boxed"], "grep -c ' /etc/host' /proc/self/mountinfo", "2")
    }),
    check("bind-propagation=rslave passes a mount of the host in", On::Podman, propagated),
    check("/proc/kcore is masked", On::Every, |p| p.says(&[], "head -c 1 /proc/kcore | wc -c", "0")),
    check("/proc/sys is read-only", On::Every, |p| p.sh(&[], "echo 1 > /proc/sys/kernel/panic")?.code_is(1)),
    check("/sys is read-only", On::Every, |p| {
        p.says(&[], "awk '$5 == \"/sys\" {print substr($6, 1, 3)}' /proc/self/mountinfo | tail -1", "ro,")
    }),
    check("the standard devices are there", On::Every, devices),
    check("the cgroups are seen as the container's own", On::Rights, groups),
];

/// A directory with `file.txt`, on `at`.
fn bound(p: &Play, at: &str, script: &str, ok: bool) -> Verdict {
    let dir = directory(p)?;
    let ran = p.sh(&["-v", &format!("{dir}:{at}")], script)?;
    ran.must(if ok { "exit 0" } else { "a failure" }, (ran.code == 0) == ok)
}

fn directory(p: &Play) -> Result<String, crate::report::No> {
    let name = p.number("volume");
    p.cli.put(&format!("{name}/file.txt"), "of the host\n")?;
    Ok(p.cli.dir().join(name).display().to_string())
}

fn writable(p: &Play) -> Verdict {
    let dir = directory(p)?;
    p.sh(&["-v", &format!("{dir}:/v")], "cat /v/file.txt && echo from inside > /v/new")?.code_is(0)?;
    equal("the file on the host", std::fs::read_to_string(format!("{dir}/new"))?, "from inside\n")
}

fn over_file(p: &Play) -> Verdict {
    let dir = directory(p)?;
    p.says(&["-v", &format!("{dir}/file.txt:/data/first:ro")], "cat /data/first", "of the host")
}

fn named(p: &Play) -> Verdict {
    let volume = p.number("v");
    let mount = format!("{volume}:/data");
    p.says(&["-v", &mount], "cat /data/first; echo kept > /data/new", "from the image")?;
    p.says(&["-v", &mount], "cat /data/new", "kept")?;
    p.cli.run(&["volume", "rm", &volume])?.code_is(0)
}

fn tmpfs(p: &Play) -> Verdict {
    let script = "grep ' /v ' /proc/self/mountinfo | grep -c 'noexec.*tmpfs.*size=1024k'";
    p.says(&["--tmpfs=/v:size=1m,noexec"], script, "1")
}

/// podman copies what the image has there up, docker does not.
fn tmpfs_over(p: &Play) -> Verdict {
    let expected = if p.engine == crate::engine::Name::Docker { "" } else { "first" };
    p.says(&["--tmpfs=/data"], "ls /data", expected)
}

fn propagated(p: &Play) -> Verdict {
    let dir = directory(p)?;
    let shell = |script: String| std::process::Command::new("/bin/sh").args(["-c", &script]).status();
    shell(format!("mount --bind '{dir}' '{dir}' && mount --make-shared '{dir}' && mkdir '{dir}/later'"))?;
    let name = p.idle(&["--mount", &format!("type=bind,source={dir},destination=/v,bind-propagation=rslave")])?;
    shell(format!("mount -t tmpfs tmpfs '{dir}/later' && echo x > '{dir}/later/x'"))?;
    let ran = p.exec(&[], &name, "cat /v/later/x")?;
    shell(format!("umount '{dir}/later' '{dir}'"))?;
    ran.must("x", ran.out == "x\n")
}

fn devices(p: &Play) -> Verdict {
    p.says(
        &[],
        "cd /dev; for d in null zero full random urandom tty; do [ -c $d ] || echo $d; done; readlink fd; readlink ptmx",
        "/proc/self/fd\npts/ptmx",
    )
}

fn groups(p: &Play) -> Verdict {
    p.says(&["--memory=64m"], "cat /sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864")
}
