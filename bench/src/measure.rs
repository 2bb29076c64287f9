//! Runs contenders and takes their numbers.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use crate::contender::{Contender, Line};
use crate::round::{Standing, command, heard, round, tidy};
use crate::trace::{self, Calls};

/// What a contender took.
pub struct Row {
    /// Who.
    pub contender: Contender,
    /// Wall milliseconds from spawn to reaped, summed over the steps, one per round; rows of equal shape were measured side by
    /// side.
    pub wall: Vec<f64>,
    /// The largest resident size of any process of the tree, the payload's included, KiB.
    pub peak: i64,
    /// What a waiting payload shows; None for a contender without a probe.
    pub probed: Option<Probed>,
    /// System calls; None without strace.
    pub calls: Option<Calls>,
    _standing: Standing,
}

/// Looked at while the payload waits.
pub struct Probed {
    /// The largest resident size without the payload, from VmHWM, KiB.
    pub own: i64,
    /// Mounts that the payload sees.
    pub mounts: usize,
}

const WARM_UP: usize = 5;
const PEAK_RUNS: usize = 5;
const READY: &str = "the payload runs\n";

/// Round robin over all contenders, so that whatever else the machine does hits each alike; every other round backwards,
/// since what one leaves to the kernel's workers (a network namespace, cgroups) is paid by the one after it.
pub fn rounds(rows: &mut [Row], runs: usize) -> Result<()> {
    let named = |c: &Contender, e: Error| Error::other(format!("{}, {}: {e}", c.shape.name(), c.name));
    for turn in 0..WARM_UP + runs {
        rows.reverse();
        for row in rows.iter_mut() {
            let wall = once(&row.contender).map_err(|e| named(&row.contender, e))?;
            if turn >= WARM_UP {
                row.wall.push(wall);
            }
        }
    }
    if (WARM_UP + runs) % 2 == 1 {
        rows.reverse();
    }
    Ok(())
}

/// The row of a contender before its rounds, or the reason why it cannot run here.
pub fn try_out(contender: Contender, floor: &Path, scratch: &Path) -> std::result::Result<Row, String> {
    let standing = Standing::begin(&contender).map_err(|e| e.to_string())?;
    let first = |said: &File| round(&contender, |step| command(&step.argv, &contender.cwd).stderr(said.try_clone()?).status());
    heard(first).map_err(|e| e.to_string())?;
    let probed = contender.probe.as_ref().map(|line| probe(&contender, line)).transpose();
    let probed = probed.map_err(|e| format!("the probe failed: {e}"))?;
    let peaks: Result<Vec<i64>> = (0..PEAK_RUNS).map(|_| peak(&contender, floor, scratch)).collect();
    let peak = peaks.map_err(|e| format!("no peak memory: {e}"))?.into_iter().max().unwrap_or(0);
    let calls = trace::count(&contender, scratch);
    Ok(Row { contender, wall: Vec::new(), peak, probed, calls, _standing: standing })
}

fn once(contender: &Contender) -> Result<f64> {
    let mut wall = 0.0;
    round(contender, |step| {
        let mut command = command(&step.argv, &contender.cwd);
        let start = Instant::now();
        let status = command.status();
        wall += start.elapsed().as_secs_f64() * 1e3;
        status
    })?;
    Ok(wall)
}

fn probe(contender: &Contender, line: &Line) -> Result<Probed> {
    let mut child = command(line, &contender.cwd).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mounts = mounts_shown(&mut child);
    let own = largest_below(child.id());
    drop(child.stdin.take());
    child.wait()?;
    tidy(contender);
    Ok(Probed { own, mounts: mounts? })
}

/// Lines until our own comes back: then the payload has certainly been executed.
fn mounts_shown(child: &mut Child) -> Result<usize> {
    let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) else {
        return Err(Error::other("no pipes"));
    };
    stdin.write_all(READY.as_bytes())?;
    for (shown, line) in BufReader::new(stdout).lines().enumerate() {
        if line? == READY.trim_end() {
            return Ok(shown);
        }
    }
    Err(Error::other("the payload ended early"))
}

/// The largest VmHWM of a process and its descendants, except the payload, `cat`.
fn largest_below(pid: u32) -> i64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|c| c.parse().ok()).map(largest_below);
    below.chain([resident(pid)]).max().unwrap_or(0)
}

fn resident(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let payload = matches!(field("Name:"), Some("cat"));
    let high = field("VmHWM:").and_then(|v| v.trim_end_matches(" kB").parse().ok());
    if payload { 0 } else { high.unwrap_or(0) }
}

/// The largest process of one round, KiB: wait4's figure, taken by the floor binary, since what vfork lends a child counts as the
/// child's, and the floor is small.
pub fn peak(contender: &Contender, floor: &Path, scratch: &Path) -> Result<i64> {
    let file = scratch.join("peak");
    let mut highest = 0;
    let payload = round(contender, |step| {
        let mut argv: Line = vec![floor.into(), "-r".into(), file.clone().into(), "--".into()];
        argv.extend(path_of(&step.argv[0]));
        argv.extend_from_slice(&step.argv[1..]);
        File::create(&file)?;
        let status = command(&argv, &contender.cwd).status()?;
        highest = highest.max(fs::read_to_string(&file)?.parse().unwrap_or(0));
        Ok(status)
    })?;
    Ok(highest.max(payload))
}

// The floor does not search.
fn path_of(program: &std::ffi::OsStr) -> Option<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.map(Into::into)
}
