//! `AdditionalPermissionProfile`: what one command may do beyond the policy.

use super::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};

impl Policy {
    /// The union of both: entries of `more` after its own, the network if either has it, the greater depth of search.
    pub fn widen(&mut self, more: &Policy) {
        if more.network == Network::Enabled {
            self.network = Network::Enabled;
            self.choices.proxy = None;
        }
        if let FileSystem::Restricted(more) = &more.file_system {
            add(&mut self.file_system, more);
        }
    }
}

fn add(base: &mut FileSystem, more: &Restricted) {
    let narrows = more.entries.iter().any(|entry| entry.access != Access::Write);
    match base {
        FileSystem::Restricted(base) => {
            base.glob_scan_max_depth = match (globs(base), globs(more)) {
                (true, true) => base.glob_scan_max_depth.zip(more.glob_scan_max_depth).map(|(a, b)| a.max(b)),
                (_, true) => more.glob_scan_max_depth,
                (_, false) => base.glob_scan_max_depth,
            };
            base.entries.extend(more.entries.iter().cloned());
        }
        // What was unrestricted becomes a list that says the same, from which something can be taken.
        FileSystem::Unrestricted | FileSystem::External if narrows => {
            let root = Entry { target: Target::Special(Special::Root), access: Access::Write, skip_missing: false };
            let entries = std::iter::once(root).chain(more.entries.iter().cloned()).collect();
            *base = FileSystem::Restricted(Restricted { entries, glob_scan_max_depth: more.glob_scan_max_depth });
        }
        FileSystem::Unrestricted | FileSystem::External => {}
    }
}

fn globs(policy: &Restricted) -> bool {
    policy.entries.iter().any(|entry| matches!(entry.target, Target::Glob(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::{Base, additional, preset};
    use std::path::Path;

    fn widened(base: &str, more: &str) -> Policy {
        let mut policy = preset(base).unwrap();
        let at = Base { cwd: Path::new("/w"), home: None };
        policy.widen(&additional(more, &at).unwrap().policy);
        policy
    }

    fn entries(policy: &Policy) -> usize {
        if let FileSystem::Restricted(r) = &policy.file_system { r.entries.len() } else { 0 }
    }

    #[test]
    fn entries_are_added_and_the_network_is_opened() {
        let write = r#"{"file_system": {"entries": [{"path": {"type": "path", "path": "/srv"}, "access": "write"}]}}"#;
        assert_eq!(entries(&widened("read-only", write)), 2);
        assert_eq!(widened("read-only", write).network, Network::Restricted);
        assert_eq!(widened("read-only", r#"{"network": {"enabled": true}}"#).network, Network::Enabled);
        assert_eq!(widened("danger-full-access", write), preset("danger-full-access").unwrap());
    }

    #[test]
    fn a_denial_takes_from_full_access_too() {
        let deny = r#"{"file_system": {"entries": [{"path": {"type": "glob_pattern", "pattern": "/srv/*.key"}, "access": "deny"}],
            "glob_scan_max_depth": 3}}"#;
        let policy = widened("danger-full-access", deny);
        assert_eq!(entries(&policy), 2);
        let mut twice = policy;
        let at = Base { cwd: Path::new("/w"), home: None };
        twice.widen(&additional(&deny.replace(": 3", ": 5"), &at).unwrap().policy);
        let FileSystem::Restricted(r) = &twice.file_system else { panic!() };
        assert_eq!(r.glob_scan_max_depth.map(usize::from), Some(5));
        twice.widen(&additional(&deny.replace("3", "null"), &at).unwrap().policy);
        let FileSystem::Restricted(r) = &twice.file_system else { panic!() };
        assert_eq!(r.glob_scan_max_depth, None, "unbounded wins");
    }

    #[test]
    fn a_glob_that_grants_and_choices_are_refused() {
        let choices = r#"{"network": {"enabled": true}, "codexrun": {"private_tmp": true}}"#;
        assert!(additional(choices, &Base { cwd: Path::new("/w"), home: None }).is_err());
        let grant =
            r#"{"file_system": {"entries": [{"path": {"type": "glob_pattern", "pattern": "/srv/*"}, "access": "read"}]}}"#;
        assert!(additional(grant, &Base { cwd: Path::new("/w"), home: None }).is_err());
    }
}
