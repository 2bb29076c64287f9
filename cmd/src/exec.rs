//! `codexrun exec`: one more process in a running container.

use crate::create::descriptors;
use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::{capability, part};
use libruntime::cgroup::Below;
use libruntime::run::{self, Exec as How};
use libruntime::{Error, Result, text};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, User};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Run one more process in a running container
///
/// It is what the container's own process is, changed by these flags; or what `--process` says. The exit code is the
/// command's own, or 128 + the signal that ended it; 255 when it could not be run.
#[derive(Debug, Args)]
pub struct Exec {
    /// A JSON file that has the form of `process` in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Its working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Add a variable; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Who it is, in numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = ids)]
    user: Option<(u32, Option<u32>)>,
    /// Add a group, in numbers; may be repeated
    #[arg(short = 'g', long, value_name = "GID", value_parser = id)]
    additional_gids: Vec<u32>,
    /// Add a capability to the bounding, permitted and effective sets; may be repeated
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// The AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// The SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// It gains no privileges by execve(2)
    #[arg(long)]
    no_new_privs: bool,
    /// Return when it has started
    #[arg(short, long)]
    detach: bool,
    /// Write its process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Send its terminal's master to this Unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Pass on descriptors 3 to 2 + N
    #[arg(long, value_name = "N", default_value_t, value_parser = descriptors())]
    preserve_fds: u32,
    /// Put it into a cgroup below the container's, or with controllers in their hierarchies only; may be repeated
    #[arg(long, value_name = "[CONTROLLER,…:]PATH")]
    cgroup: Vec<Below>,
    /// Run it in a paused container too: it waits until that is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// What to run
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        if self.process.as_deref().is_some_and(read_once) {
            run::read_only_self()?;
        }
        let (store, id) = (global.store()?, self.id.parse()?);
        // Read before the descriptors go: the file may be one of them.
        let given = self.process.as_deref().map(read).transpose()?;
        run::close_inherited(self.preserve_fds)?;
        let how = How {
            file: self.process.clone(),
            detach: self.detach,
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            preserve_fds: self.preserve_fds,
            ignore_paused: self.ignore_paused,
            cgroups: self.cgroup.clone(),
        };
        Ok(run::exec(&store, &id, |of_container| self.process(given, of_container), &how)?)
    }

    /// The process: the one given, or the container's own with another command.
    fn process(&self, given: Option<Vec<u8>>, of_container: Option<&Process>) -> Result<Process, Vec<Error>> {
        let whole = given.is_some();
        let given = given.map(|text| self.parsed(&text, of_container)).transpose()?;
        let mut process =
            given.or_else(|| of_container.cloned()).ok_or_else(|| vec![Error::new("the container has no `process`")])?;
        if !whole {
            process.set_terminal(Some(false)).set_console_size(None);
        }
        if !self.command.is_empty() {
            process.set_args(Some(self.command.clone()));
        } else if !whole {
            return Err(vec![Error::new("no command given").hint("`codexrun exec ID CMD…`, or `--process FILE`")]);
        }
        self.flags(process).map_err(|e| vec![e])
    }

    fn parsed(&self, text: &[u8], of_container: Option<&Process>) -> Result<Process, Vec<Error>> {
        // Who begins anew later would say it twice.
        let mut protected = Ok(());
        let mut warn = |warning: Error| {
            if protected.is_ok() {
                protected = run::read_only_self();
            }
            warning.warn();
        };
        let file = self.process.as_deref().unwrap_or("".as_ref());
        let process = part::process(file, text, of_container.map(Process::user), &mut warn)?;
        protected.map(|()| process).map_err(|e| vec![e])
    }

    fn flags(&self, mut process: Process) -> Result<Process> {
        if self.tty {
            process.set_terminal(Some(true));
        }
        if let Some(cwd) = &self.cwd {
            if !cwd.is_absolute() {
                return Err(Error::new(format!("`--cwd {}` is not an absolute path", cwd.display())));
            }
            process.set_cwd(cwd.clone());
        }
        if self.no_new_privs {
            process.set_no_new_privileges(Some(true));
        }
        if let Some(profile) = &self.apparmor {
            process.set_apparmor_profile(Some(profile.clone()));
        }
        if let Some(label) = &self.process_label {
            process.set_selinux_label(Some(label.clone()));
        }
        let env = process.env().iter().flatten().chain(&self.env).cloned().collect();
        process.set_env(Some(env));
        process.set_user(self.user(process.user().clone()));
        if !self.cap.is_empty() {
            let more = self.capabilities()?;
            process.set_capabilities(Some(with(process.capabilities().clone().unwrap_or_default(), &more)));
        }
        Ok(process)
    }

    fn user(&self, mut user: User) -> User {
        if let Some((uid, gid)) = self.user {
            user.set_uid(uid);
            // As runc: without a group it stays the container's.
            let own = user.gid();
            user.set_gid(gid.unwrap_or(own));
        }
        if !self.additional_gids.is_empty() {
            let groups = user.additional_gids().iter().flatten().chain(&self.additional_gids).copied().collect();
            user.set_additional_gids(Some(groups));
        }
        user
    }

    /// As in config.json: of one that nobody knows there is a warning.
    fn capabilities(&self) -> Result<Vec<Capability>> {
        let mut known = Vec::new();
        for name in &self.cap {
            match serde_json::from_value(name.as_str().into()) {
                Ok(capability) => known.push(capability),
                Err(_) => {
                    // Who begins anew later would say it twice.
                    run::read_only_self()?;
                    capability::unknown(name).at("--cap").warn();
                }
            }
        }
        Ok(known)
    }
}

fn ids(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
        None => Ok((id(text)?, None)),
    }
}

fn id(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(u32::MAX) => Err(Error::new(format!("{text} is no id: to the kernel it is -1, and leaves the id as it is"))),
        Ok(id) => Ok(id),
        Err(_) => Err(Error::new(format!("`{text}` is no id in numbers"))),
    }
}

/// As runc and crun: what config.json lets be inherited becomes ambient, and nothing becomes inheritable: a file with
/// inheritable capabilities would give them to any user of the container (CVE-2022-29162).
fn with(mut sets: LinuxCapabilities, more: &[Capability]) -> LinuxCapabilities {
    let add = |set: &Option<Capabilities>| Some(set.iter().flatten().chain(more).copied().collect());
    sets.set_bounding(add(sets.bounding()));
    sets.set_effective(add(sets.effective()));
    sets.set_permitted(add(sets.permitted()));
    let inherited = |one: &Capability| sets.inheritable().as_ref().is_some_and(|set| set.contains(one));
    let ambient: Capabilities = more.iter().copied().filter(inherited).chain(sets.ambient().iter().flatten().copied()).collect();
    sets.set_ambient((!ambient.is_empty()).then_some(ambient));
    sets
}

/// Whether it may be gone when codexrun has begun anew, and reads it again: a pipe, or a link to a descriptor.
fn read_once(file: &Path) -> bool {
    file.symlink_metadata().is_ok_and(|meta| !meta.is_file())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    File::open(file).and_then(text::bounded).map_err(|e| Error::new("cannot be read").at(file.display().to_string()).cause(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(flags: &str) -> (u32, u32, Option<Vec<u32>>) {
        let line = format!("codexrun exec {flags} x true");
        let cli = crate::grammar::read(&line.split(' ').map(Into::into).collect::<Vec<_>>()).1.unwrap();
        let Some(crate::grammar::Verb::Exec(exec)) = cli.verb else { panic!() };
        let of_container = serde_json::from_value(serde_json::json!({"uid": 1, "gid": 5, "additionalGids": [7]})).unwrap();
        let user = exec.user(of_container);
        (user.uid(), user.gid(), user.additional_gids().clone())
    }

    #[test]
    fn a_user_without_a_group_keeps_the_containers() {
        assert_eq!(user("--user 3"), (3, 5, Some(vec![7])));
        assert_eq!(user("-u 3:4 -g 9"), (3, 4, Some(vec![7, 9])));
    }

    #[test]
    fn what_flags_cannot_mean_is_said_of_the_flag() {
        let read = |flags: &str| {
            let line = format!("codexrun exec {flags} x true");
            crate::grammar::read(&line.split(' ').map(Into::into).collect::<Vec<_>>()).1
        };
        let Some(crate::grammar::Verb::Exec(exec)) = read("--cwd rel").unwrap().verb else { panic!() };
        let said = exec.flags(Process::default()).unwrap_err().to_string();
        assert!(said.starts_with("`--cwd rel` is not an absolute path"), "{said}");
        for flags in ["--user 4294967295", "--user 0:4294967295", "-g 4294967295"] {
            let said = read(flags).unwrap_err().to_string();
            assert!(said.contains("4294967295 is no id: to the kernel it is -1"), "{said}");
        }
        for flags in ["--user nobody", "--user 0:", "--user :0", "--additional-gids x"] {
            let said = read(flags).unwrap_err().to_string();
            assert!(said.contains("is no id in numbers"), "{said}");
        }
    }

    #[test]
    fn a_capability_that_is_added_is_inherited_only_where_the_config_says_so() {
        let sets = |json| serde_json::from_value::<LinuxCapabilities>(json).unwrap();
        let held = serde_json::json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
        assert_eq!(with(sets(serde_json::json!({})), &[Capability::Kill]), sets(held.clone()));
        let mut inheritable = held;
        inheritable["inheritable"] = serde_json::json!(["CAP_KILL"]);
        let mut ambient = inheritable.clone();
        ambient["ambient"] = serde_json::json!(["CAP_KILL"]);
        assert_eq!(with(sets(inheritable), &[Capability::Kill]), sets(ambient));
    }
}
