//! The names of a file: one mount may show what another shows (`mount --bind`), on the host and inside, and who may write by one of them has
//! written to it by all.

use super::answer::{Answer, Verdict};
use super::table::{Spot, System, Table};
use super::{Explained, HostMount};
use std::path::{Path, PathBuf};

impl Explained<'_> {
    /// By which name inside the process may write, make or remove this file of the host's; an absolute path without links, and what it
    /// leads to may be missing.
    pub fn rewrites(&self, file: &Path) -> Option<PathBuf> {
        self.shows(file).find(changes).map(|answer| answer.path)
    }

    /// The path by which the process can do anything at all with this file of the host's, if there is one.
    pub fn reaches(&self, file: &Path) -> Option<PathBuf> {
        self.shows(file).find(|answer| answer.rights().iter().any(|(_, verdict)| may(verdict))).map(|answer| answer.path)
    }

    fn shows(&self, file: &Path) -> impl Iterator<Item = Answer> {
        let mounts = self.table.tree(self.table.root);
        let names = self.table.names(file);
        let shown = mounts.iter().flat_map(|mount| names.iter().filter_map(|name| self.table.shown(*mount, name)));
        shown.map(|inside| self.path(&inside)).collect::<Vec<_>>().into_iter()
    }
}

fn changes(answer: &Answer) -> bool {
    [&answer.write, &answer.create, &answer.delete].into_iter().any(may)
}

fn may(verdict: &Verdict) -> bool {
    !matches!(verdict, Verdict::No { .. })
}

impl Table<'_> {
    /// Every path of the host's to the file that this one leads to.
    fn names(&self, file: &Path) -> Vec<PathBuf> {
        let (spot, all) = (self.locate(self.host, file), self.look.mounts());
        let on = match self.mounts[spot.mount].system {
            System::Host(n) => all.get(n),
            System::Memory(_) | System::Kernel(_) => None,
        };
        let within = on.and_then(|on| Some((on.device, on.root.join(spot.path.strip_prefix(&on.at).ok()?))));
        let Some((device, within)) = within else { return vec![file.into()] };
        let name = |mount: &HostMount| within.strip_prefix(&mount.root).ok().map(|rest| mount.at.join(rest));
        all.iter().filter(|mount| mount.device == device).filter_map(name).collect()
    }

    /// Where a mount shows this file of the host's inside, unless something else lies over it there.
    fn shown(&self, mount: usize, file: &Path) -> Option<PathBuf> {
        let one = &self.mounts[mount];
        let inside = one.at.join(file.strip_prefix(&one.root).ok()?);
        let spot = Spot { mount, path: file.into() };
        (matches!(one.system, System::Host(_)) && self.locate(self.root, &inside) == spot).then_some(inside)
    }
}
