//! A container's cgroup, as the host sees it.

use crate::oci::container::Container;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The mount point.
pub const TOP: &str = "/sys/fs/cgroup";

/// The directory that a configuration asks for by an absolute path.
pub fn of(config: &Value) -> PathBuf {
    let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    Path::new(TOP).join(path.trim_start_matches('/'))
}

/// The text of a file, without the end of its last line.
pub fn text(dir: &Path, file: &str) -> Result<String, No> {
    let path = dir.join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end().into()),
        Err(e) => fail(path.display(), "a file", e),
    }
}

/// A file says exactly this.
pub fn reads(dir: &Path, file: &str, expected: &str) -> Verdict {
    let got = text(dir, file)?;
    if got == expected { Ok(()) } else { fail(dir.join(file).display(), expected, got) }
}

/// The number behind a key of a flat keyed file.
pub fn count(dir: &Path, file: &str, key: &str) -> Result<u64, No> {
    let text = text(dir, file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
    line.map_or_else(|| fail(dir.join(file).display(), format!("a number behind `{key}`"), &text), Ok)
}

/// What a configuration is to limit.
pub fn limit(mut config: Value, resources: Value) -> Value {
    config["linux"]["resources"] = resources;
    config
}

/// A sleeper with these limits has these values in these files.
pub fn gets(turn: &Turn, resources: Value, files: &[(&str, &str)]) -> Verdict {
    let config = limit(turn.sleeper(), resources);
    let _container = turn.started(&config)?;
    files.iter().try_for_each(|(file, value)| reads(&of(&config), file, value))
}

/// `create` fails and, when it is ours, names these.
pub fn refused(turn: &Turn, config: &Value, names: &[&str]) -> Verdict {
    let container = turn.create(config)?;
    let named = !turn.column.runtime.is_codexrun() || names.iter().all(|name| container.made.err.contains(name));
    container.made.must(&format!("create fails and names {}", names.join(", ")), container.made.code != 0 && named)?;
    turn.unknown(&container.id)
}

/// A script beside the container's first process.
pub fn exec(turn: &Turn, container: &Container, script: &str) -> Result<String, No> {
    let ran = turn.call(&["exec", &container.id, "/bin/sh", "-c", script])?;
    ran.must("exec exits 0", ran.code == 0)?;
    Ok(ran.out)
}

/// What a process is called in config.json to have a capability.
pub fn capable(mut config: Value, name: &str) -> Value {
    for set in ["bounding", "effective", "permitted"] {
        crate::oci::bundle::push(&mut config["process"]["capabilities"][set], json!(name));
    }
    config
}

/// `254:0`: the machine's disk.
pub fn disk() -> Result<(u32, u32), No> {
    let text = text(Path::new("/sys/block/vda"), "dev")?;
    let number = |part: &str| part.parse().ok();
    let pair = text.split_once(':').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    pair.map_or_else(|| fail("/sys/block/vda/dev", "MAJOR:MINOR", &text), Ok)
}
