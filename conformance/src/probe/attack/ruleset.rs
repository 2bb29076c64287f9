//! landlock_create_ruleset(2), which the broker performs for a sandbox: what is about anything but files is not made, whatever is asked, by
//! whatever entry, and however the request changes while it is read. And filters and rulesets of one's own, which lift nothing.

use super::entry::{ENTRIES, Entry};
use super::{Attempt, Wall, World, absent};
use crate::outcome::{Outcome, word};
use crate::syscall::{Arg, call, page};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CREATE: &str = "landlock_create_ruleset";
const VERSION: i64 = 1;
const ERRATA: i64 = 2;
/// LANDLOCK_ACCESS_FS_IOCTL_DEV: the first right that came after those to files alone.
const DEVICES: u64 = 1 << 15;
const FILES: u64 = 1;
/// LANDLOCK_ACCESS_NET_CONNECT_TCP, BIND_TCP.
const PORTS: u64 = 3;
const SCOPES: u64 = 3;

/// What is asked for by name: a `struct landlock_ruleset_attr` of so many bytes, and flags.
#[rustfmt::skip]
const ASKED: &[(&str, [u64; 3], i64, i64)] = &[
    ("of ports", [0, PORTS, 0], 16, 0),
    ("of files and ports", [FILES, PORTS, 0], 24, 0),
    ("of scopes", [0, 0, SCOPES], 24, 0),
    ("of files and scopes", [FILES, 0, SCOPES], 4096, 0),
    ("of devices", [DEVICES, 0, 0], 8, 0),
    ("of devices among files", [DEVICES | FILES, 0, 0], 24, 0),
];

fn asked(by: Entry, attributes: [u64; 3], size: i64, flags: i64) -> Outcome {
    let Some(number) = by.number(CREATE) else { return absent() };
    let at = page(&attributes.map(u64::to_ne_bytes).concat())?;
    Ok(by.call(number, [at, size, flags, 0, 0, 0])?.to_string())
}

/// Of a kernel that knows more than files, or tells what was mended in it.
fn version(by: Entry, flags: i64) -> Outcome {
    const FILES_ALONE: i64 = 3;
    let Some(number) = by.number(CREATE) else { return absent() };
    match by.call(number, [0, 0, flags, 0, 0, 0])? {
        version if flags == VERSION && version <= FILES_ALONE => word("files", version),
        other => Ok(other.to_string()),
    }
}

/// Requests that nobody can read, or that are none. Whoever answers must go on answering.
#[rustfmt::skip]
const HOSTILE: &[[i64; 3]] = &[
    [0, 8, 0], [8, 8, 0], [-1, 8, 0], [-4096, 4096, 0], [0, -1, 0], [0, 1 << 40, 0], [0, 4097, 0], [0, 7, 0], [0, 0, 0], [0, 8, VERSION],
    [8, 0, VERSION], [0, 0, 3], [0, 0, -1], [0, 0, 1 << 31], [i64::MIN, i64::MIN, i64::MIN], [i64::MAX, i64::MAX, i64::MAX], [1 << 47, 8, 0],
];

/// It got through when nobody answers any more.
fn hostile(by: Entry) -> Outcome {
    let Some(number) = by.number(CREATE) else { return absent() };
    if by.call(number, [0, 0, VERSION, 0, 0, 0]) == Err(libc::ENOSYS) {
        return absent();
    }
    for [at, size, flags] in HOSTILE {
        // Each is refused, or makes a ruleset of nothing.
        let _ = by.call(number, [*at, *size, *flags, 0, 0, 0]);
    }
    match by.call(number, [0, 0, VERSION, 0, 0, 0]) {
        Err(libc::ENOSYS) => Ok("nobody answers any more".into()),
        other => word("answers", format!("{other:?}")),
    }
}

/// So many rulesets at least, and so many changes meanwhile.
const RACES: usize = 100;
const TURNS: usize = 1000;
/// LANDLOCK_RULE_NET_PORT.
const RULE: i64 = 2;

/// The rights to files that are asked for become rights to ports, and those files again, as often as it goes: another thread
/// reads them from a pipe into the page.
fn race(by: Entry) -> Outcome {
    let Some(number) = by.number(CREATE) else { return absent() };
    let at = page(&[FILES, 0].map(u64::to_ne_bytes).concat())?;
    let both = [0, PORTS].map(|ports| [FILES, ports].map(u64::to_ne_bytes).concat());
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let writer = std::thread::spawn(move || -> Result<(), i32> {
        let ends = super::row::pipe().map_err(|_| 0)?;
        call(libc::SYS_read, [Arg::Int(ends.0), Arg::Out(&mut [0]), Arg::Int(1)])?;
        for turn in 0usize.. {
            counted.store(turn, Ordering::Relaxed);
            call(libc::SYS_write, [Arg::Int(ends.1), Arg::In(&both[turn % 2]), Arg::Int(16)])?;
            call(libc::SYS_read, [Arg::Int(ends.0), Arg::Int(at), Arg::Int(16)])?;
        }
        Ok(())
    });
    let rule = page(&[1u64, 1].map(u64::to_ne_bytes).concat())?;
    let (mut asked, mut made) = (0, 0);
    while !writer.is_finished() && (asked < RACES || turns.load(Ordering::Relaxed) < TURNS) {
        asked += 1;
        let Ok(ruleset) = by.call(number, [at, 16, 0, 0, 0, 0]) else { continue };
        made += 1;
        if call(libc::SYS_landlock_add_rule, [Arg::Int(ruleset), Arg::Int(RULE), Arg::Int(rule), Arg::Int(0)]).is_ok() {
            return Ok("a ruleset of ports".into());
        }
        call(libc::SYS_close, [Arg::Int(ruleset)])?;
    }
    if writer.is_finished() { absent() } else { word("files", format!("{made} of {asked}")) }
}

/// A filter that permits everything, on top of the one that is there: what that refuses stays refused.
fn permits() -> Outcome {
    const SET_MODE_FILTER: i64 = 1;
    const NEW_LISTENER: i64 = 8;
    // BPF_RET | BPF_K, SECCOMP_RET_ALLOW: a struct sock_filter, and the struct sock_fprog of it alone.
    let permit = page(&[&6u16.to_ne_bytes()[..], &[0, 0], &0x7fff_0000u32.to_ne_bytes()].concat())?;
    let program = page(&[&1u16.to_ne_bytes()[..], &[0; 6], &permit.to_ne_bytes()].concat())?;
    call(libc::SYS_prctl, [Arg::Int(libc::PR_SET_NO_NEW_PRIVS.into()), Arg::Int(1), Arg::Int(0), Arg::Int(0), Arg::Int(0)])?;
    let load = |flags| call(libc::SYS_seccomp, [Arg::Int(SET_MODE_FILTER), Arg::Int(flags), Arg::Int(program)]);
    load(NEW_LISTENER).or_else(|_| load(0))?;
    match call(libc::SYS_bpf, [Arg::Int(-1), Arg::Int(-1), Arg::Int(-1)]) {
        Err(libc::EPERM | libc::ENOSYS) => word("refused", ""),
        other => Ok(format!("{other:?}")),
    }
}

/// A ruleset that grants all of the file system, and the sandbox's own wall.
fn granted(world: &World) -> Outcome {
    // Those of the first version.
    let all = (1u64 << 13) - 1;
    let attributes = page(&all.to_ne_bytes())?;
    let ruleset = call(libc::SYS_landlock_create_ruleset, [Arg::Int(attributes), Arg::Int(8), Arg::Int(0)])?;
    let root = super::row::open("/", libc::O_PATH)?;
    // Packed: the rights, and the place.
    let rule = page(&[&all.to_ne_bytes()[..], &(root as i32).to_ne_bytes()].concat())?;
    call(libc::SYS_landlock_add_rule, [Arg::Int(ruleset), Arg::Int(1), Arg::Int(rule), Arg::Int(0)])?;
    call(libc::SYS_prctl, [Arg::Int(libc::PR_SET_NO_NEW_PRIVS.into()), Arg::Int(1), Arg::Int(0), Arg::Int(0), Arg::Int(0)])?;
    call(libc::SYS_landlock_restrict_self, [Arg::Int(ruleset), Arg::Int(0)])?;
    super::row::open(&world.fill("{out}/file.txt"), libc::O_WRONLY).map(|fd| fd.to_string())
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    const CALLS: &[&str] = &[CREATE];
    let mut all = Vec::new();
    for entry in ENTRIES {
        let mut asks = |name: &str, run: Box<dyn Fn() -> Outcome + 'static>| {
            all.push(Attempt::new(Wall::Rulesets, format!("{}\ta ruleset {name}", entry.name()), run).by(CALLS));
        };
        for (name, attributes, size, flags) in ASKED {
            asks(name, Box::new(move || asked(*entry, *attributes, *size, *flags)));
        }
        asks("by its version", Box::new(move || version(*entry, VERSION)));
        asks("by its errata", Box::new(move || version(*entry, ERRATA)));
        asks("by requests that are none", Box::new(move || hostile(*entry)));
        asks("that becomes one of ports", Box::new(move || race(*entry)));
    }
    all.push(Attempt::new(Wall::Always, "steps\ta filter of one's own that permits", permits).by(&["seccomp"]));
    let run = move || granted(world);
    all.push(Attempt::new(Wall::Files, "steps\ta ruleset of one's own that grants", run).by(&["landlock_restrict_self"]));
    all
}
