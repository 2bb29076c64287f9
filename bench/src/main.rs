//! Side-by-side measurements of codexrun, bubblewrap, crun, runc and the bare kernel floor, in one run.

mod bridge;
mod charge;
mod contender;
mod elf;
mod filters;
mod many;
mod measure;
mod memory;
mod modes;
mod oci;
mod place;
mod policies;
mod report;
mod round;
mod shape;
mod stats;
mod sys;
mod trace;
mod traces;
mod view;

use clap::Parser;
use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use contender::{OURS, Shape};
use memory::Memory;
use place::Place;
use report::{Outcome, Report};

/// Measures codexrun against bubblewrap, crun, runc and the least that the kernel allows
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    /// Rounds; in each, every contender runs once
    #[arg(long, default_value_t = 200, value_name = "N")]
    runs: usize,
    /// The binary to measure [default: `codexrun` beside this program]
    #[arg(long, value_name = "PATH")]
    codexrun: Option<PathBuf>,
    /// Print one JSON object per identity
    #[arg(long)]
    json: bool,
    /// Judge the targets; exit 1 if one is missed
    #[arg(long)]
    assert: bool,
    /// Measure once more as this ordinary user (root only)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Measure policies instead: what they cost to compile, and launches under 10, 100 and 1000 denied files
    #[arg(long)]
    policies: bool,
    /// Measure the network instead: the bridge beside socat
    #[arg(long)]
    bridge: bool,
    /// Measure launches instead: in each mode of the network and of isolation
    #[arg(long)]
    modes: bool,
    /// Watch the memory over N containers, made one after the other [default: 1000; with --assert alone 200]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000")]
    memory: Option<usize>,
    /// Start so many sandboxes at once instead, and see when the last of them runs [default: 1, 10, 100 and 1000]
    #[arg(long, value_name = "N", num_args = 0..=1, value_delimiter = ',', default_missing_value = "1,10,100,1000")]
    many: Option<Vec<usize>>,
    /// Measure the filters instead: a system call under each mode's, in N rounds
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20")]
    filters: Option<usize>,
    /// Make system calls: what is measured by --filters
    #[arg(long = "loop", value_name = "N", hide = true)]
    work: Option<u32>,
    /// Use a Unix socket: a payload of --modes
    #[arg(long, hide = true)]
    own_socket: bool,
    /// The client of --bridge, inside
    #[arg(long, hide = true, value_name = "ADDRESS")]
    client: Option<std::net::SocketAddr>,
    /// Take the view of the host as it is
    #[arg(long, hide = true)]
    inherit_view: bool,
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<bool> {
    if let Some(times) = args.work {
        return filters::work(times).map(|()| true);
    }
    if let Some(at) = args.client {
        return bridge::client(at);
    }
    if args.own_socket {
        return modes::own_socket().map(|()| true);
    }
    sys::adopt_orphans()?;
    let place = Place::new()?;
    let floor = place.adopt(&place::beside("floor")?, "floor")?;
    let codexrun = adopt_codexrun(args, &place)?;
    if sys::uid() == 0 && !args.inherit_view {
        view::enter()?;
        view::cover_tmp(&place.at("tmp"))?;
    }
    let ours = || codexrun.clone().ok_or_else(|| Error::other("there is no codexrun to measure"));
    if let Some(rounds) = args.filters {
        return filters::measure(&place, &ours()?, rounds).map(|()| true);
    }
    let instead = match args {
        Args { policies: true, .. } => Some(policies::measure(&place, &ours()?)),
        Args { bridge: true, .. } => Some(bridge::measure(&place, &ours()?, args.runs)),
        Args { modes: true, .. } => Some(modes::measure(&place, &ours()?, args.runs)),
        _ => None,
    };
    if let Some(measured) = instead {
        return measured.map(|good| good || !args.assert);
    }
    let good = match (&args.many, codexrun.as_deref()) {
        (Some(counts), Some(codexrun)) => many::measure(&place, codexrun, &floor, counts)? || !args.assert,
        _ => one_identity(args, &place, codexrun.as_deref(), &floor)?,
    };
    match &args.user {
        Some(name) => Ok(as_user(args, &place, name, codexrun.as_deref())? && good),
        None => Ok(good),
    }
}

fn adopt_codexrun(args: &Args, place: &Place) -> Result<Option<PathBuf>> {
    let path = match &args.codexrun {
        Some(path) => path.clone(),
        None => place::beside("codexrun")?,
    };
    let proxy = path.with_file_name("codexrun-proxy");
    if proxy.is_file() {
        place.adopt(&proxy, "codexrun-proxy")?;
    }
    match (path.is_file(), &args.codexrun) {
        (true, _) => place.adopt(&path, "codexrun").map(Some),
        (false, Some(path)) => Err(Error::other(format!("no such file: {}", path.display()))),
        (false, None) => Ok(None),
    }
}

fn one_identity(args: &Args, place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<bool> {
    let report = measure(args, place, codexrun, floor)?;
    let verdicts = if args.assert { report.verdicts(codexrun) } else { Vec::from_iter(report.flatness()) };
    let (text, good) = report::conclude(&verdicts);
    if args.json {
        println!("{}", report.json(&verdicts));
        return Ok(good);
    }
    println!("{}\n\n{}", report.table(), report::legend());
    if !verdicts.is_empty() {
        println!("\n{text}");
    }
    Ok(good)
}

fn measure(args: &Args, place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Report> {
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for contender in contender::all(place, codexrun, floor)? {
        let (shape, name) = (contender.shape, contender.name.to_owned());
        match measure::try_out(contender, floor, &place.at("state")) {
            Ok(row) => rows.push(row),
            Err(why) => skipped.push((shape, name, why)),
        }
    }
    measure::rounds(&mut rows, args.runs)?;
    let setting = setting(args.runs, &place.at("repo"));
    let mut report = Report { identity: identity(), setting, rows, skipped, memory: None };
    report.memory = args.memory.or(args.assert.then_some(FEWER)).map(|containers| watch(&report, containers, place, floor));
    Ok(report)
}

/// Containers for `--assert` alone.
const FEWER: usize = 200;

fn watch(report: &Report, containers: usize, place: &Place, floor: &Path) -> std::result::Result<Memory, Outcome> {
    let ours = report.row(Shape::Lifecycle, OURS).ok_or_else(|| report.why_not(Shape::Lifecycle))?;
    let watched = Memory::measure(&ours.contender, containers, &oci::lifecycle_state(place, OURS), floor, &place.at("state"));
    watched.map_err(|e| Outcome::Failed(e.to_string()))
}

fn setting(runs: usize, cwd: &Path) -> String {
    let first_word = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().next().unwrap_or("unknown").to_owned()
    };
    let roots: Vec<String> = shape::writable_roots(cwd).iter().map(|root| root.display().to_string()).collect();
    format!(
        "{runs} rounds, Linux {}, load {}; writable: {}",
        first_word("/proc/sys/kernel/osrelease"),
        first_word("/proc/loadavg"),
        roots.join(" ")
    )
}

fn identity() -> String {
    match sys::uid() {
        0 => "root".into(),
        uid => format!("uid {uid}"),
    }
}

/// Starts over as `name`, from copies that it can reach, in the view already made.
fn as_user(args: &Args, place: &Place, name: &str, codexrun: Option<&Path>) -> Result<bool> {
    let user = user(name)?;
    let program = place.adopt(&std::env::current_exe()?, "bench")?;
    let mut again = Command::new(program);
    again.arg("--inherit-view").args(["--runs", &args.runs.to_string()]);
    again.args(args.json.then_some("--json")).args(args.assert.then_some("--assert"));
    if let Some(containers) = args.memory {
        again.arg(format!("--memory={containers}"));
    }
    if let Some(counts) = &args.many {
        again.arg(format!("--many={}", counts.iter().map(usize::to_string).collect::<Vec<_>>().join(",")));
    }
    if let Some(path) = codexrun {
        again.arg("--codexrun").arg(path);
    }
    again.uid(user.uid).gid(user.gid).current_dir("/").env("HOME", user.home).env_remove("XDG_RUNTIME_DIR");
    Ok(again.status()?.success())
}

struct User {
    uid: u32,
    gid: u32,
    home: String,
}

fn user(name: &str) -> Result<User> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let found = passwd.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [n, _, uid, gid, _, home, _] if n == name => {
            Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.into() })
        }
        _ => None,
    });
    found.ok_or_else(|| Error::other(format!("no user {name}")))
}
