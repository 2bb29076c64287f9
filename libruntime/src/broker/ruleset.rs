//! landlock_create_ruleset(2), as of a kernel that knows rights to files alone: whoever would confine its connections must not believe that
//! it has, since it is the broker that connects, outside of that program's domain. What has been read is made here, as any other call is.

use super::call::{Answer, Call};
use crate::sys::landlock::{self, Handled};
use crate::sys::notify::{answer_with_fd, read_memory};
use crate::sys::{Errno, Result};
use std::os::fd::AsFd;

/// The last version without TCP ports (4); the scope of abstract sockets came later (6), and so will what else is about sockets.
const VERSION: u32 = 3;
/// LANDLOCK_CREATE_RULESET_VERSION.
const ASKS_VERSION: u32 = 1;
/// Bytes of `struct landlock_ruleset_attr` of that version.
const FILES: usize = 8;
/// And the most that one of any version is given as: a page.
const LONGEST: usize = 4096;
/// LANDLOCK_ACCESS_FS_EXECUTE to LANDLOCK_ACCESS_FS_TRUNCATE. What came later is about devices (5), and will be about sockets by path.
const RIGHTS: u64 = (1 << 15) - 1;

pub(super) fn make(call: &Call) -> Result<Answer> {
    let [attributes, size, flags] = [0, 1, 2].map(|n| call.asked.args[n]);
    match flags as u32 {
        0 => {}
        ASKS_VERSION if (attributes, size) == (0, 0) => {
            return landlock::version().map(|version| Answer::Done(version.min(VERSION).into()));
        }
        _ => return Err(Errno::EINVAL),
    }
    if size > LONGEST as u64 {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size as usize];
    read_memory(call.asked.thread, attributes, &mut bytes)?;
    let ruleset = landlock::create(&handled(&bytes)?)?;
    answer_with_fd(call.listener.as_fd(), call.asked.id, ruleset.as_fd(), true)?;
    Ok(Answer::Given)
}

/// Zeros behind what is known say nothing.
fn handled(bytes: &[u8]) -> Result<Handled> {
    let (files, rest) = bytes.split_first_chunk::<FILES>().ok_or(Errno::EINVAL)?;
    match (rest.iter().all(|byte| *byte == 0), u64::from_ne_bytes(*files)) {
        (false, _) => Err(Errno::E2BIG),
        (true, files) if files & !RIGHTS != 0 => Err(Errno::EINVAL),
        (true, files) => Ok(Handled { files, ..Handled::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_about_files_is_unknown_here() {
        let of = |files: u64, rest: &[u8]| handled(&[&files.to_ne_bytes()[..], rest].concat());
        let files = Ok(Handled { files: 5, network: 0, scoped: 0 });
        assert_eq!((of(5, &[]), of(5, &[0; 16])), (files, files));
        assert_eq!((of(5, &[0, 0, 0, 0, 0, 0, 0, 1]), of(0, &[2, 0, 0, 0])), (Err(Errno::E2BIG), Err(Errno::E2BIG)));
        assert_eq!([handled(&[1; 7]), of(1 << 15, &[]), of(1 << 16, &[])], [Err(Errno::EINVAL); 3]);
    }
}
