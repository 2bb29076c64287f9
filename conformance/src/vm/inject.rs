//! System calls that fail where cgroup v2 has every controller, with systemd's driver, and in a cgroup that was delegated: a few of
//! [`crate::inject`]'s trials in each, other ones each day.

use crate::inject;
use crate::oci::Who::{Both, Root};
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, skip};

pub const CASES: &[Must] =
    &[must("inject.v2", "a call of create, start or delete fails: all or nothing, and nothing left", Root, in_version_2)];
pub const SYSTEMD: Must = must("inject.systemd", "the same when systemd makes the cgroup", Root, by_systemd);
pub const USERS_SYSTEMD: Must =
    must("user.inject.systemd", "the same when the user's systemd makes it", Both, by_the_users_systemd);
pub const DELEGATED: Must = must("user.inject.delegated", "the same in a cgroup that was delegated", Both, in_a_delegated);

fn in_version_2(t: &Turn) -> Verdict {
    ours(t, &[], &format!("/{}", t.fresh()))
}

fn by_systemd(t: &Turn) -> Verdict {
    ours(t, &["--systemd-cgroup"], &format!("system.slice:p:{}", t.fresh()))
}

fn by_the_users_systemd(t: &Turn) -> Verdict {
    super::systemd::session(t)?;
    ours(t, &["--systemd-cgroup"], &format!(":p:{}", t.fresh()))
}

fn in_a_delegated(t: &Turn) -> Verdict {
    ours(t, &[], &t.fresh())
}

fn ours(t: &Turn, globals: &'static [&'static str], path: &str) -> Verdict {
    if !t.column.runtime.is_codexrun() {
        return skip("the calls of codexrun are what is made to fail");
    }
    t.globals.set(globals);
    inject::a_few(t, path)
}
