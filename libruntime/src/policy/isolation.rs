//! By what a policy is enforced, and what of it may be given up where there are no namespaces.

use std::fmt;

/// By what a policy is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Namespaces, mounts, a filter.
    #[default]
    Namespaces,
    /// Landlock and a filter, for hosts that forbid user namespaces.
    Landlock,
    /// Namespaces where the caller may make them, else Landlock.
    Auto,
}

/// Values of `isolation`.
pub const ISOLATION: &[(&str, Isolation)] =
    &[("namespaces", Isolation::Namespaces), ("landlock", Isolation::Landlock), ("auto", Isolation::Auto)];

/// What Landlock and a filter cannot hold, or an older kernel's Landlock cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// A /proc and a PID namespace of its own.
    Processes,
    /// `.git`, `.agents`, `.codex` of writable roots.
    Metadata,
    /// What an entry denies, or makes read-only, below a writable root.
    CarveOuts,
    /// Modes, owners, times, extended attributes of what is not writable.
    Attributes,
    /// A /tmp of its own.
    PrivateTmp,
    /// Nothing but the proxies is reached.
    ProxyOnly,
    /// Signals stay inside.
    Signals,
    /// Abstract Unix sockets of others are out of reach.
    AbstractSockets,
    /// Device files that are not granted get no ioctl(2) by descriptors opened before.
    DeviceIoctl,
}

/// Name; clause; what happens when it is given up.
pub const CLAUSES: &[(&str, Clause, &str)] = &[
    (
        "processes",
        Clause::Processes,
        "other processes, the host's mounts and the tables of its network are seen in /proc (not traced), processes of the same user can be \
         given other priorities and CPUs, and what the command leaves running goes on after it",
    ),
    ("metadata", Clause::Metadata, ".git, .agents and .codex of writable roots can be written"),
    ("carve-outs", Clause::CarveOuts, "what is denied or read-only below a writable root can be read and written"),
    (
        "attributes",
        Clause::Attributes,
        "chmod(2), chown(2), utimensat(2) and setxattr(2) change also what is not writable, as far as its owner may",
    ),
    ("private-tmp", Clause::PrivateTmp, "/tmp is the host's, as the rest of the policy says"),
    ("proxy-only", Clause::ProxyOnly, "the ports of the proxies are reached on every host, not on this one alone"),
    ("signals", Clause::Signals, "processes of the same user can be signalled (before Linux 6.12)"),
    ("abstract-sockets", Clause::AbstractSockets, "abstract Unix sockets can be connected to (before Linux 6.12)"),
    ("device-ioctl", Clause::DeviceIoctl, "devices that are open already take any ioctl(2) (before Linux 6.10)"),
];

impl Clause {
    fn row(self) -> &'static (&'static str, Clause, &'static str) {
        CLAUSES.iter().find(|(_, clause, _)| *clause == self).unwrap_or(&CLAUSES[0])
    }

    /// What happens when it is given up.
    pub fn consequence(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_has_its_row() {
        for (name, clause, consequence) in CLAUSES {
            assert_eq!((clause.to_string().as_str(), clause.consequence()), (*name, *consequence));
        }
    }
}
