//! `dns`: names that are resolved inside, and ports that are reached by them, by programs that know of no proxy.

use super::network::probes;
use super::{Case, On, Play, case};
use crate::report::Verdict;
use crate::runtime::Job;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

pub const CASES: &[Case] = &[
    case("a port of a name is a CONNECT to the proxy, under every runtime", On::Every, by_name),
    case("libc finds the resolver inside", On::Every, libc_asks),
    case("what the proxy refuses is a reset", On::Every, refused),
    case("a name that leads to a server is reached through codexrun's own proxy", On::Sandbox, own),
    case("without a proxy dns is refused", On::Sandbox, without),
];

/// A proxy of the host's that repeats what it was asked for, to those that it does not refuse; it ends with the suite.
fn proxy() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serve(stream))));
    Ok(at)
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let asked = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    if asked.contains("evil") {
        return stream.write_all(b"HTTP/1.1 403 no\r\n\r\n");
    }
    // What the server says first comes with the answer of the proxy.
    stream.write_all(format!("HTTP/1.1 200 yes\r\nx: y\r\n\r\n{asked}").as_bytes())?;
    // To the end of the client's request, so that nothing is lost by a reset.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    Ok(())
}

/// Proxy-only, with names for 443 and 8080; and the option that names the proxy.
fn scene(play: &Play) -> Result<(String, String), crate::report::No> {
    let mut policy =
        crate::policy::pair(vec![crate::policy::special("root", "read"), crate::policy::special("project_roots", "write")]);
    policy["network"] = json!({"mode": "proxy"});
    policy["codexrun"] = json!({"dns": [443, 8080]});
    let file = play.scene.put("names.json", &policy.to_string())?.display().to_string();
    Ok((file, format!("HTTP_PROXY=http://{}", proxy()?)))
}

fn by_name(play: &Play) -> Verdict {
    let (policy, variable) = scene(play)?;
    let asked = [
        "by-name crates.io 443",
        "by-name-tcp Pypi.ORG 8080",
        "by-name crates.io 8080",
        "tcp 127.64.0.77:443",
        "tcp 127.64.0.1:80",
    ];
    let (ran, answers) = probes(play, &policy, &["--env", &variable], &asked)?;
    let said = ["crates.io:443", "pypi.org:8080", "crates.io:8080"];
    let nowhere = answers[3..].iter().all(|answer| answer != "ok");
    ran.must(&format!("{said:?} and nothing else; they are {answers:?}"), answers[..3] == said && nowhere)
}

fn libc_asks(play: &Play) -> Verdict {
    let (policy, variable) = scene(play)?;
    let options = ["--env", &variable].map(str::to_string).to_vec();
    let script = "cat /etc/resolv.conf; getent ahostsv4 a.example | head -n 1; getent ahostsv4 b.example | head -n 1";
    let ran = play.column.run(&play.scene, &Job { options, ..Job::sh(policy, &play.scene, script) })?;
    let addresses: Vec<&str> = ran.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ran.must("two addresses of 127.64.0.0/10", ran.code == 0 && addresses == ["127.64.0.1", "127.64.0.2"])
}

fn refused(play: &Play) -> Verdict {
    let (policy, variable) = scene(play)?;
    let (ran, answers) = probes(play, &policy, &["--env", &variable], &["by-name evil.example 443"])?;
    ran.must(&format!("ECONNRESET; it is {}", answers[0]), answers[0] == "ECONNRESET")
}

/// The name resolves, without any server of names, to 127.0.0.1.
fn own(play: &Play) -> Verdict {
    let port = super::proxy::files(play.scene.out())?.to_string();
    let options = ["--allow-domain", "0x7f000001", "--allow-domain", "127.0.0.1", "--dns", &port];
    let (good, bad) = (format!("by-name 0x7f000001 {port}"), format!("by-name evil.example {port}"));
    let (ran, answers) = probes(play, "read-only", &options, &[&good, &bad])?;
    ran.must(&format!("200 and a reset; they are {answers:?}"), answers == ["200", "ECONNRESET"])?;
    let named = ran.err.lines().any(|line| line.contains("\"evil.example\"") && line.contains("\"comm\":\"probe\""));
    ran.must("the refusal names the process", named)
}

fn without(play: &Play) -> Verdict {
    let job = Job { options: ["--dns", "443"].map(str::to_string).to_vec(), ..Job::sh("read-only", &play.scene, "echo started") };
    let ran = play.column.run(&play.scene, &job)?;
    ran.must("`dns` has no effect without a proxy", ran.code == 1 && ran.err.contains("without a proxy") && ran.out.is_empty())
}
