//! A memory cgroup around the bench: what everything below it takes at its highest, the kernel's own memory included.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// Of each version: where, the file that tells the most, the one that tells what is used now, and what begins a new count.
const VERSIONS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.max_usage_in_bytes", "memory.usage_in_bytes"),
    ("/sys/fs/cgroup", "memory.peak", "memory.current"),
];

/// The cgroup; left and removed when dropped.
pub struct Charge {
    dir: PathBuf,
    left: PathBuf,
    most: &'static str,
    now: &'static str,
    before: i64,
}

impl Charge {
    /// Moves the calling process into a new one.
    pub fn enter() -> Result<Charge> {
        let version = VERSIONS
            .iter()
            .find(|(base, _, now)| Path::new(base).join("memory.stat").exists() || Path::new(base).join(now).exists());
        let (base, most, now) = *version.ok_or_else(|| Error::other("no memory controller"))?;
        let dir = Path::new(base).join(format!("codexrun-bench-{}", std::process::id()));
        let left = Path::new(base).join(own(base)?);
        fs::create_dir(&dir)?;
        let charge = Charge { dir, left, most, now, before: 0 };
        fs::write(charge.dir.join("cgroup.procs"), "0")?;
        Ok(charge)
    }

    /// Begins a new count.
    pub fn begin(&mut self) -> Result<()> {
        // Version 1 counts from here on; of version 2 it is so since Linux 6.12, for whoever has the file open.
        fs::write(self.dir.join(self.most), "0")?;
        self.before = self.number(self.now)?;
        Ok(())
    }

    /// MiB above what there was at the beginning.
    pub fn most(&self) -> Result<f64> {
        Ok((self.number(self.most)? - self.before) as f64 / f64::from(1 << 20))
    }

    fn number(&self, file: &str) -> Result<i64> {
        fs::read_to_string(self.dir.join(file))?.trim().parse().map_err(Error::other)
    }
}

/// The path of our own cgroup below the mount point.
fn own(base: &str) -> Result<String> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let v1 = base.ends_with("/memory");
    let of = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = if v1 { controllers.split(',').any(|c| c == "memory") } else { number == "0" };
        ours.then(|| path.trim_start_matches('/').to_owned())
    };
    text.lines().find_map(of).ok_or_else(|| Error::other("no cgroup of our own"))
}

impl Drop for Charge {
    fn drop(&mut self) {
        let back = fs::write(self.left.join("cgroup.procs"), "0").and_then(|()| fs::remove_dir(&self.dir));
        if let Err(e) = back {
            eprintln!("bench: {} stays: {e}", self.dir.display());
        }
    }
}
