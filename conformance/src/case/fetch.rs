//! What people fetch all day, with the programs that do it, through codexrun's own proxy from a server of the test's: with the domain, with
//! another one, and with the network off.

use super::proxy::{files, job};
use super::{Case, On, Play, case, until};
use crate::launch::{Launch, Running, text};
use crate::report::{No, Verdict, skip};
use crate::runtime::Job;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const CASES: &[Case] = &[
    case("git clone", On::Sandbox, |p| fetched(p, &GIT)),
    case("pip install", On::Sandbox, |p| fetched(p, &PIP)),
    case("npm install", On::Sandbox, |p| fetched(p, &NPM)),
    case("cargo fetch", On::Sandbox, |p| fetched(p, &CARGO)),
    case("git clone by TLS, through each proxy's CONNECT", On::Sandbox, |p| tunnelled(p, &GIT)),
    case("pip install by TLS, through each proxy's CONNECT", On::Sandbox, |p| tunnelled(p, &PIP)),
    case("npm install by TLS, through each proxy's CONNECT", On::Sandbox, |p| tunnelled(p, &NPM)),
    case("cargo fetch by TLS, through each proxy's CONNECT", On::Sandbox, |p| tunnelled(p, &CARGO)),
    case("curl, and python's urllib and requests", On::Sandbox, clients),
    case("httpx, which knows no SOCKS", On::Sandbox, httpx),
    case("node's fetch", On::Sandbox, node),
    case(
        "who lists interfaces is answered with the network off, and with a proxy when interfaces are allowed",
        On::Sandbox,
        interfaces,
    ),
];

/// A program and what it is to fetch; `{port}` is the server's.
struct Fetch {
    /// Succeeds where the program is there.
    there: &'static str,
    /// Makes what is served, in the server's directory.
    serve: &'static str,
    /// Fetches in the workspace, and says so on its output: `fetched`.
    fetch: &'static str,
    /// The name of the process that asks.
    comm: &'static str,
}

const GIT: Fetch = Fetch {
    there: "command -v git",
    serve: "git init -q --bare r.git && git clone -q r.git made 2>/dev/null && cd made && echo fetched > file && git add file &&
        git -c user.name=a -c user.email=a@b commit -qm first && git push -q origin HEAD:main &&
        cd ../r.git && git symbolic-ref HEAD refs/heads/main && git update-server-info",
    fetch: "GIT_TERMINAL_PROMPT=0 git clone -q http://localhost:{port}/r.git copy && cat copy/file",
    comm: "git-remote-http",
};

const PIP: Fetch = Fetch {
    there: "/usr/bin/python3 -m pip --version",
    serve: "mkdir -p simple/hello && echo '<a href=\"/hello-1.0-py3-none-any.whl\">hello-1.0-py3-none-any.whl</a>' > simple/hello/index.html &&
        /usr/bin/python3 -c \"
import zipfile
with zipfile.ZipFile('hello-1.0-py3-none-any.whl', 'w') as z:
    z.writestr('hello.py', 'print(\\'fetched\\')\\n')
    z.writestr('hello-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: hello\\nVersion: 1.0\\n')
    z.writestr('hello-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('hello-1.0.dist-info/RECORD', 'hello.py,,\\nhello-1.0.dist-info/METADATA,,\\nhello-1.0.dist-info/WHEEL,,\\nhello-1.0.dist-info/RECORD,,\\n')
\"",
    fetch: "HOME=$PWD PIP_DISABLE_PIP_VERSION_CHECK=1 /usr/bin/python3 -m pip install -q --retries 0 --no-cache-dir --target there \
        --index-url http://localhost:{port}/simple --trusted-host localhost hello 2>pip.log && PYTHONPATH=there /usr/bin/python3 -m hello",
    comm: "python3",
};

const NPM: Fetch = Fetch {
    there: "npm --version",
    serve: "mkdir -p package && echo '{\"name\": \"hello\", \"version\": \"1.0.0\"}' > package/package.json &&
        echo 'console.log(\"fetched\")' > package/index.js && tar czf hello-1.0.0.tgz package && rm -r package &&
        echo '{\"name\": \"hello\", \"dist-tags\": {\"latest\": \"1.0.0\"}, \"versions\": {\"1.0.0\": {\"name\": \"hello\", \"version\": \"1.0.0\",
        \"dist\": {\"tarball\": \"http://localhost:{port}/hello-1.0.0.tgz\"}}}}' > hello",
    fetch: "export HOME=$PWD npm_config_update_notifier=false npm_config_noproxy= NPM_CONFIG_NOPROXY=
        npm install --silent --no-audit --no-fund --fetch-retries=0 --registry http://localhost:{port}/ hello >npm.log 2>&1 &&
        node -e 'require(\"hello\")'",
    comm: "npm install hel",
};

const CARGO: Fetch = Fetch {
    there: "cargo --version",
    serve: "mkdir -p hello-1.0.0/src index/he/ll && printf '[package]\\nname = \"hello\"\\nversion = \"1.0.0\"\\n' > hello-1.0.0/Cargo.toml &&
        : > hello-1.0.0/src/lib.rs && tar czf hello-1.0.0.crate hello-1.0.0 && rm -r hello-1.0.0 &&
        echo '{\"dl\": \"http://localhost:{port}/{crate}-{version}.crate\"}' > index/config.json &&
        printf '{\"name\":\"hello\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"%s\",\"features\":{},\"yanked\":false}\\n' \
            $(sha256sum hello-1.0.0.crate | cut -d ' ' -f 1) > index/he/ll/hello",
    fetch: "mkdir -p crate/src crate/.cargo && cd crate && : > src/lib.rs &&
        printf '[package]\\nname = \"x\"\\nversion = \"0.1.0\"\\n[dependencies]\\nhello = \"1\"\\n[workspace]\\n' > Cargo.toml &&
        printf '[source.crates-io]\\nreplace-with = \"t\"\\n[source.t]\\nregistry = \"sparse+http://localhost:{port}/index/\"\\n[net]\\nretry = 0\\n' \
            > .cargo/config.toml && CARGO_HOME=$PWD/home cargo fetch --quiet && ls home/registry/src/*/hello-1.0.0/Cargo.toml >/dev/null && echo fetched",
    comm: "cargo",
};

/// The suite's own PATH, for tools that are not the distribution's; before it what was copied for this user.
fn path(play: &Play) -> String {
    let (copied, path) = (toolchain(play).join("bin"), std::env::var("PATH").unwrap_or_default());
    if copied.is_dir() { format!("{}:{path}", copied.display()) } else { path }
}

fn toolchain(play: &Play) -> PathBuf {
    play.scene.dir.join("toolchain")
}

/// Whether the user has what a fetch needs. A Rust that lies in somebody else's home, as rustup's does in root's, is copied out of it: cargo, rustc,
/// which it asks what machine this is, and their libraries.
fn there(play: &Play, fetch: &Fetch, command: &str) -> Result<bool, No> {
    let works = || Ok::<_, No>(host(play, &play.scene.w(), command)?.code == 0);
    if works()? {
        return Ok(true);
    }
    let sysroot = match Command::new("rustc").args(["--print", "sysroot"]).output() {
        Ok(said) if fetch.comm == CARGO.comm && said.status.success() => said.stdout,
        Ok(_) | Err(_) => return Ok(false),
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    let to = toolchain(play);
    std::fs::create_dir_all(to.join("bin"))?;
    std::fs::create_dir(to.join("lib"))?;
    for program in ["bin/cargo", "bin/rustc"] {
        std::fs::copy(sysroot.join(program), to.join(program))?;
    }
    for library in std::fs::read_dir(sysroot.join("lib"))? {
        let library = library?;
        if library.file_type()?.is_file() {
            std::fs::copy(library.path(), to.join("lib").join(library.file_name()))?;
        }
    }
    works()
}

fn host(play: &Play, dir: &Path, script: &str) -> Result<crate::launch::Ran, No> {
    let launch = Launch { env: vec![("PATH".into(), path(play))], ..Launch::new(&["/bin/sh", "-c", script], dir) };
    Ok(launch.run(&play.column.actor)?)
}

fn asked(play: &Play, options: &[&str], script: &str) -> Result<crate::launch::Ran, No> {
    let job = Job { env: vec![("PATH".into(), path(play))], ..job(play, options, script) };
    play.column.run(&play.scene, &job)
}

fn fetched(play: &Play, fetch: &Fetch) -> Verdict {
    if !there(play, fetch, fetch.there)? {
        return skip(format!("`{}` fails for {}", fetch.there, play.column.actor.name));
    }
    let www = play.scene.out().join("www");
    play.dir(&www)?;
    let port = files(www.clone())?.to_string();
    let at = |script: &str| script.replace("{port}", &port);
    host(play, &www, &at(fetch.serve))?.code_is(0)?;
    let ran = asked(play, &["--allow-domain", "localhost"], &at(fetch.fetch))?;
    ran.must("fetched", ran.code == 0 && ran.out == "fetched\n")?;
    // In another directory, with nothing of what was fetched.
    let again = format!("mkdir again && cd again && {}", at(fetch.fetch));
    let refused = asked(play, &["--allow-domain", "*.example.org"], &again)?;
    let named = |line: &str| line.contains("\"host\":\"localhost\"") && line.contains(&format!("\"comm\":\"{}\"", fetch.comm));
    refused.must("nothing, and a line that names the process", refused.code != 0 && refused.err.lines().any(named))?;
    refused.must("nothing", refused.out.is_empty())?;
    let off = asked(play, &[], &again.replace("again", "off"))?;
    off.must("nothing", off.code != 0 && off.out.is_empty())
}

const SERVER: &str = "
import http.server, ssl
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('ca.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A server of files by TLS, and its port; of a directory with its certificate in it, `ca.pem`.
fn secure(play: &Play, dir: &Path) -> Result<(Running, String), No> {
    let server = Launch::new(&["/usr/bin/python3", "-c", SERVER], dir).start(&play.column.actor)?;
    let out = server.output()?;
    until("the server listens", || text(&out).is_ok_and(|said| said.ends_with('\n')))?;
    Ok((server, text(&out)?.trim().to_owned()))
}

const CERTIFICATE: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout key.pem -out ca.pem";

/// The user's own proxy: it tunnels to whomever it is asked for, and counts; it ends with the suite.
fn elsewhere() -> std::io::Result<(u16, Arc<AtomicUsize>)> {
    let (listener, count) = (TcpListener::bind("127.0.0.1:0")?, Arc::new(AtomicUsize::new(0)));
    let (port, counted) = (listener.local_addr()?.port(), count.clone());
    let one = move |client: TcpStream, count: Arc<AtomicUsize>| -> std::io::Result<()> {
        let mut head = BufReader::new(client.try_clone()?).lines();
        let first = head.next().transpose()?.unwrap_or_default();
        while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let to = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let (mut server, mut client) = (TcpStream::connect(to)?, client);
        count.fetch_add(1, Ordering::Relaxed);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let (mut from, mut back) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from, &mut back).and_then(|_| back.shutdown(Shutdown::Write)));
        std::io::copy(&mut client, &mut server)?;
        server.shutdown(Shutdown::Write)
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = counted.clone();
            std::thread::spawn(move || one(client, count));
        }
    });
    Ok((port, count))
}

/// By the proxy that the environment names, and by codexrun's own.
fn tunnelled(play: &Play, fetch: &Fetch) -> Verdict {
    let needs = format!("{} && openssl version && /usr/bin/python3 -c 'import ssl'", fetch.there);
    if !there(play, fetch, &needs)? {
        return skip(format!("`{needs}` fails for {}", play.column.actor.name));
    }
    let www = play.scene.out().join("www");
    play.dir(&www)?;
    host(play, &www, CERTIFICATE)?.code_is(0)?;
    let ((_server, port), (proxy, count)) = (secure(play, &www)?, elsewhere()?);
    let at = |script: &str| script.replace("http://", "https://").replace("{port}", &port);
    host(play, &www, &at(fetch.serve))?.code_is(0)?;
    let ca = play.scene.w().join("ca.pem");
    std::fs::copy(www.join("ca.pem"), &ca)?;
    let known = ["GIT_SSL_CAINFO", "PIP_CERT", "npm_config_cafile", "CARGO_HTTP_CAINFO"]
        .map(|name| format!("export {name}={}", ca.display()));
    let url = format!("http://127.0.0.1:{proxy}");
    let variables = ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy"].map(|name| format!("{name}={url}"));
    let others = ["--managed-network", "{}", "--env", &variables[0], "--env", &variables[1], "--env", &variables[2]];
    for (dir, options) in [("others", &others[..]), ("own", &["--allow-domain", "localhost"])] {
        let script = format!(
            "{}; mkdir {dir} && cd {dir} && {}",
            known.join("; "),
            at(fetch.fetch).replace("--trusted-host localhost", "")
        );
        let ran = asked(play, options, &script)?;
        ran.must("fetched", ran.code == 0 && ran.out == "fetched\n")?;
        ran.must("by that proxy", (count.swap(0, Ordering::Relaxed) > 0) == (dir == "others"))?;
    }
    Ok(())
}

/// One file by each of these programs, where they are.
fn clients(play: &Play) -> Verdict {
    let port = files(play.scene.out())?;
    let url = format!("http://localhost:{port}/file.txt");
    let urllib = format!("import urllib.request; print(urllib.request.urlopen('{url}').read().decode().strip())");
    // The one that pip brings along.
    let requests =
        format!("from pip._vendor import requests; r = requests.get('{url}'); r.raise_for_status(); print(r.text.strip())");
    let all = [
        ("curl", "command -v curl".into(), format!("curl -sSf {url}")),
        ("urllib", "command -v /usr/bin/python3".into(), format!("/usr/bin/python3 -c \"{urllib}\"")),
        (
            "requests",
            "/usr/bin/python3 -c 'import pip._vendor.requests'".to_string(),
            format!("/usr/bin/python3 -c \"{requests}\""),
        ),
    ];
    let mut asked_of = 0;
    for (name, there, script) in all {
        if host(play, &play.scene.w(), &there)?.code != 0 {
            continue;
        }
        asked_of += 1;
        let ran = asked(play, &["--allow-domain", "localhost"], &script)?;
        ran.must(&format!("{name}: outside"), ran.code == 0 && ran.out == "outside\n")?;
        let refused = asked(play, &["--allow-domain", "example.org"], &script)?;
        refused.must(&format!("{name}: nothing"), refused.code != 0 && refused.out.is_empty())?;
    }
    if asked_of == 0 { skip("neither curl nor python is there") } else { Ok(()) }
}

/// By itself it has no SOCKS, and makes a transport for each variable before it asks anything: what is made of it does not start where one names SOCKS.
fn httpx(play: &Play) -> Verdict {
    let fetched =
        "/usr/bin/python3 -m pip install -q --disable-pip-version-check --no-cache-dir --retries 0 --target there httpx";
    // Where packages are is the machine's to say.
    let of_pip =
        |(name, _): &(String, String)| name == "PATH" || name.starts_with("PIP_") || name.to_lowercase().ends_with("_proxy");
    let launch =
        Launch { env: std::env::vars().filter(of_pip).collect(), ..Launch::new(&["/bin/sh", "-c", fetched], &play.scene.w()) };
    if launch.run(&play.column.actor)?.code != 0 {
        return skip("pip finds no httpx");
    }
    let port = files(play.scene.out())?;
    let script = format!(
        "PYTHONPATH=there /usr/bin/python3 -c \"import httpx; print(httpx.get('http://localhost:{port}/file.txt').raise_for_status().text.strip())\""
    );
    let ran = asked(play, &["--allow-domain", "localhost"], &script)?;
    ran.must("outside", ran.code == 0 && ran.out == "outside\n")?;
    let refused = asked(play, &["--allow-domain", "example.org"], &script)?;
    refused.must("nothing", refused.code != 0 && refused.out.is_empty() && refused.err.contains("403"))
}

/// Refused with a proxy as Codex has it, and lifted by name.
fn interfaces(play: &Play) -> Verdict {
    let script = "/usr/bin/python3 -c 'import socket; print(socket.if_nameindex())'";
    let proxied = ["--allow-domain", "localhost"];
    let allowed = [&proxied[..], &["--allow-syscalls", "interfaces"]].concat();
    for options in [&[][..], &allowed] {
        let ran = asked(play, options, script)?;
        ran.must("lo and nothing else", ran.code == 0 && ran.out == "[(1, 'lo')]\n")?;
    }
    let ran = asked(play, &proxied, script)?;
    ran.must("EPERM", ran.code == 1 && ran.err.contains("PermissionError"))
}

/// From version 22.21 and 24 on fetch goes by the variables.
fn node(play: &Play) -> Verdict {
    let knows = "node -e 'process.exit(process.allowedNodeEnvironmentFlags.has(\"--use-env-proxy\") ? 0 : 1)'";
    if host(play, &play.scene.w(), knows)?.code != 0 {
        return skip("this node does not know NODE_USE_ENV_PROXY");
    }
    let port = files(play.scene.out())?;
    let script =
        format!("node -e 'fetch(\"http://localhost:{port}/file.txt\").then(async a => console.log((await a.text()).trim()))'");
    let ran = asked(play, &["--allow-domain", "localhost"], &script)?;
    ran.must("outside", ran.code == 0 && ran.out == "outside\n")
}
