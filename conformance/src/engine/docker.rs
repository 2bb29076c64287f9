//! dockerd with its own containerd, and its default bridge in the column's network namespace.

use super::case::{Group, exec, join, life, limit, look, nest, right, signal, start, stream, tty, volume};
use super::cli::Cli;
use super::daemon::Daemon;
use super::inside::Site;
use super::{Engine, Name, Started, image};
use crate::report::No;

pub const ENGINE: Engine = Engine { name: Name::Docker, word: "docker", programs: PROGRAMS, start, groups: GROUPS };

const PROGRAMS: &[&str] = &["dockerd", "docker", "containerd", "containerd-shim-runc-v2", "docker-init", "iptables", "busybox"];
#[rustfmt::skip]
const GROUPS: &[Group] = &[
    start::GROUP, stream::GROUP, tty::GROUP, signal::GROUP, exec::GROUP, limit::GROUP, volume::GROUP, right::GROUP, join::GROUP,
    life::GROUP, look::GROUP, nest::GROUP,
];

/// Debian's own, which fits its daemon, should another come first on PATH.
fn client() -> &'static str {
    let debian = "/usr/bin/docker";
    if std::path::Path::new(debian).is_file() { debian } else { "docker" }
}

fn start(site: &Site) -> Result<Started, No> {
    let archive = image::archive(&site.dir)?.display().to_string();
    let path = |name: &str| site.dir.join(name).display().to_string();
    let socket = format!("unix://{}", path("docker.sock"));
    let cli = Cli::new(site, &site.root, &[client(), "-H", &socket]);
    let (data, exec, pid) = (path("data"), path("exec"), path("docker.pid"));
    let runtime = format!("tested={}", site.runtime.display());
    #[rustfmt::skip]
    // The score: root without CAP_SYS_RESOURCE cannot lower its own.
    let words = [
        "dockerd", "-H", &socket, "--data-root", &data, "--exec-root", &exec, "--pidfile", &pid, "--storage-driver", "overlay2",
        "--oom-score-adjust", "0", "--add-runtime", &runtime, "--default-runtime", "tested",
    ];
    let daemon = Daemon::start(&words, site.dir.join("dockerd.log"), &cli, &["version"])?;
    cli.run(&["import", &archive, image::NAME])?.code_is(0)?;
    Ok(Started { cli, daemon: Some(daemon), keeps: None })
}
