//! The first arrow on the command line: a policy and the flags that go with it → a bundle in memory.

use crate::choose::Choose;
use crate::environment::{Environment, not_text};
use crate::filter::Proxy;
use crate::network::Network;
use crate::report::{Failure, warn};
use clap::{Args, ValueEnum};
use libruntime::bundle::Bundle;
use libruntime::host::cgroup::Cgroups;
use libruntime::host::namespaces::{self, Reach};
use libruntime::policy::compile::{self, Request};
use libruntime::policy::domain::Domains;
use libruntime::policy::isolation::{Clause, Isolation};
use libruntime::policy::parse::{self, Base, Parsed};
use libruntime::policy::view::View;
use libruntime::policy::{self, FileSystem, Policy};
use libruntime::{Error, Result};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// In place of one that a launch takes, which is never so low.
const SOME_PORT: u16 = 1;

/// The flags that `spec --from-policy`, `sandbox` and `plan --policy` share.
#[derive(Debug, Args)]
pub struct Make {
    /// The directory that the policy calls the workspace, and in which the command starts [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Who the command is: the caller, or root of the sandbox [default: keep]
    #[arg(long, value_enum)]
    pub identity: Option<Identity>,
    /// Whether /proc shows the sandbox alone, or is the outer one [default: fresh]
    #[arg(long, value_enum)]
    pub proc: Option<Proc>,
    /// Set a variable, or copy it from the caller; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,
    #[command(flatten)]
    pub network: Network,
    #[command(flatten)]
    pub choose: Choose,
    /// What to run
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Identity {
    Keep,
    Root,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Proc {
    Fresh,
    Outer,
}

impl Make {
    /// Whether any of the flags was given.
    pub fn is_given(&self) -> bool {
        let Make { cwd, identity, proc, env, choose, network, command } = self;
        let words = !env.is_empty() || !command.is_empty();
        let policy = choose.is_given() || *network != Network::default();
        cwd.is_some() || identity.is_some() || proc.is_some() || words || policy
    }

    /// As `sandbox` would run it, but without its proxy: that has a port only when it is launched.
    pub fn launched(&self, policy: &str, view: &dyn View, mut env: Environment) -> Result<(Bundle, Policy), Failure> {
        let parsed = self.parse(policy, view)?;
        if let Some(domains) = self.own_domains(&parsed.policy) {
            env.go_by(&Proxy::of(domains, SOME_PORT));
            warn(&format!("127.0.0.1:{SOME_PORT} stands for the port that a launch takes for codexrun's proxy"));
        }
        let reach = self.reach(&parsed.policy)?;
        self.compile(policy, parsed, view, env, false, reach)
    }

    /// Parses and compiles; what is worth knowing goes to stderr.
    pub fn bundle_of(
        &self,
        policy: &str,
        view: &dyn View,
        env: Environment,
        terminal: bool,
    ) -> Result<(Bundle, Policy), Failure> {
        let parsed = self.parse(policy, view)?;
        let reach = self.reach(&parsed.policy)?;
        self.compile(policy, parsed, view, env, terminal, reach)
    }

    /// The first half, after which nothing of the caller's needs to be open any more.
    pub fn parse(&self, policy: &str, view: &dyn View) -> Result<Parsed> {
        let (cwd, home) = (self.cwd()?, view.home()?);
        let base = Base { cwd: &cwd, home: home.as_deref() };
        let managed = self.network.managed_network.as_ref().map(|managed| parse::managed(managed, &base)).transpose()?;
        let mut parsed = self.parsed(policy, &base)?;
        parsed.policy.choices = parsed.policy.choices.over(&managed.unwrap_or_default());
        Ok(parsed)
    }

    /// The second half, for the namespaces that there are ([`Make::reach`]).
    pub fn compile(
        &self,
        policy: &str,
        mut parsed: Parsed,
        view: &dyn View,
        mut env: Environment,
        terminal: bool,
        reach: Reach,
    ) -> Result<(Bundle, Policy), Failure> {
        env.apply(&self.env)?;
        if self.network.managed_network.is_some() || env.own_proxy.is_some() {
            proxied(&mut parsed.policy, &mut env.pairs);
        }
        let (parsed, bundle) = self.made(policy, parsed, view, env, terminal, reach)?;
        parsed.warnings.iter().for_each(|w| warn(w));
        Ok((bundle, parsed.policy))
    }

    /// With the environment and the network as they are; what is worth knowing is among the warnings.
    fn made(
        &self,
        policy: &str,
        parsed: Parsed,
        view: &dyn View,
        env: Environment,
        terminal: bool,
        reach: Reach,
    ) -> Result<(Parsed, Bundle), Failure> {
        let domains = parsed.policy.choices.proxy.as_ref();
        let own = env.own_proxy.map_or(Ok(Vec::new()), |port| compile::to_own_proxy(domains, port))?;
        let request = Request {
            policy: &parsed.policy,
            digest: parsed.policy.digest(),
            cwd: self.cwd()?,
            args: self.args()?,
            env: env.pairs,
            identity: self.identity(),
            proc: self.proc(&parsed.policy, reach)?,
            terminal,
            routes: [own, self.network.routes()?].concat(),
            controllers: controllers(&parsed.policy, view)?,
            namespaces: reach != Reach::Nothing,
        };
        let named = |error: Error| if error.place.is_none() { error.at(format!("policy `{policy}`")) } else { error };
        let compiled = compile::compile(&request, view).map_err(|all| all.into_iter().map(named).collect::<Vec<_>>())?;
        let warnings = [env.warnings, parsed.warnings, compiled.warnings].concat();
        Ok((Parsed { policy: parsed.policy, warnings }, compiled.bundle))
    }

    /// What `sandbox` made of a policy, without codexrun's proxy: that ends with the launch, and its port may be anybody's after that.
    pub fn without_proxy(&self, name: &str, made: &Policy, view: &dyn View, reach: Reach) -> Result<(Bundle, Policy), Failure> {
        let mut policy = made.clone();
        policy.network = policy::Network::Restricted;
        policy.choices.proxy = None;
        policy.choices.dns.clear();
        let mut env = Environment::inherited();
        env.apply(&self.env)?;
        // They have been said.
        let (parsed, bundle) = self.made(name, Parsed { policy, warnings: Vec::new() }, view, env, false, reach)?;
        Ok((bundle, parsed.policy))
    }

    /// What the policy says to a proxy of ours; with `--managed-network` there is somebody else's.
    pub fn own_domains<'a>(&self, policy: &'a Policy) -> Option<&'a Domains> {
        let ours = policy.network == policy::Network::Proxy && self.network.managed_network.is_none();
        policy.choices.proxy.as_ref().filter(|_| ours)
    }

    /// The policy, what is added to it, and the switches.
    fn parsed(&self, policy: &str, base: &Base) -> Result<Parsed> {
        let mut parsed = parse::load(policy, base)?;
        for more in &self.choose.additional {
            let more = parse::additional(more, base)?;
            parsed.policy.widen(&more.policy);
            parsed.warnings.extend(more.warnings);
        }
        parsed.policy.choices = self.choose.choices()?.over(&parsed.policy.choices);
        Ok(parsed)
    }

    /// How far namespaces keep the policy here; what is there is tried only for who leaves it open.
    pub fn reach(&self, policy: &Policy) -> Result<Reach> {
        match policy.choices.isolation {
            Isolation::Namespaces => Ok(Reach::Everything),
            Isolation::Landlock => Ok(Reach::Nothing),
            Isolation::Auto => namespaces::reach(self.identity() == compile::Identity::Keep),
        }
    }

    pub fn cwd(&self) -> Result<PathBuf> {
        absolute(self.cwd.as_deref().unwrap_or(Path::new(".")))
    }

    fn args(&self) -> Result<Vec<String>> {
        if self.command.is_empty() {
            return Ok(vec!["sh".into()]);
        }
        let text = |(at, arg): (usize, &OsString)| {
            arg.to_str().map(str::to_owned).ok_or_else(|| not_text(&format!("word {} of the command", at + 1)))
        };
        self.command.iter().enumerate().map(text).collect()
    }

    fn identity(&self) -> compile::Identity {
        match self.identity {
            None | Some(Identity::Keep) => compile::Identity::Keep,
            Some(Identity::Root) => compile::Identity::Root,
        }
    }

    fn proc(&self, policy: &Policy, reach: Reach) -> Result<compile::Proc> {
        match self.proc {
            // Full access has the host's as it is.
            None if policy.network == policy::Network::Enabled && !matches!(policy.file_system, FileSystem::Restricted(_)) => {
                Ok(compile::Proc::Fresh)
            }
            None if reach == Reach::OuterProc && policy.choices.accepts(Clause::Processes) => Ok(compile::Proc::Outer),
            None if reach == Reach::OuterProc => Err(covered()),
            None | Some(Proc::Fresh) => Ok(compile::Proc::Fresh),
            Some(Proc::Outer) => Ok(compile::Proc::Outer),
        }
    }
}

/// Namespaces hold more than Landlock does also with the outer /proc, of which only the user can say whether it may be seen.
fn covered() -> Error {
    let what = "parts of /proc are covered here, so that the kernel gives no new one: with the outer one `processes` is lost";
    Error::new(what).hint("`--proc outer` binds it read-only; `--accept-loss processes` lets `--isolation auto` do so")
}

/// As Codex has it: a program is told that the network is off also where proxies are left.
fn proxied(policy: &mut Policy, env: &mut Vec<String>) {
    if policy.network == policy::Network::Restricted {
        env.push("CODEX_SANDBOX_NETWORK_DISABLED=1".into());
    }
    policy.network = policy::Network::Proxy;
}

/// By what the sandbox can be limited; nobody looks when it is not to be.
fn controllers(policy: &Policy, view: &dyn View) -> Result<Vec<String>> {
    match policy.choices.limits.of_cgroup() {
        true => view.controllers().map_or_else(|| Cgroups::probe()?.delegated(), Ok),
        false => Ok(Vec::new()),
    }
}

/// The policy that a bundle was made from, beside its config.json: what `explain` and `diff` name entries by. Its digest is in the
/// annotations, so another one is not mistaken for it.
pub const POLICY: &str = "policy.json";

/// Writes it.
pub fn keep_policy(policy: &Policy, dir: &Path) -> Result<()> {
    let file = dir.join(POLICY);
    let text = format!("{:#}\n", policy.canonical_json());
    let fail = |e| Error::new("cannot write").at(file.display().to_string()).cause(e);
    let mut new = std::fs::File::create_new(&file).map_err(fail)?;
    new.write_all(text.as_bytes()).map_err(fail)
}

/// Absolute by words alone: the path need not exist. Only an empty one and a working directory that is gone (getcwd(3)) have none.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let what = if path.as_os_str().is_empty() { "a path is empty" } else { "cannot learn the working directory" };
    std::path::absolute(path).map_err(|e| Error::new(what).cause(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn make(command: Vec<OsString>) -> Make {
        let (choose, network) = (Choose::default(), Network::default());
        Make { cwd: None, identity: None, proc: None, env: vec![], choose, network, command }
    }

    #[test]
    fn a_word_that_is_not_text_is_refused_by_number() {
        let words = vec!["ls".into(), OsString::from_vec(vec![0xff])];
        let said = make(words).args().unwrap_err().to_string();
        assert_eq!(said, "word 2 of the command is not UTF-8, which config.json cannot carry");
    }

    #[test]
    fn the_default_command_is_sh() {
        assert_eq!(make(vec![]).args().unwrap(), ["sh"]);
        assert!(!make(vec![]).is_given() && make(vec!["ls".into()]).is_given());
    }
}
