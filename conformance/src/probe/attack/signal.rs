//! Signals to a process outside, a number for each way: it blocks them all, and who looks at it outside sees which have come. What a call
//! returns says nothing here: who asks to be told of input, or of a timer, hears success, and the signal comes later or never.

use super::row::pipe;
use super::{Attempt, Wall, World};
use crate::outcome::{Fail, Outcome, word};
use crate::syscall::{Arg, call};

/// The first of the signals that are nobody else's; glibc has two for itself.
const FIRST: i64 = 36;

/// Sends a signal to a process.
type Way = fn(i64, i64) -> Result<i64, Fail>;

#[rustfmt::skip]
const WAYS: &[(&str, &[&str], Way)] = &[
    ("kill", &["kill"], |pid, signal| Ok(call(libc::SYS_kill, [Arg::Int(pid), Arg::Int(signal)])?)),
    ("kill of its group", &["kill"], |pid, signal| Ok(call(libc::SYS_kill, [Arg::Int(-pid), Arg::Int(signal)])?)),
    ("tkill", &["tkill"], |pid, signal| Ok(call(libc::SYS_tkill, [Arg::Int(pid), Arg::Int(signal)])?)),
    ("tgkill", &["tgkill"], |pid, signal| Ok(call(libc::SYS_tgkill, [Arg::Int(pid), Arg::Int(pid), Arg::Int(signal)])?)),
    ("rt_sigqueueinfo", &["rt_sigqueueinfo"], |pid, signal| {
        Ok(call(libc::SYS_rt_sigqueueinfo, [Arg::Int(pid), Arg::Int(signal), Arg::In(&queued(signal))])?)
    }),
    ("rt_tgsigqueueinfo", &["rt_tgsigqueueinfo"], |pid, signal| {
        Ok(call(libc::SYS_rt_tgsigqueueinfo, [Arg::Int(pid), Arg::Int(pid), Arg::Int(signal), Arg::In(&queued(signal))])?)
    }),
    ("pidfd_send_signal", &["pidfd_open", "pidfd_send_signal"], |pid, signal| {
        let pidfd = call(libc::SYS_pidfd_open, [Arg::Int(pid), Arg::Int(0)])?;
        Ok(call(libc::SYS_pidfd_send_signal, [Arg::Int(pidfd), Arg::Int(signal), Arg::Null, Arg::Int(0)])?)
    }),
    ("input of a pipe", &["fcntl"], |pid, signal| told_of(pid, signal, libc::F_SETOWN)),
    ("input of a pipe, for its group", &["fcntl"], |pid, signal| told_of(-pid, signal, libc::F_SETOWN)),
    ("input of a pipe, for its thread", &["fcntl"], |pid, signal| told_of(pid, signal, F_SETOWN_EX)),
    ("a timer", &["timer_create", "timer_settime"], timer),
];

const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

/// A siginfo_t of sigqueue(3).
fn queued(signal: i64) -> Vec<u8> {
    let mut info = [signal as i32, 0, -1].map(i32::to_ne_bytes).concat();
    info.resize(128, 0);
    info
}

/// SIGIO, under another number, to an owner that is another process (fcntl(2)).
fn told_of(pid: i64, signal: i64, set: i32) -> Result<i64, Fail> {
    let ((from, to), owner) = (pipe()?, [0i32, pid as i32].map(i32::to_ne_bytes).concat());
    let fcntl = |what: i32, value: Arg| call(libc::SYS_fcntl, [Arg::Int(from), Arg::Int(what.into()), value]);
    fcntl(F_SETSIG, Arg::Int(signal))?;
    fcntl(set, if set == F_SETOWN_EX { Arg::In(&owner) } else { Arg::Int(pid) })?;
    fcntl(libc::F_SETFL, Arg::Int(libc::O_ASYNC.into()))?;
    Ok(call(libc::SYS_write, [Arg::Int(to), Arg::In(b"x"), Arg::Int(1)])?)
}

/// SIGEV_THREAD_ID, of a thread that is another process's.
fn timer(pid: i64, signal: i64) -> Result<i64, Fail> {
    let event = [0, 0, signal as i32, libc::SIGEV_THREAD_ID, pid as i32].map(i32::to_ne_bytes).concat();
    let (event, mut timer) = ([event, vec![0; 44]].concat(), [0; 4]);
    call(libc::SYS_timer_create, [Arg::Int(libc::CLOCK_MONOTONIC.into()), Arg::In(&event), Arg::Out(&mut timer)])?;
    let soon = [0i64, 0, 0, 1].map(i64::to_ne_bytes).concat();
    let id = i32::from_ne_bytes(timer).into();
    let set = call(libc::SYS_timer_settime, [Arg::Int(id), Arg::Int(0), Arg::In(&soon), Arg::Null])?;
    std::thread::sleep(std::time::Duration::from_millis(1));
    Ok(set)
}

fn sent(world: &World, n: i64, way: Way) -> Outcome {
    match way(world.pid()?, FIRST + n) {
        Ok(_) => word("sent", "who is outside says whether it came"),
        Err(fail) => Err(fail),
    }
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let ways = (0..).zip(WAYS);
    ways.map(|(n, (name, calls, way))| {
        Attempt::new(Wall::Always, format!("signals\t{} by {name}", FIRST + n), move || sent(world, n, *way)).by(calls)
    })
    .collect()
}
