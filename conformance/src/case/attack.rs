//! `probe attack` in every mode: each promises some walls, and nothing may get through those. Outside of any sandbox much gets through: the
//! program can fail.

use super::{Case, On, Play, WRITE, case};
use crate::launch::{Launch, Ran};
use crate::outside::Outside;
use crate::policy::{POLICIES, special};
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::Job;
use crate::scene::{Scene, difference, snapshot};
use nix::unistd::Uid;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

pub const CASES: &[Case] = &[
    case("nothing gets through read-only", On::Every, |p| {
        held(p, &preset(p, 0)?, &[FILES, &["workspace", "network", "streams"]])
    }),
    case("nothing gets through workspace-write", On::Every, |p| held(p, &preset(p, 1)?, &[FILES, SHUT])),
    case("nothing gets through with Unix datagrams", On::Codexrun, |p| {
        held_with(p, &preset(p, 1)?, &["--unix-datagrams"], &[FILES, &["network"]])
    }),
    case("nothing gets through with Unix datagrams and the network on", On::Codexrun, |p| {
        held_with(p, &preset(p, 2)?, &["--unix-datagrams"], &[FILES])
    }),
    case("nothing gets through proxy-only", On::Every, |p| proxy(p, &[])),
    case("nothing gets through proxy-only with interfaces", On::Codexrun, |p| proxy(p, &["--allow-syscalls", "interfaces"])),
    case("nothing gets through with the network on", On::Every, |p| held(p, &preset(p, 2)?, &[FILES])),
    case("nothing gets through unrestricted files without network", On::Every, |p| held(p, &unrestricted(p)?, &[SHUT])),
    case("nothing gets through beside granted sockets", On::Codexrun, |p| granted(p, 1, &[SHUT])),
    case("nothing gets through beside granted sockets with the network on", On::Codexrun, |p| granted(p, 2, &[])),
    case("nothing gets through --allow-domain and --dns", On::Sandbox, domains),
    case("nothing gets through --publish, --allow-host-port, --tcp-ports and a second wall", On::Sandbox, ports),
    case("nothing gets through Landlock alone, read-only", On::Codexrun, |p| {
        let walls = [FILES, SHUT, &["workspace"]];
        alone(p, &preset(p, 0)?, &["--isolation", "landlock", "--accept-loss", "processes"], &walls)
    }),
    case("Landlock alone sees the host's mounts, as is given up", On::Codexrun, mounts_seen),
    case("nothing gets through Landlock alone, workspace-write, but what is given up", On::Codexrun, |p| {
        alone(p, &preset(p, 1)?, ALONE, &[&["files"], SHUT])
    }),
    case("nothing gets through Landlock alone, with the network on", On::Codexrun, |p| {
        alone(p, &preset(p, 2)?, ALONE, &[&["files"]])
    }),
    case("nothing gets through Landlock alone, with --allow-domain", On::Sandbox, domains_alone),
    case("nothing gets through by descriptors that come by standard input", On::Every, |p| {
        handed(p, WRITE, ANY, NAMESPACES, BY_HAND)
    }),
    case("nothing gets through by descriptors that come by standard input, with Unix datagrams", On::Codexrun, |p| {
        handed(p, WRITE, &[ANY, &["--unix-datagrams"]].concat(), &[NAMESPACES, &["sends"]].concat(), BY_HAND)
    }),
    case("no descriptor comes by a standard stream, unless any socket may be one", On::Codexrun, no_descriptor),
    case("with no socket as a standard stream nothing starts that has one", On::Codexrun, no_socket),
    case("what comes by standard input leads on outside of any sandbox", On::Sandbox, leads),
    case("outside of any sandbox attempts get through", On::Every, control),
    case("who may do everything harms nobody by the attack", On::Sandbox, harmless),
    case("every call gets through by descriptors that are left open", On::Sandbox, left_open),
    case("where 127.0.0.1 is allowed it is reached in other spellings too", On::Sandbox, permitted),
    case("allow_syscalls lifts what it names and nothing else", On::Every, lifted),
];

/// The program knows more attempts than this for every mode, and for none.
const LEAST: usize = 1000;
/// What every sandbox of namespaces promises of what is handed in.
const NAMESPACES: &[&str] = &["files", "attributes", "metadata", "network", "streams", "always", "processes"];
/// What policies promise of files, and of a network that is shut.
const FILES: &[&str] = &["files", "attributes", "metadata"];
const SHUT: &[&str] = &["network", "streams"];
/// Landlock alone where something may be written, and the least that is lost by it.
const ALONE: &[&str] = &["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes"];
/// Fewer than get through outside, as root and as an ordinary user.
const THROUGH: [usize; 2] = [250, 120];
/// Each way but the timer, which is for threads of one's own.
const SIGNALS: usize = 10;
/// Fewer than get through to an address that is allowed.
const SPELLED: usize = 30;

fn preset(play: &Play, number: usize) -> Result<String, No> {
    Ok(POLICIES[number].word(&play.scene)?)
}

fn unrestricted(play: &Play) -> Result<String, No> {
    let policy = json!({"file_system": {"kind": "unrestricted"}, "network": "restricted"});
    Ok(play.scene.put("unrestricted.json", &policy.to_string())?.display().to_string())
}

/// The proxy is a listener that nobody comes to.
fn proxy(play: &Play, options: &[&str]) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let entries = vec![special("root", "read"), special("project_roots", "write")];
    let mut policy = crate::policy::pair(entries);
    policy["network"] = json!({"mode": "proxy"});
    let file = play.scene.put("proxy.json", &policy.to_string())?.display().to_string();
    let variable = format!("HTTP_PROXY=http://{}", listener.local_addr()?);
    // With interfaces what is read by netlink is as with the network off.
    let own: &[&str] = if options.is_empty() { &["proxy"] } else { &[] };
    held_with(play, &file, &[&["--env", &variable], options].concat(), &[FILES, SHUT, own])
}

/// Names that lead to 127.0.0.1 without any server of names, and those of a domain that nobody has.
const NAMED: &[&str] =
    &["*.example.org", "127.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "017700000001", "2130706433", "0", "ip6-localhost"];

/// Those are allowed, and one address; names are resolved for its port.
fn allowed(friend: &Friend) -> Vec<String> {
    let good = friend.good.ip().to_string();
    NAMED.iter().copied().chain([good.as_str()]).flat_map(|name| ["--allow-domain".into(), name.into()]).collect()
}

fn resolved(friend: &Friend) -> [String; 2] {
    ["--dns".into(), friend.good.port().to_string()]
}

fn domains(play: &Play) -> Verdict {
    let friend = Friend::new()?;
    let options = [allowed(&friend), resolved(&friend).to_vec()].concat();
    tried(play, &preset(play, 1)?, &options, &[FILES, SHUT, &["always", "processes", "proxy", "domains"]], Some(&friend))
}

/// Without a mount namespace they are the command's own: by hand and here the attempt can get through, and no sandbox of namespaces lets it.
fn mounts_seen(play: &Play) -> Verdict {
    let Some(id) = mount()? else { return skip("mounts have such numbers since Linux 6.8") };
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    let options = words(&["--isolation", "landlock", "--accept-loss", "processes"]);
    let seen = vec!["only=the host's mounts".to_owned()];
    let told = attack(play, &outside, &job(play, "read-only", &options), Some(&["processes"]), seen)?;
    let line = format!("processes: steps: the host's mounts by their numbers: {id}");
    told.ran.must(&format!("{line}, of one attempt; it is {:?}", told.through), told.through == [line] && told.made == 1)
}

/// The listener's own address is allowed, and with it every spelling: the program can fail.
fn permitted(play: &Play) -> Verdict {
    let (friend, outside) = (Friend::new()?, Outside::new(&play.scene, &play.column.actor)?);
    let options = [allowed(&friend), words(&["--allow-domain", "127.0.0.1"]), resolved(&friend).to_vec()].concat();
    let told = attack(play, &outside, &job(play, WRITE, &options), Some(&["domains"]), friend.words())?;
    let through = told.through.len();
    told.ran.must(&format!("at least {SPELLED} through, of {}; there are {through}", told.made), through >= SPELLED)
}

fn domains_alone(play: &Play) -> Verdict {
    let friend = Friend::new()?;
    let losses = ["--isolation", "landlock", "--accept-loss", "processes,metadata,attributes,proxy-only"].map(String::from);
    let options = [allowed(&friend), losses.to_vec()].concat();
    tried(play, &preset(play, 1)?, &options, &[&["files", "always", "shared", "proxy", "domains"], SHUT], Some(&friend))
}

/// Beside the port that is reached from outside, and the one that is reached from inside.
fn ports(play: &Play) -> Verdict {
    let friend = Friend::new()?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let options = ["--landlock", "--tcp-ports", "none", "--publish", &free, "--allow-host-port", &friend.good.port().to_string()];
    held_with(play, &preset(play, 1)?, &options, &[FILES, SHUT])
}

fn held(play: &Play, policy: &str, walls: &[&[&str]]) -> Verdict {
    held_with(play, policy, &[], walls)
}

/// What every sandbox of namespaces promises, and these.
fn held_with(play: &Play, policy: &str, options: &[&str], walls: &[&[&str]]) -> Verdict {
    tried(play, policy, &words(options), &[walls, &[&["always", "processes"]]].concat(), None)
}

/// What every sandbox promises, and these.
fn alone(play: &Play, policy: &str, options: &[&str], walls: &[&[&str]]) -> Verdict {
    tried(play, policy, &words(options), &[walls, &[&["always", "shared"]]].concat(), None)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

/// A server of the host's at 127.0.0.2, which repeats what it hears, and at the same port of 127.0.0.1 one that says hello; both end with
/// the suite.
struct Friend {
    good: SocketAddr,
}

impl Friend {
    fn words(&self) -> Vec<String> {
        vec![format!("good={}", self.good)]
    }

    fn new() -> Result<Friend, No> {
        let bad = TcpListener::bind("127.0.0.1:0")?;
        let good = TcpListener::bind(("127.0.0.2", bad.local_addr()?.port()))?;
        let at = good.local_addr()?;
        let serve = |listener: TcpListener, answer: fn(TcpStream) -> std::io::Result<()>| {
            std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))))
        };
        serve(bad, |mut stream| stream.write_all(b"hello"));
        serve(good, repeat);
        Ok(Friend { good: at })
    }
}

/// All that comes until nothing does.
fn repeat(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut all = Vec::new();
    // Who says no more has not ended.
    let _ = stream.read_to_end(&mut all);
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&all)
}

/// These walls hold; and outside nothing has changed.
fn tried(play: &Play, policy: &str, options: &[String], walls: &[&[&str]], friend: Option<&Friend>) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    set_user_id(play)?;
    let words = friend.map(Friend::words).unwrap_or_default();
    kept(play, &outside, &job(play, policy, options), walls, words, LEAST)
}

fn kept(play: &Play, outside: &Outside, job: &Job, walls: &[&[&str]], words: Vec<String>, least: usize) -> Verdict {
    let walls = walls.concat();
    // Where there are namespaces there is a broker.
    let ours: &[&str] = match (play.column.runtime.is_codexrun(), walls.contains(&"processes")) {
        (true, true) => &["ours", "rulesets"],
        (true, false) => &["ours"],
        (false, _) => &[],
    };
    let walls = [&walls[..], ours].concat();
    let before = protected(&play.scene, &walls);
    let told = attack(play, outside, job, Some(&walls), words)?;
    told.ran.must(&format!("at least {least} attempts, nothing through"), told.ran.code == 0 && told.made >= least)?;
    if !told.through.is_empty() {
        let lines = told.through.join("\n");
        return fail(&told.ran.line, "nothing through", format!("{} of {}:\n{lines}", told.through.len(), told.made));
    }
    for (before, after) in before.iter().zip(protected(&play.scene, &walls)) {
        difference(before, &after).map_or(Ok(()), |difference| fail(&told.ran.line, "no change outside", difference))?;
    }
    let signals = outside.signals()?;
    if !signals.is_empty() {
        return fail(&told.ran.line, "no signal for the process outside", format!("{signals:?}"));
    }
    let called = outside.called();
    if walls.contains(&"network") && !called.is_empty() { fail(&told.ran.line, "nobody called", called) } else { Ok(()) }
}

/// A file of the host's to read, the directory of a process in /proc, two namespaces, and sockets, sent to whoever connects until the suite
/// ends; the connections stay open.
fn hand(listener: UnixListener, all: [OwnedFd; HANDED]) {
    std::thread::spawn(move || {
        let give = |to: &UnixStream| {
            let fds = all.each_ref().map(OwnedFd::as_fd);
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&fds));
            sendmsg(to, &[std::io::IoSlice::new(b"s")], &mut control, SendFlags::empty()).is_ok()
        };
        listener.incoming().flatten().filter(give).collect::<Vec<_>>()
    });
}

const HANDED: usize = 11;
/// STATX_MNT_ID_UNIQUE (statx(2), Linux 6.8): the number that the kernel gives to no other mount.
const MOUNT_ID: u32 = 0x4000;
/// Fewer than there are of those attempts.
const BY_HAND: usize = 40;
/// Fewer than get through by files and processes where nothing keeps them.
const LEADS: usize = 10;
/// Who calls the listener that is handed in, so often that each attempt has somebody to accept.
const CALLS: usize = 16;

fn handed(play: &Play, policy: &str, options: &[&str], walls: &[&str], least: usize) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    let tells = words(&["only=handed", "handed=1"]);
    by_hand(play, &outside, |at| {
        let job = Job { handed: Some(at.to_owned()), ..job(play, policy, &words(options)) };
        kept(play, &outside, &job, &[walls], tells.clone(), least)
    })
}

/// Where the choice was made that standard input may be any socket, by which the descriptors come.
const ANY: &[&str] = &["--stdio-sockets", "any"];

/// What is sent by standard input arrives without the descriptors that are sent with it, in every mode.
fn no_descriptor(play: &Play) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    let list = play.scene.w().join("list.txt");
    std::fs::write(&list, "0\tunix-handed\n")?;
    let (probe, list) = (play.scene.w().join("bin/probe").display().to_string(), list.display().to_string());
    let proxy = ["--managed-network", "{}", "--env", "HTTP_PROXY=http://127.0.0.1:9"];
    let open = preset(play, 2)?;
    let modes = [(WRITE, &[][..]), (WRITE, ALONE), (WRITE, &proxy[..]), (open.as_str(), &[]), (WRITE, &["--unix-datagrams"])];
    by_hand(play, &outside, |at| {
        for (policy, how) in modes {
            for (options, none) in [(how.to_vec(), true), ([how, ANY].concat(), false)] {
                let job = Job::new(policy, &play.scene, &[&probe, &list]);
                let ran = play.column.run(&play.scene, &Job { handed: Some(at.to_owned()), options: words(&options), ..job })?;
                let expected = if none { "0\tok" } else { "0\thanded-in" };
                ran.must(&format!("{expected:?} with {options:?}"), ran.code == 0 && ran.out.starts_with(expected))?;
            }
        }
        Ok(())
    })
}

/// The way by which the cases above hand descriptors in is shut, with namespaces and without; a file passes.
fn no_socket(play: &Play) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    let ran = play.scene.w().join("ran");
    let command = ["/bin/sh", "-c", "echo > ran; cat"];
    by_hand(play, &outside, |at| {
        for how in [&[][..], ALONE] {
            let options = words(&[how, &["--stdio-sockets", "none"]].concat());
            let plain = Job { stdin: "a file".into(), options, ..Job::new(WRITE, &play.scene, &command) };
            let handed = Job { handed: Some(at.to_owned()), ..plain.clone() };
            let refused = play.column.run(&play.scene, &handed)?;
            let said = "standard input is a socket, and the policy permits none";
            refused.must("a refusal that names the stream", refused.code == 1 && refused.err.contains(said))?;
            refused.must("no command has run", !ran.exists())?;
            let passes = play.column.run(&play.scene, &plain)?;
            passes.must("a file passes", passes.code == 0 && passes.out == "a file" && ran.exists())?;
            std::fs::remove_file(&ran)?;
        }
        Ok(())
    })
}

/// What each socket is good for.
const SOCKETS: &[&str] = &[
    "a Unix socket, connect",
    "a Unix datagram socket, connect",
    "a TCP socket, connect",
    "a UDP socket, connect",
    "a Unix datagram socket, sendto",
    "a Unix datagram socket, sendmsg",
    "a Unix datagram socket, sendmmsg",
    "a UDP socket, sendto",
    "a UDP socket, sendmsg",
    "a UDP socket, sendmmsg",
    "TCP, listens",
    "TCP, bound, listens",
    "a listener, accept\t",
    "a listener, accept4\t",
];

/// Without a sandbox the same descriptors lead somewhere: it can fail.
fn leads(play: &Play) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    let scene = &play.scene;
    let probe = scene.w().join("bin/probe").display().to_string();
    let world = [
        format!("out={}", scene.out().display()),
        format!("w={}", scene.w().display()),
        format!("tmp={}", outside.tmp.display()),
        format!("pid={}", outside.pid()),
        format!("tcp={}", outside.tcp),
        format!("udp={}", outside.udp),
        "walls=always,ours,sends,accepts".into(),
    ];
    by_hand(play, &outside, |at| {
        let at = at.display().to_string();
        let attack = words(&[&probe, "handed", &at, &probe, "attack", "only=handed", "handed=1"]);
        let attack = [attack, world.to_vec()].concat();
        let attack: Vec<&str> = attack.iter().map(String::as_str).collect();
        let ran = Launch::new(&attack, &scene.w()).run(&play.column.actor)?;
        let through = ran.out.lines().filter(|line| line.starts_with("always")).count();
        ran.must(&format!("at least {LEADS} lead somewhere; they are {through}"), through >= LEADS)?;
        let native = format!("\thanded\tsocket, {}: ", std::env::consts::ARCH);
        SOCKETS
            .iter()
            .try_for_each(|what| ran.must(&format!("{what}: it leads somewhere"), ran.out.contains(&format!("{native}{what}"))))
    })
}

/// While somebody at this socket hands descriptors to whoever connects.
fn by_hand(play: &Play, outside: &Outside, run: impl Fn(&Path) -> Verdict) -> Verdict {
    let at = play.scene.dir.join("hand.sock");
    let listener = UnixListener::bind(&at)?;
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o777))?;
    let process = format!("/proc/{}", outside.pid());
    let file = play.scene.out().join("file.txt").display().to_string();
    let [a, b, c, d] = [&file, &process, "/proc/self/ns/net", "/proc/self/ns/mnt"].map(File::open);
    let kinds = [
        (AddressFamily::UNIX, SocketType::STREAM),
        (AddressFamily::INET, SocketType::STREAM),
        (AddressFamily::INET, SocketType::DGRAM),
        (AddressFamily::UNIX, SocketType::DGRAM),
        (AddressFamily::INET, SocketType::STREAM),
        (AddressFamily::INET, SocketType::STREAM),
    ];
    let [e, f, g, h, i, j] = kinds.map(|(family, kind)| rustix::net::socket(family, kind, None).map_err(std::io::Error::from));
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let called = server.local_addr()?;
    let _guests = (0..CALLS).map(|_| TcpStream::connect(called)).collect::<Result<Vec<_>, _>>()?;
    hand(listener, [a?.into(), b?.into(), c?.into(), d?.into(), e?, f?, g?, h?, server.into(), i?, j?]);
    let verdict = run(&at);
    std::fs::remove_file(&at)?;
    verdict
}

/// A socket of the host's is granted, and a directory of one; the others stay shut, also by links and new names in that directory.
fn granted(play: &Play, policy: usize, walls: &[&[&str]]) -> Verdict {
    let dir = play.scene.w().join("granted");
    std::fs::create_dir(&dir)?;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777))?;
    let file = play.scene.w().join("granted.sock");
    let _friends = [UnixListener::bind(dir.join("friend.sock"))?, UnixListener::bind(&file)?];
    let options = ["--unix-socket", &dir.display().to_string(), "--unix-socket", &file.display().to_string()];
    held_with(play, &preset(play, policy)?, &options, &[walls, &[FILES]].concat())
}

/// Of the caller's descriptors, which every runtime closes, the program is given two here: it can fail.
fn left_open(play: &Play) -> Verdict {
    let (out, probe) = (play.scene.out(), play.scene.w().join("bin/probe"));
    let script = format!(
        "exec 7<{} 9<{}; exec {} attack file=7 dir=9 walls=always \"only=on a descriptor of the caller's\"",
        out.join("file.txt").display(),
        out.display(),
        probe.display()
    );
    let ran = Launch::new(&["/bin/sh", "-c", &script], &play.scene.w()).run(&play.column.actor)?;
    let native = format!("always\t{}\t", std::env::consts::ARCH);
    let through = ran.out.lines().filter(|line| line.starts_with(&native)).count();
    ran.must(&format!("at least {LEFT_OPEN} calls through; there are {through}"), ran.code == 0 && through >= LEFT_OPEN)
}

/// All by the machine's own table but for what its file system or its kernel does not have.
const LEFT_OPEN: usize = 80;

type Snapshot = std::collections::BTreeMap<std::path::PathBuf, String>;

fn protected(scene: &Scene, walls: &[&str]) -> Vec<Snapshot> {
    if !walls.contains(&"files") {
        return Vec::new();
    }
    [scene.out(), scene.w().join(".git"), scene.x().join(".codex")].iter().map(|dir| snapshot(dir)).collect()
}

/// Another user's program with the set-user-ID bit, where we can make one.
fn set_user_id(play: &Play) -> Verdict {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let program = play.scene.out().join("suid");
    std::fs::copy(play.scene.w().join("bin/probe"), &program)?;
    chown(&program, Some(if play.column.actor.is_root() { 65534 } else { 0 }), None)?;
    Ok(std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755))?)
}

/// What the program said.
struct Told {
    ran: Ran,
    through: Vec<String>,
    made: usize,
}

fn job(play: &Play, policy: &str, options: &[String]) -> Job {
    Job { leak: true, options: options.to_vec(), ..Job::new(policy, &play.scene, &[]) }
}

/// The number of the root's mount, outside; an older kernel has none.
fn mount() -> Result<Option<u64>, No> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let root = statx(CWD, "/", AtFlags::empty(), StatxFlags::from_bits_retain(MOUNT_ID)).map_err(std::io::Error::from)?;
    Ok((root.stx_mask & MOUNT_ID != 0).then_some(root.stx_mnt_id))
}

/// The job's command is the program, which is told what is outside, and more in these words.
fn attack(play: &Play, outside: &Outside, job: &Job, walls: Option<&[&str]>, words: Vec<String>) -> Result<Told, No> {
    let scene = &play.scene;
    let mut world = vec![
        ("w", scene.w().display().to_string()),
        ("x", scene.x().display().to_string()),
        ("out", scene.out().display().to_string()),
        ("tmp", outside.tmp.display().to_string()),
        ("pid", outside.pid().to_string()),
        ("tcp", outside.tcp.clone()),
        ("udp", outside.udp.clone()),
        ("name", outside.name.clone()),
        ("bait", outside.bait.to_string()),
        // What `leak` leaves open.
        ("file", "7".into()),
        ("dir", "9".into()),
    ];
    world.extend(mount()?.map(|id| ("mount", id.to_string())));
    world.extend(walls.map(|walls| ("walls", walls.join(","))));
    let world = world.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let program = vec![scene.w().join("bin/probe").display().to_string(), "attack".into()];
    let argv = [program, world, outside.shared.clone(), words].concat();
    let ran = play.column.run(scene, &Job { argv, ..job.clone() })?;
    let (ends, through): (Vec<&str>, Vec<&str>) = ran.out.lines().partition(|line| line.starts_with("end\t"));
    let made = ends.first().and_then(|end| end[4..].parse().ok()).unwrap_or(0);
    let through = through.into_iter().map(|line| line.replace('\t', ": ")).collect();
    Ok(Told { ran, through, made })
}

/// danger-full-access is no sandbox: nothing is promised, and the attempts do what they are meant to do.
fn control(play: &Play) -> Verdict {
    std::fs::create_dir(play.scene.w().join("granted"))?;
    std::fs::set_permissions(play.scene.w().join("granted"), std::fs::Permissions::from_mode(0o777))?;
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    set_user_id(play)?;
    let told = attack(play, &outside, &job(play, "danger-full-access", &[]), None, Vec::new())?;
    let least = THROUGH[usize::from(!play.column.actor.is_root())];
    let (through, signals) = (told.through.len(), outside.signals()?.len());
    told.ran.must(&format!("at least {least} through, of {}; there are {through}", told.made), through >= least)?;
    told.ran.must(&format!("at least {SIGNALS} signals; there are {signals}"), signals >= SIGNALS)
}

/// All attempts, by the root of a user namespace that sees its own processes only and has mounts of its own; no process is named. Before it is
/// asked for more than one process, which is refused.
fn harmless(play: &Play) -> Verdict {
    let (w, out, probe) = (play.scene.w(), play.scene.out(), play.scene.w().join("bin/probe"));
    let (w, out, probe) = (w.display(), out.display(), probe.display());
    let script = format!(
        "sleep 99 & mounts=$(cat /proc/self/mountinfo); {probe} attack pid=-1; echo $?; {probe} attack w={w} out={out} | tail -n 1; \
         kill -0 $! && echo alive; test \"$mounts\" = \"$(cat /proc/self/mountinfo)\" && echo as before"
    );
    let ran =
        Launch::new(&["unshare", "-Urpfm", "--mount-proc", "/bin/sh", "-c", &script], &play.scene.w()).run(&play.column.actor)?;
    let lines: Vec<&str> = ran.out.lines().collect();
    let right = matches!(&lines[..], ["2", end, "alive", "as before"] if end.starts_with("end\t"));
    ran.must("a refusal, the end, and everybody and everything as before", right && ran.code == 0)
}

/// With each choice its own probe succeeds, and that of no other.
fn lifted(play: &Play) -> Verdict {
    let probes = ["ptrace-child", "unshare 10000000", "keyctl-session"];
    for (number, name) in ["tracing", "namespaces", "keys"].iter().enumerate() {
        let (ran, answers) = super::network::probes(play, WRITE, &["--allow-syscalls", name], &probes)?;
        let right = answers.iter().enumerate().all(|(n, answer)| (answer == "ok") == (n == number));
        ran.must(&format!("{name} alone; {probes:?} say {answers:?}"), right && ran.code == 0)?;
    }
    let mount = format!("userns-mount {}", play.scene.w().join("sub").display());
    for (options, expected) in [(&["namespaces"][..], "EPERM"), (&["namespaces", "mounts"], "ok")] {
        let options: Vec<&str> = options.iter().flat_map(|name| ["--allow-syscalls", name]).collect();
        let (ran, answers) = super::network::probes(play, WRITE, &options, &[&mount])?;
        ran.must(&format!("{expected}; it is {answers:?}"), answers[0] == expected)?;
    }
    Ok(())
}
