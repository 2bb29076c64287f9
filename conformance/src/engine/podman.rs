//! podman as root, with everything of its own below the column's directory.

use super::case::{Group, exec, hook, join, life, limit, look, nest, pod, right, signal, start, stream, tty, volume};
use super::cli::Cli;
use super::inside::Site;
use super::{Engine, Name, Started, image};
use crate::actor::Actor;
use crate::report::No;

pub const ENGINE: Engine = Engine { name: Name::Podman, word: "podman", programs: PROGRAMS, start, groups: GROUPS };

/// What podman calls, beside a runtime.
pub const PROGRAMS: &[&str] = &["podman", "conmon", "iptables", "slirp4netns", "catatonit", "busybox"];
/// Shared with rootless podman.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    start::GROUP, stream::GROUP, tty::GROUP, signal::GROUP, exec::GROUP, limit::GROUP, volume::GROUP, right::GROUP, join::GROUP,
    life::GROUP, look::GROUP, hook::GROUP, pod::GROUP, nest::GROUP,
];

fn start(site: &Site) -> Result<Started, No> {
    ready(site, &site.root)
}

/// podman for a user, with the image.
pub fn ready(site: &Site, actor: &Actor) -> Result<Started, No> {
    let archive = image::archive(&site.dir)?.display().to_string();
    let cli = command(site, actor, "podman")?.with(&["--tmpdir", &path(site, actor, "libpod")]);
    cli.run(&["import", &archive, image::NAME])?.code_is(0)?;
    Ok(Started { cli, daemon: None, keeps: None })
}

/// podman or buildah: they share their store's options and their configuration.
pub fn command(site: &Site, actor: &Actor, program: &str) -> Result<Cli, No> {
    // Not longer than 50 characters, says podman.
    let run = if actor.is_root() { "/run".into() } else { site.login() }.join("containers").display().to_string();
    let store = path(site, actor, "store");
    let words = [program, "--root", &store, "--runroot", &run, "--storage-driver", "overlay"];
    let cli = Cli::new(site, actor, &words);
    let file = cli.put("config/containers.conf", &configuration(site, actor))?;
    let cli = cli.env("CONTAINERS_CONF", file);
    Ok(if actor.is_root() { cli } else { cli.env("XDG_RUNTIME_DIR", site.login().display()) })
}

fn path(site: &Site, actor: &Actor, name: &str) -> String {
    site.home(actor).join(name).display().to_string()
}

/// No systemd, hence cgroupfs and files; and limits that root without CAP_SYS_RESOURCE may set. The last two lists are what
/// a runtime that podman does not know by name has to be added to.
fn configuration(site: &Site, actor: &Actor) -> String {
    let (name, runtime) = (site.runtime_name(), site.runtime.display());
    let networks = path(site, actor, "networks");
    format!(
        r#"[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
log_driver = "k8s-file"
init_path = "/usr/bin/catatonit"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "{name}"
runtime_supports_json = ["{name}"]
runtime_supports_nocgroup = ["crun", "codexrun"]
[engine.runtimes]
{name} = ["{runtime}"]
[network]
network_backend = "netavark"
network_config_dir = "{networks}"
"#
    )
}
