//! The machine: qemu without hardware virtualisation, two serial lines, a disk of zeros. It lives for as long as the guard does.

use super::image::Parts;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program; Debian's package qemu-system-x86.
pub const QEMU: &str = "qemu-system-x86_64";
/// Old: every feature that the kernel finds is one that has to be emulated.
const PROCESSOR: &str = "Nehalem";
/// Cases wait for what the guest does, so that two processors are enough for twice as many workers.
const PROCESSORS: &str = "2";
const MEMORY: &str = "1280";
/// `quiet`: each line of the kernel's costs time. No mitigations: nobody in there has a secret. Eight huge pages are there to be limited.
const KERNEL: &str =
    "console=ttyS0 quiet panic=-1 mitigations=off apparmor=1 security=apparmor hugepages=8 cgroup_no_v1=all random.trust_cpu=on";
/// Reads as zeros, keeps nothing, needs no file.
const DISK: &str = "driver=null-co,node-name=disk,size=67108864,read-zeroes=on";

/// A machine that has been started.
pub struct Machine(Child);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Off,
    /// We were told to stop.
    Interrupted,
    /// It was still running at the deadline.
    Late,
}

impl Machine {
    /// Boots: what the kernel says goes to `console`, what the suite inside says to `told`. The machine dies with us.
    pub fn boot(parts: &Parts, initrd: &Path, console: &Path, told: &Path) -> io::Result<Machine> {
        let file = |path: &Path| format!("file:{}", path.display());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", QEMU]);
        // On this kind of machine /dev/kvm may be there and hang.
        command.args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", PROCESSOR, "-smp", PROCESSORS, "-m", MEMORY]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(&parts.kernel).arg("-initrd").arg(initrd).args(["-append", KERNEL]);
        command.args(["-serial", &file(console), "-serial", &file(told)]);
        command.args(["-blockdev", DISK, "-device", "virtio-blk-pci,drive=disk"]);
        let output = File::create(console.with_extension("qemu"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn()?;
        Ok(Machine(child))
    }

    /// Waits for its end, at most until then; `meanwhile` is called now and then.
    pub fn wait(&mut self, deadline: Instant, interrupts: &SignalFd, mut meanwhile: impl FnMut()) -> io::Result<End> {
        loop {
            if self.0.try_wait()?.is_some() {
                return Ok(End::Off);
            }
            if matches!(interrupts.read_signal(), Ok(Some(_))) {
                return Ok(End::Interrupted);
            }
            if Instant::now() > deadline {
                return Ok(End::Late);
            }
            meanwhile();
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// SIGINT, SIGTERM and SIGHUP as a descriptor, so that the machine is ended first.
pub fn interrupts() -> nix::Result<SignalFd> {
    let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}
