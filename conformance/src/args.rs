//! The command line of the suite.

use crate::inject::Part;
use std::iter::Peekable;
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Default)]
pub struct Args {
    /// OCI runtimes named by hand; empty: whatever is found.
    pub runtimes: Vec<PathBuf>,
    /// The codexrun that makes the bundles; default: the one that cargo built.
    pub codexrun: Option<PathBuf>,
    /// Only rows (`group: name`) or columns that contain this word.
    pub filter: Option<String>,
    /// Print the rows and stop.
    pub list: bool,
    /// The ordinary account.
    pub user: Option<String>,
    /// Only the cases of the OCI specification and of the engines' command line.
    pub oci: bool,
    /// Where the page about the OCI cases is written.
    pub write_doc: Option<PathBuf>,
    /// How many containers the storm has; none: no storm.
    pub storm: Option<u32>,
    /// How many worlds `explain` is asked about, for each user; none: only the other cases.
    pub explain: Option<u32>,
    /// What the dice start from; none: the clock.
    pub seed: Option<u64>,
    /// Strike at the calls of launches: which part of the trials.
    pub inject: Option<Part>,
    /// Only the worst of days: resources that give out, payloads that attack; of the launches with ever less, which part.
    pub worst: Option<Part>,
    /// One line per row and policy.
    pub verbose: bool,
    /// Drive real engines instead of the cases.
    pub engines: bool,
    /// Which engines; empty: all.
    pub engine: Vec<String>,
    /// Boot a machine and play its cases instead.
    pub vm: bool,
}

/// What `--help` prints.
pub const USAGE: &str = "\
usage: conformance [--runtime PATH]... [--codexrun PATH] [--filter WORD] [--oci] [--write-doc FILE] [--storm [N]]
                   [--explain [N]] [--seed S] [--list] [--user NAME] [-v]
       conformance --inject [K/N] [--filter WORD] [--user NAME] [-v]
       conformance --worst [K/N] [--filter WORD] [--user NAME] [-v]
       conformance --engines [--engine NAME]... [--runtime PATH]... [--filter WORD] [--list] [--user NAME] [-v]
       conformance --vm [--runtime PATH]... [--filter WORD] [--write-doc FILE] [--list] [-v]

  --runtime PATH   an OCI runtime to test (again for more); default: codexrun, and runc and crun when on PATH
  --codexrun PATH  the codexrun that makes the bundles; default: the newest in the workspace's target directory
  --filter WORD    only rows or columns whose name contains WORD (`files`, `io-uring`, `crun/user`, ...)
  --oci            only the cases of the OCI specification and of what engines rely on
  --write-doc FILE the same, and writes what came of them as a page (docs/spec-conformance.md); with --vm its part of it
  --storm [N]      only the storm: N containers (200), 16 at a time, and the runtime killed at random moments
  --inject [K/N]   as root: make every system call of a launch fail, and hit every moment of it with a signal;
                   only every N-th trial from the K-th on
  --worst [K/N]    as root: only launches on a machine that gives out, records that were spoilt, and payloads that attack;
                   of the commands that have ever less of something only every N-th, from the K-th on
  --explain [N]    only the property of `codexrun explain`: N random trees and policies (40) for each user
  --seed S         the storm, or the worlds, of that seed again
  --list           print the rows and stop
  --user NAME      the ordinary account; default codexrun-test, made with useradd when missing
  -v               one line per row and policy instead of one per row; with --engines: how long each check takes
  --engines        as root: drive real engines on the runtimes, in namespaces of their own
  --engine NAME    only podman, rootless, build, containerd or docker (again for more); implies --engines
  --vm             boot a machine with cgroup v2, AppArmor, systemd and a disk, and try codexrun, or the named
                   runtimes, in there";

impl Args {
    /// Whether the filter lets a row pass, or the column it is asked in.
    pub fn wants(&self, row: &str, column: &str) -> bool {
        self.filter.as_ref().is_none_or(|f| row.contains(f) || column.contains(f))
    }

    /// Reads the words after the program's name; the error is the sentence to print.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--runtime" => args.runtimes.push(value()?.into()),
                "--codexrun" => args.codexrun = Some(value()?.into()),
                "--filter" => args.filter = Some(value()?),
                "--user" => args.user = Some(value()?),
                "--oci" => args.oci = true,
                "--write-doc" => args.write_doc = Some(value()?.into()),
                "--storm" => args.storm = Some(number(words.next_if(|w| w.parse::<u32>().is_ok()).as_deref().unwrap_or(STORM))?),
                "--explain" => {
                    args.explain = Some(number(words.next_if(|w| w.parse::<u32>().is_ok()).as_deref().unwrap_or(WORLDS))?)
                }
                "--seed" => args.seed = Some(number(&value()?)?),
                "--inject" => args.inject = Some(part(&mut words)?),
                "--worst" => args.worst = Some(part(&mut words)?),
                "--list" => args.list = true,
                "--engines" => args.engines = true,
                "--vm" => args.vm = true,
                "--engine" => args.engine.push(engine(value()?)?),
                "-v" | "--verbose" => args.verbose = true,
                "-h" | "--help" => return Err(USAGE.into()),
                other => return Err(format!("unknown argument `{other}`\n{USAGE}")),
            }
        }
        args.oci |= args.write_doc.is_some();
        args.engines |= !args.engine.is_empty();
        Ok(args)
    }
}

/// As many as the storm has when nothing is said.
const STORM: &str = "200";

/// As many as `--explain` makes when nothing is said.
const WORLDS: &str = "40";

/// All of it when nothing is said.
fn part(words: &mut Peekable<impl Iterator<Item = String>>) -> Result<Part, String> {
    words.next_if(|w| w.contains('/')).as_deref().unwrap_or("0/1").parse()
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

fn engine(word: String) -> Result<String, String> {
    let known = crate::engine::words();
    if known.contains(&word.as_str()) { Ok(word) } else { Err(format!("no engine `{word}`; there are {}", known.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::parse(words.iter().map(|w| w.to_string()))
    }

    #[test]
    fn a_storm_has_two_hundred_containers_unless_a_number_follows() {
        assert_eq!(parse(&["--storm"]).unwrap().storm, Some(200));
        assert_eq!(parse(&["--storm", "7", "--seed", "3"]).unwrap().storm, Some(7));
        assert_eq!(parse(&["--storm", "-v"]).unwrap().storm, Some(200));
        assert!(parse(&["--seed", "x"]).unwrap_err().contains("`x` is no number"));
    }

    #[test]
    fn runtimes_add_up_and_a_missing_value_is_named() {
        assert_eq!(parse(&["--runtime", "a", "--runtime", "b"]).unwrap().runtimes.len(), 2);
        assert!(parse(&["--user"]).unwrap_err().contains("`--user` needs a value"));
    }

    #[test]
    fn an_engine_is_one_of_those_we_drive() {
        assert!(parse(&["--engine", "docker"]).unwrap().engines);
        assert!(parse(&["--engine", "lxc"]).unwrap_err().contains("podman, rootless, build, containerd, docker"));
    }
}
