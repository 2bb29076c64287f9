//! Real programs under the filter, in workspace-write and offline: what people and agents start all day, and what must be refused.
//! docs/programs.md tells of them.

use super::build::{put, tool};
use super::{Case, On, Play, WRITE, case, proxied};
use crate::policy::POLICIES;
use crate::report::{No, Verdict, skip};
use crate::runtime::Job;

pub const CASES: &[Case] = &[
    case("git: clone, commit, log", On::Every, |p| runs(p, &["git"], GIT, "1 commit\n")),
    case("go build", On::Every, go),
    proxied("git: clone, commit, log, with a proxy", |p| runs(p, &["git"], GIT, "1 commit\n")),
    proxied("go build, with a proxy", go),
    proxied("make -j with a jobserver, with a proxy", make),
    case("java: compile and run", On::Every, java),
    case("gradle: a daemon on loopback builds, and is told to stop", On::Every, gradle),
    case("make -j with a jobserver", On::Every, make),
    case("gdb is refused", On::Every, |p| debugger(p, &[], "refused\n")),
    case("gdb by allow_syscalls tracing", On::Every, |p| debugger(p, &["--allow-syscalls", "tracing"], "traced\n")),
    case("docker: its client runs and finds no daemon", On::Every, |p| runs(p, &["docker"], DOCKER, "no daemon\n")),
    case("postgres: a cluster, a server, a query", On::Every, postgres),
    case("redis: a server and its client", On::Every, |p| runs(p, &["redis-server", "redis-cli"], REDIS, "PONG\n")),
    case("redis: a server on a socket in the workspace", On::Codexrun, |p| {
        runs(p, &["redis-server", "redis-cli"], REDIS_UNIX, "PONG\n")
    }),
    case("tsx: a script, and the socket by which its two processes talk (#8343)", On::Every, tsx),
    case("address sanitizer; its search for leaks by allow_syscalls tracing", On::Every, sanitizer),
    case("chromium headless", On::Every, |p| chromium(p, WRITE, "--no-sandbox", &[])),
    case("chromium headless, with the network on", On::Sandbox, |p| {
        chromium(p, POLICIES[2].word(&p.scene)?, "--no-sandbox", &[])
    }),
    case("chromium in its own sandbox by allow_syscalls namespaces", On::Codexrun, |p| {
        if p.column.actor.is_root() {
            return skip("chromium has no sandbox of its own for root");
        }
        chromium(p, WRITE, "", &["--allow-syscalls", "namespaces"])
    }),
];

const GIT: &str = "
export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q --bare sub/origin && git clone -q sub/origin sub/clone 2>/dev/null && cd sub/clone &&
echo x > file && git add file && git commit -qm one && git push -q && echo $(git -C ../origin log --oneline --all | wc -l) commit
";
const DOCKER: &str = "
docker --version > /dev/null && ! DOCKER_HOST= docker ps > out 2>&1 && grep -qi 'daemon\\|permitted\\|permission' out && echo no daemon
";
const REDIS: &str = "
redis-server --port 46379 --bind 127.0.0.1 --save '' --daemonize no > log 2>&1 & server=$!
for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; redis-cli -p 46379 ping 2>/dev/null && break; done; kill $server; wait
";
const REDIS_UNIX: &str = "
redis-server --port 0 --unixsocket $PWD/redis.sock --save '' --daemonize no > log 2>&1 & server=$!
for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; redis-cli -s redis.sock ping 2>/dev/null && break; done; kill $server; wait
";
/// The second process says whether it has the first one's socket.
const TSX: &str = "
import fs from 'node:fs';
enum Answer { it = 42 }
const pipe = `${process.env.TMPDIR}/tsx-${process.getuid!()}/${process.ppid}.pipe`;
const talks: boolean = fs.readFileSync('/proc/net/unix', 'utf8').split('\\n').some((l) => l.includes(' 03 ') && l.endsWith(pipe));
console.log(Answer.it, talks);
";

/// Every tool is there, and the script says this.
fn runs(play: &Play, tools: &[&str], script: &str, expected: &str) -> Verdict {
    let path = path(play, tools)?;
    let ran = play.write(&format!("{path}{script}"))?;
    ran.must(expected, ran.code == 0 && ran.out == expected)
}

/// Where they are, as the beginning of a script; or the reason to skip.
fn path(play: &Play, tools: &[&str]) -> Result<String, No> {
    let mut dirs = Vec::new();
    for name in tools {
        dirs.extend(tool(play, name)?.parent().map(|dir| dir.display().to_string()));
    }
    Ok(format!("export PATH={}:$PATH; ", dirs.join(":")))
}

fn go(play: &Play) -> Verdict {
    put(play, "go.mod", "module hello\n")?;
    put(
        play,
        "main.go",
        "package main\nfunc main() { c := make(chan string); go func() { c <- \"built\\n\" }(); print(<-c) }\n",
    )?;
    let script = "export HOME=$PWD GOCACHE=$PWD/cache GOFLAGS=-mod=mod GOTOOLCHAIN=local; go build -buildvcs=false -o hello . && ./hello 2>&1";
    runs(play, &["go"], script, "built\n")
}

fn java(play: &Play) -> Verdict {
    put(play, "Hello.java", "class Hello { public static void main(String[] a) { System.out.println(\"built\"); } }\n")?;
    runs(play, &["java"], "java -XX:-UsePerfData Hello.java", "built\n")
}

/// Its client and its daemon talk by TCP, and find each other by what the daemon has written.
fn gradle(play: &Play) -> Verdict {
    if play.column.actor.is_root() {
        return skip("it starts three JVMs, once is enough");
    }
    put(play, "build.gradle", "task hello { doLast { println 'built' } }\n")?;
    let script = "export HOME=$PWD GRADLE_USER_HOME=$PWD/g GRADLE_OPTS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'
        gradle --offline -q -Dorg.gradle.jvmargs=\"$GRADLE_OPTS\" hello && gradle --offline --stop | tail -n 1";
    runs(play, &["gradle", "java"], script, "built\n1 Daemon stopped\n")
}

fn make(play: &Play) -> Verdict {
    put(play, "Makefile", "all: a b c\n%: ; @sleep 0.1; echo made > $@.made\nd:\n\t@$(MAKE) all && cat a.made\n")?;
    runs(play, &["make"], "make -s -j4 --no-print-directory d", "made\n")
}

/// gdb starts a program of its own and looks at its threads.
fn debugger(play: &Play, options: &[&str], expected: &str) -> Verdict {
    tool(play, "gdb")?;
    let script = "HOME=$PWD gdb -nx -batch -ex 'set startup-with-shell off' -ex starti -ex 'info registers pc' -ex kill /bin/true > out 2>&1; \
                  grep -q '^[er]*ip\\|^pc ' out && echo traced || echo refused";
    let ran = play.with(options, script)?;
    ran.must(expected, ran.code == 0 && ran.out == expected)
}

/// Without a Unix socket, which only an own one may be: the policy shuts them.
fn postgres(play: &Play) -> Verdict {
    if play.column.actor.is_root() || play.column.maps_to_root() {
        return skip("postgres does not run as root, and here the command is root inside");
    }
    let script = "
        initdb -D data -A trust -U me --no-sync > log 2>&1 || { cat log; exit 1; }
        postgres -D data -p 45432 -h 127.0.0.1 -c unix_socket_directories= -c fsync=off >> log 2>&1 & server=$!
        for n in 1 2 3 4 5 6 7 8 9 10; do
            sleep 0.3; psql -h 127.0.0.1 -p 45432 -U me -d postgres -Atc 'select 6 * 7' 2>/dev/null && break
        done
        kill -INT $server; wait";
    runs(play, &["initdb", "postgres", "psql"], script, "42\n")
}

/// Where there are no sockets but pairs it ends, and says so; as a module of node's it has no second process.
fn tsx(play: &Play) -> Verdict {
    put(play, "it.ts", TSX)?;
    if play.column.runtime.is_codexrun() {
        return runs(play, &["tsx", "node"], "TMPDIR=$PWD tsx it.ts", "42 true\n");
    }
    let script = "export TMPDIR=$PWD; tsx it.ts 2>&1 | grep -om1 'listen EPERM'; \
                  node --import $(dirname $(readlink -f $(command -v tsx)))/loader.mjs it.ts";
    runs(play, &["tsx", "node"], script, "listen EPERM\n42 false\n")
}

/// LeakSanitizer is a second process that stops the first one's threads by ptrace(2).
fn sanitizer(play: &Play) -> Verdict {
    put(play, "it.c", "int main(int n, char **v) { volatile char it[2] = {0}; return it[n] + !v; }\n")?;
    let script = "gcc -fsanitize=address it.c -o it 2> log || { cat log; exit 9; }; ./it 2> out; echo $?; ./it beyond 2>> out; echo $?; \
                  ASAN_OPTIONS=detect_leaks=0 ./it; echo $?; grep -om1 'LeakSanitizer has encountered a fatal error' out";
    runs(play, &["gcc"], script, "1\n1\n0\nLeakSanitizer has encountered a fatal error\n")?;
    let ran = play.with(&["--allow-syscalls", "tracing"], "./it; echo $?")?;
    ran.must("no leak", ran.out == "0\n")
}

fn chromium(play: &Play, policy: impl ToString, words: &str, options: &[&str]) -> Verdict {
    let path = path(play, &["chromium"])?;
    put(play, "page.html", "<p id=p></p><script>p.textContent = 6 * 7</script>\n")?;
    let script = format!(
        "{path}HOME=$PWD chromium --headless --disable-gpu --no-first-run {words} --dump-dom file://$PWD/page.html 2> log | grep -o 'p\">42' || cat log"
    );
    let options = options.iter().map(|word| word.to_string()).collect();
    let ran = play.column.run(&play.scene, &Job { options, ..Job::sh(policy, &play.scene, &script) })?;
    if !play.column.runtime.is_codexrun() {
        return ran.must("no page, as it has no sockets but pairs", !ran.timed_out && !ran.out.contains("p\">42"));
    }
    ran.must("42 in the page", ran.code == 0 && ran.out == "p\">42\n")
}
