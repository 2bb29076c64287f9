//! Queues, segments and semaphores of the host's, by the numbers and the name that they have there.

use super::row::{Row, Word, row};
use super::{Attempt, Wall, World};
use crate::outcome::Outcome;
use crate::syscall::{Arg, call, text};
use Word::{Is, N, Q, Queue, Room, T};

const fn on(call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Always, call, call, words)
}

const NOT_WAITING: Word = N(libc::IPC_NOWAIT as i64);
const STAT: Word = N(2);
const VALUE: Word = N(12);
const ONE_MORE: Word = Q(&[0x1_0000]);

/// What takes the target away comes last.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    on("msgsnd", &[Is("msg"), Q(&[1, 0x78]), N(1), NOT_WAITING]),
    on("msgrcv", &[Is("msg"), Room, N(8), N(0), NOT_WAITING]),
    on("msgctl", &[Is("msg"), STAT, Room]),
    on("shmat", &[Is("shm"), N(0), N(libc::SHM_RDONLY as i64)]),
    on("shmctl", &[Is("shm"), STAT, Room]),
    on("semop", &[Is("sem"), ONE_MORE, N(1)]),
    on("semtimedop", &[Is("sem"), ONE_MORE, N(1), N(0)]),
    on("semctl", &[Is("sem"), N(0), VALUE, N(0)]),
    on("mq_open", &[T("{mq}"), N(libc::O_RDWR as i64), N(0), N(0)]),
    on("mq_timedsend", &[Queue, T("x"), N(1), N(0), N(0)]),
    on("mq_timedreceive", &[Queue, Room, N(4096), N(0), N(0)]),
    on("mq_getsetattr", &[Queue, N(0), Room]),
    on("mq_notify", &[Queue, N(0)]),
    on("mq_unlink", &[T("{mq}")]),
];

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    ROWS.iter().flat_map(|row| row.at("on the host's", world)).collect()
}

const MODE: Arg<'_> = Arg::Int((libc::IPC_CREAT | 0o666) as i64);

/// One of each, with a message in the queues, as words of the attack: for who looks from outside.
pub fn make(name: &str) -> Outcome {
    let private = || Arg::Int(libc::IPC_PRIVATE.into());
    let msg = call(libc::SYS_msgget, [private(), MODE])?;
    let shm = call(libc::SYS_shmget, [private(), Arg::Int(16), MODE])?;
    let sem = call(libc::SYS_semget, [private(), Arg::Int(1), MODE])?;
    let (attributes, flags) = ([0i64, 4, 64, 0, 0, 0, 0, 0].map(i64::to_ne_bytes).concat(), libc::O_CREAT | libc::O_RDWR);
    let words = [Arg::Text(&text(name)), Arg::Int(flags.into()), Arg::Int(0o666), Arg::In(&attributes)];
    let mq = call(libc::SYS_mq_open, words)?;
    let (typed, plain) = ([1i64, 0x78].map(i64::to_ne_bytes).concat(), Arg::In(b"x"));
    call(libc::SYS_msgsnd, [Arg::Int(msg), Arg::In(&typed), Arg::Int(1), Arg::Int(0)])?;
    call(libc::SYS_mq_timedsend, [Arg::Int(mq), plain, Arg::Int(1), Arg::Int(0), Arg::Null])?;
    Ok(format!("msg={msg} shm={shm} sem={sem} mq={name}"))
}

/// Takes them away.
pub fn unmake(world: &World) -> Outcome {
    let remove = || Arg::Int(libc::IPC_RMID.into());
    let id = |name| Arg::Int(world.number(name).unwrap_or(-1));
    call(libc::SYS_msgctl, [id("msg"), remove(), Arg::Null])?;
    call(libc::SYS_shmctl, [id("shm"), remove(), Arg::Null])?;
    call(libc::SYS_semctl, [id("sem"), Arg::Int(0), remove(), Arg::Null])?;
    // Where the attack is to get through it has done so already.
    let _ = call(libc::SYS_mq_unlink, [Arg::Text(&text(&world.fill("{mq}")))]);
    Ok(String::new())
}
