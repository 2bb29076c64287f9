//! Runs hooks in the runtime's namespaces, with the container's state on standard input (runtime-spec, "POSIX-platform Hooks").

use crate::plan::hook::Hook;
use crate::{Error, Result};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Runs them in order; the first failure ends the series. `place` is e.g. `hooks.createRuntime`.
pub(super) fn run_all(place: &str, hooks: &[Hook], state: &str) -> Result<()> {
    for (i, hook) in hooks.iter().enumerate() {
        run(hook, state).map_err(|e| e.at(format!("config.json: {place}[{i}]")))?;
    }
    Ok(())
}

/// As [`run_all`], but every hook gets its turn: what a failed poststop hook leaves must not keep the others from cleaning up.
pub(super) fn run_each(place: &str, hooks: &[Hook], state: &str) -> Vec<Error> {
    let run = |(i, hook)| run(hook, state).map_err(|e: Error| e.at(format!("config.json: {place}[{i}]"))).err();
    hooks.iter().enumerate().filter_map(run).collect()
}

fn run(hook: &Hook, state: &str) -> Result<()> {
    let name = hook.path.display();
    let mut child = spawn(hook).map_err(|e| Error::new(format!("cannot run the hook `{name}`")).cause(e))?;
    // A hook that does not read its input closes it: that is its affair.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(state.as_bytes())));
    let status = wait(&mut child, hook.timeout).map_err(|e| Error::new(format!("cannot wait for the hook `{name}`")).cause(e))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::new(format!("the hook `{name}` failed")).cause(status)),
        None => Err(Error::new(format!("the hook `{name}` did not end within {} s", hook.timeout.unwrap_or_default().as_secs()))),
    }
}

/// Nothing but the payload writes to standard output.
fn spawn(hook: &Hook) -> std::io::Result<Child> {
    let mut command = Command::new(&hook.path);
    let (name, args) = hook.args.split_first().map_or(("", &[][..]), |(name, args)| (name.as_str(), args));
    command.arg0(name).args(args).env_clear();
    command.envs(hook.env.iter().filter_map(|e| e.split_once('=')));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
}

/// `None`: the time was up, and the hook has been killed.
fn wait(child: &mut Child, timeout: Option<Duration>) -> std::io::Result<Option<ExitStatus>> {
    let Some(timeout) = timeout else { return child.wait().map(Some) };
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait().map(|_| None)
}
