//! Proxy-only, published and allowed ports: what the bridge lets through, that it lets nothing else through, and that it ends.
//! Numbers are those of Codex's own tests.

use super::{Case, On, Play, appears, case, until};
use crate::launch::{Launch, Ran};
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::{Job, Kind};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

pub const CASES: &[Case] = &[
    case("a proxy is reached, and nothing else (35, 36, 37)", On::Every, only_the_proxy),
    case("without a proxy variable nothing starts (34)", On::Sandbox, |p| closed(p, &[], "requires proxy environment variables")),
    case("without a proxy on the loopback nothing starts", On::Sandbox, |p| {
        closed(p, &["--env", "HTTP_PROXY=http://192.0.2.1:3128"], "requires parseable loopback proxy endpoints")
    }),
    case(
        "dangerouslyAllowAllUnixSockets is every socket of the host's that has a path, and no other way out (37)",
        On::Sandbox,
        all_sockets,
    ),
    case("a proxy is reached with closed standard streams too (33)", On::Every, closed_streams),
    case("curl, wget, ping, nc, ssh, getent and bash reach nobody (12)", On::Every, programs),
    case("with a proxy allow_syscalls interfaces lists those of the sandbox, and opens no other netlink", On::Every, listed),
    case("--managed-network is proxy-only under every policy", On::Every, managed),
    case("init is filtered, with proxies and without (27, 28)", On::Codexrun, filtered_init),
    case("with proxies the command is filtered, and /dev is the sandbox's own (31)", On::Every, own_devices),
    case("variables keep their scheme, user and path", On::Every, rewritten),
    case("two endpoints of one port are two routes", On::Every, two_families),
    case("16 MiB each way and a half-close arrive whole", On::Every, bulk),
    case("1000 connections are held", On::Every, many),
    case("who finds no descriptor waits", On::Sandbox, few_descriptors),
    case("the bridge holds back no output (32)", On::Every, whole_output),
    case("no link of /proc leads to a socket of the host (26)", On::Every, by_proc),
    case("the bridge is gone when the command has ended", On::Every, |p| ends(p, None)),
    case("the bridge is gone when the command was killed", On::Every, |p| ends(p, Some(Victim::Command))),
    case("the bridge is gone when it could not end by itself", On::Every, |p| ends(p, Some(Victim::Bridge))),
    case("the bridge is gone when codexrun was killed", On::Codexrun, |p| ends(p, Some(Victim::Runtime))),
    case("the bridge is gone when everybody but it was killed", On::Every, |p| ends(p, Some(Victim::Everybody))),
    case("launches that are killed leave no door", On::Sandbox, killed_early),
    case("what a server breaks off is a reset inside too", On::Every, broken),
    case("the bridge cannot be seen inside, nor can its descriptors (38)", On::Every, unseen),
    case("a proxy that is not there is a connection that ends", On::Every, absent),
    case("--allow-host-port is that port of the host and no other", On::Every, |p| allowed(p, "127.0.0.1:0")),
    case("--allow-host-port is that port of the other loopback too", On::Every, |p| allowed(p, "[::1]:0")),
    case("--publish lets the host reach a server inside", On::Every, |p| published(p, "127.0.0.1")),
    case("--publish reaches a server on the other loopback too", On::Every, |p| published(p, "[::1]")),
    case("a published port does not lead to the host", On::Sandbox, circle),
    case("a published port that is taken stops the start", On::Every, taken),
    case("where /dev/shm cannot be written to, a sandbox that needs a bridge says so", On::Sandbox, no_door),
    case("a bridge inside a sandbox of codexrun's is none, and a sandbox that needs one says so", On::Sandbox, bridge_inside),
];

fn bridge_inside(play: &Play) -> Verdict {
    if play.column.actor.is_root() {
        return skip("root has given up CAP_SETFCAP inside, and makes no sandbox there");
    }
    let permits = ["--allow-syscalls", "namespaces", "--allow-syscalls", "mounts"];
    let exe = play.column.runtime.codexrun.display();
    let inner = |options: &str| format!("{exe} sandbox --policy read-only --cwd / --proc outer {options} -- echo started");
    let ran = play.with(&permits, &inner(""))?;
    ran.must("started", ran.code == 0 && ran.out == "started\n")?;
    let ran = play.with(&permits, &inner("--publish 8080"))?;
    let says = ran.err.contains("inside a sandbox of codexrun's");
    ran.must("exit 1, and why", ran.code == 1 && ran.out.is_empty() && says)
}

fn no_door(play: &Play) -> Verdict {
    if !play.column.actor.is_root() {
        return skip("only root can cover the host's /dev/shm; asked as root");
    }
    let exe = play.column.runtime.codexrun.display();
    let script = format!(
        "mount -t tmpfs -o ro none /dev/shm && {exe} sandbox -- echo started && exec {exe} sandbox --publish 8080 -- echo started"
    );
    let argv = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", &script];
    let ran = crate::launch::Launch::new(&argv, &play.scene.w()).run(&play.column.actor)?;
    let says = ran.err.contains("cannot make `/dev/shm/") && ran.err.contains("`/dev/shm` must be writable for the caller");
    ran.must("started without a bridge, and not with one, and why", ran.code == 1 && ran.out == "started\n" && says)
}

/// A server of the host's: it reads to the end, then answers with the same bytes.
struct Host {
    at: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    fn new() -> std::io::Result<Host> {
        Host::on("127.0.0.1:0")
    }

    fn on(address: &str) -> std::io::Result<Host> {
        let listener = TcpListener::bind(address)?;
        // Beyond the standard library's 128 the kernel answers with cookies, and resets who has sent before it is accepted (tcp(7)).
        rustix::net::listen(&listener, 1024)?;
        let (at, over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let seen = over.clone();
        let thread = Some(std::thread::spawn(move || serve(&listener, &seen)));
        Ok(Host { at, over, thread })
    }

    /// As a proxy variable's value.
    fn url(&self) -> String {
        format!("http://{}", self.at)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes it.
        if let (Ok(_), Some(thread)) = (TcpStream::connect(self.at), self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, over: &AtomicBool) {
    for stream in listener.incoming().flatten().take_while(|_| !over.load(Ordering::Relaxed)) {
        std::thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) {
    let mut all = Vec::new();
    if stream.read_to_end(&mut all).is_ok() {
        let _ = stream.write_all(&all);
    }
}

/// Proxy-only, over a readable host and a writable workspace.
fn policy(play: &Play) -> Result<String, No> {
    let entries = vec![crate::policy::special("root", "read"), crate::policy::special("project_roots", "write")];
    let mut policy = crate::policy::pair(entries);
    policy["network"] = json!({"mode": "proxy"});
    Ok(play.scene.put("proxy.json", &policy.to_string())?.display().to_string())
}

fn words(options: &[&str]) -> Vec<String> {
    options.iter().map(|word| word.to_string()).collect()
}

/// A script under the policy of proxies.
fn sh(play: &Play, options: &[&str], script: &str) -> Result<Ran, No> {
    let job = Job { options: words(options), ..Job::sh(policy(play)?, &play.scene, script) };
    play.column.run(&play.scene, &job)
}

/// Probes in one launch; what each answered, in their order.
pub fn probes(play: &Play, policy: &str, options: &[&str], probes: &[&str]) -> Result<(Ran, Vec<String>), No> {
    let list: String = probes.iter().enumerate().map(|(n, p)| format!("{n}\t{}\n", p.replace(' ', "\t"))).collect();
    let file = play.scene.w().join("list.txt");
    std::fs::write(&file, list)?;
    let probe = play.scene.w().join("bin/probe").display().to_string();
    let job = Job { options: words(options), ..Job::new(policy, &play.scene, &[&probe, &file.display().to_string()]) };
    let ran = play.column.run(&play.scene, &job)?;
    let answer = |n: usize| ran.out.lines().find_map(|line| line.strip_prefix(&format!("{n}\t"))?.split('\t').next());
    let answers = (0..probes.len()).map(|n| answer(n).unwrap_or("nothing").to_string()).collect();
    Ok((ran, answers))
}

pub fn are(ran: &Ran, answers: &[String], expected: &[&str]) -> Verdict {
    let right = answers.len() == expected.len() && answers.iter().zip(expected).all(|(a, e)| crate::table::allows(e, a));
    ran.must(&format!("{expected:?}; they are {answers:?}"), right && ran.code == 0)
}

fn only_the_proxy(play: &Play) -> Verdict {
    let (proxy, other) = (Host::new()?, Host::new()?);
    let (variable, reach) = (format!("HTTPS_PROXY={}", proxy.url()), format!("tcp-bulk {} 1000", proxy.at));
    let (beside, second) = (format!("tcp {}", other.at), format!("tcp 127.0.0.2:{}", proxy.at.port()));
    let host_socket = play.scene.w().join("host.sock");
    let _listening = UnixListener::bind(&host_socket)?;
    let reach_socket = format!("unix-stream {}", host_socket.display());
    let asked = [
        (reach.as_str(), "ok"),
        (&beside, "ECONNREFUSED"),
        (&second, "no"),
        ("tcp 192.0.2.1:80", "ENETUNREACH"),
        ("tcp [2001:db8::1]:80", "no"),
        ("tcp-self 127.0.0.1:0", "ok"),
        ("socket 1 2 0", "EPERM"),
        ("socket 16 3 0", "EPERM"),
        ("socket 40 1 0", "EPERM"),
        ("socket 17 3 768", "EPERM"),
        ("pair-stream", "ok"),
        ("pair-dgram-connect x", "no"),
        (&reach_socket, "EPERM"),
        ("io-uring", "refused"),
        ("x32", crate::table::KILLED),
        ("env CODEX_NETWORK_PROXY_ACTIVE 1", "ok"),
        ("interfaces", "ok"),
    ];
    let (list, expected): (Vec<&str>, Vec<&str>) = asked.into_iter().unzip();
    let (ran, answers) = probes(play, &policy(play)?, &["--env", &variable], &list)?;
    are(&ran, &answers, &expected)
}

fn listed(play: &Play) -> Verdict {
    let proxy = Host::new()?;
    let (variable, reach) = (format!("HTTPS_PROXY={}", proxy.url()), format!("tcp-bulk {} 10", proxy.at));
    let list =
        [reach.as_str(), "socket 16 3 0", "socket 16 3 9", "socket 16 3 16", "socket 17 3 768", "tcp 192.0.2.1:80", "interfaces"];
    let options = ["--env", &variable, "--allow-syscalls", "interfaces"];
    let (ran, answers) = probes(play, &policy(play)?, &options, &list)?;
    are(&ran, &answers, &["ok", "ok", "EPERM", "EPERM", "EPERM", "ENETUNREACH", "ok"])
}

fn all_sockets(play: &Play) -> Verdict {
    let (proxy, other) = (Host::new()?, Host::on("127.0.0.2:0")?);
    let host_socket = play.scene.w().join("host.sock");
    let _listening = UnixListener::bind(&host_socket)?;
    std::fs::set_permissions(&host_socket, std::fs::Permissions::from_mode(0o777))?;
    let variable = format!("HTTPS_PROXY={}", proxy.url());
    let (reach, beside) = (format!("unix-connect {}", host_socket.display()), format!("tcp {}", other.at));
    let asked = [&reach, &beside, "tcp 192.0.2.1:80", "socket 16 3 0", "socket 40 1 0", "io-uring"];
    for (all, connected) in [(false, "EPERM"), (true, "ok")] {
        let managed = format!("{{\"dangerouslyAllowAllUnixSockets\":{all}}}");
        let options = ["--managed-network", &managed, "--env", &variable];
        let (ran, answers) = probes(play, "workspace-write", &options, &asked)?;
        are(&ran, &answers, &[connected, "ECONNREFUSED", "ENETUNREACH", "EPERM", "EPERM", "refused"])?;
    }
    Ok(())
}

fn closed(play: &Play, options: &[&str], sentence: &str) -> Verdict {
    let ran = sh(play, options, "echo started")?;
    let says = ran.err.contains(&format!("managed proxy mode {sentence}"));
    ran.must(&format!("exit 1, `{sentence}`"), ran.code == 1 && says && ran.out.is_empty())
}

/// What it says goes to a file.
fn closed_streams(play: &Play) -> Verdict {
    let (host, file) = (Host::new()?, policy(play)?);
    let (variable, probe) = (format!("HTTP_PROXY={}", host.url()), play.scene.w().join("bin/probe").display().to_string());
    let (column, said) = (play.column, play.scene.w().join("said"));
    let exe = column.runtime.codexrun.display().to_string();
    std::fs::write(play.scene.w().join("list.txt"), format!("0\ttcp-bulk\t{}\t1000\n", host.at))?;
    let mut reached = 0;
    for closed in ["0<&-", "1>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"] {
        let (outer, inner) = (format!("exec {closed}; exec \"$@\""), format!("exec {probe} list.txt > said"));
        let ran = if column.runtime.kind == Kind::Sandbox {
            let sandbox = ["sandbox", "--policy", &file, "--env", &variable, "--", "/bin/sh", "-c", &inner];
            let argv = [&["/bin/sh", "-c", &outer, "sh", &exe], &sandbox[..]].concat();
            Launch::new(&argv, &play.scene.w()).run(&column.actor)?
        } else {
            let bundle = play.scene.bundle(&column.actor)?;
            let job = Job { options: words(&["--env", &variable]), ..Job::sh(&file, &play.scene, &inner) };
            column.spec(&play.scene, &bundle, &job)?.code_is(0)?;
            let words = ["run", "--bundle", &bundle.display().to_string(), &crate::runtime::fresh_id()];
            column.within(&play.scene, &outer, &words)?
        };
        let answer = std::fs::read_to_string(&said).unwrap_or_default();
        if column.runtime.kind == Kind::Crun && ran.code != 0 {
            ran.must("nothing has started", answer.is_empty())?;
            continue;
        }
        ran.must(&format!("ok with {closed}; it is {answer}"), ran.code == 0 && answer.starts_with("0\tok"))?;
        std::fs::remove_file(&said)?;
        reached += 1;
    }
    if reached == 0 {
        skip("crun starts nothing where a standard stream is closed: it gives its hooks no state then, or cannot fchown it")
    } else {
        Ok(())
    }
}

/// Programs, and the words by which they ask; nothing of it leaves a machine where it gets through.
const ASK: &[(&str, &str)] = &[
    ("curl", "curl -sm 2 http://127.0.0.1:{port}/"),
    ("wget", "wget -qT 2 -t 1 -O - http://127.0.0.1:{port}/"),
    ("nc", "nc -w 2 127.0.0.1 {port} < /dev/null"),
    ("ssh", "ssh -o BatchMode=yes -o ConnectTimeout=2 -o UserKnownHostsFile=/dev/null -p {port} 127.0.0.1 true"),
    ("bash", "bash -c 'exec 3<> /dev/tcp/127.0.0.1/{port}'"),
    ("ping", "ping -c 1 -W 1 192.0.2.1"),
    ("getent", "getent ahosts name.invalid"),
];

/// Who calls is heard outside, if anybody.
fn programs(play: &Play) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port().to_string();
    let ask = |(name, words): &(&str, &str)| {
        format!("command -v {name} > /dev/null && {} && echo {name}", words.replace("{port}", &port))
    };
    let script = format!("{}; :", ASK.iter().map(ask).collect::<Vec<_>>().join("\n"));
    let ran = play.sh("read-only", &script)?;
    ran.must("nobody got through", ran.code == 0 && ran.out.is_empty() && listener.accept().is_err())?;
    // Without a sandbox the same words reach it.
    let bare = Launch::new(&["/bin/sh", "-c", &ask(&ASK[4])], &play.scene.w()).run(&play.column.actor)?;
    bare.must("bash, outside", bare.out == "bash\n" && listener.accept().is_ok())
}

fn managed(play: &Play) -> Verdict {
    let host = Host::new()?;
    let variable = format!("ALL_PROXY={}", host.url());
    for (policy, disabled) in [("read-only", "1"), ("danger-full-access", "unset")] {
        let options = ["--managed-network", "{\"loopbackPorts\":[3128]}", "--env", &variable];
        let disabled = format!("env CODEX_SANDBOX_NETWORK_DISABLED {disabled}");
        let reach = format!("tcp-bulk {} 10", host.at);
        let (ran, answers) = probes(play, policy, &options, &[&reach, "tcp 192.0.2.1:80", "socket 16 3 0", &disabled])?;
        are(&ran, &answers, &["ok", "ENETUNREACH", "EPERM", "ok"])?;
    }
    Ok(())
}

fn filtered_init(play: &Play) -> Verdict {
    let host = Host::new()?;
    let managed = ["--managed-network", "{\"loopbackPorts\":[3128]}", "--env", &format!("ALL_PROXY={}", host.url())];
    let script = "field() { sed -n \"s/^$1:\\t//p\" /proc/$2/status; }; field PPid $$; field Seccomp 1; field Seccomp $$";
    for (policy, options) in [("read-only", &managed[..]), ("danger-full-access", &managed), ("workspace-write", &[])] {
        let ran = play.column.run(&play.scene, &Job { options: words(options), ..Job::sh(policy, &play.scene, script) })?;
        ran.must("1, 2, 2", ran.code == 0 && ran.out == "1\n2\n2\n")?;
    }
    Ok(())
}

fn own_devices(play: &Play) -> Verdict {
    let host = Host::new()?;
    let managed = words(&["--managed-network", "{\"loopbackPorts\":[3128]}", "--env", &format!("ALL_PROXY={}", host.url())]);
    let script = "sed -n 's/^Seccomp:\t//p' /proc/$$/status; head -c 1 /dev/zero | wc -c; : > /dev/null; stat -c %d /dev";
    let hosts = std::fs::metadata("/dev")?.dev().to_string();
    for policy in ["read-only", "danger-full-access"] {
        let ran = play.column.run(&play.scene, &Job { options: managed.clone(), ..Job::sh(policy, &play.scene, script) })?;
        let said: Vec<&str> = ran.out.lines().collect();
        let holds = matches!(said[..], ["2", "1", dev] if dev != hosts);
        ran.must(&format!("2, 1, and another device than {hosts}"), ran.code == 0 && holds)?;
    }
    Ok(())
}

fn rewritten(play: &Play) -> Verdict {
    let host = Host::new()?;
    let port = host.at.port();
    let (http, npm) = (format!("HTTP_PROXY=http://u:p%40@localhost:{port}/x"), format!("npm_config_proxy=localhost:{port}"));
    let options = ["--env", &http, "--env", &npm, "--env", "FTP_PROXY=http://192.0.2.1:1", "--env", "NO_PROXY=.corp"];
    let ran = sh(play, &options, "echo $HTTP_PROXY $npm_config_proxy $FTP_PROXY $NO_PROXY")?;
    let expected = format!("http://u:p%40@127.0.0.1:{port}/x 127.0.0.1:{port} http://192.0.2.1:1 .corp\n");
    ran.must(&expected, ran.code == 0 && ran.out == expected)
}

fn two_families(play: &Play) -> Verdict {
    let v4 = Host::new()?;
    let v6 = Host::on(&format!("[::1]:{}", v4.at.port()))?;
    let (one, other) = (format!("HTTP_PROXY={}", v4.url()), format!("ALL_PROXY=socks5h://[::1]:{}", v6.at.port()));
    let second = if v4.at.port() == u16::MAX { 1 } else { v4.at.port() + 1 };
    let asked = [format!("tcp-bulk 127.0.0.1:{} 10", v4.at.port()), format!("tcp-bulk 127.0.0.1:{second} 10")];
    let (ran, answers) = probes(play, &policy(play)?, &["--env", &one, "--env", &other], &[&asked[0], &asked[1]])?;
    are(&ran, &answers, &["ok", "ok"])
}

/// What [`Host`] takes, and a connection of the case's own.
fn through(play: &Play, probe: &str) -> Verdict {
    let host = Host::new()?;
    let (variable, probe) = (format!("HTTP_PROXY={}", host.url()), probe.replace("{at}", &host.at.to_string()));
    let (ran, answers) = probes(play, &policy(play)?, &["--env", &variable], &[&probe])?;
    are(&ran, &answers, &["ok"])
}

fn bulk(play: &Play) -> Verdict {
    through(play, "tcp-bulk {at} 16777216")
}

fn many(play: &Play) -> Verdict {
    // The other ends are ours.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).map_err(std::io::Error::from)?;
    through(play, "tcp-many {at} 1000")
}

/// More connections than the bridge has descriptors for: all are begun, and each is answered and ended in turn.
fn few_descriptors(play: &Play) -> Verdict {
    let host = Host::new()?;
    let (port, exe) = (host.at.port().to_string(), play.column.runtime.codexrun.display().to_string());
    let client = "import socket, sys\nall = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(300)]\n\
                  for one in all:\n one.sendall(b'x')\n one.shutdown(socket.SHUT_WR)\n assert one.recv(9) == b'x'\n one.close()\nprint('served')\n";
    let script = "ulimit -n 512; exec \"$0\" sandbox --policy read-only --allow-host-port $1 -- /usr/bin/python3 -c \"$2\" $1";
    let launch = crate::launch::Launch::new(&["/bin/bash", "-c", script, &exe, &port, client], &play.scene.w());
    let ran = launch.run(&play.column.actor)?;
    ran.must("served", ran.code == 0 && ran.out == "served\n")
}

/// It has ended for whoever reads it, and is all there, although a bridge was left behind.
fn whole_output(play: &Play) -> Verdict {
    let host = Host::new()?;
    let ran = sh(play, &["--env", &format!("HTTP_PROXY={}", host.url())], "yes | head -c 1048576; echo end >&2")?;
    ran.must("1 MiB, and the end", ran.code == 0 && ran.out.len() == 1 << 20 && ran.err.ends_with("end\n"))
}

/// With the network on, and the host's /proc inside.
fn by_proc(play: &Play) -> Verdict {
    let socket = play.scene.dir.join("run/host.sock");
    let _listening = UnixListener::bind(&socket)?;
    let policy = json!({"type": "workspace-write", "network_access": true}).to_string();
    let policy = play.scene.put("on.json", &policy)?.display().to_string();
    let (path, own) = (socket.display(), play.scene.w().join("own.sock"));
    let asked = [format!("unix-stream {path}"), format!("unix-stream /proc/{}/root{path}", std::process::id())];
    let own = format!("unix-self {}", own.display());
    let (ran, answers) = probes(play, &policy, &["--proc", "outer"], &[&asked[0], &asked[1], &own])?;
    // Its own only codexrun opens.
    are(&ran, &answers, &["EPERM", "no", if play.column.runtime.is_codexrun() { "ok" } else { "EPERM" }])
}

#[derive(Clone, Copy)]
enum Victim {
    Command,
    /// Stopped, it hears of nothing: the `poststop` hook ends it.
    Bridge,
    Runtime,
    /// The keeper of placeholders too.
    Everybody,
}

/// All descendants, and the process itself.
fn family(of: Pid) -> Vec<Pid> {
    let all = crate::launch::processes();
    let mut family = vec![of];
    let mut known = 0;
    while let Some(parent) = family.get(known).copied() {
        family.extend(all.iter().filter(|(_, up, _)| *up == parent).map(|(pid, ..)| *pid));
        known += 1;
    }
    family
}

/// Processes that carry this port.
fn bridges(port: u16) -> usize {
    let word = format!("inside:127.0.0.1:{port}=");
    crate::launch::processes().iter().filter(|(.., line)| line.contains(&word)).count()
}

fn ends(play: &Play, victim: Option<Victim>) -> Verdict {
    if matches!(victim, Some(Victim::Bridge)) && play.column.runtime.kind == Kind::Crun {
        return skip(
            "in the foreground crun waits for the end of every process that it has adopted before it calls a poststop hook",
        );
    }
    let host = Host::new()?;
    // By its name the command is told from that of another column.
    let script = format!("cd '{}'; : > ready; while [ ! -e go ]; do sleep 0.02; done; exit 0", play.scene.w().display());
    let second = Host::new()?;
    let (one, other) = (format!("HTTP_PROXY={}", host.url()), format!("ALL_PROXY={}", second.url()));
    let options = words(&["--env", &one, "--env", &other]);
    let running = play.column.start(&play.scene, &Job { options, ..Job::sh(policy(play)?, &play.scene, &script) })?;
    appears(&play.scene.w().join("ready"))?;
    let both = [host.at, second.at].map(|at| format!("inside:127.0.0.1:{}=", at.port()));
    let all = crate::launch::processes().into_iter().filter(|(.., line)| both.iter().any(|word| line.contains(word)));
    let all: Vec<String> = all.map(|(.., line)| line).collect();
    if !matches!(&all[..], [one] if both.iter().all(|word| one.contains(word))) {
        return fail("(while the command runs)", "one bridge for both", all.join("\n"));
    }
    match victim {
        None => std::fs::write(play.scene.w().join("go"), "")?,
        Some(Victim::Bridge) => {
            let of_ours = crate::launch::processes();
            for (pid, ..) in of_ours.iter().filter(|(.., line)| line.contains(&both[0])) {
                kill(*pid, Signal::SIGSTOP).map_err(std::io::Error::from)?;
            }
            std::fs::write(play.scene.w().join("go"), "")?;
        }
        Some(Victim::Command) => {
            let shell = |(.., line): &&(_, _, String)| line.contains(&script) && line.contains(": /bin/sh");
            let of_ours = crate::launch::processes();
            for (pid, ..) in of_ours.iter().filter(shell) {
                kill(*pid, Signal::SIGKILL).map_err(std::io::Error::from)?;
            }
        }
        Some(Victim::Runtime) => running.signal(Signal::SIGKILL),
        Some(Victim::Everybody) => {
            let bridge =
                |pid: &Pid| crate::launch::processes().iter().any(|(p, _, line)| p == pid && line.contains(" bridge inside:"));
            for pid in family(running.pid()).into_iter().filter(|pid| !bridge(pid)) {
                let _ = kill(pid, Signal::SIGKILL); // it may have gone with another
            }
        }
    }
    let ran = running.finish()?;
    ran.must("the end of everything", true)?;
    until("the bridge ends", || bridges(host.at.port()) == 0)?;
    if matches!(victim, Some(Victim::Everybody)) && !play.column.runtime.is_codexrun() {
        // Who is killed leaves its cgroup.
        for id in play.column.verb(&play.scene, &["list", "--quiet"])?.out.lines() {
            play.column.verb(&play.scene, &["delete", "--force", id])?.code_is(0)?;
        }
    }
    match doors()?.len() {
        0 => Ok(()),
        n => fail(&ran.line, "nothing in /dev/shm", n),
    }
}

/// Doors of bridges that wait for their container, and what was left of others.
fn doors() -> std::io::Result<Vec<String>> {
    let names = std::fs::read_dir("/dev/shm")?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.starts_with("codexrun-bridge-")).collect())
}

/// By whoever ends the whole process group, at any moment of the launch.
fn killed_early(play: &Play) -> Verdict {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let before = doors()?;
    let exe = play.column.runtime.codexrun.display().to_string();
    for (n, signal) in ["KILL", "TERM"].iter().cycle().take(24).enumerate() {
        let after = format!("{:.3}", 0.005 + 0.003 * n as f64);
        let sandbox = [&exe, "sandbox", "--policy", "read-only", "--publish", &port, "--", "true"];
        let timeout = ["timeout", "--signal", signal, &after];
        crate::launch::Launch::new(&[&timeout[..], &sandbox].concat(), &play.scene.w()).run(&play.column.actor)?;
    }
    until("no door is left", || doors().is_ok_and(|doors| doors.iter().all(|door| before.contains(door))))
}

fn unseen(play: &Play) -> Verdict {
    let host = Host::new()?;
    let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'bridge insid[e]'; ls /dev/shm | grep -c codexrun; ls /proc/self/fd | wc -l";
    let ran = sh(play, &["--env", &format!("HTTP_PROXY={}", host.url())], script)?;
    // Three streams, and what ls itself has open.
    ran.must("0, 0 and 4", ran.out == "0\n0\n4\n")
}

/// What was cut short must not look complete.
fn broken(play: &Play) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"the first half")?;
        rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO))?;
        Ok::<(), std::io::Error>(())
    });
    let (variable, probe) = (format!("HTTP_PROXY=http://{at}"), format!("tcp-end {at}"));
    let (ran, answers) = probes(play, &policy(play)?, &["--env", &variable], &[&probe])?;
    are(&ran, &answers, &["ECONNRESET"])
}

fn absent(play: &Play) -> Verdict {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (variable, probe) = (format!("HTTP_PROXY=http://127.0.0.1:{port}"), format!("tcp 127.0.0.1:{port}"));
    let (ran, answers) = probes(play, &policy(play)?, &["--env", &variable], &[&probe])?;
    ran.must("a reset or an end, and no hang", ran.code == 0 && answers[0] != "ok" && answers[0] != "WouldBlock")
}

fn allowed(play: &Play, address: &str) -> Verdict {
    let (host, other) = (Host::on(address)?, Host::new()?);
    let port = host.at.port().to_string();
    let asked = [format!("tcp-bulk 127.0.0.1:{port} 1000"), format!("tcp {}", other.at)];
    let (ran, answers) = probes(play, "workspace-write", &["--allow-host-port", &port], &[&asked[0], &asked[1]])?;
    are(&ran, &answers, &["ok", "ECONNREFUSED"])
}

fn published(play: &Play, inside: &str) -> Verdict {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let probe = play.scene.w().join("bin/probe").display().to_string();
    std::fs::write(play.scene.w().join("list.txt"), format!("0\tserve-once\t{inside}:8080\tready\n"))?;
    let options = words(&["--publish", &format!("{port}:8080")]);
    let job = Job { options, ..Job::new("workspace-write", &play.scene, &[&probe, "list.txt"]) };
    let running = play.column.start(&play.scene, &job)?;
    appears(&play.scene.w().join("ready"))?;
    let mut said = String::new();
    TcpStream::connect(("127.0.0.1", port))?.read_to_string(&mut said)?;
    let ran = running.finish()?;
    ran.must(&format!("`from inside`; it was `{said}`"), ran.code == 0 && said == "from inside")
}

/// A connection would go round.
fn circle(play: &Play) -> Verdict {
    let options = words(&["--publish", "8080:81", "--allow-host-port", "81"]);
    let ran = play.column.run(&play.scene, &Job { options, ..Job::sh("read-only", &play.scene, "echo started") })?;
    ran.must(
        "no start",
        ran.code == 1 && ran.out.is_empty() && ran.err.contains("port 81 inside is published, and leads to the host"),
    )
}

fn taken(play: &Play) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let job = Job { options: words(&["--publish", &port]), ..Job::sh("read-only", &play.scene, "echo started") };
    let ran = play.column.run(&play.scene, &job)?;
    // crun keeps what a hook says to itself.
    let says = play.column.runtime.kind == Kind::Crun || ran.err.contains(&format!("cannot listen on 127.0.0.1:{port}"));
    ran.must("no start, and which port", ran.code != 0 && ran.out.is_empty() && says)?;
    // Not one of the hook's and one of the runtime's.
    let one = !play.column.runtime.is_codexrun() || ran.err.lines().count() == 1;
    ran.must("one sentence", one)
}
