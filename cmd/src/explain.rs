//! `codexrun explain`: what a bundle or a policy permits here, without running it.

use crate::environment::Environment;
use crate::make::{Make, POLICY, absolute};
use crate::output;
use crate::report::{Failure, warn};
use clap::Args;
use libruntime::bundle::{self, Bundle};
use libruntime::error::Sources;
use libruntime::explain::{Answer, Disk as Look, Explained, Facts};
use libruntime::host::Host;
use libruntime::plan::{self, Plan};
use libruntime::policy::compile::{Said, said};
use libruntime::policy::parse::{self, Base};
use libruntime::policy::view::{Disk, View};
use libruntime::policy::{FileSystem, Policy};
use libruntime::{Error, Result, annotation, run};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Say what a bundle or a policy permits on this host
///
/// For each path what the kernel will say to open(2), mkdir(2), unlink(2) and execve(2), by which mount of config.json and which entry
/// of the policy. Without a path: the account of the whole, and of each mount. Nothing is started and nothing changed.
#[derive(Debug, Args)]
pub struct Explain {
    /// A directory that holds a config.json (not with --policy), then paths as the command would name them
    #[arg(value_name = "BUNDLE|PATH")]
    words: Vec<OsString>,
    /// Explain this policy as `sandbox` would run it, instead of a bundle
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// More paths, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Print one JSON object (docs/explain.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    make: Make,
}

impl Explain {
    pub fn run(&self) -> Result<u8, Failure> {
        let (subject, words) = self.subject()?;
        let planned = subject.planned()?;
        run::warn(&planned.plan, planned.file.as_deref());
        let explained = planned.explained()?;
        let facts = planned.facts(&explained)?;
        let mut paths: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
        paths.extend(self.from.as_deref().map(listed).transpose()?.unwrap_or_default());
        let whole = paths.is_empty();
        if whole {
            paths = explained.mounts().to_vec();
        }
        let answers: Vec<Answer> = paths.iter().map(|path| explained.path(path)).collect();
        output::print(&if self.json { json(&answers, &facts) } else { text(&answers, whole.then_some(&facts)) })
    }

    /// What is explained, and the words that are paths.
    fn subject(&self) -> Result<(Subject, &[OsString]), Failure> {
        if let Some(policy) = &self.policy {
            return Ok((Subject::compiled(policy, &self.make, Environment::inherited())?, &self.words));
        }
        if self.make.is_given() {
            return Err(Error::new("`--cwd`, `--identity`, `--proc`, `--env` and a command need `--policy`").into());
        }
        let (dir, paths) = self.words.split_first().ok_or_else(|| {
            Error::new("nothing to explain").hint("`codexrun explain BUNDLE [PATH…]` or `codexrun explain --policy P [PATH…]`")
        })?;
        Ok((Subject::read(Path::new(dir))?, paths))
    }
}

/// A bundle, and the policy that it was made from when it is known.
pub struct Subject {
    pub bundle: Bundle,
    pub policy: Option<Policy>,
    /// Where it is, if it is on disk.
    pub dir: Option<PathBuf>,
    /// What the policy calls the workspace.
    pub cwd: PathBuf,
}

/// A bundle that is ready to be asked.
pub struct Planned {
    bundle: Bundle,
    file: Option<PathBuf>,
    plan: Plan,
    host: Host,
    said: Option<Vec<Said>>,
}

impl Planned {
    /// The account of its paths.
    pub fn explained(&self) -> Result<Explained<'static>> {
        let explained = Explained::new(&self.bundle, &self.plan, &self.host, &Look, self.said.clone());
        explained.map_err(|e| e.of(Sources::config(self.file.as_deref())))
    }

    /// The account of the rest.
    pub fn facts(&self, explained: &Explained) -> Result<Facts, Vec<Error>> {
        explained.facts(&self.bundle.spec, &self.plan, &self.host)
    }
}

impl Subject {
    /// A policy and an environment.
    pub fn compiled(policy: &str, make: &Make, env: Environment) -> Result<Subject, Failure> {
        let (bundle, policy) = make.launched(policy, &Disk::new(), env)?;
        Ok(Subject { bundle, policy: Some(policy), dir: None, cwd: make.cwd()? })
    }

    /// What a launch would do, and what the policy says where.
    pub fn planned(self) -> Result<Planned, Failure> {
        let options = plan::Options { bundle_dir: self.dir, ..plan::Options::default() };
        let host = Host::probe_for(&self.bundle.spec, &options)?;
        let plan = Plan::new(&self.bundle, &host, &options)?;
        // Without a restriction there are no entries to name.
        let restricted = self.policy.filter(|policy| matches!(policy.file_system, FileSystem::Restricted(_)));
        let said = restricted.map(|policy| said(&policy, &self.cwd, &Disk::new()));
        let file = bundle::file(options.bundle_dir.as_deref(), None);
        Ok(Planned { bundle: self.bundle, file, plan, host, said })
    }

    /// A bundle on disk. A policy beside it counts only if it is the one whose digest the bundle carries.
    pub fn read(dir: &Path) -> Result<Subject> {
        let bundle = Bundle::read(dir)?;
        let cwd = bundle.spec.process().as_ref().map_or("/".into(), |process| process.cwd().clone());
        let file = dir.join(POLICY);
        let digest = bundle.spec.annotations().as_ref().and_then(|all| all.get(annotation::POLICY_SHA256));
        let policy = match digest.filter(|_| file.exists()) {
            None => None,
            Some(digest) => {
                let home = Disk::new().home()?;
                let parsed = parse::load(&file.to_string_lossy(), &Base { cwd: &cwd, home: home.as_deref() })?;
                if parsed.policy.digest() != *digest {
                    warn(&format!("`{}` is not the policy of this bundle, so no entry is named", file.display()));
                }
                Some(parsed.policy).filter(|policy| policy.digest() == *digest)
            }
        };
        Ok(Subject { bundle, policy, dir: Some(absolute(dir)?), cwd })
    }
}

fn listed(file: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e| Error::new("cannot read the list of paths").at(file.display().to_string()).cause(e);
    let reader: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::new(std::fs::File::open(file).map_err(fail)?)),
    };
    reader.split(b'\n').map(|line| Ok(OsStr::from_bytes(&line.map_err(fail)?).into())).collect()
}

fn text(answers: &[Answer], facts: Option<&Facts>) -> String {
    let facts = facts.map(|facts| format!("{facts}\n")).unwrap_or_default();
    facts + &answers.iter().map(Answer::to_string).collect::<String>()
}

fn json(answers: &[Answer], facts: &Facts) -> String {
    let mut all = facts.json();
    all["paths"] = json!(answers.iter().map(Answer::json).collect::<Vec<_>>());
    format!("{all:#}\n")
}
