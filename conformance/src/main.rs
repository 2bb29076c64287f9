//! Black-box cases for any OCI runtime: a matrix of cases × (runtime, user), and one last line that counts.

mod actor;
mod args;
mod case;
mod dice;
mod engine;
mod explain;
mod hole;
mod inject;
mod launch;
mod matrix;
mod mounted;
mod oci;
mod outside;
mod policy;
mod report;
mod runtime;
mod scene;
mod signals;
mod table;
mod told;
mod vm;
mod worker;
mod worst;

use actor::Actor;
use args::Args;
use report::Report;
use runtime::{Column, Kind, Runtime};
use scene::Stage;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match Args::parse(std::env::args().skip(1)).and_then(|args| suite(&args)) {
        Ok(report) if !report.failed() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("conformance: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn suite(args: &Args) -> Result<Report, String> {
    if args.engines {
        return engines(args);
    }
    if args.vm {
        return machine(args);
    }
    let mut report = Report::default();
    if args.list {
        matrix::rows()
            .into_iter()
            .chain(case::rows())
            .chain(oci::rows())
            .chain(inject::rows())
            .chain(worst::rows())
            .for_each(|row| println!("{row}"));
        return Ok(report);
    }
    in_private_mounts()?;
    launch::adopt_orphans().map_err(|e| format!("prctl(PR_SET_CHILD_SUBREAPER): {e}"))?;
    let actors = Actor::all(args.user.as_deref())?;
    if let Some(task) = worker::task() {
        private_tmp()?;
        return one_share(args, &actors, &task);
    }
    let stage = Stage::new(&codexrun(args)?, &beside_us("probe")?).map_err(|e| format!("/var/tmp: {e}"))?;
    private_tmp()?;
    high_pids()?;
    if let Some(count) = args.explain {
        worlds(args, &stage, &actors, count, &mut report);
        report.print(args.verbose);
        return Ok(report);
    }
    let columns = columns(args, &stage, &actors);
    if let Some(count) = args.storm {
        storms(args, &stage, &columns, count, &mut report);
        report.print(args.verbose);
        return Ok(report);
    }
    let (shares, per_processor) = match args.inject {
        // A trial waits more than it works.
        Some(_) => (inject::shares(&columns, &|row, column| args.wants(row, column)), 2),
        None => (worker::whole(&columns), 1),
    };
    worker::play(stage.programs(), &shares, at_once(per_processor), &mut report);
    report.print(args.verbose);
    match args.write_doc.as_ref().filter(|_| args.inject.is_none() && args.worst.is_none()) {
        Some(page) => oci::doc::write(page, &columns, &report).map(|()| report),
        None => Ok(report),
    }
}

/// What the dice start from when nothing is said.
fn clock() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_secs())
}

/// The worlds of every user.
fn worlds(args: &Args, stage: &Stage, actors: &[Actor], count: u32, report: &mut Report) {
    for actor in actors {
        let seed = args.seed.unwrap_or_else(clock);
        report.add(explain::ROW, &format!("explain/{}", actor.label), "", explain::run(stage, actor, count, seed));
    }
}

/// A storm in every column that was named, or in codexrun's.
fn storms(args: &Args, stage: &Stage, columns: &[Column], count: u32, report: &mut Report) {
    let seed = args.seed.unwrap_or_else(clock);
    let named = |c: &&Column| c.runtime.kind != Kind::Sandbox && (!args.runtimes.is_empty() || c.runtime.is_codexrun());
    for column in columns.iter().filter(named) {
        report.add(oci::storm::ROW, &column.name(), "", oci::storm::run(stage, column, count, seed));
    }
}

/// One share for each processor, as cases measure times too, or more of those that wait; one alone where all have the same /tmp.
fn at_once(per_processor: usize) -> usize {
    if is_private() { per_processor * std::thread::available_parallelism().map_or(1, usize::from) } else { 1 }
}

/// What another suite has started us for; its report is made there.
fn one_share(args: &Args, actors: &[Actor], task: &worker::Task) -> Result<Report, String> {
    let name = &task.column;
    let stage = Stage::sharing(&task.programs).map_err(|e| format!("/var/tmp: {e}"))?;
    let column = columns(args, &stage, actors).into_iter().find(|c| c.name() == *name).ok_or(format!("no column {name}"))?;
    if !column.runtime.is_codexrun() {
        own_null()?;
    }
    let wanted = |row: &str| row.starts_with(&task.rows) && args.wants(row, name);
    match (args.inject, args.worst) {
        (Some(part), _) => inject::run_one(&stage, &column, part, &wanted),
        (None, Some(part)) => worst::run_one(&stage, &column, part, &wanted),
        (None, None) => {
            if !args.oci {
                matrix::run_one(&stage, &column, &wanted);
                case::run_one(&stage, &column, &wanted);
            }
            oci::run_one(&stage, &column, &wanted);
        }
    }
    Ok(Report::default())
}

/// The engines: as the supervisor of the columns, or as the inside of one.
fn engines(args: &Args) -> Result<Report, String> {
    if let Some(dir) = std::env::var_os(engine::COLUMN) {
        return engine::column(args, dir.into()).map(|()| Report::default());
    }
    let report = engine::suite(args, &engine_runtimes(args)?, &own_codexrun(args)?)?;
    if !args.list {
        report.print(args.verbose);
    }
    Ok(report)
}

/// The machine: from the outside, or as the inside of it.
fn machine(args: &Args) -> Result<Report, String> {
    if let Ok(word) = std::env::var(vm::inside::INSIDE) {
        return vm::inside::run(args, &word).map(|()| Report::default());
    }
    // Emulated, each runtime takes a minute: referees only when they are named, or the page is to have them.
    let named = match args.runtimes.as_slice() {
        [] if args.write_doc.is_some() => vm::inside::RUNTIMES.map(PathBuf::from).into(),
        [] => vec!["codexrun".into()],
        named => named.to_vec(),
    };
    let report =
        vm::suite(args, &engine_runtimes(&Args { runtimes: named, codexrun: args.codexrun.clone(), ..Args::default() })?)?;
    if !args.list {
        report.print(args.verbose);
    }
    match &args.write_doc {
        Some(page) => vm::doc::write(page, &report).map(|()| report),
        None => Ok(report),
    }
}

/// Named ones by path, or by a name that is looked up: `codexrun` where cargo puts it, others on PATH.
fn engine_runtimes(args: &Args) -> Result<Vec<PathBuf>, String> {
    let default = || ["codexrun", "runc", "crun"].iter().map(PathBuf::from).collect();
    let named: Vec<PathBuf> = if args.runtimes.is_empty() { default() } else { args.runtimes.clone() };
    let path = |name: &PathBuf| match name.to_str() {
        Some("codexrun") => own_codexrun(args),
        Some(word) if !word.contains('/') => on_path(word).ok_or(format!("`{word}` is not on PATH (scripts/packages test)")),
        _ if name.is_file() => Ok(name.clone()),
        _ => Err(format!("no file {}", name.display())),
    };
    named.iter().map(path).collect()
}

/// `--codexrun`, else what cargo has built, whatever runtimes are named.
fn own_codexrun(args: &Args) -> Result<PathBuf, String> {
    codexrun(&Args { codexrun: args.codexrun.clone(), ..Args::default() })
}

/// Every runtime for every user. A filter that names a column drops the others.
fn columns(args: &Args, stage: &Stage, actors: &[Actor]) -> Vec<Column> {
    let runtimes = runtimes(args, stage);
    let all = runtimes.iter().flat_map(|r| actors.iter().map(|a| Column { runtime: r.clone(), actor: a.clone() }));
    // These drive every verb themselves.
    let only_ours = args.inject.is_some() || args.worst.is_some();
    let all: Vec<Column> = all.filter(|c| !only_ours || c.runtime.kind == Kind::Codexrun).collect();
    let filter = args.filter.clone().unwrap_or_default();
    let named: Vec<Column> = all.iter().filter(|c| !filter.is_empty() && c.name().contains(&filter)).cloned().collect();
    if named.is_empty() { all } else { named }
}

/// `codexrun sandbox` and `codexrun run` for codexrun itself; every other runtime by its path.
fn runtimes(args: &Args, stage: &Stage) -> Vec<Runtime> {
    let named = if args.runtimes.is_empty() { found() } else { args.runtimes.clone() };
    let ours = args.runtimes.is_empty() || named.iter().any(|p| p.ends_with("codexrun"));
    let mut runtimes = Vec::new();
    if ours {
        runtimes.push(Runtime::sandbox(&stage.codexrun));
        runtimes.push(Runtime::oci(&stage.codexrun, &stage.codexrun));
    }
    let others = named.iter().filter(|p| !p.ends_with("codexrun"));
    runtimes.extend(others.map(|p| Runtime::oci(p, &stage.codexrun)));
    runtimes
}

fn found() -> Vec<PathBuf> {
    ["runc", "crun"].iter().filter_map(|name| on_path(name)).collect()
}

/// A program on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// `--codexrun`, else a runtime of that name, else the newest that cargo has built beside us.
fn codexrun(args: &Args) -> Result<PathBuf, String> {
    let named = args.codexrun.clone().or_else(|| args.runtimes.iter().find(|p| p.ends_with("codexrun")).cloned());
    if let Some(path) = named {
        return if path.is_file() { Ok(path) } else { Err(format!("no file {}", path.display())) };
    }
    let us = std::env::current_exe().map_err(|e| e.to_string())?;
    let profiles = us.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
    let built = ["debug", "release"].iter().map(|p| profiles.join(p).join("codexrun"));
    let newest = built.filter_map(|p| Some((p.metadata().ok()?.modified().ok()?, p))).max();
    newest.map(|(_, path)| path).ok_or(format!("no codexrun in {}; build it or name it by --codexrun", profiles.display()))
}

fn beside_us(name: &str) -> Result<PathBuf, String> {
    let us = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = us.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(format!("{} is missing: `cargo build -p conformance`", path.display())) }
}

const PRIVATE: &str = "CODEXRUN_CONFORMANCE_PRIVATE";

/// Whether the mounts of this suite are its own.
fn is_private() -> bool {
    std::env::var_os(PRIVATE).is_some()
}

/// Starts the suite again in a mount, a PID and an IPC namespace of its own: mounts, processes and queues that a broken runtime leaves die
/// with it, and other sandboxes on this machine share no /tmp with ours. Only root can.
fn in_private_mounts() -> Result<(), String> {
    if !nix::unistd::Uid::effective().is_root() || is_private() {
        return Ok(());
    }
    let us = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut again = Command::new("unshare");
    again
        .args(["--mount", "--propagation", "private", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(us)
        .args(std::env::args().skip(1))
        .env(PRIVATE, "1");
    Err(format!("unshare: {}", again.exec()))
}

/// More than any sandbox of a case has processes.
const FIRST_PID: &str = "10000";

/// An empty /tmp and /dev/shm for each suite and each column, after everything that may come from the host's has been copied.
fn private_tmp() -> Result<(), String> {
    let (flags, data) = (nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV, Some("mode=1777"));
    let empty =
        |at: &&str| nix::mount::mount(Some("tmpfs"), *at, Some("tmpfs"), flags, data).map_err(|e| format!("tmpfs on {at}: {e}"));
    ["/tmp", "/dev/shm"].iter().filter(|_| is_private()).try_for_each(empty)
}

/// A /dev/null of the column's own: crun gives it to its container's user, and the machine's would stay his.
fn own_null() -> Result<(), String> {
    if !is_private() {
        return Ok(());
    }
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    const NONE: Option<&str> = None;
    let made = || {
        // Below /tmp for as long as it takes: the column's own has no nodes.
        mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::MS_NOSUID, NONE)?;
        mknod("/tmp/null", SFlag::S_IFCHR, Mode::empty(), makedev(1, 3))?;
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            "/tmp/null",
            Mode::from_bits_truncate(0o666),
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )?;
        mount(Some("/tmp/null"), "/dev/null", NONE, MsFlags::MS_BIND, NONE)?;
        umount2("/tmp", MntFlags::MNT_DETACH)
    };
    made().map_err(|e: nix::errno::Errno| format!("a /dev/null of its own: {e}"))
}

/// A process of ours must not have a number that exists in a sandbox too, or `kill {pid}` would find another.
fn high_pids() -> Result<(), String> {
    if !is_private() {
        return Ok(());
    }
    std::fs::write("/proc/sys/kernel/ns_last_pid", FIRST_PID).map_err(|e| format!("ns_last_pid: {e}"))
}
