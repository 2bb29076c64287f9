//! Runs hooks in the runtime's namespaces, with the container's state on standard input (runtime-spec, "POSIX-platform Hooks").

use super::interrupt::{self, Interrupt};
use crate::plan::hook::Hook;
use crate::sys::pidfd::pidfd_open;
use crate::sys::{Errno, Result as SysResult, file, process};
use crate::{Error, Result};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// For a hook that cleans up when codexrun is asked to end.
const HURRY: Duration = Duration::from_secs(2);

/// Runs them in order; the first failure that is fatal, or a signal, ends the series, any other is said. `place` is e.g.
/// `hooks.createRuntime`.
pub(super) fn run_all(place: &str, hooks: &[Hook], state: &str, interrupt: Option<&Interrupt>) -> Result<()> {
    for (i, hook) in hooks.iter().enumerate() {
        match run(hook, state, interrupt).map_err(|e| e.at(format!("config.json: {place}[{i}]"))) {
            Err(e) if hook.fatal || interrupt.and_then(Interrupt::came).is_some() => return Err(e),
            failed => failed.unwrap_or_else(|e| e.warn()),
        }
    }
    Ok(())
}

/// After the end of a container, which no failure can undo: every hook gets its turn. A signal ends the one that runs, and hurries those
/// that follow.
pub(super) fn run_poststop(hooks: &[Hook], state: &str, interrupt: Option<&Interrupt>) {
    for (i, hook) in hooks.iter().enumerate() {
        let hurry = interrupt.and_then(Interrupt::came).map(|_| hook.timeout.map_or(HURRY, |timeout| timeout.min(HURRY)));
        let hook = Hook { timeout: hurry.or(hook.timeout), ..hook.clone() };
        run(&hook, state, interrupt).unwrap_or_else(|e| e.at(format!("config.json: hooks.poststop[{i}]")).warn());
    }
}

fn run(hook: &Hook, state: &str, interrupt: Option<&Interrupt>) -> Result<()> {
    let name = hook.path.display();
    let child = input(state).and_then(|input| spawn(hook, input));
    let mut child = child.map_err(|e| Error::new(format!("cannot run the hook `{name}`")).cause(e))?;
    let cannot = |e| Error::new(format!("cannot wait for the hook `{name}`")).cause(e);
    match ended(&child, hook.timeout, interrupt) {
        Ok(true) => {}
        stopped => {
            child.kill().and_then(|()| child.wait()).map_err(cannot)?;
            let seconds = hook.timeout.unwrap_or_default().as_secs();
            let signal = interrupt.and_then(Interrupt::came).filter(|_| stopped == Err(Errno::EINTR));
            let by_signal =
                signal.and_then(|number| interrupt::stopped(number, |by| format!("the hook `{name}` was stopped by {by}")));
            return Err(match stopped {
                Err(e) => by_signal.unwrap_or_else(|| cannot(e.into())),
                Ok(_) => Error::new(format!("the hook `{name}` did not end within {seconds} s")),
            });
        }
    }
    match child.wait().map_err(cannot)? {
        status if status.success() => Ok(()),
        status => Err(Error::new(format!("the hook `{name}` failed")).cause(status)),
    }
}

/// In memory and not a pipe: a hook that does not read its input must not keep us waiting beyond its time.
fn input(state: &str) -> std::io::Result<File> {
    let mut file = File::from(file::memory(c"state")?);
    file.write_all(state.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Nothing but the payload writes to standard output. It is killed when codexrun is: nobody would heed its timeout.
fn spawn(hook: &Hook, input: File) -> std::io::Result<Child> {
    let mut command = Command::new(&hook.path);
    let (name, args) = hook.args.split_first().map_or(("", &[][..]), |(name, args)| (name.as_str(), args));
    command.arg0(name).args(args);
    if let Some(env) = &hook.env {
        command.env_clear().envs(env.iter().filter_map(|e| e.split_once('=')));
    }
    process::die_together(&mut command);
    command.stdin(input).stdout(Stdio::null()).spawn()
}

/// Whether it has ended in time.
fn ended(child: &Child, timeout: Option<Duration>, interrupt: Option<&Interrupt>) -> SysResult<bool> {
    let process = pidfd_open(Pid::from_raw(child.id().cast_signed()))?;
    // A time too long to be told is as good as none.
    let milliseconds = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(-1));
    match interrupt {
        Some(interrupt) => interrupt.or_wait(Some(process.as_fd()), milliseconds),
        None => file::poll_within([Some(process.as_fd())], milliseconds).map(|[ended]| ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: Some(Vec::new()), timeout: Some(timeout), fatal: true }
    }

    #[test]
    fn a_hook_that_does_not_read_a_long_state_is_stopped_in_time() {
        let error = run(&sh("exec sleep 30", Duration::from_secs(1)), &"x".repeat(1 << 20), None).unwrap_err();
        assert!(error.to_string().contains("did not end within 1 s"), "{error}");
    }

    #[test]
    fn the_runtimes_environment_is_that_of_a_hook_which_names_none() {
        let hook = |env| Hook { env, ..sh("test -n \"$CARGO_MANIFEST_DIR\"", Duration::from_secs(9)) };
        run(&hook(None), "", None).unwrap();
        run(&hook(Some(Vec::new())), "", None).unwrap_err();
    }

    #[test]
    fn a_hook_dies_with_the_thread_that_waits_for_it() {
        let hook = sh("exec sleep 60", Duration::from_secs(60));
        let mut child = std::thread::spawn(move || spawn(&hook, input("").unwrap()).unwrap()).join().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(libc::SIGKILL));
    }

    #[test]
    fn a_timeout_beyond_the_end_of_time_is_none() {
        run(&sh("read line; test \"$line\" = state", Duration::from_secs(i64::MAX as u64)), "state\n", None).unwrap();
    }
}
