//! What people run all day, offline, in workspace-write: a cargo build, node, npm, python, a C compiler.

use super::{Case, On, Play, case, proxied};
use crate::on_path;
use crate::report::{No, Verdict, skip};
use std::path::PathBuf;

pub const CASES: &[Case] = &[
    case("cargo build without dependencies", On::Every, cargo),
    case("cc and the program it makes", On::Every, cc),
    case("node: spawnSync", On::Every, |p| node(p, SPAWN, "child says hello\n")),
    case("node: an HTTP server and its client on loopback", On::Every, |p| node(p, HTTP, "200 hello\n")),
    case("node: worker threads and a child with IPC", On::Every, |p| node(p, FORK, "ipc pong\n")),
    case("npm run", On::Every, npm),
    case("python: venv and a subprocess", On::Every, venv),
    case("python: asyncio, multiprocessing, an HTTP server", On::Every, python),
    proxied("cargo build without dependencies, with a proxy", cargo),
    proxied("node: spawnSync, with a proxy", |p| node(p, SPAWN, "child says hello\n")),
    proxied("node: an HTTP server and its client on loopback, with a proxy", |p| node(p, HTTP, "200 hello\n")),
    proxied("node: worker threads and a child with IPC, with a proxy", |p| node(p, FORK, "ipc pong\n")),
    proxied("npm run, with a proxy", npm),
    proxied("python: venv and a subprocess, with a proxy", venv),
    proxied("python: asyncio, multiprocessing, an HTTP server, with a proxy", python),
];

const SPAWN: &str = "
const r = require('child_process').spawnSync('/bin/sh', ['-c', 'echo child says hello']);
if (r.error) throw r.error;
process.stdout.write(r.stdout);
";
const HTTP: &str = "
const http = require('http');
const s = http.createServer((q, a) => a.end('hello'));
s.listen(0, '127.0.0.1', () => http.get({port: s.address().port, host: '127.0.0.1'}, (r) => {
  let t = ''; r.on('data', (d) => t += d); r.on('end', () => { console.log(r.statusCode, t); s.close(); });
}));
";
const FORK: &str = "
const {fork} = require('child_process');
if (process.argv[2] === 'child') { process.on('message', () => process.send('pong', () => process.exit(0))); }
else { const c = fork(__filename, ['child']); c.on('message', (m) => console.log('ipc', m)); c.send('ping'); }
";
const PYTHON: &str = "
import asyncio, multiprocessing, subprocess, threading, urllib.request
from http.server import HTTPServer, SimpleHTTPRequestHandler
async def main():
    p = await asyncio.create_subprocess_exec('/bin/echo', 'async', stdout=subprocess.PIPE)
    return (await p.communicate())[0].decode().strip()
class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
if __name__ == '__main__':
    print(asyncio.run(main()))
    with multiprocessing.Pool(2) as pool: print(sum(pool.map(abs, [-1, -2])))
    s = HTTPServer(('127.0.0.1', 0), Quiet)
    threading.Thread(target=s.handle_request).start()
    print(urllib.request.urlopen('http://127.0.0.1:%d/plain.txt' % s.server_port).read().decode().strip())
";

/// A tool that the column's user may execute, or the reason to skip.
pub fn tool(play: &Play, name: &str) -> Result<PathBuf, No> {
    match on_path(name) {
        None => skip(format!("{name} is not on PATH")),
        Some(path) if !play.column.actor.may_execute(&path) => {
            skip(format!("{} cannot execute {}", play.column.actor.name, path.display()))
        }
        Some(path) => Ok(path),
    }
}

pub fn put(play: &Play, name: &str, text: &str) -> Verdict {
    let path = play.scene.w().join(name);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(&path, text)?;
    Ok(play.column.actor.own(&play.scene.w())?)
}

fn cargo(play: &Play) -> Verdict {
    let cargo = tool(play, "cargo")?;
    put(play, "crate/Cargo.toml", "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n")?;
    put(play, "crate/src/main.rs", "fn main() { println!(\"built\") }\n")?;
    let (bin, home) = (cargo.parent().unwrap_or(&cargo).display(), play.column.actor.home.display());
    let script = format!(
        "export PATH={bin}:$PATH HOME={home} CARGO_HOME=$PWD/cargo-home; cd crate && cargo build --offline --quiet && target/debug/hello"
    );
    let ran = play.write(&script)?;
    ran.must("built", ran.code == 0 && ran.out == "built\n")
}

fn cc(play: &Play) -> Verdict {
    tool(play, "cc")?;
    put(play, "hello.c", "#include <stdio.h>\nint main(void) { puts(\"built\"); }\n")?;
    let ran = play.write("cc -o hello hello.c && ./hello")?;
    ran.must("built", ran.code == 0 && ran.out == "built\n")
}

fn node(play: &Play, script: &str, expected: &str) -> Verdict {
    let node = tool(play, "node")?;
    put(play, "script.js", script)?;
    let ran = play.write(&format!("{} script.js", node.display()))?;
    ran.must(expected, ran.code == 0 && ran.out == expected)
}

fn npm(play: &Play) -> Verdict {
    tool(play, "npm")?;
    put(play, "package.json", "{\"name\": \"x\", \"version\": \"1.0.0\", \"scripts\": {\"hello\": \"echo from npm\"}}\n")?;
    let ran = play.write("HOME=$PWD npm_config_update_notifier=false npm run --silent --offline hello")?;
    ran.must("from npm", ran.code == 0 && ran.out == "from npm\n")
}

/// The distribution's python; one below a home directory may not be readable for everybody.
fn interpreter(play: &Play) -> Result<PathBuf, No> {
    let system = PathBuf::from("/usr/bin/python3");
    if system.is_file() { Ok(system) } else { tool(play, "python3") }
}

fn venv(play: &Play) -> Verdict {
    let python = interpreter(play)?;
    let script = format!(
        "{} -m venv --without-pip v && v/bin/python -c 'import subprocess, sys; print(subprocess.check_output([\"echo\", sys.prefix]).decode().strip())'",
        python.display()
    );
    let ran = play.write(&script)?;
    let expected = format!("{}\n", play.scene.w().join("v").display());
    ran.must(&expected, ran.code == 0 && ran.out == expected)
}

fn python(play: &Play) -> Verdict {
    let python = interpreter(play)?;
    put(play, "script.py", PYTHON)?;
    let ran = play.write(&format!("{} script.py", python.display()))?;
    ran.must("async, 3, plain", ran.code == 0 && ran.out == "async\n3\nplain\n")
}
