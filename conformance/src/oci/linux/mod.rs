//! config-linux.md, a file per subject. Controllers of cgroup v2 and AppArmor are asked for in the machine of `--vm`.

pub mod cgroups;
pub mod devices;
pub mod features;
pub mod filter;
pub mod kernel;
pub mod namespaces;
pub mod netdevices;
pub mod paths;

use super::turn::Turn;
use crate::report::Verdict;
use serde_json::Value;

/// A sleeper with this change is refused.
fn invalid(turn: &Turn, change: impl FnOnce(&mut Value)) -> Verdict {
    let mut config = turn.sleeper();
    change(&mut config);
    turn.refused(&config)
}
