//! `--allow-domain`: what codexrun's own proxy lets through, what it says of the rest, and that it ends.

use super::landlock::bundle;
use super::network::probes;
use super::{Case, On, Play, WRITE, appears, case, until};
use crate::report::{Verdict, fail, skip};
use crate::runtime::Job;
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    case("every refusal has its word, for HTTP, CONNECT and SOCKS5", On::Sandbox, words),
    case("limited reads, and tunnels nothing", On::Sandbox, limited),
    case("an allowed name that leads to a private address is refused", On::Sandbox, rebound),
    case("an allowed name that leads to a public address of this machine is refused", On::Sandbox, own_address),
    case("each refusal is a line, and with --network-log each request", On::Sandbox, lines),
    case("who closes at once, or cannot be looked into, is named all the same", On::Sandbox, hasty),
    case("a log that a sandbox has planted is not written to", On::Sandbox, planted),
    case("a log that the sandbox could rewrite is refused", On::Sandbox, exposed),
    case("a log is known by each of its names, and one that is refused is not made", On::Sandbox, renamed),
    case("where sock_diag is refused the proxy serves, and its log names the process by the broker", On::Sandbox, undiagnosed),
    case("another proxy of the environment is no way around", On::Sandbox, around),
    case("the policy may be a pipe of the caller's", On::Sandbox, piped),
    case("the domains of [permissions.NAME.network] are kept", On::Sandbox, config),
    case("without namespaces the domains are kept too", On::Sandbox, alone),
    case("a pattern that is none stops the start", On::Sandbox, no_pattern),
    case("what plans a policy with domains stands for the launch", On::Sandbox, planned),
    case("a bundle that is kept has no way to the proxy's port", On::Sandbox, kept),
    case("when the proxy has ended its port is closed inside, and nobody else's", On::Sandbox, |p| orphaned(p, &[])),
    case("when the proxy has ended its port is closed without namespaces too, and nobody else's", On::Sandbox, |p| {
        orphaned(p, &["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes,proxy-only"])
    }),
    case("the proxy is gone when the command has ended", On::Sandbox, |p| ends(p, false)),
    case("the proxy is gone when codexrun was killed", On::Sandbox, |p| ends(p, true)),
];

/// A web server of the host's that has these files; it ends with the suite.
pub fn files(dir: PathBuf) -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serve(stream, &dir))));
    Ok(port)
}

fn serve(mut stream: TcpStream, dir: &Path) -> std::io::Result<()> {
    let mut head = BufReader::new(&stream).lines();
    let first = head.next().transpose()?.unwrap_or_default();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split([' ', '?']).nth(1).unwrap_or("/").trim_start_matches('/');
    let page = dir.join(path).join("index.html");
    let (file, kind) = if page.exists() { (page, "text/html") } else { (dir.join(path), "application/octet-stream") };
    match std::fs::read(file) {
        Ok(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)
        }
        Err(_) if path.is_empty() => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Err(_) => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// The servers are on the host's loopback, to which the variables say not to go by a proxy.
const DIRECTLY_TO_NOBODY: [&str; 4] = ["--env", "NO_PROXY=", "--env", "no_proxy="];

pub fn job(play: &Play, options: &[&str], script: &str) -> Job {
    let options = options.iter().chain(&DIRECTLY_TO_NOBODY).map(|word| word.to_string()).collect();
    Job { options, ..Job::sh(WRITE, &play.scene, script) }
}

/// Probes by the proxy, under these rules.
fn asked(play: &Play, options: &[&str], asked: &[(&str, &str)]) -> Verdict {
    let (list, expected): (Vec<&str>, Vec<&str>) = asked.iter().copied().unzip();
    let (ran, answers) = probes(play, "read-only", options, &list)?;
    ran.must(&format!("{expected:?}; they are {answers:?}"), answers == expected)
}

fn words(play: &Play) -> Verdict {
    let port = files(play.scene.out())?;
    let ask = |how: &str| how.replace("{port}", &port.to_string());
    let table = [
        ("by-http GET localhost:{port}", "ok"),
        ("by-http POST localhost:{port}", "ok"),
        ("by-http GET LOCALHOST.:{port}", "ok"),
        ("by-http GET 127.0.0.1:{port}", "blocked-by-allowlist"),
        ("by-http GET [::1]:{port}", "blocked-by-allowlist"),
        ("by-http GET a.example.org:{port}", "blocked-by-denylist"),
        ("by-http GET example.org:{port}", "blocked-by-allowlist"),
        ("by-http CONNECT localhost:{port}", "ok"),
        ("by-http CONNECT 127.0.0.1:{port}", "blocked-by-allowlist"),
        ("by-http CONNECT a.example.org:443", "blocked-by-denylist"),
        ("by-socks localhost {port}", "ok"),
        ("by-socks 127.0.0.1 {port}", "refused"),
        ("by-socks a.example.org 443", "refused"),
    ];
    let table: Vec<(String, &str)> = table.iter().map(|(how, answer)| (ask(how), *answer)).collect();
    let table: Vec<(&str, &str)> = table.iter().map(|(how, answer)| (how.as_str(), *answer)).collect();
    asked(play, &["--allow-domain", "localhost", "--allow-domain", "*.example.org", "--deny-domain", "a.example.org"], &table)
}

fn limited(play: &Play) -> Verdict {
    let at = format!("localhost:{}", files(play.scene.out())?);
    let by = |method: &str| format!("by-http {method} {at}");
    let (get, post, tunnel) = (by("GET"), by("POST"), by("CONNECT"));
    let table = [(get.as_str(), "ok"), (&post, "blocked-by-method-policy"), (&tunnel, "blocked-by-method-policy")];
    asked(play, &["--allow-domain", "localhost", "--network-mode", "limited"], &table)
}

/// A name that resolves, without any server of names, to 127.0.0.1.
fn rebound(play: &Play) -> Verdict {
    let probe = format!("by-http GET 0x7f000001:{}", files(play.scene.out())?);
    asked(play, &["--allow-domain", "0x7f000001"], &[(&probe, "blocked-by-policy")])?;
    asked(play, &["--allow-domain", "0x7f000001", "--allow-domain", "127.0.0.1"], &[(&probe, "ok")])
}

/// In a network namespace whose own address is one of the Internet's, which is named so that nobody need resolve it.
fn own_address(play: &Play) -> Verdict {
    if !play.column.actor.is_root() {
        return skip("only root gives a network namespace an address; asked as root");
    }
    let (exe, w) = (play.column.runtime.codexrun.display(), play.scene.w());
    let probe = w.join("bin/probe");
    std::fs::write(w.join("list.txt"), "0\tby-http\tGET\t0x09090909:1\n")?;
    let ask = |domain: &str| {
        format!(
            "{exe} sandbox --policy read-only --env NO_PROXY= --env no_proxy= --allow-domain 0x09090909 {domain} -- {} list.txt",
            probe.display()
        )
    };
    let script =
        format!("ip link set lo up && ip addr add 9.9.9.9/32 dev lo && {} && {}", ask(""), ask("--allow-domain 9.9.9.9"));
    let ran = crate::launch::Launch::new(&["unshare", "--net", "/bin/sh", "-c", &script], &w).run(&play.column.actor)?;
    let answers: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("0\t")?.split('\t').next()).collect();
    ran.must(
        &format!("refused, then asked; they are {answers:?}"),
        ran.code == 0 && answers.len() == 2 && answers[0] == "blocked-by-policy" && answers[1] != answers[0],
    )
}

fn lines(play: &Play) -> Verdict {
    let port = files(play.scene.out())?;
    let (log, good) = (play.scene.dir.join("run/log"), format!("by-http GET localhost:{port}"));
    let options = ["--allow-domain", "localhost", "--network-log", &log.display().to_string()];
    let (ran, _) = probes(play, "read-only", &options, &[&good, "by-http CONNECT evil.example:443"])?;
    let all = std::fs::read_to_string(&log)?;
    let has = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    let one = |event: &[&str]| all.lines().filter(|line| has(line, event)).count() == 1;
    let accepted = one(&["\"accepted\"", "\"localhost\"", "\"comm\":\"probe\"", &format!("\"port\":{port}")]);
    let refused = [
        "\"refused\"",
        "\"evil.example\"",
        "\"port\":443",
        "\"blocked-by-allowlist\"",
        "\"rule\":",
        "{\"comm\":\"probe\",\"pid\":",
    ];
    ran.must("one line of each kind", accepted && one(&refused) && all.lines().count() == 2)?;
    let said: Vec<&str> = ran.err.lines().collect();
    ran.must("the refusal on standard error", said.len() == 1 && has(said[0], &refused))
}

/// Says what it wants, and is gone.
const GONE: &str = "exec 3<> /dev/tcp/127.0.0.1/${HTTP_PROXY##*:}; printf 'CONNECT evil.example:443 HTTP/1.1\\r\\n\\r\\n' >&3";
/// Waits for the answer as a process that only root may look into (PR_SET_DUMPABLE).
const HIDDEN: &str = "
import ctypes, os, socket
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
proxy = socket.create_connection(('127.0.0.1', int(os.environ['HTTP_PROXY'].split(':')[-1])))
proxy.send(b'CONNECT evil.example:443 HTTP/1.1\\r\\n\\r\\n')
proxy.recv(100)
";

fn hasty(play: &Play) -> Verdict {
    let w = play.scene.w();
    for (program, comm, text, times) in [("/bin/bash", "bash", GONE, 20), ("/usr/bin/python3", "python3", HIDDEN, 1)] {
        if !Path::new(program).exists() {
            return skip(format!("`{program}` is not there"));
        }
        std::fs::write(w.join("client"), text)?;
        let log = play.scene.dir.join("run").join(comm);
        // What was said last is heard by the proxy as long as codexrun is there.
        let script = format!(
            "for n in $(seq {times}); do {program} client; done; : > {comm}.said; while [ ! -e {comm}.heard ]; do sleep 0.02; done"
        );
        let options = ["--allow-domain", "localhost", "--network-log", &log.display().to_string()];
        let running = play.column.start(&play.scene, &job(play, &options, &script))?;
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let all = appears(&w.join(format!("{comm}.said")))
            .and_then(|()| until("each refusal is a line", || said().lines().count() == times));
        std::fs::write(w.join(format!("{comm}.heard")), "")?;
        let ran = running.finish()?;
        all?;
        // python3 is a link to a program with a number behind its name.
        let named = said().lines().filter(|line| line.contains(&format!("{{\"comm\":\"{comm}"))).count();
        ran.must(&format!("{times} lines that name {comm}; they are {}", said()), named == times)?;
    }
    Ok(())
}

/// What one sandbox has put where the next one is to log: a link, a directory that has become one, a FIFO.
fn planted(play: &Play) -> Verdict {
    let outside = play.scene.dir.join("run");
    let script = format!("ln -s '{0}/rc' link; ln -s '{0}' swapped; mkfifo fifo", outside.display());
    play.write(&script)?.code_is(0)?;
    for name in ["link", "swapped/rc", "fifo"] {
        let log = play.scene.w().join(name).display().to_string();
        let ran =
            play.column.run(&play.scene, &job(play, &["--allow-domain", "localhost", "--network-log", &log], "echo started"))?;
        ran.must("exit 1, and which file", ran.code == 1 && ran.out.is_empty() && ran.err.contains(name))?;
    }
    if outside.join("rc").exists() { fail("--network-log", "no file outside", "rc") } else { Ok(()) }
}

/// In the workspace, by a name that is there and by one that is not, and below what is protected there; where all may be written it is said.
fn exposed(play: &Play) -> Verdict {
    let (w, said) = (play.scene.w(), "the sandbox could rewrite the network log");
    let begun = |policy: &str, log: &Path, script: &str| {
        let options = ["--allow-domain", "localhost", "--network-log", &log.display().to_string()];
        play.column.run(&play.scene, &Job { policy: policy.into(), ..job(play, &options, script) })
    };
    for name in ["plain.txt", "new.jsonl"] {
        let ran = begun(WRITE, &w.join(name), "echo started")?;
        ran.must("exit 1, and why", ran.code == 1 && ran.out.is_empty() && ran.err.contains(said))?;
    }
    if w.join("new.jsonl").exists() {
        return fail("--network-log", "no file that was refused", "new.jsonl");
    }
    for (policy, log) in [("read-only", w.join("plain.txt")), (WRITE, w.join(".git/log"))] {
        begun(policy, &log, "true")?.code_is(0)?;
    }
    let ran = begun("danger-full-access", &w.join("plain.txt"), "echo started")?;
    ran.must("a warning", ran.code == 0 && ran.out == "started\n" && ran.err.contains(said))
}

/// By a mount that shows the workspace again, and below a private /tmp, where a path of the host's leads elsewhere.
fn renamed(play: &Play) -> Verdict {
    let (exe, w, alias) = (play.column.runtime.codexrun.display().to_string(), play.scene.w(), play.scene.out().join("alias"));
    [&alias, &w.join("shown")].into_iter().try_for_each(|dir| play.dir(dir))?;
    let (at, w) = (alias.display(), w.display());
    let script = format!(
        "mount --bind {w}/shown {at} && exec {exe} sandbox --cwd {w} --allow-domain localhost --network-log {at}/log -- echo started"
    );
    let unshare = ["unshare", "--user", "--map-root-user", "--mount", "--", "/bin/sh", "-c", &script];
    let ran = crate::launch::Launch::new(&unshare, &play.scene.w()).run(&play.column.actor)?;
    let says = ran.err.contains(&format!("which it has as `{w}/shown/log`"));
    ran.must("exit 1, and its name inside", ran.code == 1 && ran.out.is_empty() && says)?;
    if play.scene.w().join("shown/log").exists() {
        return fail("--network-log", "no file that was refused", "shown/log");
    }
    let log = PathBuf::from(format!("/tmp/codexrun-log-{}-{}", std::process::id(), play.column.actor.name));
    let options = ["--private-tmp", "--allow-domain", "localhost", "--network-log", &log.display().to_string()];
    let ran = play.column.run(&play.scene, &job(play, &options, "echo started"))?;
    let made = std::fs::remove_file(&log);
    ran.must("started, with a log", ran.code == 0 && ran.out == "started\n" && made.is_ok())
}

/// Under a filter of an outer sandbox.
fn undiagnosed(play: &Play) -> Verdict {
    let socket =
        json!([{"index": 0, "value": libc::AF_NETLINK, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 4, "op": "SCMP_CMP_EQ"}]);
    let outer = bundle(play, "danger-full-access", &[], |config| {
        let refused = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM, "args": socket});
        config["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [refused]});
        config["process"]["noNewPrivileges"] = true.into();
    })?;
    let asks = "import urllib.request; urllib.request.urlopen('http://evil.example/')";
    let words = format!("sandbox --policy read-only --cwd / --allow-domain localhost -- /usr/bin/python3 -c \"{asks}\"");
    std::fs::write(play.scene.w().join("script"), format!("exec {} {words}", play.column.runtime.codexrun.display()))?;
    let ran = play.codexrun(&["run", &outer.display().to_string()])?;
    let line = |line: &str| line.contains("\"evil.example\"") && line.contains("\"process\":{\"comm\":\"python3");
    ran.must("a refusal, of python3", ran.code == 1 && ran.err.contains("403") && ran.err.lines().any(line))
}

/// Codex's config.toml, and the flags over it.
fn config(play: &Play) -> Verdict {
    let port = files(play.scene.out())?;
    let text = "default_permissions = 'p'\n[permissions.p]\nextends = ':read-only'\n[permissions.p.network]\nenabled = true\n\
                mode = 'limited'\nenable_socks5 = false\nproxy_url = 'http://127.0.0.1:3128'\n\
                domains = { localhost = 'allow', 'a.example.org' = 'deny' }\n";
    let policy = play.scene.put("config.toml", text)?.display().to_string();
    let at = format!("localhost:{port}");
    let (get, post, socks) = (format!("by-http GET {at}"), format!("by-http POST {at}"), format!("by-socks localhost {port}"));
    let proxy = "env HTTP_PROXY http://127.0.0.1:3128";
    let list = [get.as_str(), &post, "by-http GET a.example.org:80", "by-http GET b.example.org:80", proxy];
    let expected = ["ok", "blocked-by-method-policy", "blocked-by-denylist", "blocked-by-allowlist", "ok"];
    let (ran, answers) = probes(play, &policy, &["--allow-domain", "a.example.org"], &list)?;
    ran.must(&format!("{expected:?}; they are {answers:?}"), answers == expected)?;
    let (ran, answers) = probes(play, &policy, &[], &[&socks])?;
    ran.must(&format!("no SOCKS; it is {answers:?}"), answers[0] != "ok" && answers[0] != "refused")?;
    // A bundle has no proxy of its own.
    let bundle = play.scene.dir.join("none").display().to_string();
    let spec = play.codexrun(&["spec", "--from-policy", &policy, "--bundle", &bundle])?;
    spec.must("no bundle", spec.code == 1 && spec.err.contains("managed proxy mode requires"))
}

/// There is no bridge, and the proxy is asked directly.
fn alone(play: &Play) -> Verdict {
    let (good, bad) = (format!("by-http GET localhost:{}", files(play.scene.out())?), "by-http CONNECT evil.example:443");
    let without = ["--isolation", "landlock", "--accept-loss", "processes", "--accept-loss", "proxy-only"];
    let options = [&["--allow-domain", "localhost"], &without[..]].concat();
    let (ran, answers) = probes(play, "read-only", &options, &[&good, bad])?;
    ran.must(&format!("ok and a refusal; they are {answers:?}"), answers == ["ok", "blocked-by-allowlist"])?;
    ran.must("the process", ran.err.lines().any(|line| line.contains("evil.example") && line.contains("\"comm\":\"probe\"")))?;
    let (ran, _) = probes(play, "read-only", &[&options[..], &["--dns", "443"]].concat(), &[&good])?;
    ran.must("no names without a network", ran.code == 1 && ran.err.contains("`dns` cannot be had"))?;
    let (ran, _) = probes(play, "read-only", &[&options[..], &["--allow-syscalls", "interfaces"]].concat(), &[&good])?;
    ran.must("no interfaces of its own", ran.code == 1 && ran.err.contains("`allow_syscalls` interfaces cannot be had"))
}

/// Before there is a proxy it has a port that none will have.
fn planned(play: &Play) -> Verdict {
    let text = "default_permissions = 'p'\n[permissions.p]\nextends = ':read-only'\n[permissions.p.network]\nenabled = true\n\
                domains = { localhost = 'allow' }\n";
    let policy = play.scene.put("config.toml", text)?.display().to_string();
    for line in [&["plan", "--policy", &policy][..], &["explain", "--policy", &policy, "/etc"], &["diff", &policy, &policy]] {
        let ran = play.codexrun(line)?;
        ran.must("exit 0, and which port is none", ran.code == 0 && ran.err.contains("127.0.0.1:1 stands for"))?;
    }
    Ok(())
}

/// Says of the port that is in `port`, or else of the proxy's, whether anybody answers there.
const REACHES: &str = "[ -e port ] || echo \"${HTTP_PROXY##*:}\" >port\n\
    (exec 3<>/dev/tcp/127.0.0.1/$(cat port)) 2>/dev/null && echo reached || echo closed\n";

fn kept(play: &Play) -> Verdict {
    std::fs::write(play.scene.w().join("reaches"), REACHES)?;
    let dir = play.scene.dir.join("kept").display().to_string();
    let ran =
        play.column.run(&play.scene, &job(play, &["--allow-domain", "localhost", "--keep-bundle", &dir], "bash reaches"))?;
    let says = ran.err.contains("has its network off");
    ran.must("reached, and what the bundle has not", ran.code == 0 && ran.out == "reached\n" && says)?;
    let port: u16 = std::fs::read_to_string(play.scene.w().join("port"))?.trim().parse().unwrap_or_default();
    let _somebody = TcpListener::bind(("127.0.0.1", port))?;
    let ran = play.codexrun(&["run", &dir])?;
    ran.must("closed", ran.code == 0 && ran.out == "closed\n")
}

/// The route ends with the proxy; codexrun keeps the port.
fn orphaned(play: &Play, options: &[&str]) -> Verdict {
    std::fs::write(play.scene.w().join("reaches"), REACHES)?;
    let domain = format!("orphaned.{}.{}.example", std::process::id(), play.column.actor.name);
    let script = "bash reaches; : > ready; while [ ! -e go ]; do sleep 0.02; done
        for n in $(seq 500); do [ \"$(bash reaches)\" = closed ] && break; sleep 0.02; done; bash reaches";
    let options = [&["--allow-domain", domain.as_str()], options].concat();
    let running = play.column.start(&play.scene, &job(play, &options, script))?;
    appears(&play.scene.w().join("ready"))?;
    let all = crate::launch::processes();
    let Some((proxy, ..)) = all.iter().find(|(.., line)| line.contains("codexrun-proxy") && line.contains(&domain)) else {
        return fail("(while the command runs)", "a proxy", "none");
    };
    nix::sys::signal::kill(*proxy, Signal::SIGKILL).map_err(std::io::Error::from)?;
    until("the proxy ends", || !crate::launch::processes().iter().any(|(pid, _, line)| pid == proxy && line.contains(&domain)))?;
    let port: u16 = std::fs::read_to_string(play.scene.w().join("port"))?.trim().parse().unwrap_or_default();
    let free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    std::fs::write(play.scene.w().join("go"), "")?;
    let ran = running.finish()?;
    ran.must("reached, then closed", ran.code == 0 && ran.out == "reached\nclosed\n")?;
    ran.must(&format!("port {port} kept from others"), !free)
}

fn around(play: &Play) -> Verdict {
    let open = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut job = job(play, &["--allow-domain", "localhost"], "env");
    job.env.extend([("pip_proxy".into(), format!("http://{open}")), ("HTTP_PROXY".into(), format!("http://{open}"))]);
    let ran = play.column.run(&play.scene, &job)?;
    ran.must("no word of it", ran.code == 0 && !ran.out.contains(&open.to_string()))?;
    let (variable, inherited) = (format!("all_proxy=http://{open}"), "HTTP_PROXY");
    for (asked, name) in [(variable.as_str(), "all_proxy"), (inherited, inherited)] {
        let refused = Job { options: [job.options.clone(), vec!["--env".into(), asked.into()]].concat(), ..job.clone() };
        let ran = play.column.run(&play.scene, &refused)?;
        let says = ran.err.contains(&format!("`--env {name}` names another proxy than codexrun's"));
        ran.must("exit 1, and why", ran.code == 1 && ran.out.is_empty() && says)?;
    }
    Ok(())
}

/// What is inherited is closed before there is a proxy, and after the policy has been read.
fn piped(play: &Play) -> Verdict {
    let script = "\"$0\" sandbox --policy <(printf '{\"type\":\"read-only\"}') --allow-domain localhost -- echo started";
    let exe = play.column.runtime.codexrun.display().to_string();
    let launch = crate::launch::Launch::new(&["/bin/bash", "-c", script, &exe], &play.scene.w());
    let ran = launch.run(&play.column.actor)?;
    ran.must("started", ran.code == 0 && ran.out == "started\n")
}

fn no_pattern(play: &Play) -> Verdict {
    let ran = play.column.run(&play.scene, &job(play, &["--allow-domain", "*"], "echo started"))?;
    let said: Vec<&str> = ran.err.lines().collect();
    let once = matches!(said[..], [one] if one.starts_with("codexrun: error: `*` is no domain"));
    ran.must("exit 1, and one sentence about `*`", ran.code == 1 && once && ran.out.is_empty())
}

fn ends(play: &Play, killed: bool) -> Verdict {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let domain = format!("n{n}.{}.example", std::process::id());
    let proxies =
        || crate::launch::processes().iter().filter(|(.., l)| l.contains("codexrun-proxy") && l.contains(&domain)).count();
    let script = ": > ready; while [ ! -e go ]; do sleep 0.02; done";
    let running = play.column.start(&play.scene, &job(play, &["--allow-domain", &domain], script))?;
    appears(&play.scene.w().join("ready"))?;
    if proxies() != 1 {
        return fail("(while the command runs)", "one proxy", proxies());
    }
    match killed {
        true => running.signal(Signal::SIGKILL),
        false => std::fs::write(play.scene.w().join("go"), "")?,
    }
    running.finish()?.must("the end of everything", true)?;
    until("the proxy ends", || proxies() == 0)
}
