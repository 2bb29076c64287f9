//! The loop of the child: it walks the list and leaves by execve(2) or `_exit`.

use super::agent::Agent;
use super::fault::{Column, Fault};
use super::op::pin::Program;
use super::relay::Inner;
use super::said::Said;
use crate::plan::Plan;
use crate::plan::mount_slots;
use crate::plan::op::{By, Op, ParentOp};
use crate::sys::mount::MountAttr;
use crate::sys::process::{self, Strings};
use crate::sys::{Errno, Result, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the operations hand to one another: descriptors, and what was prepared before the clone.
pub(super) struct Child<'a> {
    /// The list.
    pub plan: &'a Plan,
    /// The socket to the parent.
    pub gate: OwnedFd,
    /// Where a fault goes.
    pub faults: OwnedFd,
    /// The signal mask that codexrun was started with.
    pub mask: signal::Set,
    /// argv of the command.
    pub args: Strings<'a>,
    /// envp of the command.
    pub env: Strings<'a>,
    /// The caller's umask, once it has been changed.
    pub umask: Option<u32>,
    /// The new root.
    pub root: Option<OwnedFd>,
    /// What a copy of a mount of the host's gets: in a mount namespace of its own all are private already.
    pub copies: MountAttr,
    /// The identity of its `/`: no mount and no mask may land there by way of a link.
    pub root_id: (u64, u64),
    /// Its `/dev`.
    pub dev: Option<OwnedFd>,
    /// `/proc/self` of the host's procfs.
    pub proc_self: Option<OwnedFd>,
    /// The host's `/proc` itself.
    pub proc: Option<OwnedFd>,
    /// The host's `/dev/null`.
    pub null: Option<OwnedFd>,
    /// An empty read-only file system.
    pub empty: Option<OwnedFd>,
    /// File systems that are mounted more than once.
    pub kept: [Option<OwnedFd>; mount_slots()],
    /// Mounts that the parent has made.
    pub mapped: Vec<Option<OwnedFd>>,
    /// Mounts that it sends after the clone.
    pub sent: Vec<Option<OwnedFd>>,
    /// Device nodes that it has made, a mount each.
    pub nodes: Vec<Option<OwnedFd>>,
    /// Files of the cgroup to enter.
    pub cgroup: Vec<Option<OwnedFd>>,
    /// Who may not enter it goes on without: nothing is limited there.
    pub may_stay_outside: bool,
    /// The terminal.
    pub tty: Option<OwnedFd>,
    /// The container's first process, for `exec`.
    pub target: Option<BorrowedFd<'a>>,
    /// Its root, when that does not come with a mount namespace.
    pub target_root: Option<BorrowedFd<'a>>,
    /// How `start` is heard, after `create`.
    pub start: Option<Start>,
    /// Who answers for the filter.
    pub agent: Option<Agent>,
    /// What Landlock will permit.
    pub ruleset: Option<OwnedFd>,
    /// argv and envp of the hooks of this column; without one it is that of the process.
    pub hooks: Vec<(Strings<'a>, Option<Strings<'a>>)>,
    /// What those hooks read.
    pub states: States,
    /// What those of the bridge say.
    pub said: Option<Said>,
    /// What its standard streams are to be, if they are not the caller's.
    pub streams: Inner,
    /// The caller's standard error, for hooks that run when it is no longer ours.
    pub stderr: Option<OwnedFd>,
    /// Where init tells the keeper that nobody is left.
    pub ended: Option<OwnedFd>,
    /// For the command's process, until it executes.
    pub stack: Vec<u8>,
    /// The program, when it is not to be executed by its path.
    pub program: Option<Program>,
    /// The identity of codexrun's own file (CVE-2019-5736).
    pub own: (u64, u64),
    /// The working directory was entered before the user id changed.
    pub entered: bool,
    /// The step that is being performed.
    pub step: u16,
}

/// The two ends that `start` finds by name.
pub(super) struct Start {
    /// The byte comes here.
    pub gate: OwnedFd,
    /// From then on faults go here.
    pub faults: OwnedFd,
}

/// The OCI state on standard input of hooks, in memory; the parent, who knows the pid, fills it in.
#[derive(Default)]
pub(super) struct States {
    /// For createContainer.
    pub creating: Option<OwnedFd>,
    /// For startContainer.
    pub created: Option<OwnedFd>,
}

impl<'a> Child<'a> {
    /// Before its first step, with what no process goes without.
    pub fn new(
        plan: &'a Plan,
        gate: OwnedFd,
        faults: OwnedFd,
        mask: signal::Set,
        args: Strings<'a>,
        env: Strings<'a>,
        own: (u64, u64),
    ) -> Self {
        Child {
            plan,
            gate,
            faults,
            mask,
            args,
            env,
            umask: None,
            root: None,
            copies: MountAttr::default(),
            root_id: (0, 0),
            dev: None,
            proc_self: None,
            proc: None,
            null: None,
            empty: None,
            kept: [const { None }; mount_slots()],
            mapped: Vec::new(),
            sent: Vec::new(),
            nodes: Vec::new(),
            cgroup: Vec::new(),
            may_stay_outside: false,
            tty: None,
            target: None,
            target_root: None,
            start: None,
            agent: None,
            ruleset: None,
            hooks: Vec::new(),
            states: States::default(),
            said: None,
            streams: Inner::default(),
            stderr: None,
            ended: None,
            stack: Vec::new(),
            program: None,
            own,
            entered: false,
            step: 0,
        }
    }

    /// The new root; without one the plan is not in order.
    pub fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    /// After the pivot nothing that belongs to the host may stay open (CVE-2024-21626). `proc_self` stays: the nested user
    /// namespace is mapped through it, and init and execve(2) close it before anybody else runs.
    pub fn forget_host(&mut self) {
        (self.root, self.dev, self.null, self.empty) = (None, None, None, None);
        self.kept = [const { None }; mount_slots()];
    }

    /// Walks the list from the current step on.
    pub fn walk(&mut self) -> ! {
        let plan = self.plan;
        while let Some(step) = plan.child.get(usize::from(self.step)) {
            if let Err(errno) = super::op::run(&step.op, self) {
                self.tell(errno);
                self.judge_the_rest(&step.op);
                process::exit(1);
            }
            self.step += 1;
        }
        self.fail(Errno::ENOEXEC)
    }

    /// What does not depend on what has failed, so that its faults need not be found one launch after another: kernel parameters, but in
    /// namespaces of somebody else's, devices that are only looked for, and the options of file systems, which are not made.
    fn judge_the_rest(&mut self, failed: &Op) {
        let plan = self.plan;
        let own = !plan.parent.iter().any(|step| matches!(step.op, ParentOp::Join(_)));
        for at in self.step.saturating_add(1)..plan.child.len() as u16 {
            let said = match &plan.child[usize::from(at)].op {
                op @ Op::Sysctl { .. } if own && matches!(failed, Op::Sysctl { .. }) => super::op::run(op, self),
                op @ Op::Device(device) if device.by == By::Itself && matches!(failed, Op::Device(_)) => super::op::run(op, self),
                Op::Mount(fs) => super::op::mounts::judge(fs),
                _ => Ok(()),
            };
            if let Err(errno) = said {
                self.step = at;
                self.tell(errno);
            }
        }
    }

    /// Says which step failed, and leaves.
    pub fn fail(&self, errno: Errno) -> ! {
        self.tell(errno);
        process::exit(1)
    }

    fn tell(&self, errno: Errno) {
        Fault { column: Column::Child, step: self.step, errno: errno as i32 }.send(self.faults.as_fd());
    }
}
