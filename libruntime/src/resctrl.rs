//! A container's resctrl group on the disk: made, given its share, entered and removed. The parent's side only; what is to be there
//! was decided in `plan::resctrl`.

use crate::plan::resctrl::{Group, There};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Small and plain, for the record of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resctrl {
    /// The directories whose `tasks` the container's processes are written to: the group, then its monitoring group.
    pub groups: Vec<PathBuf>,
    /// Those that are made for this container: only these are removed, the last first.
    pub made: Vec<PathBuf>,
}

impl Resctrl {
    /// What there will be. To be recorded before it is made, so that a runtime that is killed in between leaves nothing that
    /// [`Resctrl::remove`] could not find. Looks, and changes nothing.
    ///
    /// # Errors
    /// A directory that must be there is not, or the other way round; or what is there has other schemata.
    pub fn foresee(group: &Group) -> Result<Resctrl> {
        let path = group.path.display();
        let made = match (group.there, group.path.is_dir()) {
            (There::Yes, true) => false,
            (There::No | There::Maybe, false) => true,
            (There::Maybe, true) => fits(group).map(|()| false)?,
            (There::Yes, false) => {
                let error = at("closID", format!("the resctrl group `{path}` does not exist"));
                return Err(error.hint("it is made when `schemata`, `l3CacheSchema` or `memBwSchema` say what it is to have"));
            }
            (There::No, true) => return Err(at("closID", format!("is missing, and the resctrl group `{path}` exists already"))),
        };
        let made = made.then(|| group.path.clone()).into_iter().chain(group.monitor.clone()).collect();
        Ok(Resctrl { groups: std::iter::once(group.path.clone()).chain(group.monitor.clone()).collect(), made })
    }

    /// Makes the directories and writes the schemata.
    ///
    /// # Errors
    /// What failed, with its place in config.json and the kernel's own words; nothing is left behind.
    pub fn create(&self, group: &Group) -> Result<()> {
        let made = self.made.iter().try_for_each(|dir| make(dir));
        let written = made.and_then(|()| {
            let schema = if self.made.contains(&group.path) { &group.schema[..] } else { &[] };
            let both = [("l3CacheSchema", schema), ("schemata", &group.schemata)];
            both.iter().try_for_each(|(field, lines)| write_schemata(&group.path, field, lines))
        });
        written.or_else(|e| self.remove().and(Err(e)))
    }

    /// Gives its group another share: lines as in `l3CacheSchema`, and the line of `memBwSchema`. What is absent stays as it is.
    ///
    /// # Errors
    /// A line is of the other field; or what the kernel refused, in its own words.
    pub fn update(&self, l3_cache: Option<&str>, bandwidth: Option<&str>) -> Result<()> {
        let Some(group) = self.groups.first() else { return Ok(()) };
        let fields = [("l3CacheSchema", l3_cache, false), ("memBwSchema", bandwidth, true)].map(|(field, text, of_bandwidth)| {
            let lines: Vec<_> = text.unwrap_or_default().lines().map(str::to_owned).collect();
            match lines.iter().find(|line| line.starts_with("MB:") != of_bandwidth) {
                Some(line) => Err(at(field, format!("`{line}` is no line of it"))
                    .hint("`MB:` lines are memBwSchema's, all others l3CacheSchema's")),
                None => Ok((field, lines)),
            }
        });
        let [l3_cache, bandwidth] = fields;
        [l3_cache?, bandwidth?].iter().try_for_each(|(field, lines)| write_schemata(group, field, lines))
    }

    /// Puts a process, and whoever it makes, into it.
    pub fn enter(&self, pid: i32) -> Result<()> {
        self.groups.iter().try_for_each(|dir| {
            let failed = |e| at("closID", format!("cannot put the process into the resctrl group `{}`", dir.display())).cause(e);
            fs::write(dir.join("tasks"), pid.to_string()).map_err(failed)
        })
    }

    /// Removes what was made for the container. Whoever is in there goes back to the default group. What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        self.made.iter().rev().try_for_each(|dir| match fs::remove_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::new(format!("cannot remove the resctrl group `{}`", dir.display())).cause(e))
            }
            _ => Ok(()),
        })
    }
}

fn at(field: &str, what: String) -> Error {
    Error::new(what).at(format!("config.json: linux.intelRdt.{field}"))
}

fn make(dir: &Path) -> Result<()> {
    fs::create_dir(dir).map_err(|e| {
        let error = at("closID", format!("cannot make the resctrl group `{}`", dir.display())).cause(&e);
        match e.raw_os_error() {
            Some(libc::ENOSPC) => error.hint("the processor tells only so many groups apart, and all are taken"),
            Some(libc::EACCES | libc::EPERM) => error.hint("this needs root"),
            _ => error,
        }
    })
}

/// One write, as the kernel takes all lines or none.
fn write_schemata(group: &Path, field: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    fs::write(group.join("schemata"), lines.join("\n") + "\n").map_err(|e| {
        let error = at(field, format!("cannot write `{}`", lines.join("; "))).cause(e);
        // It lies at the top, wherever the group is.
        let status = group.ancestors().map(|dir| dir.join("info/last_cmd_status")).find_map(|file| fs::read_to_string(file).ok());
        match status.as_deref().map(str::trim).filter(|status| !status.is_empty() && *status != "ok") {
            Some(status) => error.hint(format!("the kernel says: {status}")),
            None => error,
        }
    })
}

/// Whether a group that is there has what `l3CacheSchema` and `memBwSchema` ask for.
fn fits(group: &Group) -> Result<()> {
    if group.schema.is_empty() {
        return Ok(());
    }
    let file = group.path.join("schemata");
    let text = fs::read_to_string(&file).map_err(|e| at("closID", format!("cannot read `{}`", file.display())).cause(e))?;
    let there: Vec<_> = text.lines().flat_map(shares).collect();
    match group.schema.iter().find(|line| !shares(line).all(|share| there.contains(&share))) {
        None => Ok(()),
        Some(line) => {
            let field = if line.starts_with("MB:") { "memBwSchema" } else { "l3CacheSchema" };
            Err(at(field, format!("`{line}` is not what the resctrl group `{}` has", group.path.display())))
        }
    }
}

/// `L3:0=7f0;1=01f` is what `L3:0=7f0` and `L3:1=1f` are: resource, domain, share. The kernel pads and orders as it likes.
fn shares(line: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let (resource, shares) = line.split_once(':').unwrap_or((line, ""));
    shares.split(';').map(move |share| {
        let (domain, value) = share.split_once('=').unwrap_or((share, ""));
        let bare = value.trim().trim_start_matches('0');
        (resource.trim(), domain.trim(), if bare.is_empty() { "0" } else { bare })
    })
}

#[cfg(test)]
mod tests;
