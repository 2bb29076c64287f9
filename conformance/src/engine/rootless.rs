//! podman as an ordinary user: the runtime is called as uid 0 of a user namespace, and owns no cgroup.

use super::inside::Site;
use super::{Engine, Name, Started, podman};
use crate::report::No;

pub const ENGINE: Engine = Engine { name: Name::Rootless, word: "rootless", programs: PROGRAMS, start, groups: podman::GROUPS };

const PROGRAMS: &[&str] = &["podman", "conmon", "newuidmap", "slirp4netns", "catatonit", "busybox"];

fn start(site: &Site) -> Result<Started, No> {
    // The process that keeps podman's user namespace stays between calls.
    let pause = site.home(&site.user).join("libpod/pause.pid");
    Ok(Started { keeps: Some(pause), ..podman::ready(site, &site.user)? })
}
