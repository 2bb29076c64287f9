//! A bundle that is to be run, or everything that is wrong with it.

use super::readings;
use crate::bundle::mend::hangs_on;
use crate::bundle::{Bundle, CONFIG, Mended};
use crate::plan;
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Reads `DIR/config.json`, or another file in its place.
///
/// # Errors
/// Every value that has the wrong form, and, as far as they do not depend on those, the reasons for which the rest would be refused.
pub fn read(dir: &Path, config: Option<&Path>) -> Result<Bundle, Vec<Error>> {
    let file = config.unwrap_or(CONFIG.as_ref());
    let read = Bundle::read_as(dir, file);
    read.map_err(|first| Bundle::mend(dir, file).map_or_else(|| vec![first], |mended| reasons(dir, config, mended)))
}

fn reasons(dir: &Path, config: Option<&Path>, mended: Mended) -> Vec<Error> {
    let Mended { bundle, faults } = mended;
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    let refused = |bundle: &Bundle| refused(dir, config, bundle);
    let mut more = refused(&bundle);
    for reading in readings::of(&bundle.spec, &paths) {
        // What depends on the reading would mean nothing.
        let so_read: HashSet<String> =
            refused(&Bundle { spec: reading, ..bundle.clone() }).iter().map(Error::to_string).collect();
        more.retain(|error| so_read.contains(&error.to_string()));
    }
    let (places, mut errors): (Vec<_>, Vec<_>) = faults.into_iter().map(|fault| (fault.path, fault.error)).unzip();
    let file = absolute(dir).join(config.unwrap_or(CONFIG.as_ref()));
    let before = format!("{}: ", file.display());
    errors.extend(more.into_iter().filter(|error| {
        let place = error.place.as_deref().and_then(|place| place.strip_prefix(&before)).unwrap_or_default();
        !places.iter().any(|path| related(path, place)) && !hangs_on(place, places.iter().map(String::as_str))
    }));
    errors
}

fn refused(dir: &Path, config: Option<&Path>, bundle: &Bundle) -> Vec<Error> {
    let dir = absolute(dir);
    let config = config.map(Path::to_owned);
    let options = plan::Options { bundle_dir: Some(dir), config, id: Some("x".into()), ..plan::Options::default() };
    super::planned(bundle, &options).err().unwrap_or_default()
}

fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

/// Whether one of two places lies in the other. The plan has the key of a map in brackets.
fn related(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|place| place.replace('[', ".").replace(']', ""));
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(&short).is_some_and(|rest| short.is_empty() || rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_word_that_is_none_nothing_is_said_by_what_depends_on_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("rootfs")).unwrap();
        let config = serde_json::json!({
            "ociVersion": "1.3.0", "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["x"], "scheduler": {"policy": "SCHED_X", "nice": 5}},
            "linux": {
                "namespaces": [{"type": "mount"}],
                "memoryPolicy": {"mode": "MPOL_FOO", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
                "devices": [{"type": "q", "path": "/d"}, {"type": "c", "path": "/e"}],
                "seccomp": {
                    "defaultAction": "SCMP_ACT_X", "defaultErrnoRet": 5,
                    "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_Y", "errnoRet": 5}],
                },
            },
        });
        std::fs::write(dir.path().join(CONFIG), config.to_string()).unwrap();
        let said: Vec<String> = read(dir.path(), None).unwrap_err().iter().map(Error::to_string).collect();
        let about = |place: &str| said.iter().filter(|line| line.contains(&format!(": {place}: "))).count();
        for place in [
            "process.scheduler.policy",
            "linux.memoryPolicy.mode",
            "linux.devices[0].type",
            "linux.devices[1].major",
            "linux.devices[1].minor",
            "linux.seccomp.defaultAction",
            "linux.seccomp.syscalls[0].action",
        ] {
            assert_eq!(about(place), 1, "{place}: {said:#?}");
        }
        for place in [
            "process.scheduler.nice",
            "linux.memoryPolicy.nodes",
            "linux.memoryPolicy.flags",
            "linux.devices[0].major",
            "linux.devices[0].minor",
            "linux.seccomp.defaultErrnoRet",
            "linux.seccomp.syscalls[0].errnoRet",
        ] {
            assert_eq!(about(place), 0, "{place}: {said:#?}");
        }
    }

    #[test]
    fn a_place_is_related_to_what_it_lies_in() {
        let cases =
            [("a.b", "a", true), ("a[0]", "a", true), ("ab", "a", false), ("a.b", "a.c", false), ("a.b.c", "a[b.c]", true)];
        for (one, other, are) in cases {
            assert_eq!((related(one, other), related(other, one)), (are, are), "{one} {other}");
        }
    }
}
