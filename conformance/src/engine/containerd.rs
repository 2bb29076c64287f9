//! containerd with its shim, driven by `ctr`.

use super::case::{Group, ctr};
use super::cli::Cli;
use super::daemon::Daemon;
use super::inside::Site;
use super::{Engine, Name, Started, image};
use crate::report::No;

pub const ENGINE: Engine = Engine { name: Name::Containerd, word: "containerd", programs: PROGRAMS, start, groups: GROUPS };

const PROGRAMS: &[&str] = &["containerd", "ctr", "containerd-shim-runc-v2", "busybox"];
const GROUPS: &[Group] = ctr::GROUPS;

fn start(site: &Site) -> Result<Started, No> {
    let archive = image::saved(&site.dir)?.display().to_string();
    let socket = site.dir.join("containerd.sock").display().to_string();
    let cli = Cli::new(site, &site.root, &["ctr", "-a", &socket]);
    let config = cli.put("config/config.toml", &configuration(site, &socket))?;
    let daemon = Daemon::start(&["containerd", "-c", &config], site.dir.join("containerd.log"), &cli, &["version"])?;
    cli.run(&["image", "import", &archive])?.code_is(0)?;
    Ok(Started { cli, daemon: Some(daemon), keeps: None })
}

fn configuration(site: &Site, socket: &str) -> String {
    let dir = site.dir.display();
    format!(
        r#"version = 2
root = "{dir}/data"
state = "{dir}/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{socket}"
[ttrpc]
address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"
"#
    )
}
