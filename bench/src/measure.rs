//! Runs contenders and takes their numbers.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::contender::Contender;
use crate::trace::{self, Calls};

/// What a contender took.
pub struct Row {
    /// Who.
    pub contender: Contender,
    /// Wall milliseconds from spawn to reaped, one per round; rows of equal shape were measured side by side.
    pub wall: Vec<f64>,
    /// The largest resident size of any process of the tree, the payload's included, KiB.
    pub peak: i64,
    /// The same without the payload, from VmHWM while the payload waits, KiB.
    pub own: i64,
    /// Mounts that the payload sees.
    pub mounts: usize,
    /// System calls; None without strace.
    pub calls: Option<Calls>,
}

const WARM_UP: usize = 5;
const PEAK_RUNS: usize = 5;
const READY: &str = "the payload runs\n";

/// Round robin over all contenders, so that whatever else the machine does hits each alike; every other round backwards,
/// since what one leaves to the kernel's workers (a network namespace, cgroups) is paid by the one after it.
pub fn rounds(rows: &mut [Row], runs: usize) -> Result<()> {
    for round in 0..WARM_UP + runs {
        rows.reverse();
        for row in rows.iter_mut() {
            let wall = once(&row.contender)?;
            if round >= WARM_UP {
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
    runs_at_all(&contender)?;
    let probed = probe(&contender).map_err(|e| format!("the probe failed: {e}"))?;
    let peak = peak(&contender, floor, scratch).map_err(|e| format!("no peak memory: {e}"))?;
    tidy(&contender);
    let calls = trace::count(&contender, scratch);
    tidy(&contender);
    Ok(Row { contender, wall: Vec::new(), peak, own: probed.own, mounts: probed.mounts, calls })
}

// std starts the child by posix_spawn, since nothing here asks for more.
fn command(argv: &[std::ffi::OsString], cwd: &Path) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(cwd).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn once(contender: &Contender) -> Result<f64> {
    let mut command = command(&contender.argv, &contender.cwd);
    let start = Instant::now();
    let status = command.status()?;
    let wall = start.elapsed().as_secs_f64() * 1e3;
    tidy(contender);
    match status.success() {
        true => Ok(wall),
        false => Err(Error::other(format!("{}, {}: {status}", contender.shape.name(), contender.name))),
    }
}

// Only empty directories go: rmdir cannot hurt what was there before.
fn tidy(contender: &Contender) {
    for path in &contender.placeholders {
        let _absent_is_fine = fs::remove_dir(path);
    }
}

fn runs_at_all(contender: &Contender) -> std::result::Result<(), String> {
    let output = command(&contender.argv, &contender.cwd).stderr(Stdio::piped()).output().map_err(|e| e.to_string())?;
    tidy(contender);
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or("and says nothing");
    if output.status.success() { Ok(()) } else { Err(format!("{}: {line}", output.status)) }
}

struct Probed {
    own: i64,
    mounts: usize,
}

fn probe(contender: &Contender) -> Result<Probed> {
    let mut child = command(&contender.probe, &contender.cwd).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
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

/// wait4's figure, taken by the floor binary: what vfork lends a child counts as the child's, and the floor is small.
fn peak(contender: &Contender, floor: &Path, scratch: &Path) -> Result<i64> {
    let file = scratch.join("peak");
    let mut highest = 0;
    for _ in 0..PEAK_RUNS {
        let mut argv: Vec<std::ffi::OsString> = vec![floor.into(), "-r".into(), file.clone().into(), "--".into()];
        argv.extend(path_of(&contender.argv[0]));
        argv.extend_from_slice(&contender.argv[1..]);
        File::create(&file)?;
        command(&argv, &contender.cwd).status()?;
        tidy(contender);
        highest = highest.max(fs::read_to_string(&file)?.parse().unwrap_or(0));
    }
    Ok(highest)
}

// The floor does not search.
fn path_of(program: &std::ffi::OsStr) -> Option<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.map(Into::into)
}
