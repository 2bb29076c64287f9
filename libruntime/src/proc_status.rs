//! `/proc/PID/status`, proc_pid_status(5): what everybody may read of a process or a thread, by the names of its lines.

use crate::text;
use std::io::Result;
use std::path::Path;

/// The text as it was at one moment. No name that a process gives itself makes a line of it: the kernel writes `\n` for its line ends.
pub(crate) struct ProcStatus(pub(crate) String);

impl ProcStatus {
    /// Of the process or thread of that number.
    pub fn of(pid: i32) -> Result<ProcStatus> {
        ProcStatus::below(format!("/proc/{pid}").as_ref())
    }

    /// Of the one that this directory is of: `/proc/PID`.
    pub fn below(process: &Path) -> Result<ProcStatus> {
        text::lossy(&process.join("status")).map(ProcStatus)
    }

    /// What stands behind `name:`, without the blanks around it.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// A field that is a set of bits: of signals, bit n for signal n + 1, or of capabilities.
    pub fn set(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.field(name)?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status =
            ProcStatus("Name:\tSeccomp:\t2\nSeccomp_filters:\t7\nSeccomp:\t0\nGroups:\t \nSigBlk:\t00000000000000ff\n".into());
        assert_eq!((status.field("Seccomp"), status.field("Groups"), status.field("Sec")), (Some("0"), Some(""), None));
        assert_eq!((status.set("SigBlk"), status.set("Groups"), status.set("SigCgt")), (Some(0xff), None, None));
    }

    #[test]
    fn a_process_that_writes_lines_into_its_name_has_one_name() {
        let script = "printf 'a\\nTgid:\\t1' >/proc/$$/comm; cat /proc/$$/status";
        let out = std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap();
        let status = ProcStatus(String::from_utf8(out.stdout).unwrap());
        assert_eq!((status.field("Name"), status.field("Tgid") == Some("1")), (Some("a\\nTgid:\t1"), false));
    }
}
