//! What a tracer saw of a launch, for who has to find out why it went wrong: kept as it comes, put into words when it is asked for.

use nix::errno::Errno;
use nix::unistd::Pid;
use std::fmt;
use std::time::{Duration, Instant};

/// Something that happens to a process.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    /// Its parent and its pid.
    Born(Pid, Pid),
    /// It enters a system call, by number.
    Call(i64),
    /// It comes back, with a value or a negative errno.
    Returned(i64),
    /// This is where it is struck.
    Struck,
    /// It has become another program.
    Executed,
    /// SIGTERM was sent, as nothing happened any more.
    Told,
    /// With an exit code; 128+n for signal n.
    Ended(i32),
}

/// A launch from its beginning on.
#[derive(Debug)]
pub struct Story {
    began: Instant,
    lines: Vec<(Duration, usize, Seen)>,
}

/// What is told of one: the end, where it went wrong, and a good deal of what came before.
const TOLD: usize = 300;

impl Default for Story {
    fn default() -> Story {
        Story { began: Instant::now(), lines: Vec::new() }
    }
}

impl Story {
    /// Notes what happens to the `process`th.
    pub fn tell(&mut self, process: usize, seen: Seen) {
        self.lines.push((self.began.elapsed(), process, seen));
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, process, seen) in self.lines.iter().skip(self.lines.len().saturating_sub(TOLD)) {
            writeln!(f, "  {:>9.3} ms, process {process}: {seen}", at.as_secs_f64() * 1000.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Born(parent, pid) => write!(f, "is born as {pid}, of {parent}"),
            Seen::Call(nr) => f.write_str(name(*nr)),
            Seen::Returned(value @ -4095..0) => write!(f, "  = {:?}", Errno::from_raw(value.unsigned_abs() as i32)),
            Seen::Returned(value) => write!(f, "  = {value:#x}"),
            Seen::Struck => f.write_str("  IS STRUCK HERE"),
            Seen::Executed => f.write_str("is another program"),
            Seen::Told => f.write_str("gets SIGTERM, as nothing happens"),
            Seen::Ended(code) => write!(f, "ends with {code}"),
        }
    }
}

/// A call's name.
pub fn name(nr: i64) -> &'static str {
    usize::try_from(nr).ok().and_then(syscalls::Sysno::new).map_or("?", |call| call.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_name_and_errno() {
        let mut story = Story::default();
        [Seen::Call(libc::SYS_mount), Seen::Struck, Seen::Returned(-1), Seen::Returned(16)]
            .into_iter()
            .for_each(|s| story.tell(1, s));
        let text = story.to_string();
        assert!(text.contains("process 1: mount\n") && text.contains("= EPERM\n") && text.contains("= 0x10\n"), "{text}");
    }
}
