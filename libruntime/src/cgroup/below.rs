//! Cgroups that a container has made below its own, as `exec --cgroup` names them for one more process. Nothing is made here.

use super::Cgroup;
use crate::plan::cgroup::Group;
use crate::{Error, Result};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// `PATH` in every hierarchy, or `CONTROLLER[,…]:PATH` in those of the controllers. As with runc the path begins at the container's cgroup,
/// also one that begins with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Empty: all.
    controllers: Vec<String>,
    /// Relative.
    path: PathBuf,
}

impl FromStr for Below {
    type Err = Error;

    fn from_str(text: &str) -> Result<Below> {
        let wrong = |what: &str| Error::new(format!("`--cgroup {text}`: {what}"));
        let (controllers, path) = text.split_once(':').map_or((None, text), |(names, path)| (Some(names), path));
        let controllers: Vec<String> = controllers.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
        if controllers.iter().any(String::is_empty) {
            return Err(wrong("a controller has no name"));
        }
        let mut below = PathBuf::new();
        for part in Path::new(path).components() {
            match part {
                Component::Normal(name) => below.push(name),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => {
                    return Err(wrong(&format!("{path} is not a sub cgroup path: it leads out of the container's")));
                }
            }
        }
        Ok(Below { controllers, path: below })
    }
}

impl Below {
    fn is_of(&self, group: &Group) -> bool {
        self.controllers.is_empty() || self.controllers.iter().any(|name| group.controllers.contains(name))
    }
}

impl Cgroup {
    /// Where a process is to be that `places` were named for.
    ///
    /// # Errors
    /// The container has none in the hierarchy of a controller, or it was to be in two places of one.
    pub fn below(&self, places: &[Below]) -> Result<Cgroup> {
        if self.unit.as_ref().is_some_and(|unit| unit.user) {
            return Err(Error::new("`--cgroup`: the cgroup is a unit of the user's systemd, which lets nobody choose"));
        }
        let unknown = |name: &&String| !self.groups.iter().any(|group| group.controllers.contains(*name));
        if let Some(name) = places.iter().flat_map(|place| &place.controllers).find(unknown) {
            return Err(Error::new(format!(
                "`--cgroup {name}:`: unknown controller `{name}`, or one that the container has no cgroup of"
            )));
        }
        let mut groups = self.groups.clone();
        for group in &mut groups {
            let mut paths = places.iter().filter(|place| place.is_of(group)).map(|place| &place.path);
            let path = paths.next().cloned().unwrap_or_default();
            if paths.any(|other| *other != path) {
                return Err(Error::new(format!(
                    "`--cgroup` names two places in the hierarchy of {}",
                    group.controllers.join(",")
                )));
            }
            group.path.extend(&path);
        }
        // Who asked for it does not stay outside.
        Ok(Cgroup { groups, lenient: false, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cgroup::Version;

    fn paths(places: &[&str]) -> Result<Vec<PathBuf>> {
        let group = |names: &str| Group {
            version: Version::V1,
            controllers: names.split(',').map(str::to_owned).collect(),
            base: names.into(),
            path: "box".into(),
        };
        let cgroup = Cgroup { groups: vec![group("cpu,cpuacct"), group("memory")], lenient: true, ..Cgroup::default() };
        let places = places.iter().map(|place| place.parse()).collect::<Result<Vec<Below>>>()?;
        let below = cgroup.below(&places)?;
        assert!(!below.lenient);
        Ok(below.groups.into_iter().map(|group| group.path).collect())
    }

    #[test]
    fn a_process_may_be_put_below_the_containers_cgroup_and_nowhere_else() {
        let both = |places: &[&str]| paths(places).unwrap().iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(both(&["/"]), ["box", "box"]);
        assert_eq!(both(&["/a/./b"]), ["box/a/b", "box/a/b"]);
        assert_eq!(both(&["memory:a"]), ["box", "box/a"]);
        assert_eq!(both(&["memory:a", "cpu,cpuacct:b"]), ["box/b", "box/a"]);
        let refused = [
            (&[".."][..], "`--cgroup ..`: .. is not a sub cgroup path: it leads out"),
            (&["memory:a/../../b"], "leads out"),
            (&[":a"], "no name"),
            (&["cpu,:a"], "no name"),
            (&["pids:a"], "unknown controller `pids`"),
            (&["cpu:a", "cpuacct:b"], "two places in the hierarchy of cpu,cpuacct"),
            (&["a", "memory:b"], "two places in the hierarchy of memory"),
        ];
        for (places, why) in refused {
            let said = paths(places).unwrap_err().to_string();
            assert!(said.contains(why), "{places:?}: {said}");
        }
    }
}
