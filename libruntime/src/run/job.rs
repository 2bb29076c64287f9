//! Job control. What codexrun runs has a session of its own, so Ctrl-Z would stop codexrun alone: the rest would go on, and read what is typed
//! to the shell.

use super::launch::setup;
use crate::Result;
use crate::plan::Plan;
use crate::plan::op::Op;
use crate::sys::process::{self, Pid};
use crate::sys::signal;

/// What stands still while codexrun does.
#[derive(Clone, Copy)]
pub(super) enum Job {
    /// Everything in the namespace of this process, which is codexrun's init and sees to it.
    Namespace(Pid),
    /// The process group of this one: as much as a terminal would stop.
    Group(Pid),
}

impl Job {
    pub fn of(plan: &Plan, first: Pid) -> Job {
        let init = plan.child.iter().any(|step| matches!(step.op, Op::Init));
        if init { Job::Namespace(first) } else { Job::Group(first) }
    }

    /// SIGTSTP has come, which `blocked` blocks: returns when we are let go on. Where nobody would do that (an orphaned process group,
    /// setpgid(2)) the kernel does not stop us, and it is at once.
    pub fn stand_still(self, blocked: &signal::Set) -> Result<()> {
        let cannot = |e| setup("stop as the terminal asks", e);
        self.send(libc::SIGTSTP, libc::SIGSTOP);
        process::kill(std::process::id() as Pid, libc::SIGTSTP).map_err(cannot)?;
        let stopped = signal::set_mask(&signal::Set::all_but(&[libc::SIGTSTP])).and_then(|_| signal::set_mask(blocked));
        self.send(libc::SIGCONT, libc::SIGCONT);
        stopped.map(drop).map_err(cannot)
    }

    /// Who has just ended needs no signal, and who has become another user takes none of ours.
    fn send(self, to_init: i32, to_group: i32) {
        let _ = match self {
            Job::Namespace(init) => process::kill(init, to_init),
            // Before its setsid(2) it leads none.
            Job::Group(leader) => process::kill(-leader, to_group).or_else(|_| process::kill(leader, to_group)),
        };
    }
}
