//! The image of all containers, made here: busybox, two accounts, and one file that is not executable. No registry is asked.

use crate::report::{No, fail};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its name in every engine.
pub const NAME: &str = "localhost/box:latest";
const DIRS: &[&str] = &["bin", "dev", "etc", "proc", "root", "sys", "tmp", "work", "data"];
const FILES: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\n"),
    ("etc/group", "root:x:0:\napp:x:1000:\nextra:x:2000:\n"),
    ("plain", "not executable\n"),
    ("data/first", "from the image\n"),
];

/// A tar archive of the root file system.
pub fn archive(dir: &Path) -> Result<PathBuf, No> {
    let root = dir.join("rootfs");
    DIRS.iter().try_for_each(|d| fs::create_dir_all(root.join(d)))?;
    FILES.iter().try_for_each(|(file, text)| fs::write(root.join(file), text))?;
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))?;
    let busybox = crate::on_path("busybox").unwrap_or_else(|| "/bin/busybox".into());
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for applet in said(Command::new(&busybox).arg("--list"))?.lines().filter(|a| *a != "busybox") {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    tar(&root, dir.join("rootfs.tar"), &["."])
}

/// The same as `docker save` would write it, for containerd.
pub fn saved(dir: &Path) -> Result<PathBuf, No> {
    let layer = archive(dir)?;
    let sum = said(Command::new("sha256sum").arg(&layer))?;
    let sum = sum.split(' ').next().unwrap_or_default();
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["rootfs.tar"]}]);
    fs::write(dir.join("config.json"), config.to_string())?;
    fs::write(dir.join("manifest.json"), manifest.to_string())?;
    tar(dir, dir.join("image.tar"), &["manifest.json", "config.json", "rootfs.tar"])
}

fn tar(from: &Path, to: PathBuf, names: &[&str]) -> Result<PathBuf, No> {
    said(Command::new("tar").arg("-C").arg(from).arg("-cf").arg(&to).args(names))?;
    Ok(to)
}

fn said(command: &mut Command) -> Result<String, No> {
    let output = command.output()?;
    if !output.status.success() {
        return fail(format!("{command:?}"), "exit 0", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into())
}
