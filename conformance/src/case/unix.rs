//! Unix sockets: those made inside work, those of the host do not, although both are inodes of one tree. And attacks on the difference.

use super::landlock::{errno, filtered};
use super::network::probes;
use super::{Case, On, Play, appears, case, until};
use crate::launch::Ran;
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::{Column, Job, Kind};
use nix::sys::signal::{Signal, kill};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg};
use serde_json::json;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    case("its own work: by path, link, abstract name, as streams and packets (#8343)", On::Codexrun, own),
    case("they work in every mode of the network", On::Codexrun, modes),
    case("the host's are shut in every mode: by path, hard link, bind mount, abstract name, i386 (25, 26)", On::Every, hosts),
    case("a granted one is reached, and no other (#39140)", On::Codexrun, granted),
    case("under a private /tmp its own work, a granted one is reached, and no other (24)", On::Every, private_tmp),
    case("a granted directory grants what is below it", On::Codexrun, granted_directory),
    case("what appears at the path of a grant after the start is not granted", On::Codexrun, late),
    case("what the sandbox mounts below a granted directory is not granted", On::Codexrun, mounted_below),
    case("a name that is rewritten during connect(2) leads to no other socket", On::Codexrun, |p| {
        raced(p, "unix-race {own} {host}")
    }),
    case("a link that is swapped during connect(2) leads to no other socket", On::Codexrun, |p| {
        raced(p, "unix-swap {own} {host} {w}/link.sock")
    }),
    case("a socket of the host's in the place of its own is the host's", On::Codexrun, reused),
    case("another sandbox's in the same directory is shut", On::Codexrun, others),
    case("a socket that was made outside and sent in connects to nothing, in every mode", On::Codexrun, received),
    case("a TCP connection that was made outside and sent in does not become another", On::Codexrun, tcp_received),
    case("a connection that waits holds up no other, and a signal ends it", On::Codexrun, |p| {
        all_ok(p, "workspace-write", &[], &["unix-patience {w}/full"])
    }),
    case("SO_SNDTIMEO limits a connection that waits", On::Codexrun, |p| {
        all_ok(p, "workspace-write", &[], &["unix-limited {w}/full"])
    }),
    case("a descriptor that begins to wait in the middle of its connect(2) holds up no other", On::Codexrun, |p| {
        all_ok(p, "workspace-write", &[], &["unix-toggled {w}/full"])
    }),
    case("a call ends when the process that waits for it is killed", On::Codexrun, unattended),
    case(
        "datagrams, with --unix-datagrams: its own, whatever sendmsg(2) sends, and no other call than before",
        On::Codexrun,
        datagrams,
    ),
    case("datagrams: the host's are shut in every mode, and those granted are reached", On::Codexrun, hosts_datagrams),
    case("datagrams: a granted socket of those is warned of where nobody asks for them", On::Codexrun, silent),
    case("datagrams: netlink(7) names no process outside", On::Codexrun, unnamed),
    case("a name that is rewritten during sendmsg(2) leads to no other socket", On::Codexrun, datagram_race),
    case("the broker begins with the first connect(2), and without it every one fails", On::Codexrun, bereft),
    case("SO_PEERCRED has the right ids, and the pid 0 where the broker made the call", On::Codexrun, credentials),
    case("where nobody may answer for a filter there are pairs alone, and a warning says so", On::Sandbox, unanswered),
    case("python: multiprocessing.Manager", On::Codexrun, manager),
    case("postgres and psql on a socket in the workspace", On::Codexrun, postgres),
];

/// A socket of the host's that anybody may connect to.
struct Host(UnixListener);

impl Host {
    fn at(path: &Path) -> Result<Host, No> {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
        listener.set_nonblocking(true)?;
        Ok(Host(listener))
    }

    /// How many connections have come.
    fn reached(&self) -> usize {
        std::iter::from_fn(|| self.0.accept().ok()).count()
    }
}

fn unreached(ran: &Ran, host: &Host) -> Verdict {
    match host.reached() {
        0 => Ok(()),
        n => fail(&ran.line, "no connection to the host's socket", n),
    }
}

/// With the network on, over a writable workspace.
fn enabled(play: &Play) -> Result<String, No> {
    let policy = r#"{"type": "workspace-write", "network_access": true}"#;
    Ok(play.scene.put("enabled.json", policy)?.display().to_string())
}

fn policies(play: &Play) -> Result<[String; 2], No> {
    Ok(["workspace-write".to_owned(), enabled(play)?])
}

/// `{w}` is the workspace, `{own}` a name in it and `{host}` the host's socket there, of the same length.
fn filled(play: &Play, probe: &str) -> String {
    let w = play.scene.w().display().to_string();
    probe.replace("{own}", &format!("{w}/its.sock")).replace("{host}", &format!("{w}/her.sock")).replace("{w}", &w)
}

fn answers(play: &Play, policy: &str, options: &[&str], list: &[&str]) -> Result<(Ran, Vec<String>), No> {
    let list: Vec<String> = list.iter().map(|probe| filled(play, probe)).collect();
    probes(play, policy, options, &list.iter().map(String::as_str).collect::<Vec<_>>())
}

fn all_ok(play: &Play, policy: &str, options: &[&str], list: &[&str]) -> Verdict {
    let (ran, answers) = answers(play, policy, options, list)?;
    ran.must(&format!("ok to all of {list:?}; they are {answers:?}"), ran.code == 0 && answers.iter().all(|a| a == "ok"))
}

const OWN: &[&str] =
    &["unix-own {own}", "unix-own-abstract", "unix-own-packets {own}", "unix-stale {own}", "tcp-self", "tcp-self-v6", "udp-self"];

fn own(play: &Play) -> Verdict {
    all_ok(play, "workspace-write", &[], OWN)
}

fn modes(play: &Play) -> Verdict {
    all_ok(play, &enabled(play)?, &[], OWN)?;
    let proxy = ["--managed-network", "{}", "--env", "HTTP_PROXY=http://127.0.0.1:9"];
    all_ok(play, "workspace-write", &proxy, OWN)
}

const CREDENTIALS: &str = "
import os, socket, struct
listener = socket.socket(socket.AF_UNIX)
listener.bind('made.sock')
listener.listen()
client = socket.socket(socket.AF_UNIX)
client.connect('made.sock')
server = listener.accept()[0]
for end in client, server:
    pid, uid, gid = struct.unpack('3i', end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    print({0: 'none', os.getpid(): 'right'}[pid], (uid, gid) == (os.getuid(), os.getgid()))
";

fn credentials(play: &Play) -> Verdict {
    fs::write(play.scene.w().join("credentials.py"), CREDENTIALS)?;
    let on = enabled(play)?;
    for (policy, client) in [("workspace-write", "none"), (&on, "right")] {
        let script = "/usr/bin/python3 credentials.py && rm made.sock";
        let ran = play.column.run(&play.scene, &Job::sh(policy, &play.scene, script))?;
        ran.must(client, ran.code == 0 && ran.out == format!("{client} True\nnone True\n"))?;
    }
    Ok(())
}

const PAIRS: &str = "
import socket
socket.socketpair()
try:
    socket.socket(socket.AF_UNIX)
except PermissionError:
    print('shut')
";

/// As under Docker's default profile, which refuses the call by which the broker takes a socket.
fn unanswered(play: &Play) -> Verdict {
    let outer = filtered(play, &[errno(&["pidfd_getfd"], libc::EPERM)])?.display().to_string();
    let exe = play.column.runtime.codexrun.display();
    fs::write(play.scene.w().join("pairs.py"), PAIRS)?;
    let run = |policy: &str, options: &str| -> Result<Ran, No> {
        let line = format!("exec {exe} sandbox --policy {policy} {options} -- /usr/bin/python3 pairs.py\n");
        fs::write(play.scene.w().join("script"), line)?;
        play.codexrun(&["run", &outer])
    };
    for policy in ["read-only", &enabled(play)?] {
        let ran = run(policy, "")?;
        let says =
            ran.err.lines().filter(|line| line.contains("of Unix sockets there are pairs only: nobody may answer")).count();
        ran.must("shut, and one warning", ran.code == 0 && ran.out == "shut\n" && says == 1)?;
    }
    let refused = run("read-only", &format!("--unix-socket {}", play.scene.out().join("file.txt").display()))?;
    refused.must("refused", refused.code == 1 && refused.err.contains("cannot be granted here: nobody may answer"))
}

fn hosts(play: &Play) -> Verdict {
    let (there, name) = (play.scene.w().join("her.sock"), abstract_name(play));
    let host = Host::at(&there)?;
    let abstracted = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    fs::hard_link(&there, play.scene.w().join("hard.sock"))?;
    let (bound, _mount) = (play.scene.w().join("bound.sock"), Mounted::over(&there, &play.scene.w().join("bound.sock"))?);
    let list = [
        "unix-connect {host}",
        "unix-connect {w}/hard.sock",
        "unix-connect {w}/../w/her.sock",
        "i386-connect {host}",
        "unix-dgram-connect {host}",
        "unix-sendto {host}",
        "pair-dgram-sendto {host}",
    ];
    let also = [format!("unix-connect {}", bound.display()), format!("unix-abstract {name}")];
    let list: Vec<&str> = list.into_iter().chain(also.iter().map(String::as_str)).collect();
    for policy in policies(play)? {
        let (ran, answers) = answers(play, &policy, &[], &list)?;
        // Of codexrun's the last looks for a name in a namespace of its own; others have no sockets to ask with.
        let own = play.column.runtime.is_codexrun();
        let shut = |(n, answer): (usize, &String)| answer == if own && n + 1 == list.len() { "ECONNREFUSED" } else { "EPERM" };
        ran.must(&format!("no to all of {list:?}; they are {answers:?}"), answers.iter().enumerate().all(shut))?;
        unreached(&ran, &host)?;
    }
    drop(abstracted);
    Ok(())
}

/// A name that is this scene's alone: several are played at a time.
fn abstract_name(play: &Play) -> String {
    play.scene.w().display().to_string()
}

/// A bind mount, gone with this.
struct Mounted(Option<PathBuf>);

impl Mounted {
    /// Who may not mount has one inode less to try.
    fn over(what: &Path, at: &Path) -> Result<Mounted, No> {
        use nix::mount::{MsFlags, mount};
        fs::write(at, "")?;
        let none: Option<&str> = None;
        let mounted = mount(Some(what), at, none, MsFlags::MS_BIND, none);
        if mounted.is_err() {
            fs::remove_file(at)?;
            fs::hard_link(what, at)?;
        }
        Ok(Mounted(mounted.is_ok().then(|| at.to_owned())))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(at) = &self.0 {
            let _ = nix::mount::umount(at);
        }
    }
}

fn granted(play: &Play) -> Verdict {
    let (there, beside) = (play.scene.out().join("granted.sock"), play.scene.out().join("other.sock"));
    let (host, other) = (Host::at(&there)?, Host::at(&beside)?);
    let (there, list) = (there.display().to_string(), [&there, &beside].map(|path| format!("unix-connect {}", path.display())));
    for policy in policies(play)? {
        let (ran, answers) = answers(play, &policy, &["--unix-socket", &there], &list.each_ref().map(String::as_str))?;
        ran.must(&format!("ok and EPERM; they are {answers:?}"), answers == ["ok", "EPERM"])?;
        unreached(&ran, &other)?;
        if host.reached() != 1 {
            return fail(&ran.line, "one connection", "none");
        }
    }
    let managed = ["--managed-network", "{}", "--env", "HTTP_PROXY=http://127.0.0.1:9", "--unix-socket", &there];
    all_ok(play, "read-only", &managed, &[&list[0]])
}

/// With the network on too, where another runtime promises no more than that /tmp is empty.
fn private_tmp(play: &Play) -> Verdict {
    let scene = play.scene.dir.display().to_string().replace('/', "-");
    let name = |what: &str| Path::new("/tmp").join(format!("codexrun{scene}-{what}"));
    let (granted, other, own) = (name("granted"), name("other"), name("own"));
    let ours = play.column.runtime.is_codexrun();
    let hosts = [Host::at(&granted)?, Host::at(&other)?];
    let list = [("unix-connect", &granted), ("unix-connect", &other), ("unix-own", &own)]
        .map(|(how, at)| format!("{how} {}", at.display()));
    let played = [false, true].into_iter().try_for_each(|network| {
        let policy = json!({"type": "workspace-write", "network_access": network, "codexrun": {"private_tmp": true}});
        let policy = play.scene.put("private.json", &policy.to_string())?.display().to_string();
        let (ran, answers) =
            answers(play, &policy, &["--unix-socket", &granted.display().to_string()], &list.each_ref().map(String::as_str))?;
        let expected = if ours { ["ok", "ENOENT", "ok"] } else { ["EPERM"; 3] };
        ran.must(&format!("{expected:?}; they are {answers:?}"), answers == expected)?;
        unreached(&ran, &hosts[1])
    });
    [granted, other].iter().try_for_each(fs::remove_file)?;
    played
}

fn granted_directory(play: &Play) -> Verdict {
    let dir = play.scene.out().join("sockets");
    play.dir(&dir.join("below"))?;
    let (host, beside) = (Host::at(&dir.join("below/it.sock"))?, Host::at(&play.scene.out().join("other.sock"))?);
    let list =
        ["sockets/below/it.sock", "other.sock"].map(|name| format!("unix-connect {}", play.scene.out().join(name).display()));
    let options = ["--unix-socket", &dir.display().to_string()];
    let (ran, answers) = answers(play, "workspace-write", &options, &list.each_ref().map(String::as_str))?;
    ran.must(&format!("ok and EPERM; they are {answers:?}"), answers == ["ok", "EPERM"] && host.reached() == 1)?;
    unreached(&ran, &beside)
}

/// Nothing lies there when the sandbox begins, of which it is told.
fn late(play: &Play) -> Verdict {
    let (w, there) = (play.scene.w(), play.scene.w().join("her.sock"));
    fs::write(w.join("list.txt"), filled(play, "0\tunix-connect\t{host}\n"))?;
    let script = format!(": > ready; while [ ! -e go ]; do sleep 0.02; done; exec {} list.txt", w.join("bin/probe").display());
    let options = vec!["--unix-socket".into(), there.display().to_string()];
    let running = play.column.start(&play.scene, &Job { options, ..Job::sh("workspace-write", &play.scene, &script) })?;
    appears(&w.join("ready"))?;
    let host = Host::at(&there)?;
    fs::write(w.join("go"), "")?;
    let ran = running.finish()?;
    ran.must("EPERM", ran.code == 0 && ran.out.starts_with("0\tEPERM"))?;
    // Of a bundle `spec` has told it.
    let told = play.column.runtime.kind != Kind::Sandbox || ran.err.contains("there is no socket");
    ran.must("a warning", told)?;
    unreached(&ran, &host)
}

/// As root of a namespace of its own, which the policy lets it make.
fn mounted_below(play: &Play) -> Verdict {
    if play.column.actor.is_root() {
        return skip("who is root outside may not map itself into a namespace without CAP_SETFCAP, user_namespaces(7)");
    }
    let (dir, other) = (play.scene.out().join("sockets/below"), play.scene.out().join("other"));
    play.dir(&dir)?;
    play.dir(&other)?;
    let host = Host::at(&other.join("it.sock"))?;
    let _granted = Host::at(&dir.with_file_name("granted.sock"))?;
    let probes = [other.join("it.sock"), dir.join("it.sock"), dir.with_file_name("granted.sock")];
    let probes = probes.iter().enumerate().map(|(n, at)| format!("{n}\tunix-connect\t{}\n", at.display()));
    fs::write(play.scene.w().join("list.txt"), probes.collect::<String>())?;
    let mount = format!("mount --bind {} {} && exec bin/probe list.txt", other.display(), dir.display());
    let granted = dir.with_file_name("").display().to_string();
    let options = ["--allow-syscalls", "namespaces", "--allow-syscalls", "mounts", "--unix-socket", &granted];
    let argv = ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", &mount];
    let job = Job { options: options.map(String::from).to_vec(), ..Job::new("workspace-write", &play.scene, &argv) };
    let ran = play.column.run(&play.scene, &job)?;
    let answers = ran.out.lines().filter_map(|line| line.split('\t').nth(1)).collect::<Vec<_>>();
    ran.must("EPERM twice, and ok", answers.starts_with(&["EPERM", "EPERM", "ok"]))?;
    unreached(&ran, &host)
}

fn raced(play: &Play, attack: &str) -> Verdict {
    let host = Host::at(&play.scene.w().join("her.sock"))?;
    for policy in policies(play)? {
        let (ran, answers) = answers(play, &policy, &[], &[attack])?;
        ran.must("ok: its own was reached, and no other", answers == ["ok"])?;
        unreached(&ran, &host)?;
    }
    Ok(())
}

/// Starts one probe, and waits until it says that it is ready.
fn started(play: &Play, column: &Column, name: &str, probe: &str) -> Result<crate::launch::Running, No> {
    let job = listed(play, "workspace-write", name, probe)?;
    let running = column.start(&play.scene, &job)?;
    appears(&play.scene.w().join("ready"))?;
    Ok(running)
}

/// A probe that says when it is ready, from a list of this name.
fn listed(play: &Play, policy: &str, name: &str, probe: &str) -> Result<Job, No> {
    let (list, exe) = (play.scene.w().join(name), play.scene.w().join("bin/probe").display().to_string());
    fs::write(&list, format!("0\t{}\n", filled(play, probe).replace(' ', "\t")))?;
    Ok(Job::new(policy, &play.scene, &[&exe, &list.display().to_string()]))
}

fn answered(running: crate::launch::Running, expected: &str) -> Verdict {
    let ran = running.finish()?;
    ran.must(expected, ran.out.starts_with(&format!("0\t{expected}\t")))
}

const DATAGRAMS: &[&str] = &[
    "dgram-own {own}",
    "dgram-own-abstract",
    "dgram-descriptor {own}",
    "dgram-waits {own}",
    "sendmsg-stream",
    "sendmsg-pipe",
    "sendmmsg-udp",
    "udp-self",
    "tcp-self",
    "unix-own {own}",
];

fn datagrams(play: &Play) -> Verdict {
    for policy in policies(play)? {
        all_ok(play, &policy, &["--unix-datagrams"], DATAGRAMS)?;
        let (ran, said) = answers(play, &policy, &["--unix-datagrams"], &["dgram-credentials {own}"])?;
        ran.must(&format!("EPERM; it is {said:?}"), said == ["EPERM"])?;
        // What sendmsg(2) sends is the same without.
        all_ok(play, &policy, &[], &["sendmsg-stream", "sendmsg-pipe", "sendmmsg-udp"])?;
    }
    Ok(())
}

/// A datagram socket of the host's that anybody may send to.
fn receiver(path: &Path) -> Result<UnixDatagram, No> {
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o777))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn hosts_datagrams(play: &Play) -> Verdict {
    let (granted, name) = (play.scene.out().join("notify"), abstract_name(play));
    let (host, notify) = (receiver(&play.scene.w().join("her.sock"))?, receiver(&granted)?);
    let abstracted = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    fs::hard_link(play.scene.w().join("her.sock"), play.scene.w().join("hard.sock"))?;
    let shut = [
        "unix-sendto {host}",
        "unix-sendmsg {host}",
        "unix-sendmmsg {w}/hard.sock",
        "unix-dgram-connect {host}",
        "i386-sendto {host}",
    ];
    let [nobody, granted] = [format!("dgram-abstract {name}"), granted.display().to_string()];
    let open = ["sendto", "sendmsg", "sendmmsg", "dgram-connect"].map(|way| format!("unix-{way} {granted}"));
    let list: Vec<&str> = shut.into_iter().chain([nobody.as_str()]).chain(open.iter().map(String::as_str)).collect();
    let expected = [&["EPERM"; 5][..], &["ECONNREFUSED"], &["ok"; 4]].concat();
    for policy in policies(play)? {
        let (ran, said) = answers(play, &policy, &["--unix-datagrams", "--unix-socket", &granted], &list)?;
        let came = std::iter::from_fn(|| notify.recv(&mut [0; 8]).ok()).count();
        ran.must(&format!("{expected:?}, and 4 datagrams; they are {said:?} and {came}"), said == expected && came == 4)?;
        if host.recv(&mut [0; 8]).is_ok() {
            return fail(&ran.line, "no datagram for the host's socket", "one");
        }
    }
    drop(abstracted);
    Ok(())
}

/// By the launch, and by who looks at it before; and the socket hears of nothing but what is sent to it.
fn silent(play: &Play) -> Verdict {
    let [packets, stream] = ["notify", "stream"].map(|name| play.scene.out().join(name));
    let (notify, listener) = (receiver(&packets)?, Host::at(&stream)?);
    let [packets, stream, w] = [packets, stream, play.scene.w()].map(|path| path.display().to_string());
    let granted = ["--unix-socket", &packets, "--unix-socket", &stream];
    let warned = |ran: &Ran, times: usize| {
        let said = format!("`{packets}` is a socket of datagrams");
        let lines = ran.err.lines().filter(|line| line.contains("of datagrams"));
        let told = lines.map(|line| line.contains(&said) && line.contains("`--unix-datagrams`")).collect::<Vec<_>>();
        ran.must(&format!("{times} warnings of {packets}"), ran.code == 0 && told == vec![true; times])
    };
    for (more, times, answer) in [(&[][..], 1, "EPERM"), (&["--unix-datagrams"], 0, "ok")] {
        let options = [&granted, more].concat();
        let (ran, said) = answers(play, "workspace-write", &options, &[&format!("unix-dgram-connect {packets}")])?;
        warned(&ran, times)?;
        ran.must(&format!("{answer}; it is {said:?}"), said == [answer])?;
        for verb in ["plan", "explain"] {
            warned(&play.codexrun(&[&[verb, "--policy", "workspace-write", "--cwd", &w], &options[..]].concat())?, times)?;
        }
        let came = std::iter::from_fn(|| notify.recv(&mut [0; 8]).ok()).count();
        ran.must(&format!("what the probe sends and no more; it is {came}"), came == usize::from(answer == "ok"))?;
        unreached(&ran, &listener)?;
    }
    Ok(())
}

fn datagram_race(play: &Play) -> Verdict {
    let host = receiver(&play.scene.w().join("her.sock"))?;
    for policy in policies(play)? {
        let (ran, said) = answers(play, &policy, &["--unix-datagrams"], &["dgram-race {own} {host}"])?;
        ran.must(&format!("ok; it is {said:?}"), said == ["ok"])?;
        if host.recv(&mut [0; 8]).is_ok() {
            return fail(&ran.line, "no datagram for the host's socket", "one");
        }
    }
    Ok(())
}

/// Of the two processes of the broker's one waits: the child of the other.
fn unattended(play: &Play) -> Verdict {
    let running = started(play, play.column, "list.txt", "unix-waits {w}/full {w}/ready")?;
    let all = crate::launch::processes;
    let waiters = || {
        let below = all().into_iter().filter(|(pid, above, _)| is_broker(*pid) && is_broker(*above));
        below.map(|(pid, ..)| pid).filter(|pid| is_below(*pid, running.pid())).collect::<Vec<_>>()
    };
    until("somebody waits", || waiters().len() == 1)?;
    for pid in waiters() {
        kill(pid, Signal::SIGKILL).map_err(std::io::Error::from)?;
    }
    answered(running, "ENOSYS")
}

fn reused(play: &Play) -> Verdict {
    let running = started(play, play.column, "list.txt", "unix-reuse {w}/again.sock {w}/ready {w}/go")?;
    let host = Host::at(&play.scene.w().join("again.sock"))?;
    fs::write(play.scene.w().join("go"), "")?;
    answered(running, "EPERM")?;
    if host.reached() == 0 { Ok(()) } else { fail("(the host)", "no connection", "one") }
}

fn others(play: &Play) -> Verdict {
    let running = started(play, play.column, "first.txt", "unix-serve {w}/one.sock {w}/ready {w}/go")?;
    for policy in policies(play)? {
        let (ran, answers) = answers(play, &policy, &[], &["unix-connect {w}/one.sock"])?;
        ran.must(&format!("ECONNREFUSED; it is {answers:?}"), answers == ["ECONNREFUSED"])?;
    }
    fs::write(play.scene.w().join("go"), "")?;
    answered(running, "ok")
}

fn received(play: &Play) -> Verdict {
    let name = abstract_name(play);
    let (host, abstracted) = (Host::at(&play.scene.w().join("her.sock"))?, SocketAddr::from_abstract_name(&name)?);
    let _abstracted = UnixListener::bind_addr(&abstracted)?;
    let proxy = ["--managed-network", "{}", "--env", "HTTP_PROXY=http://127.0.0.1:9"];
    let [off, on] = policies(play)?;
    for (policy, options) in [(&off, &[][..]), (&off, &proxy), (&on, &[])] {
        let probe = format!("unix-received {{w}}/in.sock {{w}}/ready {{host}} {name}");
        let options = options.iter().map(ToString::to_string).collect();
        let running = play.column.start(&play.scene, &Job { options, ..listed(play, policy, "list.txt", &probe)? })?;
        appears(&play.scene.w().join("ready"))?;
        let to = UnixStream::connect(play.scene.w().join("in.sock"))?;
        let unconnected = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).map_err(std::io::Error::from)?;
        send(&to, unconnected.as_fd())?;
        answered(running, "ok")?;
        for name in ["in.sock", "ready"] {
            fs::remove_file(play.scene.w().join(name))?;
        }
    }
    if host.reached() == 0 { Ok(()) } else { fail("(the host)", "no connection", "one") }
}

fn tcp_received(play: &Play) -> Verdict {
    let [first, second] = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    second.set_nonblocking(true)?;
    let probe = format!("tcp-received {{w}}/in.sock {{w}}/ready {}", second.local_addr()?.port());
    let running = started(play, play.column, "list.txt", &probe)?;
    let connection = TcpStream::connect(first.local_addr()?)?;
    send(&UnixStream::connect(play.scene.w().join("in.sock"))?, connection.as_fd())?;
    answered(running, "ok")?;
    if second.accept().is_err() { Ok(()) } else { fail("(the host)", "no connection", "one") }
}

fn send(to: &UnixStream, socket: BorrowedFd) -> Result<(), No> {
    let (fds, mut space) = ([socket], [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(to, &[std::io::IoSlice::new(b"s")], &mut control, SendFlags::empty()).map_err(std::io::Error::from)?;
    Ok(())
}

/// Its broker is the process of codexrun's name that has one capability.
fn bereft(play: &Play) -> Verdict {
    let (w, probe) = (play.scene.w(), play.scene.w().join("bin/probe").display().to_string());
    let _host = Host::at(&w.join("her.sock"))?;
    let script = format!(
        "until_there() {{ while [ ! -e $1 ]; do sleep 0.02; done; }}; : > ready; until_there ask; {probe} one.txt > /dev/null; \
         : > asked; until_there go; exec {probe} all.txt"
    );
    fs::write(w.join("one.txt"), filled(play, "0\ttcp-self\n"))?;
    fs::write(w.join("all.txt"), filled(play, "0\tunix-connect\t{host}\n1\tunix-own\t{own}\n2\ttcp-self\n"))?;
    let running = play.column.start(&play.scene, &Job::sh("workspace-write", &play.scene, &script))?;
    let found = || crate::launch::processes().into_iter().filter(|(pid, ..)| is_broker(*pid) && is_below(*pid, running.pid()));
    let brokers = || found().count();
    appears(&w.join("ready"))?;
    let early = brokers();
    fs::write(w.join("ask"), "")?;
    appears(&w.join("asked"))?;
    until("there is one broker", || brokers() == 1)?;
    for (pid, ..) in found() {
        kill(pid, Signal::SIGKILL).map_err(std::io::Error::from)?;
    }
    until("it is gone", || brokers() == 0)?;
    fs::write(w.join("go"), "")?;
    let ran = running.finish()?;
    let shut = |n: usize| ran.out.lines().any(|line| line.starts_with(&format!("{n}\tENOSYS")));
    ran.must("no broker before the first call", early == 0)?;
    ran.must("ENOSYS to all three", (0..3).all(shut))
}

fn is_broker(pid: nix::unistd::Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let dead = status.contains("State:\tZ");
    status.contains("CapPrm:\t0000000000080000\n") && status.contains("Name:\tcodexrun\n") && !dead
}

/// Whether one process is the other, or comes of it.
fn is_below(pid: nix::unistd::Pid, above: nix::unistd::Pid) -> bool {
    let all = crate::launch::processes();
    let parent = |pid: &nix::unistd::Pid| all.iter().find(|(one, ..)| one == pid).map(|(_, parent, _)| *parent);
    std::iter::successors(Some(pid), parent).any(|one| one == above)
}

fn python() -> Verdict {
    if Path::new("/usr/bin/python3").exists() { Ok(()) } else { skip("there is no /usr/bin/python3") }
}

fn manager(play: &Play) -> Verdict {
    python()?;
    let script = "from multiprocessing import Manager, Process\n\
                  def put(d, n): d[n] = n * n\n\
                  if __name__ == '__main__':\n\
                  \x20   with Manager() as m:\n\
                  \x20       d = m.dict(); all = [Process(target=put, args=(d, n)) for n in range(4)]\n\
                  \x20       [p.start() for p in all]; [p.join() for p in all]\n\
                  \x20       print(sorted(d.items()))\n";
    fs::write(play.scene.w().join("m.py"), script)?;
    for policy in policies(play)? {
        let ran = play.sh(policy, "TMPDIR=$PWD python3 m.py")?;
        ran.must("the squares", ran.code == 0 && ran.out == "[(0, 0), (1, 1), (2, 4), (3, 9)]\n")?;
    }
    Ok(())
}

/// RTM_GETNSID of process 1, with an address so that the broker is asked, in whose PID namespace that would be the host's.
fn unnamed(play: &Play) -> Verdict {
    python()?;
    let script = "import socket, struct\n\
                  s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n\
                  def ask(kind, body): s.sendto(struct.pack('=IHHII', 16 + len(body), kind, 1, 1, 0) + body, (0, 0))\n\
                  try: ask(90, struct.pack('=BxxxHHI', 0, 8, 2, 1)); print('asked')\n\
                  except OSError as e: print(e.errno)\n\
                  ask(18, bytes(16)); print(len(s.recv(65536)) > 16)\n";
    fs::write(play.scene.w().join("n.py"), script)?;
    let job = Job { options: vec!["--unix-datagrams".into()], ..Job::sh("workspace-write", &play.scene, "python3 n.py") };
    let ran = play.column.run(&play.scene, &job)?;
    ran.must("EPERM, and a link", ran.code == 0 && ran.out == "1\nTrue\n")
}

/// Debian's; of its programs only these two are needed.
fn postgres(play: &Play) -> Verdict {
    if play.column.actor.is_root() {
        return skip("postgres refuses to run as root");
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let Some(bin) = versions.filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists()).max() else {
        return skip("there is no postgres below /usr/lib/postgresql");
    };
    let script = format!(
        "PATH={}:$PATH; d=$PWD/db; initdb -D $d -A trust > log 2>&1 && pg_ctl -D $d -l log -w -o \"-k $PWD -c listen_addresses=''\" \
         start > /dev/null && psql -h $PWD -d postgres -Atc 'select 6*7'; pg_ctl -D $d -m immediate stop > /dev/null",
        bin.display()
    );
    let ran = play.write(&script)?;
    ran.must("42", ran.out == "42\n")
}
