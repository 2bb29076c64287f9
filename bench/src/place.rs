//! The temporary directory a run works in: a git repository, a busybox root file system with its bundles, and copies of
//! the binaries, which an ordinary user can reach wherever the originals are.

use serde_json::{Value, json};
use std::io::{Error, Result};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};
use tempfile::TempDir;

use crate::sys;

/// Removed with everything in it when dropped.
pub struct Place {
    dir: TempDir,
}

const BUSYBOX: &str = "/bin/busybox";
/// Not below /tmp: that is a writable root of its own.
const PARENT: &str = "/var/tmp";

impl Place {
    /// Makes the directory and all that lies in it but the bundles.
    pub fn new() -> Result<Place> {
        let dir = tempfile::Builder::new().prefix("codexrun-bench.").tempdir_in(PARENT)?;
        let place = Place { dir };
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
        for (name, mode) in [("repo", 0o755), ("bin", 0o755), ("state", 0o700), ("tmp", 0o1777)] {
            fs::create_dir(place.at(name))?;
            fs::set_permissions(place.at(name), fs::Permissions::from_mode(mode))?;
        }
        git_init(&place.at("repo"))?;
        Ok(place)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path below the directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A copy of `file` that everybody can run.
    pub fn adopt(&self, file: &Path, name: &str) -> Result<PathBuf> {
        let copy = self.at("bin").join(name);
        fs::copy(file, &copy).map_err(|e| Error::other(format!("`{}` cannot be had: {e}", file.display())))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        Ok(copy)
    }

    /// A root file system of one file; the error says what is missing.
    pub fn rootfs(&self) -> Result<PathBuf> {
        let rootfs = self.at("rootfs");
        for name in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::copy(BUSYBOX, rootfs.join("bin/busybox"))?;
        symlink("busybox", rootfs.join("bin/true"))?;
        symlink("busybox", rootfs.join("bin/cat"))?;
        Ok(rootfs)
    }

    /// A bundle of that root file system.
    pub fn bundle(&self, name: &str, rootfs: &Path, command: &str) -> Result<PathBuf> {
        let args: Vec<&str> = command.split_whitespace().collect();
        fs::create_dir(self.at(name))?;
        let config = config(rootfs, json!(args), sys::uid());
        fs::write(self.at(name).join("config.json"), format!("{config:#}\n"))?;
        Ok(self.at(name))
    }
}

fn git_init(repo: &Path) -> Result<()> {
    let git = |args: &[&str]| {
        let status = Command::new("git").args(args).current_dir(repo).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.ok().is_some_and(|s| s.success())
    };
    fs::write(repo.join("README"), "a repository to be protected\n")?;
    let committed = git(&["init", "-q"])
        && git(&["add", "."])
        && git(&["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "first"]);
    if committed { Ok(()) } else { Err(Error::other("git init failed: is git installed?")) }
}

/// The minimal bundle. An ordinary user gets a user namespace, and the host's /sys, since only the owner of a network
/// namespace may mount a sysfs.
fn config(rootfs: &Path, args: Value, uid: u32) -> Value {
    let kinds = ["pid", "ipc", "uts", "mount"].into_iter().chain((uid != 0).then_some("user"));
    let namespaces: Vec<Value> = kinds.map(|kind| json!({"type": kind})).collect();
    let sys = match uid {
        0 => {
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]})
        }
        _ => {
            json!({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]})
        }
    };
    let mut linux = json!({"namespaces": namespaces});
    if uid != 0 {
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": sys::gid(), "size": 1}]);
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": true
        },
        "root": {"path": rootfs},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},
            sys
        ],
        "linux": linux
    })
}

/// Where the program itself lies; its sister binaries are beside it.
pub fn beside(name: &str) -> Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(name))
}
