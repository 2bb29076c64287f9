//! `SCMP_ACT_NOTIFY`: an agent behind `linux.seccomp.listenerPath` answers for a container's system calls.
#![allow(unsafe_code)] // an agent is a few ioctl(2)s

use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use tempfile::TempDir;

const ID: &str = "supervised";
const EXECVE: i32 = libc::SYS_execve as i32;
const SETSID: i32 = libc::SYS_setsid as i32;

/// A bundle, a state root and a listening agent.
struct Place(TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        self.codexrun(&["delete", "--force", ID]);
    }
}

impl Place {
    /// A container that runs `script`, whose calls of `names` are the agent's; `None` without a static busybox, which is said.
    fn new(script: &str, names: &[&str]) -> Option<Place> {
        let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists()) else {
            eprintln!("skipped: there is no busybox");
            return None;
        };
        let place = Place(tempfile::tempdir().unwrap());
        let bin = place.0.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in ["sh", "mkdir", "sleep", "true"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        let uid = nix::unistd::getuid().as_raw();
        let mut linux = json!({
            "namespaces": [{"type": "mount"}, {"type": "pid"}],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": place.0.path().join("agent"), "listenerMetadata": "for you",
                "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
            },
        });
        if uid != 0 {
            linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
            linux["gidMappings"] = json!([{"containerID": 0, "hostID": nix::unistd::getgid().as_raw(), "size": 1}]);
        }
        place.write(&json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"],
                "noNewPrivileges": true},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            ],
            "annotations": {"org.example": "x"},
            "linux": linux,
        }));
        Some(place)
    }

    /// A container that confines nothing and runs a sandbox, which asks for the version of Landlock's interface.
    fn around(options: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let policy = ["spec", "--from-policy", "danger-full-access", "--bundle", ".", "--cwd", "/", "--"];
        let sandbox = [env!("CARGO_BIN_EXE_codexrun"), "sandbox", "--policy", "read-only"].into_iter().chain(options.split(' '));
        let words: Vec<&str> = policy.into_iter().chain(sandbox).chain(["--", "echo", "started"]).collect();
        assert_eq!(place.codexrun(&words).0, 0);
        let agent = place.0.path().join("agent");
        place.edit(|spec| {
            let version = json!({"index": 2, "value": 1, "op": "SCMP_CMP_EQ"});
            spec["process"]["noNewPrivileges"] = true.into();
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent,
                "syscalls": [{"names": ["landlock_create_ruleset"], "action": "SCMP_ACT_NOTIFY", "args": [version]}],
            });
        })
    }

    fn write(&self, spec: &Value) {
        fs::write(self.0.path().join("config.json"), spec.to_string()).unwrap();
    }

    fn edit(self, change: impl FnOnce(&mut Value)) -> Self {
        let mut spec = serde_json::from_slice(&fs::read(self.0.path().join("config.json")).unwrap()).unwrap();
        change(&mut spec);
        self.write(&spec);
        self
    }

    /// Listens, and answers for so many processes as `answer` says.
    fn agent(&self, processes: usize, answer: fn(i32) -> Answer) -> JoinHandle<Vec<Seen>> {
        let listener = UnixListener::bind(self.0.path().join("agent")).unwrap();
        let one = move |stream| std::thread::spawn(move || supervise(stream, answer));
        std::thread::spawn(move || {
            let all: Vec<_> = (0..processes).map(|_| one(listener.accept().unwrap().0)).collect();
            all.into_iter().map(|agent| agent.join().unwrap()).collect()
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        let root = self.0.path().join("state");
        command.arg("--root").arg(root).args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn codexrun(&self, words: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    /// Nobody may hold a pipe of ours open.
    fn create(&self) -> i32 {
        let file = |name: &str| fs::File::create(self.0.path().join(name)).unwrap();
        let mut create = self.command(&["create", ID]);
        create.stdout(file("out")).stderr(file("err")).status().unwrap().code().unwrap()
    }

    fn pid(&self) -> Value {
        serde_json::from_str::<Value>(&self.codexrun(&["state", ID]).1).unwrap()["pid"].clone()
    }
}

/// What one process was to its agent.
struct Seen {
    /// The container process state.
    state: Value,
    /// Which calls it made.
    calls: Vec<i32>,
}

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Answer {
    /// The kernel performs it.
    GoOn,
    /// It returns this.
    Return(i64),
    /// It fails with this.
    Fail(i32),
}

/// One connection to its end, then every call until the process has ended.
fn supervise(mut stream: UnixStream, answer: fn(i32) -> Answer) -> Seen {
    let (mut text, listener) = first_message(&stream);
    stream.read_to_end(&mut text).unwrap();
    let state = serde_json::from_slice(&text).unwrap();
    let mut calls = Vec::new();
    while let Some(notification) = receive(&listener) {
        calls.push(notification.data.nr);
        respond(&listener, notification.id, answer(notification.data.nr));
    }
    Seen { state, calls }
}

fn first_message(stream: &UnixStream) -> (Vec<u8>, OwnedFd) {
    let mut bytes = vec![0u8; 64];
    let mut control = [0u64; 8];
    let mut data = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: plain data, valid when zeroed.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control) as _);
    // SAFETY: the message refers to live buffers.
    let read = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    bytes.truncate(usize::try_from(read).expect("a message"));
    // SAFETY: the kernel has filled the control buffer in.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() }.expect("a descriptor with the first byte");
    // SAFETY: takes no pointers.
    let one = unsafe { libc::CMSG_LEN(size_of::<i32>() as u32) } as usize;
    assert_eq!((header.cmsg_type, header.cmsg_len as usize), (libc::SCM_RIGHTS, one), "one descriptor");
    // SAFETY: it carries one descriptor, which is ours now.
    (bytes, unsafe { OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned()) })
}

/// The next call; `None` once nobody is left under the filter.
fn receive(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    loop {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live struct pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1, "the container makes a call, or ends");
        if poll.revents & libc::POLLIN == 0 {
            return None;
        }
        // SAFETY: plain data, valid when zeroed.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: a live struct seccomp_notif, zeroed as the kernel asks.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut notification) } == 0 {
            return Some(notification);
        }
    }
}

fn respond(listener: &OwnedFd, id: u64, answer: Answer) {
    let response = match answer {
        Answer::GoOn => libc::seccomp_notif_resp { id, val: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 },
        Answer::Return(val) => libc::seccomp_notif_resp { id, val, error: 0, flags: 0 },
        Answer::Fail(errno) => libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 },
    };
    // SAFETY: a live struct seccomp_notif_resp. A process that was killed meanwhile needs no answer.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response) };
}

const PRETEND: &str = "mkdir /tmp/a && echo made; test -d /tmp/a || echo nowhere";

#[test]
fn the_agent_answers_for_the_container() {
    for (no_new_privileges, init) in [(true, false), (true, true), (false, false), (false, true)] {
        let Some(place) = Place::new(PRETEND, &["mkdir", "mkdirat"]) else { return };
        let place = place.edit(|spec| {
            spec["process"]["noNewPrivileges"] = no_new_privileges.into();
            spec["annotations"] = if init { json!({"dev.codexrun.init": "reaper"}) } else { json!({"org.example": "x"}) };
        });
        let agent = place.agent(1, |_| Answer::Return(0));
        assert_eq!(place.codexrun(&["run", ID]), (0, "made\nnowhere\n".into(), String::new()));
        let seen = agent.join().unwrap().remove(0);
        let pid = seen.state["pid"].clone();
        assert!(seen.calls.len() == 1 && pid.as_i64() > Some(1), "{:?} {pid}", seen.calls);
        let status = if no_new_privileges { "created" } else { "creating" };
        let state = json!({"ociVersion": "1.0.2", "id": ID, "status": status, "pid": pid,
            "bundle": place.0.path(), "annotations": seen.state["state"]["annotations"]});
        let expected = json!({"ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": pid, "metadata": "for you", "state": state});
        assert_eq!(seen.state, expected);
        assert!(init || seen.state["state"]["annotations"]["org.example"] == "x");
    }
}

/// Neither the message to the agent nor the end of the thread that sends it is under the filter: only the look at the program is.
#[test]
fn every_call_may_be_the_agents_and_none_is_made_for_its_sake() {
    for init in [false, true] {
        let Some(place) = Place::new("exec /bin/true", &["getpid"]) else { return };
        let place = place.edit(|spec| {
            spec["linux"]["seccomp"]["defaultAction"] = "SCMP_ACT_NOTIFY".into();
            spec["linux"]["seccomp"]["syscalls"] = json!([]);
            if init {
                spec["annotations"]["dev.codexrun.init"] = "reaper".into();
            }
        });
        let agent = place.agent(1, |_| Answer::GoOn);
        assert_eq!(place.codexrun(&["run", ID]), (0, String::new(), String::new()));
        let calls = agent.join().unwrap().remove(0).calls;
        let look = [libc::SYS_openat2, libc::SYS_read, libc::SYS_fcntl, libc::SYS_close].map(|nr| nr as i32);
        let before = calls.iter().take_while(|nr| **nr != EXECVE);
        assert!(before.clone().all(|nr| look.contains(nr)), "{calls:?}");
        assert_eq!(calls.iter().filter(|nr| **nr == EXECVE).count(), 2, "{calls:?}");
    }
}

/// Without no_new_privs the filter is there before ids and capabilities are: what codexrun does after it is the agent's too.
#[test]
fn an_early_filter_finds_the_agent_ready_for_what_codexrun_does_next() {
    let Some(place) = Place::new("exec /bin/true", &["setsid", "execve"]) else { return };
    let place = place.edit(|spec| spec["process"]["noNewPrivileges"] = false.into());
    let agent = place.agent(1, |_| Answer::GoOn);
    assert_eq!(place.codexrun(&["run", ID]), (0, String::new(), String::new()));
    assert_eq!(agent.join().unwrap().remove(0).calls, [SETSID, EXECVE, EXECVE]);
}

#[test]
fn a_created_container_is_supervised_from_its_start_and_each_exec_has_a_state_of_its_own() {
    let Some(place) = Place::new("mkdir /tmp/a; exec sleep 60", &["mkdir", "mkdirat"]) else { return };
    let agent = place.agent(2, |_| Answer::Fail(libc::EUCLEAN));
    assert_eq!(place.create(), 0);
    assert_eq!(place.codexrun(&["start", ID]), (0, String::new(), String::new()));
    let first = place.pid();
    let (code, out, err) = place.codexrun(&["exec", ID, "mkdir", "/tmp/b"]);
    assert!((code, out.as_str()) == (1, "") && err.contains("Structure needs cleaning"), "{code} {out} {err}");
    place.codexrun(&["delete", "--force", ID]);
    let seen = agent.join().unwrap();
    let [one, two] = [&seen[0], &seen[1]];
    assert_eq!((&one.state["pid"], &one.state["state"]["pid"]), (&first, &first));
    assert_eq!((&two.state["state"]["pid"], &two.state["state"]["status"]), (&first, &json!("running")));
    assert_eq!((&two.state["state"]["id"], &two.state["metadata"]), (&json!(ID), &json!("for you")));
    assert!(two.state["pid"] != first && two.state["pid"].as_i64() > Some(1), "{}", two.state);
    assert_eq!([one.calls.len(), two.calls.len()], [1, 1]);
    assert!(fs::read_to_string(place.0.path().join("err")).unwrap().contains("Structure needs cleaning"));
}

#[test]
fn without_an_agent_there_is_no_container() {
    let Some(place) = Place::new("true", &["mkdir"]) else { return };
    let (code, _, said) = place.codexrun(&["run", ID]);
    let path = place.0.path().join("agent");
    let wanted = format!("linux.seccomp.listenerPath: failed to connect with seccomp agent at `{}`: ENOENT", path.display());
    assert!(code == 1 && said.contains(&wanted), "{said}");
    assert!(!place.0.path().join("state").join(ID).exists());
}

#[test]
fn an_agent_that_goes_away_before_the_start_makes_it_fail() {
    let Some(place) = Place::new("echo ran", &["mkdir"]) else { return };
    let listener = UnixListener::bind(place.0.path().join("agent")).unwrap();
    assert_eq!(place.create(), 0);
    drop(listener.accept().unwrap());
    let (code, _, said) = place.codexrun(&["start", ID]);
    assert!(code == 1 && said.contains("linux.seccomp: cannot load a filter") && said.contains("EPIPE"), "{said}");
    assert!(said.contains("the agent has closed the connection"), "{said}");
    assert_eq!(fs::read_to_string(place.0.path().join("out")).unwrap(), "");
}

#[test]
fn what_cannot_be_answered_is_refused_before_anything_is_made() {
    let refused = |change: fn(&mut Value), about: &str| {
        let Some(place) = Place::new("true", &["mkdir"]) else { return };
        let place = place.edit(|spec| change(&mut spec["linux"]["seccomp"]));
        let (code, _, said) = place.codexrun(&["run", ID]);
        assert!(code == 1 && said.contains(about), "{said}");
    };
    refused(|s| s["listenerPath"] = Value::Null, "linux.seccomp.listenerMetadata: is set without `listenerPath`");
    refused(|s| s["listenerPath"] = Value::Null, "linux.seccomp.listenerPath: is missing: `SCMP_ACT_NOTIFY` asks an agent");
    refused(|s| s["listenerPath"] = "agent".into(), "linux.seccomp.listenerPath: `agent` is not an absolute path");
    refused(
        |s| s["listenerPath"] = format!("/{}", "x".repeat(107)).into(),
        "linux.seccomp.listenerPath: has more than 107 bytes",
    );
}

#[test]
fn a_listener_of_a_filter_that_never_asks_is_not_called() {
    let Some(place) = Place::new("echo ran", &["mkdir"]) else { return };
    let place = place.edit(|spec| spec["linux"]["seccomp"]["syscalls"][0]["action"] = "SCMP_ACT_ERRNO".into());
    let (code, out, err) = place.codexrun(&["run", ID]);
    assert_eq!((code, out.as_str()), (0, "ran\n"));
    assert!(err.contains("config.json: linux.seccomp.listenerPath: has no effect, as no action is `SCMP_ACT_NOTIFY`"), "{err}");
}

/// What it answers about Landlock; what is asked of it; what it lacks.
type Kernel<'a> = (fn(i32) -> Answer, &'a str, &'a [&'a str]);

/// An agent speaks for an older kernel: what it lacks is named, and nothing starts; what is given up by name does without. (A sandbox with
/// namespaces has a listener of its own, of which the kernel permits one.)
#[test]
fn a_right_that_landlock_lacks_stops_the_launch_by_its_name() {
    let alone = "--isolation=landlock --accept-loss=processes";
    let older = format!("{alone} --accept-loss=signals,abstract-sockets");
    let oldest = format!("{older} --accept-loss=device-ioctl");
    let kernels: [Kernel; 8] = [
        (|_| Answer::Fail(libc::EOPNOTSUPP), "--landlock", &["this kernel has no Landlock, or has it switched off"]),
        (|_| Answer::Fail(libc::ENOSYS), alone, &["this kernel has no Landlock, or has it switched off"]),
        (|_| Answer::Return(3), "--tcp-ports=none", &["`connect_tcp` needs Landlock's ABI 4 (Linux 6.7); this kernel has ABI 3"]),
        (|_| Answer::Return(4), "--landlock", &["`ioctl_dev` needs Landlock's ABI 5", "`abstract_unix_socket`, `signal` needs"]),
        (
            |_| Answer::Return(5),
            alone,
            &["`abstract_unix_socket`, `signal` needs Landlock's ABI 6 (Linux 6.12); this kernel has ABI 5"],
        ),
        (|_| Answer::Return(5), &older, &[]),
        (|_| Answer::Return(4), &older, &["`ioctl_dev` needs Landlock's ABI 5 (Linux 6.10); this kernel has ABI 4"]),
        (|_| Answer::Return(4), &oldest, &[]),
    ];
    for (kernel, options, lacks) in kernels {
        let place = Place::around(options);
        let agent = place.agent(1, kernel);
        let (code, out, err) = place.codexrun(&["run", ID]);
        assert!(!agent.join().unwrap().remove(0).calls.is_empty(), "{options}: the kernel was asked");
        let begins = lacks.is_empty();
        let expected = if begins { (0, "started\n") } else { (1, "") };
        assert!((code, out.as_str()) == expected && lacks.iter().all(|lack| err.contains(lack)), "{options}: {code} {out} {err}");
    }
}
