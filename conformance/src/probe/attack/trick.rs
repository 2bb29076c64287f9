//! Attempts of several steps: verbs of the probe, and what no table of calls can hold.

use super::row::open;
use super::{Attempt, Wall, World};
use crate::outcome::{Fail, Outcome, word};
use crate::syscall::{Arg, call, fork, text};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Verbs that the policy matrix asks too, each of which succeeds when it is through.
#[rustfmt::skip]
const VERBS: &[(Wall, &str)] = &[
    (Wall::Network, "tcp {tcp}"),
    (Wall::Network, "udp {udp}"),
    (Wall::Network, "unix-stream {w}/host.sock"),
    (Wall::Network, "unix-stream {tmp}.sock"),
    (Wall::Network, "unix-stream /proc/self/root{w}/host.sock"),
    (Wall::Network, "unix-abstract {name}"),
    (Wall::Network, "unix-sendto {w}/host.dgram"),
    (Wall::Network, "unix-sendmsg {w}/host.dgram"),
    (Wall::Network, "unix-sendmmsg {w}/host.dgram"),
    (Wall::Network, "unix-sendto {tmp}.dgram"),
    (Wall::Network, "unix-dgram-connect {w}/host.dgram"),
    (Wall::Network, "pair-dgram-connect {w}/host.dgram"),
    (Wall::Network, "pair-dgram-sendto {w}/host.dgram"),
    (Wall::Network, "i386-sendto {w}/host.dgram"),
    (Wall::Always, "process-vm-read {pid}"),
    (Wall::Always, "perf"),
    (Wall::Always, "raise-rlimit"),
    (Wall::Metadata, "userns-write {w}/.git {w}/.git/config"),
    (Wall::Files, "userns-write {out} {out}/file.txt"),
    (Wall::Files, "link-write {out}/file.txt {w}/bin/hard"),
    (Wall::Files, "symlink-write {out}/file.txt {w}/bin/soft"),
    (Wall::Files, "write {w}/escape"),
    (Wall::Files, "create {w}/escapedir/made"),
];

/// What it is kept from by, its name, the calls that it is about, and how it is done.
type Trick = (Wall, &'static str, &'static [&'static str], fn(&World) -> Outcome);

/// More steps, or a thread of two.
const TRICKS: &[Trick] = &[
    (Wall::Always, "a descriptor of the caller's", &["fcntl"], |_| inherited()),
    (Wall::Always, "a program that is another user's", &["execve"], |world| setuid(&world.fill("{out}/suid"))),
    (Wall::Always, "a process group outside", &["getpgid"], |_| group()),
    (Wall::Files, "a descriptor to read opened again to write", &["openat"], |world| again(world, libc::O_RDONLY)),
    (Wall::Files, "a descriptor by path opened again to write", &["openat"], |world| again(world, libc::O_PATH)),
    (Wall::Files, "a file by its handle", &["name_to_handle_at", "open_by_handle_at"], |world| {
        by_handle(&world.fill("{out}/file.txt"))
    }),
    (Wall::Files, "a link that is swapped in", &["renameat2"], |world| {
        swapped(&world.fill("{w}/bin/race"), &world.fill("{out}/file.txt"))
    }),
    (Wall::Metadata, ".git in a mount namespace of one's own", &["renameat"], |world| elsewhere(world)),
    (Wall::Ours, "descriptor 0 of init", &["pidfd_getfd"], |_| stolen(1)),
    (Wall::Always, "descriptor 0 of a process outside", &["pidfd_open", "pidfd_getfd"], |world| stolen(world.pid()?)),
    (Wall::Always, "a signal by a descriptor of a process outside", &["pidfd_send_signal"], |world| signalled(world.pid()?)),
    (Wall::Always, "power over whoever connects for us, by the socket", &["getsockopt", "pidfd_send_signal"], |_| peer()),
    (Wall::Always, "advice about the memory of a process outside", &["process_madvise"], |world| advised(world.pid()?)),
    (Wall::Always, "the memory of a process outside that ends", &["process_mrelease"], |world| released(world.pid()?)),
    (Wall::Processes, "the capabilities of a process outside", &["capget"], |world| capabilities(world.pid()?)),
    (Wall::Always, "another user for files", &["setfsuid"], |_| for_files(libc::SYS_setfsuid)),
    (Wall::Always, "another group for files", &["setfsgid"], |_| for_files(libc::SYS_setfsgid)),
    (Wall::Processes, "the host's mounts by their numbers", &["statmount", "listmount"], mounts),
    (Wall::Always, "a watch over a whole file system", &["fanotify_init", "fanotify_mark"], |_| watch()),
    (Wall::Always, "the sandbox's own network", &["ioctl"], |_| power_over_network()),
    (Wall::Always, "a network namespace of one's own with power over it", &["unshare"], |_| raw_in_a_namespace()),
];

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let verbs = VERBS.iter().map(|(wall, line)| {
        let run = move || crate::attempt(&format!("-\t{}", world.fill(&line.replace(' ', "\t"))));
        Attempt::new(*wall, format!("verb\t{line}"), run)
    });
    let tricks =
        TRICKS.iter().map(|(wall, name, calls, run)| Attempt::new(*wall, format!("steps\t{name}"), move || run(world)).by(calls));
    verbs.chain(tricks).collect()
}

/// Any descriptor above the three; there is no other reason for one, as nothing here leaves any open.
fn inherited() -> Outcome {
    let open = (3..4096).find(|fd| call(libc::SYS_fcntl, [Arg::Int(*fd), Arg::Int(libc::F_GETFD.into())]).is_ok());
    match open {
        Some(fd) => {
            Ok(fs::read_link(format!("/proc/self/fd/{fd}")).map_or_else(|e| e.to_string(), |at| at.display().to_string()))
        }
        None => word("none", ""),
    }
}

/// A program with the set-user-ID bit says who it is: `probe id`.
fn setuid(program: &str) -> Outcome {
    let ids = |program: &str| std::process::Command::new(program).arg("id").output();
    let (own, other) = (ids("/proc/self/exe")?, ids(program)?);
    if other.stdout.is_empty() || own.stdout == other.stdout {
        return word("same", "");
    }
    Ok(String::from_utf8_lossy(&other.stdout).into())
}

/// A group that has no number here is led from outside: kill(0) would signal those there.
fn group() -> Outcome {
    match call(libc::SYS_getpgid, [Arg::Int(0)])? {
        0 => Ok("the group's leader is outside".into()),
        group => word("own", group),
    }
}

fn again(world: &World, flags: i32) -> Outcome {
    let fd = open(&world.fill("{out}/file.txt"), flags)?;
    open(&format!("/proc/self/fd/{fd}"), libc::O_WRONLY).map(|fd| fd.to_string())
}

/// What name_to_handle_at(2) gives to everybody, opened without a path.
fn by_handle(path: &str) -> Outcome {
    let (at, path, mut handle, mut mount) = (libc::AT_FDCWD.into(), text(path), [0; 136], [0; 4]);
    handle[..4].copy_from_slice(&128u32.to_ne_bytes());
    let words = [Arg::Int(at), Arg::Text(&path), Arg::Out(&mut handle), Arg::Out(&mut mount), Arg::Int(0)];
    call(libc::SYS_name_to_handle_at, words)?;
    let words = [Arg::Int(at), Arg::In(&handle), Arg::Int(libc::O_WRONLY.into())];
    Ok(call(libc::SYS_open_by_handle_at, words)?.to_string())
}

/// One process exchanges a file and a link to the target, another writes to the name.
fn swapped(name: &str, target: &str) -> Outcome {
    let link = format!("{name}.link");
    fs::write(name, "")?;
    std::os::unix::fs::symlink(target, &link)?;
    let child = fork()?;
    if child == 0 {
        let (at, from, to) = (i64::from(libc::AT_FDCWD), text(name), text(&link));
        for _ in 0..2000 {
            let words = [Arg::Int(at), Arg::Text(&from), Arg::Int(at), Arg::Text(&to), Arg::Int(libc::RENAME_EXCHANGE.into())];
            if call(libc::SYS_renameat2, words).is_err() {
                break;
            }
        }
        std::process::exit(0)
    }
    for _ in 0..2000 {
        if let Ok(mut file) = fs::OpenOptions::new().append(true).open(name) {
            file.write_all(b"swapped")?;
        }
    }
    crate::syscall::wait(child);
    if fs::read_to_string(target)?.contains("swapped") { Ok("written".into()) } else { word("whole", "") }
}

/// A mount namespace without our mounts: nothing in it keeps `.git` from being renamed away.
fn elsewhere(world: &World) -> Outcome {
    let (w, git) = (world.fill("{w}"), world.fill("{w}/.git"));
    let dir = open(&w, libc::O_PATH)?;
    call(libc::SYS_unshare, [Arg::Int((libc::CLONE_NEWUSER | libc::CLONE_NEWNS).into())])?;
    let (root, empty) = (text(&w), text(""));
    let bind = Arg::Int((libc::MS_BIND | libc::MS_REC) as i64);
    // Each may fail; the rename decides.
    let _ = call(libc::SYS_mount, [Arg::Text(&root), Arg::Text(&root), Arg::Text(&empty), bind, Arg::Null]);
    let _ = call(libc::SYS_umount2, [Arg::Text(&text(&git)), Arg::Int(libc::MNT_DETACH.into())]);
    let _ = call(libc::SYS_pivot_root, [Arg::Text(&root), Arg::Text(&root)]);
    let _ = call(libc::SYS_umount2, [Arg::Text(&root), Arg::Int(libc::MNT_DETACH.into())]);
    let (from, to) = (text(".git"), text("git-was-here"));
    call(libc::SYS_renameat, [Arg::Int(dir), Arg::Text(&from), Arg::Int(dir), Arg::Text(&to)])?;
    Ok(format!("{git} renamed"))
}

fn stolen(pid: i64) -> Outcome {
    let pidfd = call(libc::SYS_pidfd_open, [Arg::Int(pid), Arg::Int(0)])?;
    Ok(call(libc::SYS_pidfd_getfd, [Arg::Int(pidfd), Arg::Int(0), Arg::Int(0)])?.to_string())
}

/// Signal 0 asks for the right and sends nothing.
fn signalled(pid: i64) -> Outcome {
    let pidfd = call(libc::SYS_pidfd_open, [Arg::Int(pid), Arg::Int(0)])?;
    Ok(call(libc::SYS_pidfd_send_signal, [Arg::Int(pidfd), Arg::Int(0), Arg::Null, Arg::Int(0)])?.to_string())
}

/// Who accepts has a descriptor of the process that connected (SO_PEERPIDFD, Linux 6.5): the broker's, where it does so for the sandbox.
fn peer() -> Outcome {
    const SO_PEERPIDFD: i64 = 77;
    const PIDFD_GET_CGROUP_NAMESPACE: i64 = 0xff01;
    let address = SocketAddr::from_abstract_name(format!("codexrun-peer-{}", std::process::id()))?;
    let listener = UnixListener::bind_addr(&address)?;
    let (_client, (server, _)) = (UnixStream::connect_addr(&address)?, listener.accept()?);
    let (mut pidfd, mut size, level) = ([0; 4], 4u32.to_ne_bytes(), Arg::Int(libc::SOL_SOCKET.into()));
    let words = [Arg::Int(server.as_raw_fd().into()), level, Arg::Int(SO_PEERPIDFD), Arg::Out(&mut pidfd), Arg::Out(&mut size)];
    call(libc::SYS_getsockopt, words)?;
    let pidfd = i64::from(i32::from_ne_bytes(pidfd));
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{pidfd}"))?;
    if told.contains(&format!("Pid:\t{}\n", std::process::id())) {
        return word("own", "");
    }
    // The other namespaces follow it by number.
    for space in PIDFD_GET_CGROUP_NAMESPACE..PIDFD_GET_CGROUP_NAMESPACE + 10 {
        if call(libc::SYS_ioctl, [Arg::Int(pidfd), Arg::Int(space), Arg::Int(0)]).is_ok() {
            return Ok(format!("its namespace {space:x}"));
        }
    }
    if call(libc::SYS_pidfd_getfd, [Arg::Int(pidfd), Arg::Int(0), Arg::Int(0)]).is_ok() {
        return Ok("its descriptor 0".into());
    }
    Ok(call(libc::SYS_pidfd_send_signal, [Arg::Int(pidfd), Arg::Int(0), Arg::Null, Arg::Int(0)])?.to_string())
}

/// Of nothing at all.
fn advised(pid: i64) -> Outcome {
    let (pidfd, cold) = (call(libc::SYS_pidfd_open, [Arg::Int(pid), Arg::Int(0)])?, Arg::Int(libc::MADV_COLD.into()));
    let words = [Arg::Int(pidfd), Arg::In(&[0; 16]), Arg::Int(1), cold, Arg::Int(0)];
    Ok(call(libc::SYS_process_madvise, words)?.to_string())
}

fn released(pid: i64) -> Outcome {
    let pidfd = call(libc::SYS_pidfd_open, [Arg::Int(pid), Arg::Int(0)])?;
    Ok(call(libc::SYS_process_mrelease, [Arg::Int(pidfd), Arg::Int(0)])?.to_string())
}

fn capabilities(pid: i64) -> Outcome {
    let header = [0x2008_0522, pid as i32].map(i32::to_ne_bytes).concat();
    Ok(call(libc::SYS_capget, [Arg::In(&header), Arg::Out(&mut [0; 24])])?.to_string())
}

/// These return whom one was before, whether it came about or not (setfsuid(2)).
fn for_files(nr: i64) -> Outcome {
    const OTHER: i64 = 5432;
    call(nr, [Arg::Int(OTHER)])?;
    match call(nr, [Arg::Int(-1)])? {
        OTHER => Ok(String::new()),
        own => word("own", own),
    }
}

/// The one that is named, or the oldest of the machine's, where their numbers begin: asked for each by itself (statmount(2), listmount(2)),
/// and looked for among all that are below the root.
fn mounts(world: &World) -> Outcome {
    const FIRST: u64 = 1 << 31;
    const LSMT_ROOT: u64 = u64::MAX;
    let asked = |nr: i64, id: u64, more: u64, answer: &mut [u8], room: usize| {
        let request = [24, id, more].map(u64::to_ne_bytes).concat();
        call(nr, [Arg::In(&request), Arg::Out(answer), Arg::Int(room as i64), Arg::Int(0)])
    };
    let (stat, list) = (457, 458);
    let hosts = match world.0.get("mount").and_then(|id| id.parse().ok()) {
        Some(id) => id..id + 1,
        None => FIRST..FIRST + 64,
    };
    let mut all = vec![0; 1 << 16];
    let below = asked(list, LSMT_ROOT, 0, &mut all, (1 << 16) / 8).unwrap_or(0);
    let below = all.chunks_exact(8).take(below as usize).filter_map(|id| Some(u64::from_ne_bytes(id.try_into().ok()?)));
    let listed = below.into_iter().find(|id| hosts.contains(id));
    let by_itself = |id: &u64| asked(stat, *id, 1, &mut [0; 512], 512).is_ok() || asked(list, *id, 0, &mut [0; 512], 64).is_ok();
    listed.or_else(|| hosts.clone().find(by_itself)).map_or_else(|| word("none", ""), |id| Ok(id.to_string()))
}

/// FAN_REPORT_FID, which needs no power, and a mark that does.
fn watch() -> Outcome {
    let (fd, root) = (call(libc::SYS_fanotify_init, [Arg::Int(0x200), Arg::Int(0)])?, text("/"));
    let whole = Arg::Int((libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM).into());
    let words = [Arg::Int(fd), whole, Arg::Int(libc::FAN_OPEN as i64), Arg::Int(libc::AT_FDCWD.into()), Arg::Text(&root)];
    Ok(call(libc::SYS_fanotify_mark, words)?.to_string())
}

/// Flags of an interface that there is not: who may not set any hears EPERM.
fn power_over_network() -> Outcome {
    let words = [Arg::Int(libc::AF_INET.into()), Arg::Int(libc::SOCK_DGRAM.into()), Arg::Int(0)];
    let (socket, mut request) = (call(libc::SYS_socket, words)?, [0; 40]);
    request[..6].copy_from_slice(b"nosuch");
    match call(libc::SYS_ioctl, [Arg::Int(socket), Arg::Int(libc::SIOCSIFFLAGS as i64), Arg::In(&request)]) {
        Err(libc::ENODEV) => Ok("past the question".into()),
        other => Ok(other?.to_string()),
    }
}

/// Root of a new network namespace may make raw sockets and speak to all of netfilter: much of the kernel's least trodden code.
fn raw_in_a_namespace() -> Outcome {
    call(libc::SYS_unshare, [Arg::Int((libc::CLONE_NEWUSER | libc::CLONE_NEWNET).into())])?;
    let words = [Arg::Int(libc::AF_INET.into()), Arg::Int(libc::SOCK_RAW.into()), Arg::Int(255)];
    Ok(call(libc::SYS_socket, words).map_err(Fail::Errno)?.to_string())
}
