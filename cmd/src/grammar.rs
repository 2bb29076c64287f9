//! The grammar of the command line. `--help` comes from here and from the verbs' own files.

use crate::argv::{self, Line};
use crate::{
    bridge, checkpoint, completion, create, delete, diff, events, exec, explain, features, kill, list, losses, pause, plan,
    policy, ps, restore, run, sandbox, spec, start, state, sweep, update,
};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use libruntime::Error;
use libruntime::state::Store;
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs an agent's sandbox policy as a standard OCI bundle.
#[derive(Debug, Parser)]
#[command(name = "codexrun", disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub top: Top,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What is not of a verb.
#[derive(Debug, Args)]
pub struct Top {
    /// Print the version
    #[arg(short, long)]
    pub version: bool,
    #[command(flatten)]
    pub global: Global,
}

/// What may stand before any verb, and behind it too (see [`crate::argv`]).
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where the state of containers is kept [default: /run/codexrun for root, else $XDG_RUNTIME_DIR/codexrun unless below /tmp, else
    /// /dev/shm/codexrun-UID]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Append one record to this file when the command fails
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The form of that record
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Accepted for runc's sake: there is nothing more to tell
    #[arg(long)]
    pub debug: bool,
    /// Who makes the container's cgroup: codexrun, systemd (`linux.cgroupsPath` is then SLICE:PREFIX:NAME), or nobody
    #[arg(long, value_name = "MANAGER", value_enum, default_value_t)]
    pub cgroup_manager: CgroupManager,
    /// The same as `--cgroup-manager systemd`
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Whether to go on without a cgroup that the caller has no right to make; `auto`: unless the caller is root of the host
    #[arg(long, value_name = "WHETHER", value_enum, default_value_t)]
    pub rootless: Rootless,
    /// The program that `checkpoint` and `restore` drive [default: criu]
    #[arg(long, value_name = "PROGRAM")]
    pub criu: Option<PathBuf>,
}

/// What `list` and `ps` print.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    #[default]
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    True,
    False,
    #[default]
    Auto,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What a verb that makes a container is told of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroups {
    /// Whether to make one.
    pub make: bool,
    /// Whether systemd makes it.
    pub systemd: bool,
    /// Whether a container without one will do when root of the host has no right to make it.
    pub may_lack: bool,
}

impl Global {
    /// Where containers are recorded.
    pub fn store(&self) -> Result<Store, Error> {
        match &self.root {
            Some(root) => crate::make::absolute(root).map(Store::at),
            None => Ok(Store::usual()?),
        }
    }

    /// The choice of `--cgroup-manager`, `--systemd-cgroup` and `--rootless`. Only verbs that make a cgroup ask; the others find in the
    /// record who made it.
    pub fn cgroups(&self) -> Cgroups {
        let manager = if self.systemd_cgroup { CgroupManager::Systemd } else { self.cgroup_manager };
        Cgroups {
            make: manager != CgroupManager::Disabled,
            systemd: manager == CgroupManager::Systemd,
            // Who is not root of the host goes without in any case: the plan, which has to look, sees to that.
            may_lack: self.rootless == Rootless::True,
        }
    }

    /// What can be understood of a command line that is wrong: enough to say so in the log.
    pub fn of_a_mistake(words: &[OsString]) -> Global {
        let matches = Cli::command().ignore_errors(true).try_get_matches_from(words);
        matches.and_then(|matches| Global::from_arg_matches(&matches)).unwrap_or_default()
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Spec(spec::Spec),
    Create(create::Create),
    Start(start::Start),
    Exec(exec::Exec),
    Run(run::Run),
    Sandbox(sandbox::Sandbox),
    Plan(plan::Plan),
    Explain(explain::Explain),
    Policy(policy::Policy),
    Diff(diff::Diff),
    Losses(losses::Losses),
    State(state::State),
    List(list::List),
    Ps(ps::Ps),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Update(update::Update),
    Events(events::Events),
    Checkpoint(checkpoint::Checkpoint),
    Restore(restore::Restore),
    Kill(kill::Kill),
    Delete(delete::Delete),
    Features(features::Features),
    Completion(completion::Completion),
    Man(completion::Man),
    Sweep(sweep::Sweep),
    Bridge(bridge::Bridge),
}

/// Adds the options of a verb to its command.
type Augment = fn(Command) -> Command;

/// The names of [`Verb`], and what each adds to the grammar.
const VERBS: &[(&str, Augment)] = &[
    ("spec", spec::Spec::augment_args),
    ("create", create::Create::augment_args),
    ("start", start::Start::augment_args),
    ("exec", exec::Exec::augment_args),
    ("run", run::Run::augment_args),
    ("sandbox", sandbox::Sandbox::augment_args),
    ("plan", plan::Plan::augment_args),
    ("explain", explain::Explain::augment_args),
    ("policy", policy::Policy::augment_args),
    ("diff", diff::Diff::augment_args),
    ("losses", losses::Losses::augment_args),
    ("state", state::State::augment_args),
    ("list", list::List::augment_args),
    ("ps", ps::Ps::augment_args),
    ("pause", pause::Pause::augment_args),
    ("resume", pause::Resume::augment_args),
    ("update", update::Update::augment_args),
    ("events", events::Events::augment_args),
    ("checkpoint", checkpoint::Checkpoint::augment_args),
    ("restore", restore::Restore::augment_args),
    ("kill", kill::Kill::augment_args),
    ("delete", delete::Delete::augment_args),
    ("features", features::Features::augment_args),
    ("completion", completion::Completion::augment_args),
    ("man", completion::Man::augment_args),
    ("sweep", sweep::Sweep::augment_args),
    ("bridge", bridge::Bridge::augment_args),
];

/// Reads a command line. The whole grammar is most of the memory that a command takes, so it is made only for help and mistakes: a line
/// that is right needs no verb but those whose names stand in it.
pub fn read(words: &[OsString]) -> (Line, Result<Cli, clap::Error>) {
    match read_by(grammar_of(words), words) {
        (_, Err(_)) => read_by(Cli::command(), words),
        read => read,
    }
}

fn grammar_of(words: &[OsString]) -> Command {
    let verbs = VERBS.iter().filter(|(name, _)| words.iter().any(|word| word == name));
    let top = Top::augment_args(Command::new("codexrun").disable_help_subcommand(true));
    top.subcommands(verbs.map(|(name, augment)| augment(Command::new(*name))))
}

fn read_by(mut grammar: Command, words: &[OsString]) -> (Line, Result<Cli, clap::Error>) {
    let line = argv::normalise(words.iter().cloned(), &grammar);
    let matches = grammar.try_get_matches_from_mut(&line.words);
    (line, matches.and_then(|matches| Cli::from_arg_matches(&matches)))
}

/// The grammar does not demand a verb, because `--version` has none.
pub fn no_verb() -> Error {
    Error::new("no command given").hint("`codexrun --help` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use libruntime::policy::choice::StdioSockets;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn both_forms_of_a_value_are_accepted() {
        for log in [&["--log", "f"][..], &["--log=f"]] {
            let cli = Cli::try_parse_from([&["codexrun"], log, &["--log-format=json", "list"]].concat()).unwrap();
            assert_eq!(cli.top.global.log, Some("f".into()));
            assert!(matches!(cli.top.global.log_format, LogFormat::Json));
        }
    }

    #[test]
    fn a_verb_alone_is_read_as_in_the_whole_grammar() {
        let mut whole = Cli::command();
        assert!(whole.get_subcommands().map(Command::get_name).eq(VERBS.iter().map(|(name, _)| *name)));
        for (name, _) in VERBS {
            let help = |grammar: &mut Command| {
                grammar.build();
                grammar.find_subcommand_mut(name).unwrap().render_long_help().to_string()
            };
            let mut alone = grammar_of(&["codexrun".into(), (*name).into()]);
            assert_eq!(alone.get_subcommands().count(), 1);
            assert_eq!(help(&mut alone), help(&mut whole));
        }
    }

    #[test]
    fn help_and_mistakes_know_every_verb() {
        for line in [&["--help"][..], &["rnu", "list"], &["list", "--frob"], &["kill"], &[]] {
            let words: Vec<OsString> = ["codexrun"].iter().chain(line).map(OsString::from).collect();
            let said = |read: (Line, Result<Cli, clap::Error>)| read.1.map_err(|e| e.to_string()).map(|cli| cli.verb.is_none());
            assert_eq!(said(read(&words)), said(read_by(Cli::command(), &words)), "{line:?}");
        }
    }

    fn global(line: &str) -> Global {
        let argv = ["codexrun"].into_iter().chain(line.split(' ')).map(OsString::from);
        read(&argv.collect::<Vec<_>>()).1.unwrap().top.global
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb_and_the_id() {
        for line in ["--root r --debug state x", "state --root r --debug x", "--debug state x --root=r"] {
            let global = global(line);
            assert!(global.debug && global.root == Some("r".into()), "{line}");
        }
    }

    #[test]
    fn what_is_said_of_cgroups_is_done() {
        let made = |line: &str| global(line).cgroups();
        assert_eq!(made("--rootless=false list"), Cgroups { make: true, systemd: false, may_lack: false });
        assert_eq!(made("--rootless true list"), Cgroups { make: true, systemd: false, may_lack: true });
        assert!(!made("--cgroup-manager disabled list").make);
        assert_eq!(made("list"), made("--rootless auto list"));
        assert!(!made("list").may_lack);
        for line in ["--systemd-cgroup list", "--cgroup-manager=systemd list"] {
            assert!(made(line).systemd && made(line).make, "{line}");
        }
        let features = libruntime::features::features();
        assert_eq!([&features["linux"]["cgroup"]["systemd"], &features["linux"]["cgroup"]["systemdUser"]], [true, true]);
    }

    #[test]
    fn a_mistake_does_not_hide_the_log() {
        let table = ["--log l --log-format=json frob", "list --frob --log l --log-format json", "--log=l --log-format json kill"];
        for line in table.into_iter().map(|line| format!("codexrun {line}")) {
            let line = crate::argv::normalise(line.split(' ').map(OsString::from), &Cli::command());
            let global = Global::of_a_mistake(&line.words);
            assert!(global.log == Some("l".into()) && matches!(global.log_format, LogFormat::Json), "{line:?}");
        }
    }

    #[test]
    fn ports_of_tcp_are_a_list_and_none_is_an_empty_one() {
        for (line, ports) in
            [("", None), ("--tcp-ports none", Some(vec![])), ("--tcp-ports 80,443 --tcp-ports 22", Some(vec![80, 443, 22]))]
        {
            let words = format!("codexrun sandbox {line} -- ls");
            let cli = read(&words.split_ascii_whitespace().map(OsString::from).collect::<Vec<_>>()).1.unwrap();
            let Some(Verb::Sandbox(sandbox)) = cli.verb else { panic!() };
            assert_eq!(sandbox.make.choose.choices().unwrap().tcp_ports, ports, "{line}");
        }
    }

    #[test]
    fn sockets_as_standard_streams_have_a_word_or_none() {
        for (line, sockets) in [
            ("", StdioSockets::Connected),
            ("--stdio-sockets", StdioSockets::Any),
            ("--stdio-sockets any", StdioSockets::Any),
            ("--stdio-sockets=none", StdioSockets::None),
            ("--stdio-sockets none", StdioSockets::None),
        ] {
            for command in ["-- ls none", "ls none"] {
                let words = format!("codexrun sandbox {line} {command}");
                let cli = read(&words.split_ascii_whitespace().map(OsString::from).collect::<Vec<_>>()).1.unwrap();
                let Some(Verb::Sandbox(sandbox)) = cli.verb else { panic!() };
                assert_eq!(sandbox.make.choose.choices().unwrap().stdio_sockets, sockets, "{words}");
                assert_eq!(sandbox.make.command, ["ls", "none"], "{words}");
            }
        }
    }

    #[test]
    fn names_and_groups_are_lists_too() {
        let line = ["--dns", "443,80", "--dns", "22", "--allow-syscalls", "mounts,namespaces", "--", "ls"];
        let words = ["codexrun", "sandbox"].iter().chain(&line).map(OsString::from).collect::<Vec<_>>();
        let Some(Verb::Sandbox(sandbox)) = read(&words).1.unwrap().verb else { panic!() };
        assert_eq!(sandbox.make.choose.choices().unwrap().dns, [443, 80, 22]);
        assert_eq!(sandbox.make.choose.allow_syscalls, ["mounts", "namespaces"]);
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let line = ["codexrun", "sandbox", "--cwd", "/w", "--", "ls", "--help", "--", "-v"];
        let Some(Verb::Sandbox(sandbox)) = Cli::try_parse_from(line).unwrap().verb else { panic!() };
        assert_eq!(sandbox.make.command, ["ls", "--help", "--", "-v"]);
    }
}
