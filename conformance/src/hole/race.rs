//! Somebody who shares a directory with a container and exchanges two names in it, thousands of times a second, while it is made.

use crate::report::{No, Verdict, fail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a race is run.
const TIME: Duration = Duration::from_millis(1500);
/// Between two exchanges: the launches, of which there should be many, need the processor too.
const BREATH: Duration = Duration::from_micros(10);
/// Fewer exchanges than this in that time were no attack.
const ENOUGH: u64 = 1000;

/// Calls `launch` again and again while `one` and `other` change places (renameat2(2), RENAME_EXCHANGE: neither is ever missing).
/// The first failure ends it.
pub fn run(one: &Path, other: &Path, mut launch: impl FnMut() -> Verdict) -> Verdict {
    let done = AtomicBool::new(false);
    let (verdict, swaps) = std::thread::scope(|threads| {
        let swapping = threads.spawn(|| {
            let mut swaps = 0;
            while !done.load(Relaxed) {
                swaps += u64::from(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok());
                std::thread::sleep(BREATH);
            }
            swaps
        });
        let verdict = until_time_is_over(&mut launch);
        done.store(true, Relaxed);
        (verdict, swapping.join().unwrap_or(0))
    });
    verdict?;
    met("exchanges", swaps >= ENOUGH)
}

fn until_time_is_over(launch: &mut dyn FnMut() -> Verdict) -> Verdict {
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        launch()?;
    }
    Ok(())
}

/// What an attack needs in order to be one. A race that was never run has proved nothing.
pub fn met(what: &str, holds: bool) -> Result<(), No> {
    if holds { Ok(()) } else { fail("(the attack)", what, "none, or too few: nothing was proved") }
}
