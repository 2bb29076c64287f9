//! Builds: `buildah` and what `podman build` shares with it, with `--isolation oci`, so that each RUN is a container of the
//! runtime.

use super::case::{Group, bud};
use super::inside::Site;
use super::{Engine, Name, Started, image, podman};
use crate::report::No;

pub const ENGINE: Engine = Engine { name: Name::Build, word: "build", programs: PROGRAMS, start, groups: GROUPS };

const PROGRAMS: &[&str] = &["podman", "buildah", "catatonit", "busybox"];
const GROUPS: &[Group] = bud::GROUPS;

fn start(site: &Site) -> Result<Started, No> {
    podman::ready(site, &site.root)?;
    let cli = podman::command(site, &site.root, "buildah")?;
    let image = cli.said(&["images", "--format", "{{.Name}}:{{.Tag}}", image::NAME])?;
    super::cli::equal("the image, seen by buildah", image, image::NAME)?;
    Ok(Started { cli, daemon: None, keeps: None })
}
