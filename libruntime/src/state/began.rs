//! When a process began, said so that every time namespace understands it. /proc counts from boot as the reader's time namespace
//! has it (time_namespaces(7)), so a reading is kept together with how far that clock was ahead.

use crate::host::in_initial_time_namespace;
use crate::{Error, Result, text};
use std::fs;
use std::io;
use std::path::Path;

/// What field 22 of `/proc/PID/stat` said, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Began {
    /// Clock ticks since boot.
    pub ticks: u64,
    /// Nanoseconds by which the reader's clock was ahead of the machine's.
    pub ahead: i64,
}

/// In nanoseconds; the kernel's USER_HZ is 100 wherever codexrun runs.
const TICK: i128 = 10_000_000;

impl Began {
    /// As this process has just read it.
    ///
    /// # Errors
    /// The kernel does not tell by which clock it counts.
    pub fn read(ticks: u64) -> Result<Began> {
        let failed = |e| Error::new("cannot tell when a process began: /proc/self/timens_offsets").cause(e);
        Ok(Began { ticks, ahead: if in_initial_time_namespace()? { 0 } else { ahead().map_err(failed)? } })
    }

    /// Whether both can be said of one process: what was cut down to a tick is true of every moment of that tick.
    pub fn agrees(self, other: Began) -> bool {
        let tick = |began: Began| i128::from(began.ticks) * TICK - i128::from(began.ahead);
        (tick(self) - tick(other)).abs() < TICK
    }
}

fn ahead() -> io::Result<i64> {
    let text = text::lossy(Path::new("/proc/self/timens_offsets"))?;
    let ahead = offset(&text).ok_or_else(|| io::Error::other("no offset of boottime"))?;
    // It tells of our children's namespace, which on older kernels is another one for who has unshared it and not forked.
    if ahead != 0 && fs::read_link("/proc/self/ns/time")? != fs::read_link("/proc/self/ns/time_for_children")? {
        return Err(io::Error::other("it tells of the children's time namespace, which is another one"));
    }
    Ok(ahead)
}

/// In nanoseconds, of the line `boottime SECONDS NANOSECONDS`; the first kernels called that clock by its number.
fn offset(text: &str) -> Option<i64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let mut words = lines.find_map(|mut line| matches!(line.next(), Some("boottime" | "7")).then_some(line))?;
    let mut number = || words.next()?.parse::<i64>().ok();
    number()?.checked_mul(1_000_000_000)?.checked_add(number()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_began_when_it_began_in_every_time_namespace() {
        let agree = |a: (u64, i64), b: (u64, i64)| {
            let began = |(ticks, ahead)| Began { ticks, ahead };
            assert_eq!(began(a).agrees(began(b)), began(b).agrees(began(a)));
            began(a).agrees(began(b))
        };
        assert!(agree((4242, 0), (4242, 0)) && !agree((4242, 0), (4243, 0)), "to a tick");
        assert!(agree((4242, 0), (104_242, 1_000_000_000_000)) && !agree((4242, 0), (104_243, 1_000_000_000_000)));
        assert!(agree((4242, 0), (4142, -1_000_000_000)), "a clock that is behind");
        // A moment is cut down twice, from two sides: 42.425 s with 7 ms more is 42.432 s.
        assert!(
            agree((4242, 0), (4243, 7_000_000)) && agree((4242, 0), (4242, 7_000_000)) && !agree((4242, 0), (4241, 7_000_000))
        );
        assert!(!agree((u64::MAX, i64::MIN), (0, i64::MAX)), "a record of anything");
    }

    #[test]
    fn the_offset_is_read_as_each_kernel_writes_it() {
        assert_eq!(offset("monotonic           1         2\nboottime           -3         4\n"), Some(-2_999_999_996));
        assert_eq!(offset("1 1 2\n7 3 4\n"), Some(3_000_000_004));
        for text in ["", "monotonic 1 2\n", "boottime 3\n", "boottime 3 x\n", "boottime 9223372036854775807 0\n"] {
            assert_eq!(offset(text), None, "{text}");
        }
    }
}
