//! Unix sockets as standard streams: codexrun passes bytes on, and nothing but bytes.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const LANDLOCK: [&str; 4] = ["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes"];
const READ: [&str; 3] = ["sandbox", "--policy", "read-only"];
const WRITE: [&str; 2] = ["--policy", "workspace-write"];
const PYTHON: &str = "/usr/bin/python3";
const MANY: usize = 10 << 20;

fn codexrun(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
    command.args(words).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn sandbox(how: &[&str], words: &[&str]) -> Command {
    codexrun(&[&READ[..], how, &["--"], words].concat())
}

fn writing(words: &[&str]) -> Command {
    codexrun(&[&["sandbox"], &WRITE[..], &["--"], words].concat())
}

fn stream(end: &UnixStream) -> Stdio {
    OwnedFd::from(end.try_clone().unwrap()).into()
}

/// Ours, with the other end as the streams of these numbers; its copy of that is closed.
fn started(mut command: Command, numbers: &[usize]) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for number in numbers {
        match number {
            0 => command.stdin(stream(&theirs)),
            1 => command.stdout(stream(&theirs)),
            _ => command.stderr(stream(&theirs)),
        };
    }
    (command.spawn().unwrap(), ours)
}

fn all(mut from: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(from: UnixStream) -> String {
    String::from_utf8(all(from)).unwrap()
}

fn line(from: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn code(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..MANY).map(next).collect()
}

#[test]
fn bytes_pass_unharmed_both_ways_until_the_caller_says_no_more() {
    let bytes = noise();
    for how in [&[][..], &LANDLOCK] {
        let (child, ours) = started(sandbox(how, &["cat"]), &[0, 1]);
        let (mut writer, sent) = (ours.try_clone().unwrap(), bytes.clone());
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let heard = all(ours);
        writing.join().unwrap();
        assert!(heard == bytes, "{how:?}: {} of {}", heard.len(), bytes.len());
        assert_eq!(code(child), Some(0));
    }
}

#[test]
fn three_streams_of_three_sockets_stay_apart_and_of_one_are_one() {
    let script = "read word; echo \"out $word\"; echo \"err $word\" >&2; [ /proc/self/fd/1 -ef /proc/self/fd/2 ]; echo $? >&2";
    let ends: [_; 3] = std::array::from_fn(|_| UnixStream::pair().unwrap());
    let mut command = sandbox(&[], &["sh", "-c", script]);
    command.stdin(stream(&ends[0].1)).stdout(stream(&ends[1].1)).stderr(stream(&ends[2].1));
    let child = command.spawn().unwrap();
    drop(command);
    let [mut input, output, errors] = ends.map(|(ours, _)| ours);
    input.write_all(b"a\n").unwrap();
    assert_eq!((code(child), text(output), text(errors)), (Some(0), "out a\n".into(), "err a\n1\n".into()));
    let (child, mut ours) = started(sandbox(&[], &["sh", "-c", script]), &[0, 1, 2]);
    ours.write_all(b"b\n").unwrap();
    assert_eq!((code(child), text(ours)), (Some(0), "out b\nerr b\n0\n".into()));
}

#[test]
fn who_writes_to_nobody_is_told() {
    for how in [&[][..], &LANDLOCK] {
        for numbers in [&[1][..], &[0, 1]] {
            let mut command = sandbox(how, &["sh", "-c", "yes; echo $? >&2"]);
            let mut said = std::io::pipe().unwrap();
            command.stderr(said.1);
            let (child, ours) = started(command, numbers);
            drop(ours);
            let mut text = String::new();
            said.0.read_to_string(&mut text).unwrap();
            // Who waits for room at that moment is told without the signal, as by any socket (unix(7)).
            let told = text.ends_with("141\n") || text.contains("Broken pipe");
            assert!(code(child) == Some(0) && told, "{how:?} {numbers:?}: {text}");
        }
    }
}

/// Whether codexrun sleeps, however often one looks.
fn sleeps(child: &Child) -> bool {
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    };
    let look = |_: &i32| {
        std::thread::sleep(Duration::from_millis(1));
        !state()
    };
    (0..200).filter(look).count() < 100
}

fn comes(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn appears(at: &Path) {
    comes(|| at.exists());
}

/// Writes until there is no room; how much it was.
fn filled(to: &UnixStream) -> usize {
    to.set_nonblocking(true).unwrap();
    let (block, mut written, mut full) = ([7; 4096], 0, 0);
    while full < 50 {
        match (&*to).write(&block) {
            Ok(n) => (written, full) = (written + n, 0),
            Err(_) => {
                full += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    to.set_nonblocking(false).unwrap();
    written
}

#[test]
fn who_does_not_read_is_waited_for_and_codexrun_keeps_little_and_sleeps() {
    let dir = TempDir::new().unwrap();
    let count = "import os, sys
os.set_blocking(1, False)
written = 0
import select, time
while select.select([], [1], [], 0.3)[1]: written += os.write(1, bytes(65536))
open('count', 'w').write(str(written))
while not os.path.exists('go'): time.sleep(0.01)
os.set_blocking(1, True)
sys.stdin.buffer.readline()
";
    let mut command = writing(&[PYTHON, "-c", count]);
    command.current_dir(dir.path());
    let (child, ours) = started(command, &[0, 1]);
    appears(&dir.path().join("count"));
    comes(|| !std::fs::read_to_string(dir.path().join("count")).unwrap().is_empty());
    let written: usize = std::fs::read_to_string(dir.path().join("count")).unwrap().parse().unwrap();
    let taken = filled(&ours);
    // Two sockets' buffers, and 64 KiB between them.
    assert!(written < 2 << 20 && taken < 2 << 20, "{written} {taken}");
    assert!(sleeps(&child), "both ways full");
    std::fs::write(dir.path().join("go"), "").unwrap();
    let mut writer = ours.try_clone().unwrap();
    let ending = std::thread::spawn(move || writer.write_all(b"\n"));
    let heard = all(ours);
    ending.join().unwrap().unwrap();
    assert_eq!((heard.len(), code(child)), (written, Some(0)));
}

#[test]
fn codexrun_sleeps_when_one_side_has_gone() {
    let dir = TempDir::new().unwrap();
    let script = "exec <&- >&-; echo > shut; until [ -e go ]; do sleep 0.05; done";
    let mut command = writing(&["sh", "-c", script]);
    command.current_dir(dir.path());
    let (child, ours) = started(command, &[0, 1]);
    appears(&dir.path().join("shut"));
    assert!(sleeps(&child), "the command has shut its streams");
    (&ours).write_all(b"for nobody").unwrap();
    assert!(sleeps(&child), "and is written to");
    drop(ours);
    assert!(sleeps(&child), "and the caller has gone too");
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(code(child), Some(0));
    let mut command = writing(&["sh", "-c", "echo > begun; until [ -e go2 ]; do sleep 0.05; done"]);
    command.current_dir(dir.path());
    let (child, ours) = started(command, &[0, 1, 2]);
    appears(&dir.path().join("begun"));
    ours.shutdown(Shutdown::Write).unwrap();
    assert!(sleeps(&child), "the caller says no more");
    drop(ours);
    assert!(sleeps(&child), "and has gone");
    std::fs::write(dir.path().join("go2"), "").unwrap();
    assert_eq!(code(child), Some(0));
}

#[test]
fn what_was_written_before_the_end_is_delivered_after_it() {
    for how in [&[][..], &LANDLOCK] {
        let (mut child, mut ours) = started(sandbox(how, &["sh", "-c", "head -c 300000 /dev/zero; exit 7"]), &[1]);
        ours.read_exact(&mut [0]).unwrap();
        comes(|| child_of(child.id()).is_none());
        assert!(child.try_wait().unwrap().is_none(), "{how:?}: it waits for a reader");
        assert_eq!((all(ours).len(), code(child)), (299_999, Some(7)), "{how:?}");
    }
}

fn signalled(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_signal_ends_the_wait_for_who_does_not_read() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let (child, mut ours) = started(sandbox(&[], &["sh", "-c", "head -c 300000 /dev/zero; exit 7"]), &[1]);
        ours.read_exact(&mut [0]).unwrap();
        comes(|| child_of(child.id()).is_none());
        signalled(&child, signal);
        assert_eq!(code(child), Some(7), "{signal}: what the command said is what counts");
        drop(ours);
    }
    let mut command = sandbox(&[], &[PYTHON, "-c", FLOODS]);
    let mut said = std::io::pipe().unwrap();
    command.stderr(said.1);
    let (child, _ours) = started(command, &[1]);
    said.0.read_exact(&mut [0; 4]).unwrap();
    signalled(&child, Signal::SIGTERM);
    assert_eq!(code(child), Some(143), "it ends though nobody reads");
}

/// Says so when it finds no more room, and goes on writing.
const FLOODS: &str = "import os, select
while select.select([], [1], [], 0.5)[1]: os.write(1, bytes(4096))
os.write(2, b'full')
while True: os.write(1, bytes(4096))
";

#[test]
fn who_lingers_with_the_stream_is_not_waited_for() {
    let script = "sleep 60 2> /dev/null & echo $! done";
    let (child, ours) = started(sandbox(&LANDLOCK, &["sh", "-c", script]), &[1]);
    let said = text(ours);
    assert_eq!(code(child), Some(0));
    let pid = said.strip_suffix(" done\n").unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// Takes what comes by standard input: bytes, descriptors, flags; then offers one of its own, and says what came of that.
const TAKES: &str = "import array, os, socket
s = socket.socket(fileno=0)
taken, control, flags, _ = s.recvmsg(100, socket.CMSG_SPACE(4 * 200))
print(taken, control, flags, len(os.listdir('/proc/self/fd')), flush=True)
try: s.sendmsg([b'out'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [2]))])
except OSError as error: print(error.errno, flush=True)
else: print('sent', flush=True)
os.read(0, 1)";

/// Sends the program behind it, by its standard input, a descriptor of each kind, and looks for them in what codexrun has open.
const SENDS: &str = "import array, os, socket, subprocess, sys
ours, theirs = socket.socketpair()
child = subprocess.Popen(sys.argv[1:], stdin=theirs, stdout=subprocess.PIPE)
theirs.close()
kinds = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.create_server(('127.0.0.1', 0)), socket.socket(socket.AF_UNIX),
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)]
fds = array.array('i', [kind.fileno() for kind in kinds] + [os.open('/etc', os.O_RDONLY), os.memfd_create('codexrun-test')])
sent = [(fd.st_dev, fd.st_ino) for fd in map(os.fstat, fds)]
ours.sendmsg([b'in'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
print(child.stdout.readline().decode(), end='')
offered = child.stdout.readline().decode().strip()
# Linux 6.16 refuses it; before, the next write finds the stream at its end.
print(offered in ('1', '32', 'sent'), end=' ')
kept = [os.stat('/proc/%d/fd/%s' % (child.pid, fd)) for fd in os.listdir('/proc/%d/fd' % child.pid)]
print(len(kept) > 3, any((fd.st_dev, fd.st_ino) in sent for fd in kept), end=' ')
ours.send(b'x')
ours.shutdown(socket.SHUT_WR)
print(ours.recvmsg(100, 1000)[1], child.wait())";

fn sent(python: &mut Command, program: &Path, how: &[&str]) {
    let words = [&READ[..], how, &["--", PYTHON, "-c", TAKES]].concat();
    let output = python.args(["-c", SENDS]).arg(program).args(words).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "b'in' [] 0 4\nTrue True False [] 0\n", "{how:?}: {errors}");
}

#[test]
fn descriptors_pass_in_neither_direction_and_codexrun_keeps_none() {
    for how in [&[][..], &LANDLOCK] {
        sent(&mut Command::new(PYTHON), Path::new(env!("CARGO_BIN_EXE_codexrun")), how);
    }
}

/// With `any` they are there: the test above can fail.
#[test]
fn with_any_descriptors_pass() {
    let words = [&READ[..], &["--stdio-sockets", "any", "--", PYTHON, "-c", TAKES]].concat();
    let output =
        Command::new(PYTHON).args(["-c", SENDS, env!("CARGO_BIN_EXE_codexrun")]).args(words).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("b'in' [(1, 1, b'"), "{said}");
}

#[test]
fn the_callers_open_file_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    for waits in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(waits).unwrap();
        let flags = || OFlag::from_bits_retain(fcntl(&theirs, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK);
        let name = format!("ran{waits}");
        let script = format!("echo > {name}; read word");
        let mut command = writing(&["sh", "-c", &script]);
        command.current_dir(dir.path()).stdin(stream(&theirs)).stdout(stream(&theirs));
        let child = command.spawn().unwrap();
        appears(&dir.path().join(name));
        assert_eq!(flags(), waits, "while it runs");
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(code(child), Some(1));
        assert_eq!(flags(), waits, "afterwards");
        // Who else has it still can both.
        (&theirs).write_all(b"mine").unwrap();
        let mut four = [0; 4];
        (&ours).read_exact(&mut four).unwrap();
    }
}

const PACKETS: &str = "import socket, subprocess, sys
near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sys.exit(subprocess.run(sys.argv[1:], stdin=near).returncode)";

#[test]
fn packets_cannot_be_relayed_and_any_permits_them() {
    for (how, passes) in [(&[][..], false), (&LANDLOCK, false), (&["--stdio-sockets", "any"], true)] {
        let words = [&["-c", PACKETS, env!("CARGO_BIN_EXE_codexrun")], &READ[..], how, &["--", "true"]].concat();
        let output = Command::new(PYTHON).args(words).current_dir("/").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let sentence =
            "standard input is a Unix socket, of packets, and only streams can be relayed: by it whoever has its other end can";
        assert_eq!(output.status.success(), passes, "{how:?}: {said}");
        assert!(passes || said.contains(sentence) && said.contains("`--stdio-sockets any`"), "{how:?}: {said}");
    }
}

fn bundle(dir: &Path, options: &[&str], words: &[&str]) -> String {
    let bundle = dir.to_str().unwrap().to_owned();
    let spec = [&["spec", "--from-policy", "read-only", "--cwd", "/", "--bundle", &bundle], options, &["--"], words].concat();
    assert!(codexrun(&spec).status().unwrap().success());
    bundle
}

#[test]
fn where_nobody_stays_a_unix_socket_is_refused_and_with_any_it_passes() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("state").to_str().unwrap().to_owned();
    let plain = bundle(&dir.path().join("b"), &[], &["sleep", "600"]);
    let any = bundle(&dir.path().join("any"), &["--stdio-sockets", "any"], &["sleep", "600"]);
    let refused = |words: &[&str], expected: i32| {
        let (near, _far) = UnixStream::pair().unwrap();
        let output =
            codexrun(&[&["--root", &root], words].concat()).stdin(stream(&near)).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let sentence = "standard input is a Unix socket, and nobody stays to relay its bytes";
        assert!(said.contains(sentence) && said.contains("give it a pipe or a file; `--stdio-sockets any`"), "{words:?}: {said}");
        assert_eq!(output.status.code(), Some(expected), "{words:?}");
    };
    refused(&["run", "--detach", "-b", &plain, "c"], 1);
    refused(&["create", "-b", &plain, "c"], 1);
    let run = codexrun(&["--root", &root, "run", "--detach", "-b", &plain, "c"]).stderr(Stdio::null()).status().unwrap();
    assert!(run.success());
    refused(&["exec", "--detach", "c", "true"], 255);
    let (child, mut ours) = started(codexrun(&["--root", &root, "exec", "c", "cat"]), &[0, 1]);
    ours.write_all(b"through").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let said = text(ours);
    let foreground = code(child);
    let (near, _far) = UnixStream::pair().unwrap();
    let passes =
        codexrun(&["--root", &root, "run", "--detach", "-b", &any, "d"]).stdin(stream(&near)).stderr(Stdio::null()).status();
    for id in ["c", "d"] {
        codexrun(&["--root", &root, "delete", "--force", id]).status().unwrap();
    }
    assert_eq!((foreground, said.as_str(), passes.unwrap().code()), (Some(0), "through", Some(0)));
}

/// Codexrun reads and writes what the container's terminal says and is told: nothing else can come by it.
#[test]
fn with_a_terminal_of_its_own_nothing_is_refused() {
    let dir = TempDir::new().unwrap();
    let bundle = bundle(dir.path(), &[], &["sh", "-c", "tty; read word; echo \"$word\""]);
    let file = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["process"]["terminal"] = true.into();
    std::fs::write(&file, config.to_string()).unwrap();
    let (child, mut ours) = started(codexrun(&["run", &bundle]), &[0, 1]);
    ours.write_all(b"typed\n").unwrap();
    let said = text(ours);
    assert!(code(child) == Some(0) && said.contains("/dev/pts/0") && said.contains("typed"), "{said}");
}

/// More than any buffer holds, by hooks that run before anybody relays and after the streams are the command's.
#[test]
fn hooks_speak_to_the_caller() {
    let dir = TempDir::new().unwrap();
    let bundle = bundle(dir.path(), &[], &["sh", "-c", "echo command >&2"]);
    let file = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let hook = |letter: &str| {
        let script = format!("head -c 2000000 /dev/zero | tr '\\0' {letter} >&2; echo >&2");
        serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    config["hooks"] = serde_json::json!({
        "createRuntime": hook("r"), "createContainer": hook("c"), "startContainer": hook("s"), "poststop": hook("p"),
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let (child, ours) = started(codexrun(&["run", &bundle]), &[1, 2]);
    let said = text(ours);
    let lines: Vec<(usize, &str)> = said.lines().map(|line| (line.len(), &line[..line.len().min(7)])).collect();
    let hooks = ["rrrrrrr", "ccccccc", "sssssss"].map(|head| (2_000_000, head));
    assert_eq!(lines, [&hooks[..], &[(7, "command"), (2_000_000, "ppppppp")]].concat());
    assert_eq!(code(child), Some(0));
}

#[test]
fn what_keeps_the_command_from_starting_is_told_by_the_caller_s_socket() {
    let (child, ours) = started(sandbox(&[], &["/nonexistent/program"]), &[0, 1, 2]);
    let said = text(ours);
    assert!(code(child) == Some(127) && said.contains("/nonexistent/program"), "{said}");
}

#[test]
fn a_codexrun_that_is_killed_leaves_no_stream_open() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("state").to_str().unwrap().to_owned();
    let at = bundle(&dir.path().join("b"), &[], &["sleep", "600"]);
    let run = codexrun(&["--root", &root, "run", "--detach", "-b", &at, "c"]).stderr(Stdio::null()).status().unwrap();
    assert!(run.success());
    let mut said = std::io::pipe().unwrap();
    let mut command =
        codexrun(&["--root", &root, "exec", "c", "sh", "-c", "echo started; cat; echo ended >&2; cat /dev/zero; echo $? >&2"]);
    command.stderr(said.1);
    let (mut child, mut ours) = started(command, &[0, 1]);
    assert_eq!(line(&mut ours), "started\n");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let mut text = String::new();
    said.0.read_to_string(&mut text).unwrap();
    codexrun(&["--root", &root, "delete", "--force", "c"]).status().unwrap();
    assert!(text == "ended\n141\n" || text.is_empty(), "{text}");
}

#[test]
fn the_terminal_stops_a_codexrun_that_relays_and_it_goes_on() {
    let (child, mut ours) = started(sandbox(&[], &["cat"]), &[0, 1]);
    ours.write_all(b"a").unwrap();
    ours.read_exact(&mut [0]).unwrap();
    signalled(&child, Signal::SIGSTOP);
    ours.write_all(b"b").unwrap();
    signalled(&child, Signal::SIGCONT);
    let mut byte = [0];
    ours.read_exact(&mut byte).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!((byte, code(child)), ([b'b'], Some(0)));
}

/// Its pipes are Unix sockets.
const NODE: &str = "const { spawn } = require('child_process');
const child = spawn(process.argv[1], ['sandbox', '--', 'cat'], { cwd: '/' });
let heard = 0;
child.stdout.on('data', (bytes) => { heard += bytes.length; });
child.stderr.on('data', (bytes) => process.stderr.write(bytes));
child.on('close', (code) => console.log(code, heard));
child.stdin.end(Buffer.alloc(10 << 20));";

#[test]
fn a_child_of_node_s_is_served() {
    let Ok(output) = Command::new("node").args(["-e", NODE, env!("CARGO_BIN_EXE_codexrun")]).output() else {
        return eprintln!("skipped: no node");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, format!("0 {MANY}\n"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_ordinary_user_has_a_relay_too() {
    let Ok(Some(user)) = nix::unistd::User::from_name("codexrun-test") else {
        return eprintln!("skipped: no user codexrun-test");
    };
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: not root");
    }
    let program = std::env::temp_dir().join(format!("codexrun-test-relay-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_codexrun"), &program).unwrap();
    for how in [&[][..], &LANDLOCK] {
        let mut python = Command::new(PYTHON);
        python.env("HOME", "/nonexistent").uid(user.uid.as_raw()).gid(user.gid.as_raw());
        sent(&mut python, &program, how);
    }
    std::fs::remove_file(program).unwrap();
}
