//! Mounts, and the targets that are made for them, behind links.

use super::race::{self, met};
use super::{climbing, directory, holds, image, inside, run};
use crate::oci::bundle::{bind, push};
use crate::oci::turn::Turn;
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Each launch offers as many chances.
const TARGETS: usize = 16;

/// A volume with a directory `race` and a link `link`, to the directory outside, that take turns.
struct Shared {
    outside: PathBuf,
    volume: PathBuf,
    /// The directory, whatever its name is at the moment.
    race: File,
}

impl Shared {
    fn new(turn: &Turn) -> Result<Shared, No> {
        let (outside, volume) = (directory(turn, "outside")?, directory(turn, "volume")?);
        fs::create_dir(volume.join("race"))?;
        symlink(&outside, volume.join("link"))?;
        turn.column.actor.own(&volume)?;
        let race = File::open(volume.join("race"))?;
        Ok(Shared { outside, volume, race })
    }

    fn race(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.race.as_raw_fd()).into()
    }

    /// The volume at /vol, and mounts below the two names.
    fn config(&self, turn: &Turn, script: &str, mounts: impl Iterator<Item = Value>) -> Value {
        let mut config = turn.sh(script);
        push(&mut config["mounts"], bind(&self.volume, "/vol"));
        mounts.for_each(|m| push(&mut config["mounts"], m));
        config
    }

    fn run(&self, launch: impl FnMut() -> Verdict) -> Verdict {
        race::run(&self.volume.join("race"), &self.volume.join("link"), launch)
    }
}

fn tmpfs(at: String) -> Value {
    json!({"destination": at, "type": "tmpfs", "source": "attack"})
}

/// A target that was looked at is another one when it is mounted on: the mount lies on the host's side and is lost at the pivot. Every
/// container that runs has all of its mounts; those that met the link have them where it leads from the container's root.
pub fn landing(turn: &Turn) -> Verdict {
    let shared = Shared::new(turn)?;
    for n in 0..TARGETS {
        fs::create_dir(shared.race().join(n.to_string()))?;
        fs::create_dir(shared.outside.join(n.to_string()))?;
    }
    let script = "n=0; m=0; while read -r a b c d at rest; do case $rest in *' attack '*) n=$((n + 1)); \
                  case $at in */outside/*) m=$((m + 1));; esac;; esac; done < /proc/self/mountinfo; echo $n $m";
    let config = shared.config(turn, script, (0..TARGETS).map(|n| tmpfs(format!("/vol/race/{n}"))));
    let bundle = image(turn, &config, |_| Ok(()))?;
    let (mut behind_the_link, mut refused) = (0, 0);
    shared.run(|| {
        let Some(text) = run(turn, &bundle)? else {
            refused += 1;
            return Ok(());
        };
        let counts: Vec<usize> = text.split_whitespace().filter_map(|w| w.parse().ok()).collect();
        behind_the_link += counts.get(1).copied().unwrap_or(0);
        if counts.first() == Some(&TARGETS) { Ok(()) } else { fail("mounts inside", TARGETS, text) }
    })?;
    met("mounts that met the link", behind_the_link + refused > 0)
}

/// Directories and files that are made for mounts and devices, looked up anew for each component.
pub fn making(turn: &Turn) -> Verdict {
    let shared = Shared::new(turn)?;
    let file = |at: String| json!({"destination": at, "type": "bind", "source": "rootfs/etc/mark", "options": ["bind", "ro"]});
    let both = (0..TARGETS).map(|n| if n % 2 == 0 { tmpfs(format!("/vol/race/{n}/x")) } else { file(format!("/vol/race/{n}")) });
    let mut config = shared.config(turn, "true", both);
    if turn.column.actor.is_root() {
        config["linux"]["devices"] = json!([{"path": "/vol/race/dev/null", "type": "c", "major": 1, "minor": 3}]);
    }
    let bundle = image(turn, &config, |_| Ok(()))?;
    let led = inside(&bundle.join("rootfs"), Path::new("/var"));
    let mut met_the_link = 0;
    shared.run(|| {
        met_the_link += u32::from(run(turn, &bundle)?.is_none());
        // What was made must be missing again for the next.
        emptied(&shared.race())?;
        met_the_link += u32::from(led.exists() && fs::remove_dir_all(&led).is_ok());
        holds(&shared.outside, &[])
    })?;
    met("targets that met the link", met_the_link > 0)
}

fn emptied(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// bubblewrap had the host below /oldroot while it made what was missing, and followed the links of a writable directory there.
pub fn planted(turn: &Turn) -> Verdict {
    let (outside, workspace) = (directory(turn, "outside")?, directory(turn, "workspace")?);
    let links = [
        ("plain", outside.clone()),
        ("climbing", climbing(&outside)),
        ("oldroot", inside(Path::new("/oldroot"), &outside)),
        ("process", inside(Path::new("/proc/self/root"), &outside)),
    ];
    fs::create_dir(workspace.join("directory"))?;
    turn.column.actor.own(&workspace)?;
    let config = |name: &str| {
        let mut config = turn.sh("true");
        push(&mut config["mounts"], bind(&workspace, "/ws"));
        push(&mut config["mounts"], tmpfs(format!("/ws/{name}/new/deep")));
        push(
            &mut config["mounts"],
            json!({"destination": format!("/ws/{name}/file"), "type": "bind", "source": "rootfs/etc/mark", "options": ["bind"]}),
        );
        config
    };
    let ran = run(turn, &image(turn, &config("directory"), |_| Ok(()))?)?;
    met("a container where no link lies", ran.is_some() && workspace.join("directory/new/deep").is_dir())?;
    for (name, target) in &links {
        symlink(target, workspace.join(name))?;
        run(turn, &image(turn, &config(name), |_| Ok(()))?)?;
        holds(&outside, &[])?;
    }
    Ok(())
}
