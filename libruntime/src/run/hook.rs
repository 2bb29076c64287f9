//! Runs hooks in the runtime's namespaces, with the container's state on standard input (runtime-spec, "POSIX-platform Hooks").

use super::interrupt::{self, Interrupt};
use super::said::Said;
use crate::error::Sources;
use crate::plan::hook::Hook;
use crate::sys::process::{self, Cloned, Ended, Strings};
use crate::sys::{Errno, Result as SysResult, file, signal};
use crate::{Error, Result};
use nix::unistd::Pid;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What runs, whatever has become of its name.
const EXE: &str = "/proc/self/exe";
/// For a hook that cleans up when codexrun is asked to end.
const HURRY: Duration = Duration::from_secs(2);

/// The container that hooks are run for.
#[derive(Debug, Clone, Default)]
pub(super) struct Of<'a> {
    /// What was read as config.json.
    pub config: Option<PathBuf>,
    /// Where they begin, as under runc and crun: a bundle names its files from there. Without one it is where the caller is.
    pub bundle: Option<&'a Path>,
    /// What they read.
    pub state: &'a str,
}

/// Runs them in order; the first failure that is fatal, or a signal, ends the series, any other is said. `place` is e.g.
/// `hooks.createRuntime`.
pub(super) fn run_all(place: &str, hooks: &[Hook], of: &Of, interrupt: &Interrupt) -> Result<()> {
    for (i, hook) in hooks.iter().enumerate() {
        match run(hook, of, Some(interrupt), None).map_err(|e| failed(e, &format!("{place}[{i}]"), hook.is_bridge())) {
            Err(e) if hook.fatal || interrupt.came().is_some() => return Err(e),
            failed => failed.unwrap_or_else(|e| e.of(Sources::config(of.config.as_deref())).warn()),
        }
    }
    Ok(())
}

/// In our words and, but for the bridge, which says itself why, in runc's, which people look for. `origin` is e.g. `hooks.createRuntime[1]`.
pub(super) fn failed(error: Error, origin: &str, is_bridge: bool) -> Error {
    let named = origin.strip_prefix("hooks.").and_then(|rest| rest.strip_suffix(']')).and_then(|rest| rest.split_once('['));
    let error = match named.filter(|_| !is_bridge) {
        Some((kind, number)) => {
            let why = error.cause.as_deref().unwrap_or("it was stopped");
            let cause = format!("error running {kind} hook #{number}: {why}");
            Error { cause: Some(cause), ..error }
        }
        None => error,
    };
    error.at(format!("config.json: {origin}"))
}

/// After the end of a container, which no failure can undo: every hook gets its turn. A signal ends the one that runs, and hurries those
/// that follow. `own`: codexrun's own file as it was called when the container was made. What has that name now may be of the container's
/// making; executed is what runs already.
pub(super) fn run_poststop(hooks: &[Hook], of: &Of, interrupt: Option<&Interrupt>, own: Option<&Path>) {
    for (i, hook) in hooks.iter().enumerate() {
        let hurry = interrupt.and_then(Interrupt::came).map(|_| hook.timeout.map_or(HURRY, |timeout| timeout.min(HURRY)));
        let hook = Hook { timeout: hurry.or(hook.timeout), ..hook.clone() };
        let place = format!("hooks.poststop[{i}]");
        let sources = Sources::config(of.config.as_deref());
        run(&hook, of, interrupt, own).unwrap_or_else(|e| failed(e, &place, hook.is_bridge()).of(sources).warn());
    }
}

fn run(hook: &Hook, of: &Of, interrupt: Option<&Interrupt>, own: Option<&Path>) -> Result<()> {
    let name = hook.path.display();
    let file = if own == Some(&hook.path) { Path::new(EXE) } else { &hook.path };
    let said = hook.is_bridge().then(Said::new).transpose().map_err(std::io::Error::from);
    let running = said.and_then(|said| Ok((spawn(file, hook, of, said.as_ref())?, said)));
    let (running, said) = running.map_err(|e| Error::new(format!("cannot run the hook `{name}`")).cause(e))?;
    let cannot = |e: Errno| Error::new(format!("cannot wait for the hook `{name}`")).cause(std::io::Error::from(e));
    match running.ended(hook.timeout, interrupt) {
        Ok(true) => {}
        stopped => {
            running.kill().and_then(|()| running.wait()).map_err(cannot)?;
            let seconds = hook.timeout.unwrap_or_default().as_secs();
            let signal = interrupt.and_then(Interrupt::came).filter(|_| stopped == Err(Errno::EINTR));
            let by_signal =
                signal.and_then(|number| interrupt::stopped(number, |by| format!("the hook `{name}` was stopped by {by}")));
            return Err(match stopped {
                Err(e) => by_signal.unwrap_or_else(|| cannot(e)),
                Ok(_) => Error::new(format!("the hook `{name}` did not end within {seconds} s")),
            });
        }
    }
    let how = match running.wait().map_err(cannot)? {
        Ended::Exited(0) => return Ok(()),
        Ended::Exited(code) => format!("exit status: {code}"),
        Ended::Killed(signal) => format!("signal: {signal}"),
    };
    Err(Error::new(format!("the hook `{name}` failed")).cause(said.and_then(|said| said.text()).unwrap_or(how)))
}

/// In memory and not a pipe: a hook that does not read its input must not keep us waiting beyond its time.
fn input(state: &str) -> std::io::Result<File> {
    let mut file = File::from(file::memory(c"state")?);
    file.write_all(state.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// The process of a hook.
pub(super) struct Running {
    pid: process::Pid,
    pidfd: OwnedFd,
    /// Carries the errno of what fails before the hook; closed by its execve(2).
    failed: OwnedFd,
}

/// By execve(2) of that path and nothing else: execvp(3) would give what the kernel cannot execute to a shell.
fn spawn(file: &Path, hook: &Hook, of: &Of, said: Option<&Said>) -> std::io::Result<Running> {
    let input = input(of.state)?;
    let dir = of.bundle.map(|dir| CString::new(dir.as_os_str().as_bytes())).transpose()?;
    let (path, args, env) = (CString::new(file.as_os_str().as_bytes())?, strings(&hook.args)?, environment(hook)?);
    let (args, env) = (Strings::new(&args), Strings::new(&env));
    let null = File::options().write(true).open("/dev/null")?;
    let running = Running::begin(Side::Outside, || match prepare(&input, &null, said).and_then(|()| begin_in(dir.as_deref())) {
        Ok(()) => process::exec(&path, &args, &env),
        Err(errno) => errno,
    })?;
    match running.failed() {
        Ok(None) => Ok(running),
        Ok(Some(errno)) => running.wait().and(Err(errno)).map_err(std::io::Error::from),
        Err(e) => running.kill().and_then(|()| running.wait()).and(Err(e)).map_err(std::io::Error::from),
    }
}

fn strings(list: &[String]) -> std::io::Result<Vec<CString>> {
    list.iter().map(|one| Ok(CString::new(one.as_str())?)).collect()
}

/// The runtime's own, where the hook names none.
fn environment(hook: &Hook) -> std::io::Result<Vec<CString>> {
    let variable = |(name, value): (OsString, OsString)| Ok(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
    hook.env.as_deref().map_or_else(|| std::env::vars_os().map(variable).collect(), strings)
}

/// Nothing but the payload writes to standard output, and no signal is blocked.
fn prepare(input: &File, null: &File, said: Option<&Said>) -> SysResult<()> {
    file::become_stdio_number(input.as_fd(), 0)?;
    file::become_stdio_number(null.as_fd(), 1)?;
    said.map_or(Ok(()), |said| file::become_stdio_number(said.as_fd(), 2))?;
    signal::set_mask(&signal::Set::of(&[])).map(drop)
}

/// A bundle may be gone when its container ends.
fn begin_in(bundle: Option<&CStr>) -> SysResult<()> {
    bundle.map_or(Ok(()), |dir| file::chdir(dir).or_else(|_| file::chdir(c"/")))
}

/// Where a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// With the runtime, where no filter of a container's is.
    Outside,
    /// With the container's process, whose filter may be loaded already.
    Inside,
}

/// It is killed when who began it is: nobody would heed its timeout. The container's filter may refuse this one call.
fn die_with(parent: Pid, side: Side) -> SysResult<()> {
    match process::set_death_signal(libc::SIGKILL) {
        Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) if side == Side::Inside => {}
        set => set?,
    }
    if Pid::parent() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

/// What has come through the pipe of [`Running`]: nothing, or an errno.
///
/// # Errors
/// EPROTO: it is neither, so that nobody knows whether the hook runs.
pub fn word(bytes: &[u8]) -> SysResult<Option<Errno>> {
    match (bytes, bytes.try_into().map(i32::from_ne_bytes)) {
        ([], _) => Ok(None),
        (_, Ok(errno @ 1..)) => Ok(Some(Errno::from_raw(errno))),
        _ => Err(Errno::EPROTO),
    }
}

impl Running {
    /// `go_on` executes the hook, and returns only if it fails. Allocates nothing. Dies with the caller.
    pub fn begin(side: Side, go_on: impl FnOnce() -> Errno) -> SysResult<Self> {
        let (failed, says) = file::pipe()?;
        let parent = Pid::this();
        match process::clone(0)? {
            Cloned::Child => {
                let errno = die_with(parent, side).map_or_else(|errno| errno, |()| go_on());
                let _ = file::write_all(says.as_fd(), &(errno as i32).to_ne_bytes());
                process::exit(127)
            }
            Cloned::Parent(pid, pidfd) => Ok(Running { pid, pidfd, failed }),
        }
    }

    /// Ends readable.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until it executes, or says why it cannot.
    pub fn failed(&self) -> SysResult<Option<Errno>> {
        let mut errno = [0; 4];
        let read = file::read(self.failed.as_fd(), &mut errno)?;
        word(&errno[..read])
    }

    /// SIGKILL.
    pub fn kill(&self) -> SysResult<()> {
        process::kill(self.pid, libc::SIGKILL)
    }

    /// Whether it has ended in time.
    fn ended(&self, timeout: Option<Duration>, interrupt: Option<&Interrupt>) -> SysResult<bool> {
        let ends = Some(self.pidfd.as_fd());
        let [ended] = file::wait_long(timeout, |piece| match interrupt {
            Some(interrupt) => interrupt.or_wait(ends, piece).map(|ended| [ended]),
            None => file::poll_within([ends], piece),
        })?;
        Ok(ended)
    }

    /// Collects it, once it has ended.
    pub fn wait(&self) -> SysResult<Ended> {
        process::wait(self.pid, 0)?.map(|(_, ended)| ended).ok_or(Errno::ECHILD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Insn;

    fn sh(script: &str, timeout: Duration) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: Some(Vec::new()), timeout: Some(timeout), fatal: true }
    }

    fn of(state: &str) -> Of<'_> {
        Of { state, ..Of::default() }
    }

    #[test]
    fn a_hook_that_does_not_read_a_long_state_is_stopped_in_time() {
        let error = run(&sh("exec sleep 30", Duration::from_secs(1)), &of(&"x".repeat(1 << 20)), None, None).unwrap_err();
        assert!(error.to_string().contains("did not end within 1 s"), "{error}");
    }

    #[test]
    fn the_runtimes_environment_is_that_of_a_hook_which_names_none() {
        let hook = |env| Hook { env, ..sh("test -n \"$CARGO_MANIFEST_DIR\"", Duration::from_secs(9)) };
        run(&hook(None), &of(""), None, None).unwrap();
        run(&hook(Some(Vec::new())), &of(""), None, None).unwrap_err();
    }

    #[test]
    fn a_hook_runs_only_when_its_pipe_has_ended_without_a_byte() {
        assert_eq!((word(b""), word(&libc::ENOENT.to_ne_bytes())), (Ok(None), Ok(Some(Errno::ENOENT))));
        for garbled in [&[2][..], &[2, 0, 0], &[0; 4], &(-2_i32).to_ne_bytes()] {
            assert_eq!(word(garbled), Err(Errno::EPROTO), "{garbled:?}");
        }
    }

    #[test]
    fn a_hook_dies_with_the_thread_that_waits_for_it() {
        let hook = sh("exec sleep 60", Duration::from_secs(60));
        let running = std::thread::spawn(move || spawn(&hook.path, &hook, &of(""), None).unwrap()).join().unwrap();
        assert_eq!(running.wait(), Ok(Ended::Killed(libc::SIGKILL)));
    }

    #[test]
    fn a_hook_that_would_outlive_codexrun_is_run_only_behind_the_containers_filter() {
        // prctl(PR_SET_PDEATHSIG) is EPERM, all else is permitted.
        let insn = |code, jf, k| Insn { code: code as u16, jt: 0, jf, k };
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        let (equal, end) = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::BPF_RET | libc::BPF_K);
        let program = [
            insn(load, 0, 0),
            insn(equal, 3, libc::SYS_prctl as u32),
            insn(load, 0, 16),
            insn(equal, 1, libc::PR_SET_PDEATHSIG as u32),
            insn(end, 0, libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32),
            insn(end, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let failed = |side| {
            process::set_no_new_privs().unwrap();
            process::seccomp(&program, 0).unwrap();
            let running = Running::begin(side, || Errno::ENOEXEC).unwrap();
            running.wait().unwrap();
            running.failed().unwrap()
        };
        let in_a_thread = |side| std::thread::scope(|scope| scope.spawn(|| failed(side)).join().unwrap());
        assert_eq!(in_a_thread(Side::Outside), Some(Errno::EPERM));
        assert_eq!(in_a_thread(Side::Inside), Some(Errno::ENOEXEC));
    }

    #[test]
    fn what_the_kernel_cannot_execute_no_shell_gets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook");
        std::fs::write(&path, "exit 0\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = run(&Hook { path, ..sh("", Duration::from_secs(9)) }, &of(""), None, None).unwrap_err();
        assert!(error.to_string().ends_with("Exec format error (os error 8)"), "{error}");
    }

    #[test]
    fn what_a_hook_of_the_bridge_says_is_the_cause_and_nothing_else_is_said() {
        // A shell takes `bridge` for a script, and there is none.
        let hook = Hook { args: ["codexrun", "bridge"].map(str::to_owned).to_vec(), ..sh("", Duration::from_secs(9)) };
        let error = run(&hook, &of(""), None, None).unwrap_err().to_string();
        assert!(error.starts_with("the hook `/bin/sh` failed: codexrun: ") && error.contains("bridge"), "{error}");
    }

    #[test]
    fn what_has_taken_the_name_of_codexruns_own_file_is_not_executed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, proof) = (dir.path().join("codexrun"), dir.path().join("proof"));
        std::fs::write(&path, format!("#!/bin/sh\ntouch {}\n", proof.display())).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // What runs here is a test program, which has such an option too.
        let hook = Hook { path: path.clone(), args: vec!["codexrun".into(), "--help".into()], ..sh("", Duration::from_secs(9)) };
        run_poststop(std::slice::from_ref(&hook), &of(""), None, Some(&path));
        assert!(!proof.exists());
        run_poststop(&[hook], &of(""), None, None);
        assert!(proof.exists());
    }

    #[test]
    fn a_hook_may_have_until_the_end_of_time() {
        run(&sh("read line; test \"$line\" = state", Duration::from_secs(i64::MAX as u64)), &of("state\n"), None, None).unwrap();
    }
}
