//! `codexrun sandbox`: a policy → a process, with nothing on disk between the two.

use crate::environment::Environment;
use crate::explain::Subject;
use crate::filter::Filter;
use crate::isolation;
use crate::make::{Make, absolute, keep_policy};
use crate::report::{Failure, warn};
use clap::Args;
use libruntime::Error;
use libruntime::bundle::Bundle;
use libruntime::host::namespaces::Reach;
use libruntime::policy::choice::Git;
use libruntime::policy::isolation::Isolation;
use libruntime::policy::view::{Disk, View};
use libruntime::policy::{FileSystem, Policy};
use libruntime::run::{self, Options};
use std::path::{Path, PathBuf};

/// Run a command under a policy
///
/// What an agent harness puts before every command. The environment is the caller's; the exit code is the command's own,
/// 128 + the signal that ended it, 127 if it was not found, 126 if it could not be executed, and 1 if codexrun refused.
#[derive(Debug, Args)]
pub struct Sandbox {
    /// read-only, workspace-write, danger-full-access, a file (JSON or TOML), or `-`
    #[arg(long, value_name = "POLICY", default_value = "workspace-write")]
    policy: String,
    /// Also write the bundle to this directory
    #[arg(long, value_name = "DIR")]
    keep_bundle: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    pub make: Make,
}

impl Sandbox {
    pub fn run(&self) -> Result<u8, Failure> {
        if self.make.command.is_empty() {
            return Err(Error::new("no command given").hint("`codexrun sandbox -- CMD…`").into());
        }
        let disk = Disk::new();
        let parsed = self.make.parse(&self.policy, &disk)?;
        run::close_inherited(0)?;
        // Without namespaces there is no bridge in between.
        let reach = self.make.reach(&parsed.policy)?;
        let port = self.filter.port(self.make.own_domains(&parsed.policy))?;
        let mut env = Environment::inherited();
        if let Some(port) = &port {
            env.go_by(&port.proxy);
        }
        let (bundle, policy) = self.make.compile(&self.policy, parsed, &disk, env, false, reach)?;
        if let Some(log) = &self.filter.network_log {
            kept_from(log, &bundle, &policy)?;
        }
        let own = port.is_some();
        let keeper = port.map(|port| self.filter.start(port, reach == Reach::Nothing)).transpose()?;
        let kept = self.keep_bundle.as_deref().map(absolute).transpose()?;
        if let Some(dir) = &kept {
            if own {
                let (bundle, policy) = self.make.without_proxy(&self.policy, &policy, &disk, reach)?;
                keep(&bundle, &policy, dir)?;
                let dir = dir.display();
                warn(&format!(
                    "the bundle in `{dir}` has its network off: codexrun's proxy, which keeps the domains, ends with this launch"
                ));
            } else {
                keep(&bundle, &policy, dir)?;
            }
        }
        if policy.choices.isolation != Isolation::default() {
            isolation::say(&bundle);
        }
        let book = keeper.as_ref().and_then(|keeper| keeper.book.clone());
        let ended = run::run(&bundle, &Options { book, ..options(kept) });
        if policy.choices.git == Git::Commit {
            unfinished(&bundle, &disk).iter().for_each(|todo| commands(todo));
        }
        Ok(ended?)
    }
}

fn keep(bundle: &Bundle, policy: &Policy, dir: &Path) -> Result<(), Error> {
    bundle.write(dir)?;
    keep_policy(policy, dir)
}

/// A rebase that the command has left in a git directory it may write to, and that executes commands when somebody goes on with it outside.
fn unfinished(bundle: &Bundle, disk: &Disk) -> Vec<PathBuf> {
    let mounts = bundle.spec.mounts().iter().flatten();
    let todos = mounts.map(|mount| mount.destination().join("rebase-merge/git-rebase-todo"));
    let executes = |line: &str| matches!(line.split_whitespace().next(), Some("exec" | "x"));
    let said = |todo: &PathBuf| disk.read(todo).is_ok_and(|text| String::from_utf8_lossy(&text).lines().any(executes));
    todos.filter(said).collect()
}

fn commands(todo: &Path) {
    let what = format!("`{}` has commands, which `git rebase --continue` executes outside of the sandbox", todo.display());
    Error::new(what).hint("read them with `git rebase --edit-todo`, or give it up with `git rebase --abort`").warn();
}

/// What the sandbox may rewrite tells nothing of it.
fn kept_from(log: &Path, bundle: &Bundle, policy: &Policy) -> Result<(), Failure> {
    let subject = Subject { bundle: bundle.clone(), policy: None, dir: None, cwd: absolute(Path::new("."))? };
    let log = real(&absolute(log)?);
    let Some(inside) = subject.planned()?.explained()?.rewrites(&log) else { return Ok(()) };
    let alias = if inside == log { String::new() } else { format!(", which it has as `{}`", inside.display()) };
    let error = Error::new(format!("the sandbox could rewrite the network log `{}`{alias}", log.display()));
    match policy.file_system {
        FileSystem::Restricted(_) => Err(error.hint("it belongs where the policy grants no writing").into()),
        FileSystem::Unrestricted | FileSystem::External => {
            error.warn();
            Ok(())
        }
    }
}

/// Without `..`. Where that cannot be told, or a link is crossed, the proxy does not open it.
fn real(file: &Path) -> PathBuf {
    let dir = file.parent().and_then(|dir| dir.canonicalize().ok());
    dir.zip(file.file_name()).map_or_else(|| file.into(), |(dir, name)| dir.join(name))
}

/// In the foreground, and not recorded: it ends with the caller.
fn options(bundle_dir: Option<PathBuf>) -> Options {
    Options { bundle_dir, ..Options::default() }
}
