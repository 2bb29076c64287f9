//! What the host lacks, in a machine that the suite boots by itself: cgroup v2 with every controller, AppArmor, a disk whose use can
//! be limited. Nothing of it is installed and nothing of it stays: Debian's kernel, and a root file system in memory.

mod apparmor;
mod boot;
mod clock;
mod cpio;
mod device;
pub mod doc;
mod group;
mod image;
mod inject;
pub mod inside;
mod life;
mod limits;
mod refused;
mod systemd;
mod update;
mod view;

use crate::args::Args;
use crate::oci::Must;
use crate::report::{No, Report, Verdict, fail, skip};
use boot::{End, Machine};
use image::Parts;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BOOTS: &str = "vm: it boots, plays every case and goes off";
/// A machine that has said nothing for so long, neither on its console nor of a case, never will.
const SILENCE: Duration = Duration::from_secs(120);
/// From power on until power off.
const ALL: Duration = Duration::from_secs(420);

/// The runtime that must pass; all others are asked for comparison.
const OURS: &str = "codexrun";

/// The subjects and their cases.
pub const GROUPS: &[(&str, &[Must])] = &[
    ("cgroup v2: limits", limits::CASES),
    ("cgroup v2: update", update::CASES),
    ("cgroup v2: devices", device::CASES),
    ("cgroup v2: the lifecycle", life::CASES),
    ("cgroup v2: what a container sees of its own", view::CASES),
    ("cgroup v2: what cannot be had", refused::CASES),
    ("AppArmor", apparmor::CASES),
    ("cgroup v2: calls that fail", inject::CASES),
    ("a clock that jumps", clock::CASES),
];
/// Those that are played when systemd runs, by root and by an ordinary user.
pub const SYSTEMD: (&str, &[Must]) = ("systemd: the driver", systemd::CASES);
pub const USER: (&str, &[Must]) = ("cgroup v2: an ordinary user, with and without delegation", systemd::USER_CASES);

fn all() -> impl Iterator<Item = &'static Must> {
    GROUPS.iter().chain([&SYSTEMD, &USER]).flat_map(|(_, cases)| cases.iter())
}

/// The names of its cases.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|must| must.name)
}

/// Boots the machine for each of these runtimes, and reports what came over its serial line.
pub fn suite(args: &Args, runtimes: &[PathBuf]) -> Result<Report, String> {
    let mut report = Report::default();
    if args.list {
        all().for_each(|must| println!("{}: {}", must.name, must.says));
        return Ok(report);
    }
    match obstacle() {
        // One after the other: all at once each would be too slow for what measures time.
        Ok(parts) => runtimes.iter().try_for_each(|one| play(args, &parts, std::slice::from_ref(one), &mut report))?,
        Err(reason) => report.add(BOOTS, "vm", "", skip(reason)),
    }
    Ok(report)
}

/// Why no machine can be booted here.
fn obstacle() -> Result<Parts, String> {
    let needed =
        [(boot::QEMU, "scripts/packages vm"), ("busybox", "scripts/packages test"), ("setpriv", "scripts/packages test")];
    match needed.iter().find(|(program, _)| crate::on_path(program).is_none()) {
        Some((program, how)) => Err(format!("`{program}` is not installed ({how})")),
        None => Parts::find(),
    }
}

fn play(args: &Args, parts: &Parts, runtimes: &[PathBuf], report: &mut Report) -> Result<(), String> {
    let interrupts = boot::interrupts().map_err(|e| format!("signalfd: {e}"))?;
    let dir = tempfile::Builder::new().prefix("codexrun-vm-").tempdir_in("/var/tmp").map_err(|e| format!("/var/tmp: {e}"))?;
    let [initrd, console, told] = ["initrd", "console", "told"].map(|name| dir.path().join(name));
    let us = std::env::current_exe().map_err(|e| e.to_string())?;
    let probe = us.with_file_name("probe");
    let programs: Vec<PathBuf> = runtimes.iter().cloned().chain([us, probe]).collect();
    let filter = args.filter.clone().unwrap_or_default();
    parts.pack(&initrd, &programs, &filter).map_err(|e| format!("the machine's root file system: {e}"))?;
    let begin = Instant::now();
    let mut machine = Machine::boot(parts, &initrd, &console, &told).map_err(|e| format!("qemu: {e}"))?;
    let said = || [&console, &told].map(|file| fs::metadata(file).map_or(0, |m| m.len()));
    let end = loop {
        let before = said();
        let until = (Instant::now() + SILENCE).min(begin + ALL);
        let end = machine.wait(until, &interrupts, || ()).map_err(|e| format!("qemu: {e}"))?;
        if end != End::Late || said() == before || Instant::now() >= begin + ALL {
            break end;
        }
    };
    drop(machine);
    if args.verbose {
        eprint!("{}", fs::read_to_string(&console).unwrap_or_default());
    }
    if parts.systemd.is_none() {
        report.add("systemd", "vm", "", skip("systemd, systemctl or dbus-daemon is not installed (scripts/packages vm)"));
    }
    let workers = inside::workers(runtimes, parts.systemd.is_some());
    let whole = judge(&told, &console, end, begin.elapsed(), workers, report);
    report.add(BOOTS, "vm", "", whole);
    Ok(())
}

/// Every line of the suite inside, in the order of the table; and whether the machine and each worker have ended well.
fn judge(told: &Path, console: &Path, end: End, took: Duration, workers: usize, report: &mut Report) -> Verdict {
    let text = fs::read_to_string(told).unwrap_or_default();
    let (mut well, mut heard) = (0, Vec::new());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        match crate::told::heard(&line["told"].to_string()) {
            Some(it) => heard.push((line["column"].as_str().unwrap_or("vm").to_string(), it.row, it.verdict)),
            None => well += usize::from(line["told"]["end"] == "ok"),
        }
    }
    let last = heard.last().map_or("nothing".into(), |(column, row, _)| format!("{row} ({column})"));
    let place = |row: &str| all().position(|must| must.name == row);
    heard.sort_by_key(|(_, row, _)| place(row));
    for (column, row, verdict) in heard {
        let verdict = if column == OURS { verdict } else { verdict.map_err(No::of_a_referee) };
        report.add(&row, &column, "", verdict);
    }
    if end == End::Off && well == workers {
        return Ok(());
    }
    let said = [console.to_path_buf(), console.with_extension("qemu")].map(|p| fs::read(p).unwrap_or_default());
    let said = String::from_utf8_lossy(&said.concat()).into_owned();
    let got = format!("{end:?} after {} s, {well} workers ended well; the last row was: {last}", took.as_secs());
    fail(boot::QEMU, format!("power off, {workers} workers"), format!("{got}\n{}", tail(&said)))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_own_name_and_a_sentence() {
        let mut names: Vec<_> = all().map(|must| must.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "a name stands twice");
        assert!(all().all(|must| !must.says.is_empty()));
    }

    #[test]
    fn a_machine_that_ends_early_fails_the_run_and_shows_its_console() {
        let dir = tempfile::tempdir().unwrap();
        let [told, console] = ["told", "console"].map(|name| dir.path().join(name));
        let end = "{\"column\":\"runc\",\"told\":{\"end\":\"ok\"}}\n".repeat(inside::WORKERS);
        fs::write(&told, format!("{{\"column\":\"runc\",\"told\":{{\"row\":\"row\"}}}}\n{end}")).unwrap();
        fs::write(&console, "Kernel panic\n").unwrap();
        let mut report = Report::default();
        let verdict = |report: &mut Report, n| judge(&told, &console, End::Off, ALL, n * inside::WORKERS, report);
        assert!(verdict(&mut report, 1).is_ok());
        let no = format!("{:?}", verdict(&mut report, 2));
        assert!(no.contains("Kernel panic") && no.contains("2 workers ended well") && no.contains("row (runc)"), "{no}");
    }
}
