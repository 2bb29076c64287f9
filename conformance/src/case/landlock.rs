//! Landlock: as a wall behind the mounts, and alone where there are no namespaces. What the wall stops is shown where the mounts do not.

use super::network::{are, probes};
use super::{Case, On, Play, WRITE, case, unchanged};
use crate::launch::{Launch, Ran};
use crate::outside::Outside;
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::{Job, Kind};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    case("a second wall hinders nothing that the policy grants", On::Codexrun, unhindered),
    case("what the mounts leave writable the second wall does not", On::Sandbox, behind_the_mounts),
    case("TCP goes to listed ports alone, also where the network namespace is missing", On::Sandbox, listed_ports),
    case("abstract sockets of the host are behind the second wall", On::Sandbox, abstract_sockets),
    case("processes of the host are not signalled from behind the second wall", On::Sandbox, signals),
    case(
        "what is handed in to be read, and pipes of the host's, are not written to from behind the second wall",
        On::Sandbox,
        written,
    ),
    case("a second process of a container is behind its wall", On::Sandbox, joins),
    case("without namespaces: read-only", On::Codexrun, read_only),
    case("without namespaces: workspace-write", On::Codexrun, workspace_write),
    case("without namespaces: something denied below what is readable", On::Codexrun, denied),
    case("without namespaces: inside another that denies something, it is told what cannot be listed", On::Sandbox, unlisted),
    case("without namespaces: no network, no sockets of others", On::Codexrun, no_network),
    case("without namespaces: with the network on, no socket of others but by IP", On::Codexrun, open_network),
    case("without namespaces: proxies by their ports alone", On::Codexrun, proxies),
    case("without namespaces: nobody outside is signalled, traced or limited", On::Codexrun, processes),
    case("without namespaces: what is lost is refused by name", On::Sandbox, lost),
    case("a bundle of Landlock alone is refused by other runtimes, and nothing on the host is changed", On::Bundle, elsewhere),
    case("what is chosen is said, by flags and by the policy", On::Sandbox, chosen),
    case("under a filter as docker's, the message and the way out", On::Sandbox, nested),
    case("under a filter that forbids nothing, what does is named", On::Sandbox, harmless_filter),
    case("without user namespaces, the sysctl that forbids them is named", On::Sandbox, sysctl),
    case("auto is Landlock where a limit leaves no room for a sandbox's namespaces, and the limit is named", On::Sandbox, limits),
    case("of a limit outside, or one that is used up, the kind is named", On::Sandbox, outer_limits),
    case("below a chroot(2) that is what forbids them", On::Sandbox, chroot),
    case("below a chroot(2) to a mount's root it is said to be possible, and no module is made up", On::Sandbox, chroot_to_mount),
    case("a program's own rules are none about connections, where the broker makes those", On::Codexrun, own_rules),
    case("so are Debian's and Ubuntu's, which do not bind root", On::Sandbox, distributions),
    case("so is Ubuntu's where it permits the namespace and not its id map", On::Sandbox, unmapped),
];

/// The strongest that there is, what was asked for, and nothing where nothing is enforced.
fn chosen(play: &Play) -> Verdict {
    let policy = json!({"type": "read-only", "codexrun": {"isolation": "landlock", "accept_loss": ["processes"]}});
    let policy = play.scene.put("landlock.json", &policy.to_string())?.display().to_string();
    let (flags, lost) = (
        ["--isolation", "landlock", "--accept-loss", "processes"],
        "landlock; given up: processes; no loopback, and no sockets but pairs",
    );
    let network = play.scene.put("network.json", r#"{"type": "read-only", "network_access": true}"#)?.display().to_string();
    let table: [(&str, &[&str], &str); 5] = [
        ("read-only", &["--isolation", "auto"], "namespaces"),
        ("read-only", &flags, lost),
        (&policy, &[], lost),
        (&network, &flags, "landlock; given up: processes; no Unix sockets but pairs"),
        ("danger-full-access", &["--isolation", "landlock"], "none, as the policy forbids nothing"),
    ];
    table.iter().try_for_each(|(policy, options, mode)| {
        let ran = with(play, policy, options, "exit 7")?;
        ran.must(&format!("exit 7, `{mode}`"), ran.code == 7 && ran.err == format!("codexrun: isolation: {mode}\n"))
    })
}

/// The options of a launch without namespaces.
const ALONE: &[&str] = &["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes"];

fn with(play: &Play, policy: &str, options: &[&str], script: &str) -> Result<Ran, No> {
    let options = options.iter().map(ToString::to_string).collect();
    play.column.run(&play.scene, &Job { options, ..Job::sh(policy, &play.scene, script) })
}

/// Probes without namespaces, and what they must answer.
fn alone(play: &Play, policy: &str, asked: &[(&str, &str)]) -> Verdict {
    let (list, expected): (Vec<&str>, Vec<&str>) = asked.iter().copied().unzip();
    let (ran, answers) = probes(play, policy, ALONE, &list)?;
    are(&ran, &answers, &expected)
}

/// Renames and links between directories, devices, files of /proc, shared memory.
fn unhindered(play: &Play) -> Verdict {
    let script = "set -e; mkdir a b; echo x > a/f; mv a/f b/g; ln b/g a/h; rm a/h; : > b/g; mkfifo p; chmod 700 b; mv b a/c; rm -r a p
        echo x > /dev/null; head -c 1 /dev/zero > /dev/full || :; echo 7 > /proc/self/oom_score_adj; echo x > /dev/shm/x; ls / /dev /proc/self
        (sleep 9 & kill $!; wait) || :; ! echo x > .git/new; ! echo x > /etc/new";
    with(play, WRITE, &["--landlock"], script)?.code_is(0)
}

/// A bundle, changed.
pub(super) fn bundle(play: &Play, policy: &str, options: &[&str], change: impl FnOnce(&mut Value)) -> Result<PathBuf, No> {
    let dir = play.scene.bundle(&play.column.actor)?;
    let (at, cwd) = (dir.display().to_string(), play.scene.w().display().to_string());
    let script = play.scene.w().join("script").display().to_string();
    let words = ["spec", "--from-policy", policy, "--cwd", &cwd, "--bundle", &at];
    play.codexrun(&[&words[..], options, &["--", "/bin/sh", &script]].concat())?.code_is(0)?;
    edit(&dir, change)?;
    Ok(dir)
}

fn edit(dir: &Path, change: impl FnOnce(&mut Value)) -> Verdict {
    let file = dir.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file)?).map_err(std::io::Error::from)?;
    change(&mut config);
    Ok(std::fs::write(&file, config.to_string())?)
}

const RULES: &str = "dev.codexrun.landlock";

/// Changes the rules themselves.
fn rules(config: &mut Value, change: impl FnOnce(&mut Value)) {
    let text = config["annotations"][RULES].as_str().unwrap_or_default();
    let mut rules = serde_json::from_str(text).unwrap_or_default();
    change(&mut rules);
    config["annotations"][RULES] = rules.to_string().into();
}

/// The workspace stays a writable mount, and its grant is taken out of the rules.
fn behind_the_mounts(play: &Play) -> Verdict {
    std::fs::write(
        play.scene.w().join("script"),
        "cat plain.txt; echo x > new; echo x > plain.txt; rm plain.txt; mv sub sub2; echo x > /tmp/$$; rm /tmp/$$",
    )?;
    let w = json!(play.scene.w());
    let narrower = bundle(play, WRITE, &["--landlock"], |config| {
        rules(config, |rules| {
            for rule in rules["pathBeneath"].as_array_mut().into_iter().flatten() {
                rule["parent"].as_array_mut().into_iter().for_each(|all| all.retain(|place| *place != w));
            }
        })
    })?;
    let ran = play.codexrun(&["run", &narrower.display().to_string()])?;
    let refused = ran.err.matches("ermission denied").count();
    ran.must("plain, and four refusals of Landlock's", ran.out == "plain\n" && refused == 4 && !ran.err.contains("Read-only"))?;
    unchanged(&play.scene.w().join("plain.txt"), "plain\n")?;
    let whole =
        bundle(play, WRITE, &["--landlock"], |config| drop(config["annotations"].as_object_mut().map(|all| all.remove(RULES))))?;
    let ran = play.codexrun(&["run", &whole.display().to_string()])?;
    ran.must("no refusal without the rules: it was them", ran.out == "plain\n" && ran.err.is_empty())
}

/// By the kernel's rules, and, as those do not see who connects for the sandbox, by the broker's. Servers go on listening.
fn listed_ports(play: &Play) -> Verdict {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("[::1]:0")?];
    let [proxy, listed, beside] = listeners.each_ref().map(TcpListener::local_addr);
    let (proxy, listed, beside) = (proxy?, listed?, beside?);
    let asked = [
        // What is asked, and what is answered in a network of its own, and where the host's listeners are.
        (format!("tcp {proxy}"), "ok|EAGAIN", "ok|EAGAIN"),
        (format!("tcp-self {listed}"), "ok", "EADDRINUSE"),
        (format!("tcp {listed}"), "ECONNREFUSED", "ok|EAGAIN"),
        (format!("tcp {beside}"), "EACCES", "EACCES"),
        ("tcp-self 127.0.0.1:0".into(), "EACCES", "EACCES"),
        ("socket 2 1 262".into(), "EPERM", "EPERM"), // IPPROTO_MPTCP
    ];
    let line = |(n, probe): (usize, &String)| format!("{n}\t{}\n", probe.replace(' ', "\t"));
    let list: String = asked.iter().map(|(probe, ..)| probe).enumerate().map(line).collect();
    std::fs::write(play.scene.w().join("list.txt"), list)?;
    std::fs::write(play.scene.w().join("script"), format!("exec {} list.txt", play.scene.w().join("bin/probe").display()))?;
    let policy = play.scene.put("proxy.json", &proxied().to_string())?.display().to_string();
    let options = ["--env", &format!("HTTP_PROXY=http://{proxy}"), &format!("--tcp-ports={}", listed.port())];
    for (own_network, broker) in [(true, true), (true, false), (false, true), (false, false)] {
        let dir = bundle(play, &policy, &options, |config| {
            if !own_network {
                let all = config["linux"]["namespaces"].as_array_mut();
                all.into_iter().for_each(|all| all.retain(|one| one["type"] != "network"));
                config["hooks"] = json!({});
            }
            if !broker {
                config["annotations"].as_object_mut().map(|all| all.remove("dev.codexrun.unix-sockets"));
            }
        })?;
        let ran = play.codexrun(&["run", &dir.display().to_string()])?;
        let answers: Vec<String> = ran.out.lines().filter_map(|line| line.split('\t').nth(1)).map(str::to_owned).collect();
        let expected = asked.iter().map(|(_, own, hosts)| if own_network { *own } else { *hosts });
        are(&ran, &answers, &expected.chain(["ok"]).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// In the caller's network namespace: the policy grants it, the rules scope it, and no filter and nobody else is asked.
fn abstract_sockets(play: &Play) -> Verdict {
    let name = play.scene.w().display().to_string();
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let _open = listener.try_clone()?;
    // Once: the second launch gets no further than connect(2).
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut [0; 5]).and_then(|()| stream.write_all(b"hello"))
    });
    let probe = play.scene.w().join("bin/probe").display().to_string();
    std::fs::write(play.scene.w().join("list.txt"), format!("0\tunix-abstract\t{name}\n"))?;
    std::fs::write(play.scene.w().join("script"), format!("exec {probe} list.txt"))?;
    let policy = json!({"type": "workspace-write", "network_access": true}).to_string();
    let policy = play.scene.put("network.json", &policy)?.display().to_string();
    for (scoped, answer) in [(json!(["signal"]), "0\tok"), (json!(["signal", "abstract_unix_socket"]), "0\tEPERM")] {
        let dir = bundle(play, &policy, &["--landlock"], |config| {
            rules(config, |rules| rules["ruleset"][0]["scoped"] = scoped);
            config["annotations"].as_object_mut().map(|all| all.remove("dev.codexrun.unix-sockets"));
            config["linux"].as_object_mut().map(|linux| linux.remove("seccomp"));
        })?;
        let ran = play.codexrun(&["run", &dir.display().to_string()])?;
        ran.must(answer, ran.out.starts_with(answer))?;
    }
    Ok(())
}

/// Where the PID namespace is missing: then the host's processes are there, and the rules alone keep signals from them.
fn signals(play: &Play) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    std::fs::write(play.scene.w().join("script"), format!("echo began; kill -USR1 {} && echo sent", outside.pid()))?;
    for (scoped, came) in [(json!(["abstract_unix_socket", "signal"]), false), (json!(["abstract_unix_socket"]), true)] {
        let dir = bundle(play, WRITE, &["--landlock", "--proc", "outer"], |config| {
            rules(config, |rules| rules["ruleset"][0]["scoped"] = scoped);
            let all = config["linux"]["namespaces"].as_array_mut();
            all.into_iter().for_each(|all| all.retain(|one| one["type"] != "pid"));
            config["annotations"].as_object_mut().map(|all| all.remove("dev.codexrun.init"));
        })?;
        let ran = play.codexrun(&["run", &dir.display().to_string()])?;
        let said = if came { "began\nsent\n" } else { "began\n" };
        ran.must(&format!("{said:?}"), ran.out == said && outside.signals()?.is_empty() != came)?;
    }
    Ok(())
}

/// Neither is asked of a mount: the one lies on the caller's, and of pipes read-only mounts know nothing.
fn written(play: &Play) -> Verdict {
    let (file, pipe) = (play.scene.out().join("file.txt"), play.scene.out().join("pipe"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).map_err(std::io::Error::from)?;
    play.column.actor.own(&play.scene.dir)?;
    let reader = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe)?;
    let exe = play.column.runtime.codexrun.display().to_string();
    let script = format!("exec 2> /dev/null; echo x >> /proc/self/fd/0 || :; echo x > {} || :; cat", pipe.display());
    let outer = format!("exec \"$@\" < {}", file.display());
    let words = ["/bin/sh", "-c", &outer, "sh", &exe, "sandbox", "--policy", WRITE, "--landlock", "--", "/bin/sh", "-c", &script];
    let ran = Launch::new(&words, &play.scene.w()).run(&play.column.actor)?;
    ran.must("what is in the file", ran.code == 0 && ran.out == "outside\n")?;
    unchanged(&file, "outside\n")?;
    ran.must("nothing in the pipe", matches!((&reader).read(&mut [0; 8]), Ok(0)))
}

fn joins(play: &Play) -> Verdict {
    std::fs::write(play.scene.w().join("script"), "exec sleep 60")?;
    let dir = bundle(play, WRITE, &["--landlock"], |config| {
        rules(config, |rules| rules["pathBeneath"][1]["parent"] = json!(["/dev", "/proc"]));
    })?;
    let (exe, root) = (play.column.runtime.codexrun.display().to_string(), play.scene.state().display().to_string());
    let (at, id) = (dir.display().to_string(), format!("ll{}", std::process::id()));
    let verb = |words: &[&str]| -> Result<Ran, No> {
        let launch = Launch::new(&[&[&exe, "--root", &root], words].concat(), &play.scene.w());
        Ok(launch.start(&play.column.actor)?.finish_beside_others()?)
    };
    verb(&["run", "--detach", "--bundle", &at, &id])?.code_is(0)?;
    let ran = verb(&["exec", &id, "/bin/sh", "-c", "cat plain.txt; echo x > plain.txt"]);
    verb(&["delete", "--force", &id])?.code_is(0)?;
    let ran = ran?;
    ran.must("plain, and a refusal", ran.out == "plain\n" && ran.err.contains("ermission denied"))
}

fn read_only(play: &Play) -> Verdict {
    let w = |name: &str| play.scene.w().join(name).display().to_string();
    let asked = [
        (format!("read {}", w("plain.txt")), "ok"),
        // Where the records of containers are below it, they are denied, and what is above is not listed.
        ("list /".into(), "ok|EACCES"),
        ("read /etc/passwd".into(), "ok"),
        ("exec /bin/true".into(), "ok"),
        (format!("write {}", w("plain.txt")), "EACCES"),
        (format!("truncate {}", w("a-truncate")), "EACCES"),
        (format!("create {}", w("new")), "EACCES"),
        (format!("mkdir {}", w("newdir")), "EACCES"),
        (format!("unlink {}", w("a-unlink")), "EACCES"),
        (format!("rename {} {}", w("a-rename"), w("b")), "EACCES"),
        (format!("link {} {}", w("a-link"), w("b")), "no"),
        (format!("symlink x {}", w("b")), "EACCES"),
        // Landlock has no word for these; the filter has.
        (format!("chmod {}", w("a-chmod")), "EPERM"),
        (format!("chown {}", w("a-chown")), "EPERM"),
        (format!("xattr {}", w("a-xattr")), "EPERM"),
        (format!("utime {}", w("a-utime")), "EPERM"),
        ("create /tmp/codexrun-test-new".into(), "EACCES"),
        ("write /dev/null".into(), "ok"),
        ("open-write /proc/sys/kernel/panic".into(), "EACCES"),
        ("open-write /proc/self/oom_score_adj".into(), "EACCES"),
        ("list /dev/pts".into(), "ok|EACCES"),
        ("no-new-privs".into(), "ok"),
        ("seccomp".into(), "ok"),
        ("no-caps CapEff".into(), "ok"),
        ("no-caps CapBnd".into(), if play.column.actor.is_root() { "ok" } else { "ok|no" }),
        ("own-session".into(), "ok"),
        ("descriptors".into(), "ok"),
        ("mount-tmpfs /tmp".into(), "EPERM"),
        ("pivot-root /".into(), "EPERM"),
        ("userns-write /etc/codexrun-test-new x".into(), "no"),
        ("open-by-handle x".into(), "no"),
    ];
    let asked: Vec<(&str, &str)> = asked.iter().map(|(probe, answer)| (probe.as_str(), *answer)).collect();
    let before = crate::scene::snapshot(&play.scene.w().join("sub"));
    alone_read(play, &asked)?;
    match crate::scene::difference(&before, &crate::scene::snapshot(&play.scene.w().join("sub"))) {
        None => Ok(()),
        Some(difference) => crate::report::fail("(after the launch)", "nothing changed", difference),
    }
}

/// The list of probes must be readable, and nothing more is given up than must be.
fn alone_read(play: &Play, asked: &[(&str, &str)]) -> Verdict {
    let (list, expected): (Vec<&str>, Vec<&str>) = asked.iter().copied().unzip();
    let (ran, answers) = probes(play, "read-only", &["--isolation", "landlock", "--accept-loss", "processes"], &list)?;
    are(&ran, &answers, &expected)
}

fn workspace_write(play: &Play) -> Verdict {
    let script = "set -e; mkdir a b; echo x > a/f; mv a/f b/g; ln b/g a/h; : > b/g; chmod 700 b; mv b a/c; mv script.txt made; rm -r a
        ! touch /etc/new; ! echo x > ../out/file.txt; ! rm ../out/victim; ! mv ../out/dir moved; ! ln ../out/victim hard; ! mkdir ../new";
    let ran = with(play, WRITE, ALONE, script)?;
    ran.code_is(0)?;
    if play.column.runtime.kind == Kind::Sandbox {
        let said =
            "codexrun: isolation: landlock; given up: processes, attributes, metadata; no loopback, and no sockets but pairs";
        ran.must(said, ran.err.lines().any(|line| line == said))?;
    }
    unchanged(&play.scene.out().join("file.txt"), "outside\n")?;
    unchanged(&play.scene.w().join("made"), "#!/bin/sh\n")
}

fn denied(play: &Play) -> Verdict {
    let out = play.scene.out();
    let entries = vec![crate::policy::special("root", "read"), crate::policy::path(out.join("dir"), "deny")];
    let policy = play.scene.put("deny.json", &crate::policy::pair(entries).to_string())?.display().to_string();
    let path = |name: &str| out.join(name).display().to_string();
    let asked = [
        (format!("read {}", path("file.txt")), "ok"),
        (format!("read {}", path("dir/inner.txt")), "EACCES"),
        (format!("list {}", path("dir")), "EACCES"),
        (format!("list {}", out.display()), "EACCES"),
        (format!("through {}", path("dir/inner.txt")), "no"),
        ("read /etc/passwd".into(), "ok"),
    ];
    let asked: Vec<(&str, &str)> = asked.iter().map(|(probe, answer)| (probe.as_str(), *answer)).collect();
    alone(play, &policy, &asked)
}

/// Listeners of the host's, with an abstract name, and by a path that is granted.
struct Others {
    _listeners: [UnixListener; 2],
    name: String,
    path: String,
}

impl Others {
    fn new(play: &Play) -> Result<Others, No> {
        let (name, path) = (play.scene.w().display().to_string(), play.scene.w().join("host.sock").display().to_string());
        let abstracted = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Others { _listeners: [abstracted, UnixListener::bind(&path)?], name, path })
    }
}

fn no_network(play: &Play) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let others = Others::new(play)?;
    let (tcp, unix, named) = (format!("tcp {}", listener.local_addr()?), format!("unix-abstract {}", others.name), &others.path);
    let (stream, send) = (format!("unix-stream {named}"), format!("unix-sendmsg {named}"));
    let pairs = (format!("pair-dgram-connect {named}"), format!("pair-seqpacket-connect {named}"));
    let asked = [
        (tcp.as_str(), "EPERM"),
        ("udp 127.0.0.1:9", "EPERM"),
        ("tcp-self", "EPERM"),
        (&unix, "EPERM"),
        (&stream, "EPERM"),
        (&send, "EPERM"),
        (&pairs.0, "EPERM"),
        (&pairs.1, "no"),
        ("pair-stream", "ok"),
        ("socket 16 3 0", "EPERM"),
        ("socket 40 1 0", "EPERM"),
        ("io-uring", "refused"),
        ("x32", crate::table::KILLED),
        ("i386-netlink", "no"),
        ("env CODEX_SANDBOX_NETWORK_DISABLED 1", "ok"),
    ];
    alone(play, WRITE, &asked)
}

fn open_network(play: &Play) -> Verdict {
    let others = Others::new(play)?;
    let ways = ["unix-stream", "unix-sendto", "unix-sendmsg", "pair-dgram-connect"].map(|way| format!("{way} {}", others.path));
    let unix = format!("unix-abstract {}", others.name);
    let shut = ways.iter().chain([&unix]).map(|way| (way.as_str(), "EPERM"));
    let asked: Vec<_> = shut.chain([("tcp-self", "ok"), ("pair-stream", "ok")]).collect();
    let policy = play.scene.put("network.json", r#"{"type": "workspace-write", "network_access": true}"#)?;
    alone(play, &policy.display().to_string(), &asked)
}

fn proxied() -> Value {
    let mut policy = crate::policy::pair(vec![crate::policy::special("root", "read")]);
    policy["network"] = json!({"mode": "proxy"});
    policy
}

fn proxies(play: &Play) -> Verdict {
    let (proxy, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let policy = play.scene.put("proxy.json", &proxied().to_string())?.display().to_string();
    let variable = format!("HTTP_PROXY=http://{}", proxy.local_addr()?);
    let options = ["--isolation", "landlock", "--accept-loss", "processes,proxy-only", "--env", &variable];
    let (reach, beside, fast) = (
        format!("tcp {}", proxy.local_addr()?),
        format!("tcp {}", other.local_addr()?),
        format!("tcp-fast {}", other.local_addr()?),
    );
    let asked = [
        (reach.as_str(), "ok|EAGAIN"),
        (&beside, "EACCES"),
        (&fast, "EPERM"),
        ("tcp-self", "EACCES|EPERM"),
        ("udp 127.0.0.1:9", "EPERM"),
        ("socket 2 1 262", "EPERM"), // IPPROTO_MPTCP
        ("socket 1 1 0", "EPERM"),
    ];
    let (list, expected): (Vec<&str>, Vec<&str>) = asked.into_iter().unzip();
    let (ran, answers) = probes(play, &policy, &options, &list)?;
    if play.column.runtime.kind == Kind::Sandbox {
        let says = ran.err.contains("isolation: landlock; given up: processes, proxy-only; no loopback, and no sockets but pairs and TCP to the proxies\n");
        ran.must("what is left of sockets", says)?;
    }
    are(&ran, &answers, &expected)
}

fn processes(play: &Play) -> Verdict {
    let launch = Launch::new(&["/bin/sleep", "20"], &play.scene.w());
    let victim = launch.start(&play.column.actor)?;
    let pid = victim.pid();
    let asked = [
        (format!("kill {pid}"), "EPERM"),
        (format!("ptrace {pid}"), "EPERM"),
        (format!("process-vm-read {pid}"), "EPERM"),
        (format!("read /proc/{pid}/environ"), "EACCES"),
        (format!("read /proc/{pid}/fd/0"), "EACCES"),
        (format!("read /proc/{pid}/root/etc/passwd"), "EACCES"),
        (format!("limit {pid}"), "EPERM"),
    ];
    let asked: Vec<(&str, &str)> = asked.iter().map(|(probe, answer)| (probe.as_str(), *answer)).collect();
    let verdict = alone(play, WRITE, &asked);
    victim.signal(nix::sys::signal::Signal::SIGKILL);
    victim.finish_beside_others()?;
    verdict
}

fn lost(play: &Play) -> Verdict {
    let refused = |options: &[&str], clauses: &[&str]| -> Verdict {
        let ran = with(play, WRITE, &[&["--isolation", "landlock"], options].concat(), "echo started")?;
        let said = |clause: &&str| ran.err.contains(&format!("--accept-loss {clause}`"));
        let all = clauses.iter().all(said) && ran.err.lines().count() == clauses.len();
        ran.must(&format!("exit 1 and {clauses:?}"), ran.code == 1 && ran.out.is_empty() && all)
    };
    refused(&[], &["processes", "attributes", "metadata"])?;
    refused(&["--accept-loss", "metadata", "--private-tmp"], &["processes", "attributes", "private-tmp"])?;
    let ran = with(play, WRITE, &["--isolation", "landlock", "--accept-loss", "everything"], "echo started")?;
    ran.must("the names of clauses", ran.code == 1 && ran.err.contains("known are processes, metadata"))
}

/// Who knows nothing of such a bundle's walls must not run it; and must not mount anything over the host's `/`, which has all others below a
/// chroot(2).
fn elsewhere(play: &Play) -> Verdict {
    let dir = bundle(play, "read-only", &["--isolation", "landlock", "--accept-loss", "processes"], |_| ())?;
    std::fs::write(play.scene.w().join("script"), "echo began; echo x > made")?;
    let script = "before=$(cat /proc/self/mountinfo); \"$@\"; code=$?; [ \"$before\" = \"$(cat /proc/self/mountinfo)\" ] || echo mounted; exit $code";
    let (at, id) = (dir.display().to_string(), crate::runtime::fresh_id());
    let ran = play.column.within(&play.scene, script, &["run", "--bundle", &at, &id])?;
    let made = play.scene.w().join("made").exists();
    match play.column.runtime.is_codexrun() {
        true => ran.must("what is there already, and nothing made", ran.out == "began\n" && !made),
        false => ran.must("refused before anything is done", ran.code != 0 && ran.out.is_empty() && !made),
    }
}

/// A bundle that confines nothing but refuses what docker's default profile refuses; `clone3` is what clone3(2) fails with.
fn outer(play: &Play, clone3: i32) -> Result<PathBuf, No> {
    let mut user = errno(&["clone"], libc::EPERM);
    user["args"] =
        json!([{"index": 0, "value": libc::CLONE_NEWUSER, "valueTwo": libc::CLONE_NEWUSER, "op": "SCMP_CMP_MASKED_EQ"}]);
    let refused = ["unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "mount_setattr"];
    filtered(play, &[errno(&refused, libc::EPERM), errno(&["clone3"], clone3), user])
}

/// What these calls fail with.
pub(super) fn errno(names: &[&str], errno: i32) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

/// A bundle that confines nothing but refuses these.
pub(super) fn filtered(play: &Play, refused: &[Value]) -> Result<PathBuf, No> {
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": refused});
    bundle(play, "danger-full-access", &[], |config| {
        config["linux"]["seccomp"] = filter;
        config["process"]["noNewPrivileges"] = true.into();
    })
}

/// Docker 20.10.10 and later know that clone3(2) must not be there, and others that it is forbidden.
fn nested(play: &Play) -> Verdict {
    [libc::ENOSYS, libc::EPERM].into_iter().try_for_each(|clone3| nested_in(play, outer(play, clone3)?))
}

fn nested_in(play: &Play, outer: PathBuf) -> Verdict {
    let exe = play.column.runtime.codexrun.display().to_string();
    let inner = |options: &str| {
        format!("exec {exe} sandbox {options} -- sh -c 'echo x > new && cat new; echo x > /etc/codexrun-test-new'\n")
    };
    let outer = outer.display().to_string();
    let run = |options: &str| -> Result<Ran, No> {
        std::fs::write(play.scene.w().join("script"), inner(options))?;
        play.codexrun(&["run", &outer])
    };
    for options in ["", "--isolation namespaces"] {
        let ran = run(options)?;
        let says = ["under a seccomp filter", "refuses unshare(2) with CLONE_NEWUSER, clone(2)", "--isolation landlock"]
            .iter()
            .all(|word| ran.err.contains(word));
        ran.must("which switch it is", ran.code == 1 && ran.out.is_empty() && says)?;
    }
    let ran = run("--isolation auto")?;
    ran.must("what would be lost", ran.code == 1 && ran.err.contains("`metadata` is lost"))?;
    for how in ["landlock", "auto"] {
        let ran = run(&format!("--isolation {how} --accept-loss processes,metadata,attributes,carve-outs"))?;
        let says = ran.err.contains("isolation: landlock; given up: processes") && ran.err.contains("ermission denied");
        ran.must("a sandbox all the same", ran.out == "x\n" && says)?;
    }
    Ok(())
}

fn unlisted(play: &Play) -> Verdict {
    let entries = vec![crate::policy::special("root", "read"), crate::policy::path(play.scene.out().join("dir"), "deny")];
    let policy = play.scene.put("deny.json", &crate::policy::pair(entries).to_string())?.display().to_string();
    let options = ["--isolation", "landlock", "--accept-loss", "processes"];
    let inner = format!("{} sandbox --policy read-only {} -- true", play.column.runtime.codexrun.display(), options.join(" "));
    let ran = with(play, &policy, &options, &inner)?;
    let says = ran.err.contains("cannot list `/`") && ran.err.contains("an outer sandbox that denies something below it");
    ran.must("exit 1, and why", ran.code == 1 && says)
}

/// A filter of one instruction, which allows, and then the program that is named.
const ALLOWS: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('at', ctypes.c_void_p)]
allow = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
program = Program(1, ctypes.addressof(allow))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program)) == 0
os.execvp(sys.argv[1], sys.argv[1:])
";

/// The words before a program that has that filter around it.
fn allowing(play: &Play) -> Result<String, No> {
    let script = play.scene.dir.join("allows.py");
    std::fs::write(&script, ALLOWS)?;
    Ok(format!("/usr/bin/python3 {}", script.display()))
}

/// Who is not mapped in the user namespace around codexrun can make none.
fn harmless_filter(play: &Play) -> Verdict {
    let (exe, allowing) = (play.column.runtime.codexrun.display().to_string(), allowing(play)?);
    let script = format!("exec {allowing} {exe} sandbox --policy read-only --cwd / -- echo started");
    let free = Launch::new(&["/bin/sh", "-c", &script], &play.scene.w()).run(&play.column.actor)?;
    free.must("a sandbox under that filter", free.out == "started\n")?;
    let ran = Launch::new(&["unshare", "--user", "--", "/bin/sh", "-c", &script], &play.scene.w()).run(&play.column.actor)?;
    let says = ran.err.contains("the user 65534 is not mapped") && !ran.err.contains("seccomp");
    ran.must("the user, not the filter", ran.code == 1 && ran.out.is_empty() && says)
}

/// In a user namespace of its own, since the limit is each one's.
fn sysctl(play: &Play) -> Verdict {
    let exe = play.column.runtime.codexrun.display().to_string();
    let script = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {exe} sandbox -- echo started");
    let unshare = ["unshare", "--user", "--map-root-user", "--", "/bin/sh", "-c", &script];
    let ran = Launch::new(&unshare, &play.scene.w()).run(&play.column.actor)?;
    let says = ran.err.contains("sysctl user.max_user_namespaces=") && ran.err.contains("--isolation landlock");
    ran.must("the sysctl", ran.code == 1 && ran.out.is_empty() && says)?;
    // A bundle is of namespaces; when there are none it is not said that there are.
    std::fs::write(play.scene.w().join("script"), "echo started\n")?;
    let dir = bundle(play, WRITE, &[], |_| ())?;
    let run = format!("{exe} run --isolation auto {}", dir.display());
    let free = Launch::new(&["/bin/sh", "-c", &run], &play.scene.w()).run(&play.column.actor)?;
    free.must("the mode", free.out == "started\n" && free.err.contains("isolation: namespaces"))?;
    let script = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {run}");
    let unshare = ["unshare", "--user", "--map-current-user", "--keep-caps", "--", "/bin/sh", "-c", &script];
    let ran = Launch::new(&unshare, &play.scene.w()).run(&play.column.actor)?;
    let says = ran.err.contains("sysctl user.max_user_namespaces=") && !ran.err.contains("isolation: ");
    ran.must("the sysctl, and no mode", ran.code == 1 && ran.out.is_empty() && says)
}

/// Who is not root keeps his id by a second user namespace; root needs none.
fn limits(play: &Play) -> Verdict {
    let exe = play.column.runtime.codexrun.display().to_string();
    let (root, same) = (["--map-root-user"].as_slice(), ["--map-current-user", "--keep-caps"].as_slice());
    let table = [(root, "net", 0), (root, "user", 0), (same, "user", 1)];
    for (who, kind, limit) in table.into_iter().filter(|(who, ..)| *who == root || !play.column.actor.is_root()) {
        let run = |options: &str| -> Result<Ran, No> {
            let words = format!("sandbox --policy read-only --cwd / {options} -- echo started");
            let script = format!("echo {limit} > /proc/sys/user/max_{kind}_namespaces && exec {exe} {words}");
            let unshare = [&["unshare", "--user"], who, &["--", "/bin/sh", "-c", &script]].concat();
            Ok(Launch::new(&unshare, &play.scene.w()).run(&play.column.actor)?)
        };
        let ran = run("--isolation auto --accept-loss processes")?;
        ran.must("landlock", ran.out == "started\n" && ran.err.contains("isolation: landlock"))?;
        let (ran, named) = (run("")?, format!("user.max_{kind}_namespaces is {limit}: `sysctl"));
        ran.must(&named, ran.code == 1 && ran.err.contains(&named))?;
    }
    Ok(())
}

/// The limits where codexrun runs are high; those of the user namespace around are not, or, of user namespaces, leave one less than it needs.
fn outer_limits(play: &Play) -> Verdict {
    let exe = play.column.runtime.codexrun.display().to_string();
    let (root, same) = ("--map-root-user", "--map-current-user --keep-caps");
    let table = [(root, "net", 0), (root, "pid", 0), (root, "ipc", 0), (root, "user", 1), (same, "user", 2)];
    for (who, kind, limit) in table.into_iter().filter(|(who, ..)| *who == root || !play.column.actor.is_root()) {
        let sandbox = format!("{exe} sandbox --policy read-only --cwd / -- echo started");
        let script = format!("echo {limit} > /proc/sys/user/max_{kind}_namespaces && exec unshare --user {who} -- {sandbox}");
        let unshare = format!("exec unshare --user {who} -- /bin/sh -c \"$0\"");
        let ran = Launch::new(&["/bin/sh", "-c", &unshare, &script], &play.scene.w()).run(&play.column.actor)?;
        let left = format!("no {kind} namespace is left of user.max_{kind}_namespaces, here (");
        let says = ran.err.contains(&left) && ran.err.contains("--isolation landlock");
        ran.must(&left, ran.code == 1 && ran.out.is_empty() && says)?;
    }
    Ok(())
}

/// Where he may not look at /proc/1 only root can tell it from what a security module does.
fn chroot_to_mount(play: &Play) -> Verdict {
    let (root, uid, gid) = (nix::unistd::Uid::effective().is_root(), play.column.actor.uid, play.column.actor.gid);
    if play.column.actor.is_root() || !root {
        return skip("only root can bring another user there");
    }
    let (exe, dir) = (play.column.runtime.codexrun.display(), play.scene.dir.join("root"));
    std::fs::create_dir(&dir)?;
    let dir = dir.display();
    let user = format!("setpriv --reuid={uid} --regid={gid} --clear-groups");
    // A filter that allows everything is not the reason.
    for filter in [String::new(), allowing(play)?] {
        let script = format!(
            "mount --rbind / {dir} && exec chroot {dir} {user} {filter} {exe} sandbox --policy read-only --cwd / -- echo started"
        );
        let out = std::process::Command::new("unshare").args(["--mount", "--", "/bin/sh", "-c", &script]).output()?;
        let (said, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let says = ["below a chroot(2)", "--isolation landlock"].iter().all(|word| err.contains(word));
        let made_up = ["()", "``", "seccomp"].iter().any(|word| err.contains(word));
        if out.status.code() != Some(1) || !said.is_empty() || !says || made_up {
            return fail("unshare --mount … chroot …", "exit 1, and the chroot", format!("{:?}, {said}{err}", out.status.code()));
        }
    }
    Ok(())
}

/// To the root of a mount, and to a directory that is none.
fn chroot(play: &Play) -> Verdict {
    let (exe, dir) = (play.column.runtime.codexrun.display().to_string(), play.scene.w().join("root"));
    let dir = dir.display();
    let sandbox = "sandbox --cwd / --policy read-only -- echo started";
    for script in [
        format!("mkdir {dir} && mount --rbind / {dir} && exec chroot {dir} {exe} {sandbox}"),
        format!(
            "mkdir -p {dir}/proc && cp {exe} {dir}/codexrun && mount --rbind /proc {dir}/proc && exec chroot {dir} /codexrun {sandbox}"
        ),
    ] {
        let unshare = ["unshare", "--user", "--map-root-user", "--mount", "--", "/bin/sh", "-c", &script];
        let ran = Launch::new(&unshare, &play.scene.w()).run(&play.column.actor)?;
        let says = ran.err.contains("runs below a chroot(2)") && ran.err.contains("--isolation landlock");
        ran.must("the chroot", ran.code == 1 && ran.out.is_empty() && says)?;
        std::fs::remove_dir_all(play.scene.w().join("root"))?;
    }
    Ok(())
}

/// The version; a ruleset about ports, about abstract sockets, and about files; then what it forbids, and a connection.
const CONFINES: &str = "
import ctypes, errno, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    made = libc.syscall(*words)
    return made if made >= 0 else errno.errorcode[ctypes.get_errno()]
files = call(444, struct.pack('QQQ', 2, 0, 0), 24, 0)
print(call(444, None, 0, 1), call(444, struct.pack('QQQ', 0, 2, 0), 24, 0), call(444, struct.pack('QQQ', 2, 0, 1), 24, 0))
libc.prctl(38, 1, 0, 0, 0)
print(call(446, files, 0), end=' ')
try:
    open('plain.txt', 'a')
except OSError as e:
    print(errno.errorcode[e.errno], end=' ')
server = socket.create_server(('127.0.0.1', 0))
print(socket.create_connection(server.getsockname()).getpeername() == server.getsockname())
";

fn own_rules(play: &Play) -> Verdict {
    let python = ["/usr/bin/python3", "-c", CONFINES];
    let bare = Launch::new(&python, &play.scene.w()).run(&play.column.actor)?;
    if bare.code != 0 || bare.out.starts_with(['E', '1', '2', '3']) {
        return skip("python is not there, or Landlock has no rules about connections here");
    }
    let enabled = play.scene.put("enabled.json", r#"{"type": "workspace-write", "network_access": true}"#)?.display().to_string();
    std::fs::write(play.scene.w().join("confines.py"), CONFINES)?;
    for policy in [WRITE, &enabled] {
        let ran = with(play, policy, &[], "/usr/bin/python3 confines.py")?;
        ran.must("an older Landlock, which holds", ran.code == 0 && ran.out == "3 E2BIG E2BIG\n0 EACCES True\n")?;
    }
    Ok(())
}

/// Sysctls that this kernel does not have, shown by a mount; the filter does what they would do.
fn distributions(play: &Play) -> Verdict {
    for (name, value) in [("unprivileged_userns_clone", "0\n"), (RESTRICTS, "1\n")] {
        let switch = if play.column.actor.is_root() { "under a seccomp filter".into() } else { format!("sysctl kernel.{name}=") };
        let ran = shown(play, &outer(play, libc::ENOSYS)?, name, value, "")?;
        names(&ran, &switch)?;
    }
    Ok(())
}

/// Of Ubuntu since 23.10.
const RESTRICTS: &str = "apparmor_restrict_unprivileged_userns";

/// There clone(2) makes a user namespace, and AppArmor's profile `unprivileged_userns` takes all capabilities in it: what fails first is
/// the write(2) of the id map. The filter knows that one by its length, which is that of no other write of a launch.
fn unmapped(play: &Play) -> Verdict {
    if play.column.actor.is_root() {
        return skip("it restricts who is not root");
    }
    let uid = play.column.actor.uid;
    // As root of the namespace, by which a launch begins, and the caller's own id, as `auto` tries it.
    let lengths = [format!("0 {uid} 1\n"), format!("{uid} {uid} 1\n")].map(|map| map.len());
    for error in [libc::EPERM, libc::EACCES] {
        let writes = lengths.map(|length| {
            let mut write = errno(&["write"], error);
            write["args"] = json!([{"index": 2, "value": length, "op": "SCMP_CMP_EQ"}]);
            write
        });
        let ran = shown(play, &filtered(play, &writes)?, RESTRICTS, "1\n", "")?;
        names(&ran, &format!("sysctl kernel.{RESTRICTS}="))?;
        let step = ran.err.contains("cannot map uid") && ran.err.contains("profile for codexrun with the rule `userns,`");
        ran.must("the step, and what else permits it", step)?;
        let auto = "--policy read-only --isolation auto --accept-loss processes";
        let ran = shown(play, &filtered(play, &writes)?, RESTRICTS, "1\n", auto)?;
        ran.must("landlock", ran.out == "started\n" && ran.err.contains("isolation: landlock"))?;
    }
    Ok(())
}

/// A sandbox in the bundle, where the sysctl of this name has this value.
fn shown(play: &Play, dir: &Path, name: &str, value: &str, options: &str) -> Result<Ran, No> {
    let script = format!("exec {} sandbox {options} -- echo started", play.column.runtime.codexrun.display());
    std::fs::write(play.scene.w().join("script"), script)?;
    let sysctls = play.scene.dir.join(name);
    std::fs::create_dir_all(&sysctls)?;
    std::fs::write(sysctls.join(name), value)?;
    edit(dir, |config| {
        let mount = json!({"destination": "/proc/sys/kernel", "source": sysctls, "type": "bind", "options": ["bind", "ro"]});
        config["mounts"].as_array_mut().into_iter().for_each(|all| all.push(mount.clone()));
    })?;
    play.codexrun(&["run", &dir.display().to_string()])
}

fn names(ran: &Ran, switch: &str) -> Verdict {
    let says = ran.err.contains(switch) && ran.err.contains("--isolation landlock");
    ran.must(switch, ran.code == 1 && ran.out.is_empty() && says)
}
