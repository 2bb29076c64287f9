//! codexrun's own programs: what config.json's hooks name, what a launch starts outside, and what the caller calls next time. A sandbox
//! that could replace one of them would be outside.

use super::Findings;
use super::roots::Ground;
use super::tree::Spot;
use super::walk::{End, Link, Walk};
use crate::Error;
use crate::policy::Access;
use std::path::Path;

/// Makes them read-only where they would be writable, and refuses a name of theirs that no mount can keep.
pub(super) fn keep(ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    for path in walk.view.programs() {
        let trace = walk.trace(&path);
        if let Some(link) = trace.links.iter().find(|link| ground.tree.replaceable(&link.at)) {
            found.errors.push(replaceable(&path, link, &trace.end));
            continue;
        }
        match trace.end {
            End::File(at) if ground.tree.access(&at) == Some(Access::Write) => {
                if walk.view.has_other_names(&at) {
                    found.warnings.push(linked(&at));
                }
                ground.tree.put(at, Spot { access: Access::Read, dir: false });
            }
            End::Missing(at) => ground.hold(&at, walk),
            End::Dir(_) | End::File(_) | End::Barred(_) => {}
        }
    }
}

fn replaceable(path: &Path, link: &Link, end: &End) -> Error {
    let (path, at) = (path.display(), link.at.display());
    let error = Error::new(format!("the sandbox could replace codexrun: `{path}` leads to it by the writable symlink `{at}`"));
    match end {
        End::File(end) => error.hint(format!("call it by `{}`", end.display())),
        End::Dir(_) | End::Missing(_) | End::Barred(_) => error.hint("remove the link"),
    }
}

/// As long as it runs, which in `sandbox` and `run` it does, the kernel lets nobody write to it (ETXTBSY).
fn linked(file: &Path) -> String {
    let file = file.display();
    format!(
        "codexrun's own file `{file}` lies where the sandbox may write and has other names (hard links): under another runtime it could be \
         written to by one of them"
    )
}
