//! What ended a process before it was ready, and before it could say why.

use crate::Error;
use crate::plan::Plan;
use crate::plan::op::{Op, Sync};
use crate::sys::process::Ended;

/// It was ready, and was killed while a startContainer hook ran: nobody may take it for one that has started.
pub(super) fn in_a_hook() -> Error {
    Error::new("the process was ended while its hooks ran").at("config.json: hooks.startContainer")
}

/// The sentence; `kills` is how many processes of its cgroup the kernel has ended for want of memory. One that is `shared`,
/// joined or there before, counts since it was made: which of them was this one's, no launch can tell without a look before, which each
/// would pay for.
pub(super) fn explain(how: Ended, plan: &Plan, kills: u64, shared: bool) -> Error {
    let error = match how {
        Ended::Exited(code) => Error::new(format!("the process ended with {code} before it was ready")),
        Ended::Killed(signal) => Error::new(format!("the process was killed by {} before it was ready", name(signal))),
    };
    match how {
        Ended::Killed(libc::SIGKILL) if kills > 0 && shared => {
            let since = "for want of memory since it was made";
            error.hint(format!("the kernel has ended {kills} process(es) of the cgroup {since}; was this one of them?"))
        }
        Ended::Killed(libc::SIGKILL) if kills > 0 => error
            .at("config.json: linux.resources.memory.limit")
            .hint(format!("the kernel has ended {kills} process(es) of the cgroup for want of memory; is the limit too low?")),
        Ended::Killed(libc::SIGKILL) => error,
        // Who may not even call exit_group(2) ends by a fault.
        _ if is_filtered(plan) => error.at("config.json: linux.seccomp").hint(
            "without process.noNewPrivileges the filter holds for the last steps of the launch too, which `codexrun plan` lists",
        ),
        _ => error,
    }
}

/// Whether a filter is in force before the process is ready.
fn is_filtered(plan: &Plan) -> bool {
    let mut before = plan.child.iter().take_while(|step| step.op != Op::Tell(Sync::Ready));
    before.any(|step| matches!(step.op, Op::Seccomp(_) | Op::Supervised { .. }))
}

fn name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |known| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_cgroup_that_is_shared_no_limit_is_blamed_for_what_may_have_been_long_ago() {
        let (parent, child, after, warnings) = (vec![], vec![], vec![], vec![]);
        let joining = Vec::new();
        let plan = Plan { parent, child, after, joining, warnings, init: false, terminal: false, wall: None };
        let said = |kills, joined| explain(Ended::Killed(libc::SIGKILL), &plan, kills, joined).to_string();
        let killed = "the process was killed by SIGKILL before it was ready";
        assert_eq!([said(0, false), said(0, true)], [killed, killed]);
        assert!(said(2, false).starts_with("config.json: linux.resources.memory.limit: "), "{}", said(2, false));
        assert!(said(2, true).starts_with(killed) && said(2, true).contains("since it was made"), "{}", said(2, true));
    }
}
