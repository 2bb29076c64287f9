//! A clock that jumps: this machine's can be set.

use crate::oci::Who::Root;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail, skip};
use serde_json::json;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const CASES: &[Must] =
    &[must("clock", "a clock that is set ahead and back ends no wait early, and holds none up", Root, clock)];

const YEAR: i64 = 365 * 24 * 3600;
/// What is waited for, in seconds.
const WAIT: u64 = 2;

/// The clock of before, when dropped.
struct Clock {
    right: SystemTime,
    begun: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { right: SystemTime::now(), begun: Instant::now() }
    }

    /// So many seconds off.
    fn set(&self, off: i64) -> Verdict {
        let now = (self.right + self.begun.elapsed()).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
        let done = Command::new("/bin/busybox").args(["date", "-s", &format!("@{}", now + off)]).output()?;
        if done.status.success() { Ok(()) } else { fail("date -s", "exit 0", String::from_utf8_lossy(&done.stderr)) }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // What is shown by a wrong clock harms nobody in this machine.
        let _ = self.set(0);
    }
}

/// A container that runs is known throughout; its next one has a hook that hangs and a limit of its own.
fn clock(t: &Turn) -> Verdict {
    if !t.column.runtime.is_codexrun() {
        return skip("only codexrun has a limit of its own");
    }
    let clock = Clock::new();
    let container = t.started(&t.sleeper())?;
    for off in [10 * YEAR, -20 * YEAR] {
        clock.set(off)?;
        container.is("running")?;
        t.succeeds(&["exec", &container.id, "/bin/true"])?;
        clock.set(0)?;
        let mut hangs = t.sh("exit 0");
        hangs["hooks"] =
            json!({"createRuntime": [{"path": "/bin/busybox", "args": ["busybox", "sleep", "1000"], "timeout": WAIT}]});
        let mut limited = t.sleeper();
        limited["annotations"] = json!({"dev.codexrun.wall-time": WAIT.to_string()});
        for (config, code) in [(hangs, 1), (limited, 124)] {
            within(t, &config, code, || clock.set(off))?;
        }
    }
    container.stopped()?;
    container.delete()
}

/// `run` ends with this code after [`WAIT`], though the clock jumps meanwhile.
fn within(t: &Turn, config: &serde_json::Value, code: i32, jump: impl FnOnce() -> Verdict) -> Verdict {
    let dir = t.bundle(config)?.display().to_string();
    let begun = Instant::now();
    let running = t.launch(&["run", "--bundle", &dir, &t.fresh()]).start(&t.column.actor)?;
    sleep(Duration::from_millis(500));
    jump()?;
    let ran = running.finish_beside_others().map_err(No::from)?;
    let took = begun.elapsed();
    let good = ran.code == code && took >= Duration::from_secs(WAIT) && took < Duration::from_secs(4 * WAIT);
    ran.must(&format!("exit {code} after {WAIT} s, not after {took:?}"), good)
}
