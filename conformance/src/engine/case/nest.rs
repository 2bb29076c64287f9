//! `codexrun sandbox` in a container: what the engine's own profile forbids, which switch would change it, and what holds without.

use super::{Check, Group, On, Play, check};
use crate::engine::Name;
use crate::launch::Ran;
use crate::report::{No, Verdict};

pub const GROUP: Group = Group { name: "nested sandbox", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("docker's own profile: refused, with the switch", On::Docker, |p| {
        ROOT_AND_USER.iter().try_for_each(|who| refused(p, who))
    }),
    check("docker's own profile: Landlock holds, and is reported", On::Docker, |p| {
        holds(p, ROOT, "landlock")?;
        holds(p, USER, "auto")
    }),
    check("a profile that forbids unshare(2): refused, and Landlock holds", On::Every, |p| {
        let profile = format!("--security-opt=seccomp={}", p.cli.put("seccomp/no-unshare.json", NO_UNSHARE)?);
        let options = [USER, &[profile.as_str()]].concat();
        refused(p, &options)?;
        holds(p, &options, "auto")
    }),
    check("namespaces permitted, /proc covered: refused, with the switch, which helps", On::Every, covered),
    check("docker's client reaches its daemon by --unix-socket, and not without", On::Docker, client),
];

const ROOT: &[&str] = &[];
const USER: &[&str] = &["-u", "1000:1000"];
const ROOT_AND_USER: &[&[&str]] = &[ROOT, USER];
const NO_UNSHARE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;
/// What may be written is, and nothing else.
const SCRIPT: &str = "echo x > new && cat new; echo x > /etc/new";

/// `codexrun sandbox` in a container that has the machine's libraries, in a directory that everybody may write.
fn sandbox(p: &Play, options: &[&str], words: &[&str]) -> Result<Ran, No> {
    let codexrun = format!("{}:/codexrun:ro", p.site.codexrun.display());
    let volumes = ["-v", &codexrun, "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-w", "/tmp"];
    p.run(&[&volumes[..], options].concat(), &[&["/codexrun", "sandbox"], words, &["--", "sh", "-c", SCRIPT]].concat())
}

fn refused(p: &Play, options: &[&str]) -> Verdict {
    let ran = sandbox(p, options, &[])?;
    let says = ["under a seccomp filter", "`--security-opt seccomp=FILE`", "--isolation landlock"];
    ran.must("which switch it is", ran.code == 1 && ran.out.is_empty() && says.iter().all(|word| ran.err.contains(word)))
}

fn holds(p: &Play, options: &[&str], isolation: &str) -> Verdict {
    let ran = sandbox(p, options, &["--isolation", isolation, "--accept-loss", "processes,metadata,attributes,carve-outs"])?;
    let says = ran.err.contains("isolation: landlock; given up: processes, attributes, metadata");
    ran.must("Landlock, which holds", ran.out == "x\n" && says && ran.err.contains("/etc/new: Permission denied"))
}

/// podman's own profile permits what a sandbox needs.
fn covered(p: &Play) -> Verdict {
    let options: &[&str] = if p.engine == Name::Docker { &["--security-opt=seccomp=unconfined"] } else { &[] };
    let ran = sandbox(p, options, &[])?;
    ran.must("`--proc outer`", ran.code == 1 && ran.out.is_empty() && ran.err.contains("`--proc outer` binds the outer"))?;
    let ran = sandbox(p, options, &["--isolation", "auto"])?;
    ran.must("the same of `auto`", ran.code == 1 && ran.out.is_empty() && ran.err.contains("`--proc outer`"))?;
    let ran = sandbox(p, options, &["--isolation", "auto", "--accept-loss", "processes"])?;
    ran.must("namespaces", ran.out == "x\n" && ran.err.contains("isolation: namespaces; given up: processes"))?;
    let ran = sandbox(p, options, &["--proc", "outer"])?;
    ran.must("a sandbox", ran.out == "x\n" && ran.err.contains("/etc/new: Read-only file system"))
}

/// The sandbox is the host's here, beside the daemon.
fn client(p: &Play) -> Verdict {
    let socket = p.site.dir.join("docker.sock").display().to_string();
    let ask = |options: &[&str]| {
        let words = [&["sandbox"], options, &["--"]].concat();
        p.cli.behind(&p.site.codexrun, &words).run(&["version", "--format", "{{.Server.Os}}"])
    };
    let ran = ask(&["--unix-socket", &socket])?;
    ran.must("an answer", ran.code == 0 && ran.out == "linux\n")?;
    let ran = ask(&[])?;
    ran.must("no answer", ran.code != 0 && ran.err.contains("ermission denied"))
}
