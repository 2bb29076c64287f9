//! What the mounts land on: only what no bind brings along.

use super::mounts::Layers;
use super::walk::Link;
use crate::bundle::{Node, Skeleton};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The mount points, their parents, and the host's symbolic links between them.
pub(super) fn skeleton(layers: &Layers, links: &[Link], barred: &[PathBuf]) -> Skeleton {
    let mounts = layers.layers.iter().map(|layer| layer.at.as_path()).collect();
    let mut ground = Ground { mounts, nodes: BTreeMap::new() };
    for (path, mode) in barred.iter().map(|path| (path, 0)).chain(layers.bare.iter().map(|(p, m)| (p, *m))) {
        ground.add(path, |path| Node::Dir { path, mode });
    }
    for layer in &layers.layers {
        ground.add(&layer.at, |path| if layer.dir { directory(path) } else { Node::File { path } });
    }
    for link in links {
        ground.add(&link.at, |path| Node::Symlink { path, target: link.target.clone() });
    }
    Skeleton { entries: ground.nodes.into_values().collect() }
}

struct Ground<'a> {
    mounts: BTreeSet<&'a Path>,
    nodes: BTreeMap<PathBuf, Node>,
}

impl Ground<'_> {
    /// The first word about a path stays.
    fn add(&mut self, path: &Path, node: impl Fn(PathBuf) -> Node) {
        if path.ancestors().skip(1).any(|up| self.mounts.contains(up)) {
            return; // the mount brings it along, or the runtime makes it inside
        }
        for up in path.ancestors().skip(1).filter(|up| *up != Path::new("/")) {
            self.nodes.entry(up.into()).or_insert_with(|| directory(up.into()));
        }
        self.nodes.entry(path.into()).or_insert_with(|| node(path.into()));
    }
}

fn directory(path: PathBuf) -> Node {
    Node::Dir { path, mode: 0o755 }
}
