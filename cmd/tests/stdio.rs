//! Sockets as standard streams: one conversation passes, and what reaches others than its other end does not.

use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::openpty;
use nix::sys::termios;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// With the stream as standard input: (code, stdout, stderr).
fn with(stream: impl Into<OwnedFd>, words: &[&str]) -> (i32, String, String) {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
    let output = command.args(words).current_dir(dir.path()).stdin(Stdio::from(stream.into())).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const STARTED: [&str; 3] = ["--", "echo", "started"];

fn sandbox(options: &[&str]) -> Vec<String> {
    ["sandbox"].iter().chain(options).chain(&STARTED).map(ToString::to_string).collect()
}

fn passes(stream: impl Into<OwnedFd>, options: &[&str]) {
    let words = sandbox(options);
    let said = with(stream, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((said.0, said.1.as_str()), (0, "started\n"), "{options:?}: {}", said.2);
}

fn stops(stream: impl Into<OwnedFd>, options: &[&str]) {
    let words = sandbox(options);
    let (code, out, err) = with(stream, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((code, out.as_str()), (1, ""), "{options:?}: {err}");
    assert!(err.contains("standard input is a socket that is no connection") && err.contains("`--stdio-sockets any`"), "{err}");
}

/// A connection's client; its server stays open.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

const OPEN: &str = r#"{"type": "workspace-write", "network_access": true}"#;

fn policy() -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("open.json");
    std::fs::write(&file, OPEN).unwrap();
    let name = file.to_str().unwrap().to_owned();
    (dir, name)
}

#[test]
fn a_conversation_is_what_its_caller_gave() {
    let (client, _server) = connected();
    passes(client, &[]);
    passes(UnixStream::pair().unwrap().0, &[]);
    let (gone, _) = UnixStream::pair().unwrap();
    passes(gone, &[]);
}

#[test]
fn a_socket_that_reaches_others_is_refused_and_has_a_switch() {
    let dir = TempDir::new().unwrap();
    let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
    bound.connect("127.0.0.1:9").unwrap();
    stops(bound.try_clone().unwrap(), &[]);
    stops(UdpSocket::bind("127.0.0.1:0").unwrap(), &[]);
    stops(TcpListener::bind("127.0.0.1:0").unwrap(), &[]);
    stops(UnixListener::bind(dir.path().join("s")).unwrap(), &[]);
    stops(UnixDatagram::pair().unwrap().0, &[]);
    stops(UnixDatagram::unbound().unwrap(), &[]);
    stops(UnixDatagram::unbound().unwrap(), &LANDLOCK);
    passes(bound.try_clone().unwrap(), &["--stdio-sockets"]);
    passes(bound, &["--stdio-sockets", "any"]);
    passes(UnixDatagram::unbound().unwrap(), &["--policy", "danger-full-access"]);
}

#[test]
fn where_the_network_is_on_sockets_of_it_pass_and_others_do_not() {
    let (_dir, open) = policy();
    passes(UdpSocket::bind("127.0.0.1:0").unwrap(), &["--policy", &open]);
    passes(TcpListener::bind("127.0.0.1:0").unwrap(), &["--policy", &open]);
    stops(UnixDatagram::unbound().unwrap(), &["--policy", &open]);
}

const LANDLOCK: [&str; 4] = ["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes"];

/// With a socket as the stream of this number and pipes as the others: the code, what was said, and whether the command ran.
fn with_socket(number: usize, socket: impl Into<OwnedFd>, words: &[&str]) -> (i32, String, bool) {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
    command.arg("sandbox").args(words).args(["--", "sh", "-c", "echo > ran"]).current_dir(dir.path());
    let (socket, mut said) = (Stdio::from(socket.into()), std::io::pipe().unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.1);
    match number {
        0 => command.stdin(socket),
        1 => command.stdout(socket),
        _ => command.stderr(socket),
    };
    let code = command.status().unwrap().code().unwrap();
    drop(command);
    let mut text = String::new();
    said.0.read_to_string(&mut text).unwrap();
    (code, text, dir.path().join("ran").exists())
}

#[test]
fn where_none_may_be_a_stream_each_socket_is_refused_before_the_command_runs() {
    let (_dir, open) = policy();
    let full = ["--policy", "danger-full-access"];
    for how in [&[][..], &LANDLOCK, &["--policy", &open], &full] {
        let none = [how, &["--stdio-sockets", "none"]].concat();
        for (number, name) in ["input", "output"].into_iter().enumerate() {
            let (pair, (client, _server)) = (UnixStream::pair().unwrap(), connected());
            for socket in [OwnedFd::from(pair.0), client.into(), UnixDatagram::unbound().unwrap().into()] {
                let (code, said, ran) = with_socket(number, socket, &none);
                let sentence = format!("standard {name} is a socket, and the policy permits none");
                assert!(
                    code == 1 && said.contains(&sentence) && said.contains("give it a pipe") && !ran,
                    "{how:?}: {code} {said}"
                );
                assert_eq!(said.matches("codexrun: error:").count(), 1, "{said}");
            }
        }
        let (near, mut far) = UnixStream::pair().unwrap();
        let (code, _, ran) = with_socket(2, near, &none);
        let mut said = String::new();
        far.read_to_string(&mut said).unwrap();
        assert!(code == 1 && !ran && said.contains("standard error is a socket, and the policy permits none"), "{how:?}: {said}");
        passes(std::io::pipe().unwrap().0, &none);
    }
}

#[test]
fn without_that_choice_all_three_may_be_pairs() {
    for how in [&[][..], &LANDLOCK] {
        for number in 0..3 {
            let (near, _far) = UnixStream::pair().unwrap();
            let (code, said, ran) = with_socket(number, near, how);
            assert!(code == 0 && ran, "{how:?}, {number}: {said}");
        }
    }
}

#[test]
fn a_policy_says_that_none_may_be_a_stream_and_a_switch_goes_over_it() {
    let dir = TempDir::new().unwrap();
    let forms = [
        ("p.json", r#"{"type": "workspace-write", "codexrun": {"stdio_sockets": "none"}}"#),
        ("p.toml", "sandbox_mode = 'workspace-write'\n[codexrun]\nstdio_sockets = 'none'\n"),
    ];
    for (name, text) in forms {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let policy = ["--policy", file.to_str().unwrap()];
        let (code, said, ran) = with_socket(0, UnixStream::pair().unwrap().0, &policy);
        assert!(code == 1 && !ran && said.contains("standard input is a socket"), "{name}: {said}");
        passes(UnixDatagram::unbound().unwrap(), &[&policy[..], &["--stdio-sockets", "any"]].concat());
    }
}

#[test]
fn a_bundle_says_that_none_may_be_a_stream_to_run_create_and_exec() {
    let dir = TempDir::new().unwrap();
    let [bundle, root] = ["b", "state"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    let pipe = || std::io::pipe().unwrap().0;
    let pair = || UnixStream::pair().unwrap().0;
    let spec = ["spec", "--from-policy", "read-only", "--stdio-sockets", "none", "--cwd", "/", "--bundle", &bundle];
    let made = with(pair(), &[&spec[..], &["--", "sleep", "600"]].concat());
    assert_eq!(made.0, 0, "{}", made.2);
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("b/config.json")).unwrap()).unwrap();
    assert_eq!(config["annotations"]["dev.codexrun.stdio-sockets"], "none");
    let refused = |how: (i32, String, String), code: i32| {
        let said = how.2.contains("standard input is a socket, and the policy permits none");
        assert!((how.0, how.1.as_str(), said) == (code, "", true), "{how:?}");
    };
    refused(with(pair(), &["run", &bundle]), 1);
    for verb in ["run", "create"] {
        refused(with(pair(), &["--root", &root, verb, "-b", &bundle, "c"]), 1);
    }
    assert_eq!(with(pipe(), &["--root", &root, "list", "--quiet"]).1, "");
    let said = dir.path().join("said");
    let started = with_files(&said, &["--root", &root, "run", "--detach", "-b", &bundle, "c"]);
    assert_eq!(started, 0, "{}", std::fs::read_to_string(&said).unwrap());
    let exec = ["--root", &root, "exec", "c", "echo", "started"];
    let (by_pair, by_pipe) = (with(pair(), &exec), with(pipe(), &exec));
    let deleted = with(pipe(), &["--root", &root, "delete", "--force", "c"]);
    assert_eq!(deleted.0, 0, "{}", deleted.2);
    refused(by_pair, 255);
    assert_eq!((by_pipe.0, by_pipe.1.as_str()), (0, "started\n"), "{}", by_pipe.2);
}

/// What stays behind has no pipe of ours.
fn with_files(said: &Path, words: &[&str]) -> i32 {
    let file = std::fs::File::create(said).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    command.status().unwrap().code().unwrap()
}

/// Dissolved (AF_UNSPEC) it would listen in the caller's network, where there is neither a namespace nor a broker.
const DISSOLVE: &str = "import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
print(libc.connect(0, struct.pack('HH12x', 0, 0), 16), ctypes.get_errno())
print(libc.listen(0, 5), ctypes.get_errno())";

#[test]
fn a_connection_becomes_no_listener() {
    let landlock = ["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes,carve-outs"];
    for isolation in [&landlock[..], &[]] {
        let (client, _server) = connected();
        let words = [&["sandbox"], isolation, &["--", "/usr/bin/python3", "-c", DISSOLVE]].concat();
        let (code, out, err) = with(client, &words);
        assert_eq!((code, out.as_str()), (0, "-1 1\n-1 1\n"), "{err}");
    }
}

/// With a connection of MPTCP as standard input.
const BY_MPTCP: &str = "import socket, subprocess, sys
try:
    near, far = (socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) for _ in range(2))
except OSError as error:
    sys.exit(f'skipped: {error}')
near.bind(('127.0.0.1', 0))
near.listen()
far.connect(near.getsockname())
sys.exit(subprocess.run(sys.argv[1:], stdin=far).returncode)";

/// Dissolved it could be made again to any port: Landlock's rules are about TCP. With the network on every port is reached in any case.
#[test]
fn a_connection_of_another_protocol_is_refused_unless_the_network_is_on() {
    let (_dir, open) = policy();
    for (policy, code) in [("workspace-write", 1), (&open, 0)] {
        let words = ["-c", BY_MPTCP, env!("CARGO_BIN_EXE_codexrun"), "sandbox", "--policy", policy, "--", "true"];
        let output = Command::new("/usr/bin/python3").args(words).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        if err.starts_with("skipped") {
            return eprintln!("{err}");
        }
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert_eq!(err.contains("standard input is a socket that is no connection"), code == 1, "{err}");
    }
}

/// What a policy said is in config.json; without a policy `run` is as runc.
#[test]
fn a_bundle_is_refused_by_its_annotation_alone() {
    let dir = TempDir::new().unwrap();
    let bundle = dir.path().to_str().unwrap();
    let made = with(
        UnixStream::pair().unwrap().0,
        &["spec", "--from-policy", "read-only", "--cwd", "/", "--bundle", bundle, "--", "echo", "started"],
    );
    assert_eq!(made.0, 0, "{}", made.2);
    let (code, out, err) = with(UnixDatagram::unbound().unwrap(), &["run", bundle]);
    assert!(code == 1 && out.is_empty() && err.contains("is a socket that is no connection"), "{err}");
    let file = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["annotations"]["dev.codexrun.stdio-sockets"], "connected");
    config["annotations"].as_object_mut().unwrap().remove("dev.codexrun.stdio-sockets");
    std::fs::write(&file, config.to_string()).unwrap();
    let (code, out, err) = with(UnixDatagram::unbound().unwrap(), &["run", bundle]);
    assert_eq!((code, out.as_str()), (0, "started\n"), "{err}");
}

/// What has no name as a stream: the program behind it gets it as standard input.
const STRANGE: &str = "import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
kinds = {
    'eventfd': lambda: os.eventfd(0),
    'pidfd': lambda: os.pidfd_open(os.getppid()),
    'namespace': lambda: os.open('/proc/self/ns/net', os.O_RDONLY),
    'epoll': lambda: libc.epoll_create1(0),
    'ring': lambda: libc.syscall(425, 4, ctypes.create_string_buffer(240)),
    'inotify': lambda: libc.inotify_init1(0),
    'queue': lambda: libc.mq_open(b'/codexrun-test-%d' % os.getpid(), os.O_RDWR | os.O_CREAT, 0o600, None),
    'path': lambda: os.open('/etc', os.O_PATH),
    'memory': lambda: os.memfd_create('codexrun-test'),
    'null': lambda: os.open('/dev/null', os.O_RDWR),
    'random': lambda: os.open('/dev/urandom', os.O_RDONLY),
    'log': lambda: os.open('/dev/kmsg', os.O_WRONLY),
    'terminal': lambda: os.openpty()[1],
    'pipe': lambda: os.pipe()[0],
}
try:
    stream = kinds[sys.argv[1]]()
except OSError:
    stream = -1
if stream < 0:
    sys.exit('skipped: %s cannot be had' % sys.argv[1])
code = subprocess.run(sys.argv[2:], stdin=stream).returncode
libc.mq_unlink(b'/codexrun-test-%d' % os.getpid())
sys.exit(code)";

fn strange(kind: &str, words: &[&str]) -> (i32, String) {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new("/usr/bin/python3");
    let command = command.args(["-c", STRANGE, kind, env!("CARGO_BIN_EXE_codexrun"), "sandbox"]).args(words);
    let output = command.args(["--", "true"]).current_dir(dir.path()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_neither_bytes_nor_a_connection_is_refused_by_one_sentence() {
    let landlock = ["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes"];
    for kind in ["eventfd", "pidfd", "namespace", "epoll", "ring", "inotify", "queue", "log"] {
        for options in [&[][..], &["--stdio-sockets"], &landlock] {
            let (code, err) = strange(kind, options);
            if err.starts_with("skipped") {
                eprintln!("{err}");
                continue;
            }
            let said = "standard input is no file, pipe, terminal or connection: by it the command could reach past the policy";
            assert!(code == 1 && err.contains(said) && err.contains("/dev/null"), "{kind} {options:?}: {code} {err}");
        }
    }
    assert_eq!(strange("path", &[]).0, 1, "a directory");
    assert_eq!(strange("eventfd", &["--policy", "danger-full-access"]).0, 0);
}

#[test]
fn files_pipes_terminals_and_dev_null_pass() {
    for kind in ["memory", "null", "random", "terminal", "pipe"] {
        assert_eq!(strange(kind, &[]), (0, String::new()), "{kind}");
    }
}

/// A terminal's modes, and the flags of the file by which it is open.
fn state(terminal: &OwnedFd) -> (Vec<u32>, i32) {
    let modes = termios::tcgetattr(terminal).unwrap();
    let flags = [modes.input_flags.bits(), modes.output_flags.bits(), modes.local_flags.bits()];
    (flags.to_vec(), fcntl(terminal, FcntlArg::F_GETFL).unwrap())
}

#[test]
fn the_callers_terminal_is_afterwards_as_it_was() {
    let pty = openpty(None, None).unwrap();
    let before = state(&pty.slave);
    // The flags of the file are octal; 04000 is O_NONBLOCK.
    let script = "stty raw -echo -isig && dd iflag=nonblock count=0 2>/dev/null; grep flags /proc/self/fdinfo/0; stty -a | grep -o -e -isig";
    let dir = TempDir::new().unwrap();
    for how in [&["--policy", "read-only"][..], &["--isolation", "landlock", "--policy", "read-only"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        command.arg("sandbox").args(how).args(["--", "sh", "-c", script]).current_dir(dir.path());
        let output = command.stdin(Stdio::from(pty.slave.try_clone().unwrap())).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if how.len() > 2 && !output.status.success() {
            eprintln!("skipped: no Landlock: {}", String::from_utf8_lossy(&output.stderr));
            continue;
        }
        assert!(said.contains("04") && said.contains("-isig"), "it was changed inside: {output:?}");
        assert_eq!(state(&pty.slave), before, "{how:?}");
    }
}

#[test]
fn a_terminal_that_was_shut_to_others_is_open_to_them_again() {
    if !Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no /usr/bin/python3");
    }
    let pty = openpty(None, None).unwrap();
    let exclusive = "import fcntl, struct; print(*struct.unpack('i', fcntl.ioctl(0, 0x80045440, bytes(4))))";
    let shut = format!("import fcntl, termios; fcntl.ioctl(0, termios.TIOCEXCL); {exclusive}");
    let (code, out, err) = with(pty.slave.try_clone().unwrap(), &["sandbox", "--", "/usr/bin/python3", "-c", &shut]);
    assert_eq!((code, out.as_str()), (0, "1\n"), "{err}");
    let after = Command::new("/usr/bin/python3").args(["-c", exclusive]).stdin(Stdio::from(pty.slave)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&after.stdout), "0\n");
}

/// tcflow(3), TCOOFF; what it says comes by standard output, which is no terminal.
const STOPS: &str = "
import fcntl, termios
try: print(fcntl.ioctl(0, termios.TCXONC, 0))
except OSError as e: print(e.errno)
";

#[test]
fn a_terminal_that_is_stopped_goes_on_and_under_a_filter_it_is_not_stopped_at_all() {
    if !Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no /usr/bin/python3");
    }
    for (options, said) in [
        (&["--policy", "danger-full-access"][..], "0\n"),
        (&["--policy", "read-only"], "1\n"),
        (&["--policy", "read-only", "--isolation", "landlock", "--accept-loss", "processes"], "1\n"),
    ] {
        let pty = openpty(None, None).unwrap();
        let words = [&["sandbox"], options, &["--", "/usr/bin/python3", "-c", STOPS]].concat();
        let (code, out, err) = with(pty.slave.try_clone().unwrap(), &words);
        assert_eq!((code, out.as_str()), (0, said), "{options:?}: {err}");
        fcntl(&pty.slave, FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        assert_eq!(std::fs::File::from(pty.slave).write(b"on").unwrap(), 2, "{options:?}");
    }
}

/// Makes the terminal its own, which the kernel permits of one that no session has, and types into it.
const TYPES: &str = "
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
for byte in b'id\\n':
    try: fcntl.ioctl(0, termios.TIOCSTI, bytes([byte]))
    except OSError as e: print(e.errno)
";

#[test]
fn nothing_is_typed_into_a_terminal_that_no_session_has() {
    if !Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no /usr/bin/python3");
    }
    let (file, policy) = policy();
    for options in [
        &["--policy", "read-only"][..],
        &["--policy", &policy],
        &["--policy", "read-only", "--isolation", "landlock", "--accept-loss", "processes"],
    ] {
        let pty = openpty(None, None).unwrap();
        let words = [&["sandbox"], options, &["--", "/usr/bin/python3", "-c", TYPES]].concat();
        let (code, out, err) = with(pty.slave.try_clone().unwrap(), &words);
        assert_eq!((code, out.as_str()), (0, "1\n1\n1\n"), "{options:?}: {err}");
        fcntl(&pty.slave, FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        let read = std::fs::File::from(pty.slave).read(&mut [0; 8]);
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{options:?}");
    }
    drop(file);
}
