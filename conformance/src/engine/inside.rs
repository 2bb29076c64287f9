//! The inside of a column: private mounts over every place where an engine or a runtime keeps something, a pure view of the
//! column's own cgroups, and a network namespace with nothing but `lo`.

use super::hierarchy::Hierarchy;
use crate::actor::Actor;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A column's world: which runtime, for whom, and where its files are.
pub struct Site {
    /// A tmpfs of its own; ends with the namespace.
    pub dir: PathBuf,
    /// The runtime under test.
    pub runtime: PathBuf,
    /// The codexrun that is run in containers.
    pub codexrun: PathBuf,
    /// Root.
    pub root: Actor,
    /// The ordinary account.
    pub user: Actor,
}

const CGROUP: &str = "/sys/fs/cgroup";
/// Where engines write whatever they are told: covered when they exist, so that nothing of it reaches the host.
const COVERED: &[&str] =
    &["/etc/docker", "/etc/cni", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/var/lib/cni"];
/// Closed to users on some machines; rootless networks and fuse-overlayfs need them.
const OPENED: &[(&str, &str, &str)] = &[("/dev/net/tun", "10", "200"), ("/dev/fuse", "10", "229")];

impl Site {
    /// Makes the world; needs the namespaces that [`super::place`] has made.
    pub fn new(dir: PathBuf, runtime: PathBuf, codexrun: PathBuf, actors: Vec<Actor>) -> Result<Site, String> {
        let [root, user] = <[Actor; 2]>::try_from(actors).map_err(|_| "the engines need root and an ordinary account")?;
        cgroups()?;
        tmpfs(&dir, "mode=755")?;
        tmpfs(Path::new("/run"), "mode=755")?;
        tmpfs(Path::new("/tmp"), "mode=1777")?;
        COVERED.iter().map(Path::new).filter(|p| p.is_dir()).try_for_each(|p| tmpfs(p, "mode=755"))?;
        OPENED.iter().filter(|d| Path::new(d.0).exists()).try_for_each(|d| open_device(&dir, d))?;
        terminals()?;
        call("busybox", &["ip", "link", "set", "lo", "up"])?;
        let site = Site { dir, runtime, codexrun, root, user };
        site.homes().map_err(|e| format!("{}: {e}", site.dir.display()))?;
        Ok(site)
    }

    /// A home for each user, and the runtime directory that a login would have made for the ordinary one.
    fn homes(&self) -> std::io::Result<()> {
        for actor in [&self.root, &self.user] {
            fs::create_dir_all(self.home(actor).join("tmp"))?;
            actor.own(&self.home(actor))?;
        }
        fs::create_dir_all(self.login())?;
        self.user.own(&self.login())?;
        fs::set_permissions(self.login(), Permissions::from_mode(0o700))
    }

    /// The directory of a user's own.
    pub fn home(&self, actor: &Actor) -> PathBuf {
        self.dir.join(actor.label)
    }

    /// The ordinary user's XDG_RUNTIME_DIR.
    pub fn login(&self) -> PathBuf {
        PathBuf::from(format!("/run/user/{}", self.user.uid))
    }

    /// The file name of the runtime: what engines look at.
    pub fn runtime_name(&self) -> String {
        self.runtime.file_name().unwrap_or_default().to_string_lossy().into()
    }
}

/// Replaces the cgroup mounts by new ones, whose root is the column's own group: that is what the cgroup namespace does.
fn cgroups() -> Result<(), String> {
    let hierarchies = Hierarchy::all().map_err(|e| format!("/proc/self/cgroup: {e}"))?;
    umount2(CGROUP, MntFlags::MNT_DETACH).map_err(|e| format!("umount {CGROUP}: {e}"))?;
    tmpfs(Path::new(CGROUP), "mode=755")?;
    hierarchies.iter().try_for_each(mount_hierarchy)
}

fn mount_hierarchy(hierarchy: &Hierarchy) -> Result<(), String> {
    let at = &hierarchy.at;
    fs::create_dir_all(at).map_err(|e| format!("{}: {e}", at.display()))?;
    let kind = if hierarchy.is_unified() { "cgroup2" } else { "cgroup" };
    let named = if hierarchy.controllers.starts_with("name=") { "none," } else { "" };
    let data = format!("{named}{}", hierarchy.controllers);
    mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(data.as_str())).map_err(|e| format!("{kind} {data}: {e}"))
}

fn tmpfs(at: &Path, data: &str) -> Result<(), String> {
    let made = mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(data));
    made.map_err(|e| format!("tmpfs on {}: {e}", at.display()))
}

/// Terminals that every user may open, which the host's need not be: see devpts in filesystems(5) and pts(4).
fn terminals() -> Result<(), String> {
    let data = "newinstance,mode=620,gid=5,ptmxmode=666";
    mount(Some("devpts"), "/dev/pts", Some("devpts"), MsFlags::empty(), Some(data)).map_err(|e| format!("devpts: {e}"))?;
    mount(Some("/dev/pts/ptmx"), "/dev/ptmx", None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| format!("/dev/ptmx: {e}"))
}

/// Covers a device by a copy that everybody may open.
fn open_device(dir: &Path, (at, major, minor): &(&str, &str, &str)) -> Result<(), String> {
    let copy = dir.join(format!("device-{major}-{minor}"));
    call("mknod", &["-m", "666", &copy.display().to_string(), "c", major, minor])?;
    mount(Some(&copy), *at, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| format!("bind on {at}: {e}"))
}

fn call(program: &str, words: &[&str]) -> Result<(), String> {
    match Command::new(program).args(words).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {}: {status}", words.join(" "))),
        Err(e) => Err(format!("{program}: {e}")),
    }
}
