//! Runs hooks in the runtime's namespaces, with the container's state on standard input (runtime-spec, "POSIX-platform Hooks").

use crate::plan::hook::Hook;
use crate::sys::file;
use crate::{Error, Result};
use std::fs::File;
use std::io::{Seek, Write};
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
    let child = input(state).and_then(|input| spawn(hook, input));
    let mut child = child.map_err(|e| Error::new(format!("cannot run the hook `{name}`")).cause(e))?;
    let status = wait(&mut child, hook.timeout).map_err(|e| Error::new(format!("cannot wait for the hook `{name}`")).cause(e))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::new(format!("the hook `{name}` failed")).cause(status)),
        None => Err(Error::new(format!("the hook `{name}` did not end within {} s", hook.timeout.unwrap_or_default().as_secs()))),
    }
}

/// In memory and not a pipe: a hook that does not read its input must not keep us waiting beyond its time.
fn input(state: &str) -> std::io::Result<File> {
    let mut file = File::from(file::memory(c"state")?);
    file.write_all(state.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Nothing but the payload writes to standard output.
fn spawn(hook: &Hook, input: File) -> std::io::Result<Child> {
    let mut command = Command::new(&hook.path);
    let (name, args) = hook.args.split_first().map_or(("", &[][..]), |(name, args)| (name.as_str(), args));
    command.arg0(name).args(args).env_clear();
    command.envs(hook.env.iter().filter_map(|e| e.split_once('=')));
    command.stdin(input).stdout(Stdio::null()).spawn()
}

/// `None`: the time was up, and the hook has been killed.
fn wait(child: &mut Child, timeout: Option<Duration>) -> std::io::Result<Option<ExitStatus>> {
    // A time too long to be told is as good as none.
    let Some(end) = timeout.and_then(|t| Instant::now().checked_add(t)) else { return child.wait().map(Some) };
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait().map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: Vec::new(), timeout: Some(timeout) }
    }

    #[test]
    fn a_hook_that_does_not_read_a_long_state_is_stopped_in_time() {
        let error = run(&sh("exec sleep 30", Duration::from_secs(1)), &"x".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().contains("did not end within 1 s"), "{error}");
    }

    #[test]
    fn a_timeout_beyond_the_end_of_time_is_none() {
        run(&sh("read line; test \"$line\" = state", Duration::from_secs(i64::MAX as u64)), "state\n").unwrap();
    }
}
