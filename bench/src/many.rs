//! Many sandboxes that start at the same moment and live at the same time: when each runs its first instruction, what memory they take
//! together, and what is left of them on the host.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Error, PipeReader, PipeWriter, Read, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::charge::Charge;
use crate::contender::{Line, OURS};
use crate::place::Place;
use crate::shape::{self, Base, words};
use crate::stats::quantile;
use crate::sys;
use crate::traces::Traces;

/// As many samples as a p99 needs, of few sandboxes at once too.
const SAMPLES: usize = 200;
/// The most rounds; of very few at once that is enough to see them.
const ROUNDS: usize = 40;
/// The count that is judged, and by how much its slowest hundredth may be slower than its middle.
const JUDGED: (usize, f64) = (100, 3.0);
/// What a thousand on a slow machine do not need.
const LIMIT: Duration = Duration::from_secs(180);
/// How long processes may take to disappear when all is over.
const GRACE: Duration = Duration::from_secs(5);

const BWRAP: &str = "bwrap, same mounts";

/// Who is started many times.
struct Crowd {
    shape: &'static str,
    name: &'static str,
    /// The command line of the one with this number.
    line: Box<dyn Fn(usize) -> Line>,
    cwd: PathBuf,
    /// What must be gone afterwards.
    traces: Vec<PathBuf>,
}

/// What came of a crowd of one size.
#[derive(Default)]
struct Taken {
    /// Milliseconds from the moment at which all were let go to the first instruction of each.
    first: Vec<f64>,
    /// From the moment at which all payloads were let go to the end of the last.
    gone: Vec<f64>,
    /// MiB, the highest of all rounds.
    memory: Option<f64>,
    left: BTreeSet<String>,
}

/// Prints a table for each count; whether codexrun's targets were met.
pub fn measure(place: &Place, codexrun: &Path, floor: &Path, counts: &[usize]) -> Result<bool> {
    let crowds = crowds(place, codexrun, floor)?;
    let mut charge = Charge::enter().map_err(|e| eprintln!("bench: no figures of memory: {e}")).ok();
    let mut good = true;
    for count in counts {
        println!("\n{count} at once, ms from the start of all to the first instruction of each");
        println!("  {:<10}{:<20}{:>9}{:>9}{:>10}{:>9}{:>10}  left", "", "", "p50", "p99", "p99/p50", "gone", "MiB");
        let mut taken: Vec<Taken> = crowds.iter().map(|_| Taken::default()).collect();
        for _ in 0..SAMPLES.div_ceil(*count).min(ROUNDS) {
            for (crowd, taken) in crowds.iter().zip(&mut taken) {
                round(crowd, *count, taken, charge.as_mut())
                    .map_err(|e| Error::other(format!("{}, {}: {e}", crowd.shape, crowd.name)))?;
            }
        }
        crowds.iter().zip(&taken).for_each(|(crowd, taken)| println!("{}", said(crowd, taken)));
        good &= judge(*count, &crowds, &taken);
    }
    Ok(good)
}

fn said(crowd: &Crowd, taken: &Taken) -> String {
    let (p50, p99) = taken.quantiles();
    let left = match taken.left.first() {
        None => "nothing".into(),
        Some(first) if taken.left.len() == 1 => first.clone(),
        Some(first) => format!("{first} and {} more", taken.left.len() - 1),
    };
    let memory = taken.memory.map_or("-".into(), |mib| format!("{mib:.1}"));
    let gone = quantile(&taken.gone, 0.5);
    format!("  {:<10}{:<20}{p50:>9.2}{p99:>9.2}{:>10.2}{gone:>9.2}{memory:>10}  {left}", crowd.shape, crowd.name, p99 / p50)
}

impl Taken {
    fn quantiles(&self) -> (f64, f64) {
        (quantile(&self.first, 0.5), quantile(&self.first, 0.99))
    }
}

/// Nothing may be left of ours at any count; how evenly they start is judged at one.
fn judge(count: usize, crowds: &[Crowd], taken: &[Taken]) -> bool {
    let of = |name: &str| crowds.iter().zip(taken).find(|(crowd, _)| crowd.name == name).map(|(_, taken)| taken.quantiles());
    let clean = crowds.iter().zip(taken).all(|(crowd, taken)| crowd.name != OURS || taken.left.is_empty());
    match (of(OURS), of(BWRAP)) {
        (Some((p50, p99)), Some((_, theirs))) if count == JUDGED.0 => {
            let (even, faster) = (p99 <= JUDGED.1 * p50, p99 < theirs);
            println!("  {}: p99 at most {} times p50;  {}: p99 below that of {BWRAP}", word(even), JUDGED.1, word(faster));
            clean && even && faster
        }
        _ => clean,
    }
}

fn word(good: bool) -> &'static str {
    if good { "pass" } else { "FAIL" }
}

fn crowds(place: &Place, codexrun: &Path, floor: &Path) -> Result<Vec<Crowd>> {
    let cwd = place.at("repo");
    let same = shape::workspace_write(&cwd, Base::PerDirectory);
    let payload: Line = vec![floor.into(), "-t".into()];
    let sandbox = |name, program: &Path, options: Line| {
        let line = [vec![program.into()], options, payload.clone()].concat();
        Crowd {
            shape: "sandbox",
            name,
            line: Box::new(move |_| line.clone()),
            cwd: cwd.clone(),
            traces: shape::placeholders(&same),
        }
    };
    let rootfs = place.rootfs()?;
    fs::copy(floor, rootfs.join("bin/floor"))?;
    let bundle = place.bundle("bundle-many", &rootfs, "/bin/floor -t")?;
    let container = |name: &'static str, program: &Path, options: &str| {
        let state = place.at("state").join("many").join(name);
        let head = [vec![program.into(), "--root".into(), state.clone().into()], words(options), words("run --bundle")].concat();
        let bundle = bundle.clone();
        let line = move |n| [head.clone(), vec![bundle.clone().into(), format!("codexrun-bench-many-{n}").into()]].concat();
        Crowd { shape: "run ID", name, line: Box::new(line), cwd: cwd.clone(), traces: vec![state] }
    };
    Ok(vec![
        sandbox(OURS, codexrun, words("sandbox --policy workspace-write --")),
        sandbox(BWRAP, Path::new("bwrap"), shape::bwrap(&same)),
        container(OURS, codexrun, ""),
        container("crun, no cgroup", Path::new("crun"), "--cgroup-manager disabled"),
    ])
}

/// Waits at the gate, then becomes the command.
const GATE: [&str; 4] = ["/bin/sh", "-c", "echo >&2; read -r _; exec \"$@\"", "sh"];

/// All of them wait at a gate, which opens; all payloads tell their time and wait until nobody listens any more.
fn round(crowd: &Crowd, count: usize, taken: &mut Taken, mut charge: Option<&mut Charge>) -> Result<()> {
    charge.as_deref_mut().map_or(Ok(()), Charge::begin)?;
    let before = Traces::now()?;
    let (mut children, mut ends) = start(crowd, count)?;
    ends.said.read_exact(&mut vec![0; count])?;
    let begin = sys::now();
    drop(ends.gate);
    let told = hear(ends.told, count);
    let memory = charge.map(|charge| charge.most()).transpose()?;
    let (told, listener) = match told {
        Ok(told) => told,
        Err(e) => {
            children.iter_mut().try_for_each(Child::kill)?;
            children.iter_mut().try_for_each(|child| child.wait().map(drop))?;
            let mut said = String::new();
            ends.said.read_to_string(&mut said)?;
            return Err(Error::other(format!("{e}: {}", said.lines().next().unwrap_or("and nothing is said"))));
        }
    };
    taken.first.extend(told.iter().map(|at| (at - begin) as f64 / 1e6));
    let over = Instant::now();
    drop(listener);
    for child in &mut children {
        let status = child.wait()?;
        if !status.success() {
            return Err(Error::other(status.to_string()));
        }
    }
    taken.gone.push(over.elapsed().as_secs_f64() * 1e3);
    taken.memory = memory.map(|mib| taken.memory.unwrap_or(0.0).max(mib));
    taken.left.extend(left(crowd));
    taken.left.extend(Traces::now()?.since(&before));
    Ok(())
}

/// Our ends of what all of a crowd share.
struct Ends {
    gate: PipeWriter,
    told: PipeReader,
    said: PipeReader,
}

fn start(crowd: &Crowd, count: usize) -> Result<(Vec<Child>, Ends)> {
    let ((waits, gate), (told, tells), (said, says)) = (std::io::pipe()?, std::io::pipe()?, std::io::pipe()?);
    let child = |n| {
        let mut command = Command::new(GATE[0]);
        command.args(&GATE[1..]).args((crowd.line)(n)).current_dir(&crowd.cwd);
        command.stdin(waits.try_clone()?).stdout(tells.try_clone()?).stderr(says.try_clone()?).spawn()
    };
    Ok(((0..count).map(child).collect::<Result<_>>()?, Ends { gate, told, said }))
}

/// The time of each payload, and the pipe that they wait to be closed.
fn hear(mut told: PipeReader, count: usize) -> Result<(Vec<i64>, PipeReader)> {
    let (heard, hears) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = vec![0; 8 * count];
        let read = told.read_exact(&mut bytes).map(|()| (bytes, told));
        // Who waited for it may have gone.
        heard.send(read).unwrap_or(());
    });
    let (bytes, told) = hears.recv_timeout(LIMIT).map_err(Error::other)??;
    let times = bytes.as_chunks().0.iter().map(|time| i64::from_ne_bytes(*time));
    Ok((times.collect(), told))
}

/// Processes that are still there when they have had their time, and traces in the file system; those that are only empty directories
/// are removed.
fn left(crowd: &Crowd) -> Vec<String> {
    let own = std::process::id();
    let children = || fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    let end = Instant::now() + GRACE;
    while !children().is_empty() && Instant::now() < end {
        sys::reap_dead();
        std::thread::sleep(Duration::from_millis(1));
    }
    let processes = children().split_whitespace().map(|pid| format!("process {pid}")).collect::<Vec<_>>();
    let held = |path: &&PathBuf| path.exists() && !is_empty_state(path);
    let traces = crowd.traces.iter().filter(held).map(|path| path.display().to_string()).collect::<Vec<_>>();
    crowd.traces.iter().for_each(|path| drop(fs::remove_dir(path)));
    [processes, traces].concat()
}

/// The directory of all records stays.
fn is_empty_state(path: &Path) -> bool {
    let named = path.parent().and_then(Path::file_name).is_some_and(|name| name == "many");
    named && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(name: &'static str) -> Crowd {
        Crowd { shape: "sandbox", name, line: Box::new(|_| Line::new()), cwd: PathBuf::new(), traces: vec![] }
    }

    /// A hundred that start after so many milliseconds, but for the last two.
    fn taken(most: f64, last: f64) -> Taken {
        Taken { first: [vec![most; 98], vec![last; 2]].concat(), ..Taken::default() }
    }

    #[test]
    fn a_hundred_at_once_start_evenly_faster_than_bubblewraps_and_leave_nothing() {
        let crowds = [crowd(OURS), crowd(BWRAP)];
        let good = |count, ours, theirs| judge(count, &crowds, &[ours, theirs]);
        assert!(good(100, taken(10.0, 30.0), taken(10.0, 30.1)));
        assert!(!good(100, taken(10.0, 30.1), taken(10.0, 90.0)), "three times the middle is the most");
        assert!(!good(100, taken(10.0, 30.0), taken(10.0, 30.0)), "below bubblewrap's");
        assert!(good(1000, taken(10.0, 90.0), taken(10.0, 20.0)), "other counts are shown");
        assert!(!good(1000, Taken { left: ["a".to_string()].into(), ..taken(1.0, 1.0) }, taken(1.0, 1.0)));
    }
}
