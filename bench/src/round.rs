//! One round of a contender: its command lines, one after the other, whoever measures them.

use std::fs::{self, File};
use std::io::{Error, PipeWriter, Read, Result, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::contender::{Contender, Line, Step};
use crate::sys;

/// `argv` with nothing to read and nobody to read what it says. std starts it by posix_spawn, since nothing here asks for more.
pub fn command(argv: &[std::ffi::OsString], cwd: &Path) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(cwd).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Has `run` run every step; none may fail. Returns the largest resident size of a payload whose end had to be awaited, KiB.
pub fn round(contender: &Contender, mut run: impl FnMut(&Step) -> Result<ExitStatus>) -> Result<i64> {
    let mut each = |step: &Step| {
        run(step).and_then(succeeded)?;
        step.payload.as_deref().map_or(Ok(0), end_of_payload)
    };
    let sizes: Result<Vec<i64>> = contender.steps.iter().map(&mut each).collect();
    tidy(contender);
    Ok(sizes?.into_iter().max().unwrap_or(0))
}

fn succeeded(status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(Error::other(status.to_string())) }
}

/// Adds to the error of `run` the first line that was said into the file it is given. A file, not a pipe: what `create` leaves
/// behind holds it open.
pub fn heard<T>(run: impl FnOnce(&File) -> Result<T>) -> Result<T> {
    let mut file = tempfile::tempfile()?;
    run(&file).map_err(|e| {
        let mut said = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut said));
        let line = said.lines().next().filter(|_| read.is_ok()).unwrap_or("and says nothing");
        Error::other(format!("{e}: {line}"))
    })
}

/// The payload is our child once the process that made it is gone.
fn end_of_payload(pid_file: &Path) -> Result<i64> {
    let pid = fs::read_to_string(pid_file)?.trim().parse().map_err(Error::other)?;
    sys::reap(pid)
}

/// Only empty directories go: rmdir cannot hurt what was there before.
pub fn tidy(contender: &Contender) {
    for path in &contender.placeholders {
        let _absent_is_fine = fs::remove_dir(path);
    }
}

/// What a contender has set up, or leaves when a round fails; cleaned up when dropped.
pub struct Standing {
    clean_up: Vec<Line>,
    cwd: PathBuf,
    _stdin: PipeWriter,
}

impl Standing {
    /// Runs the set-up lines.
    pub fn begin(contender: &Contender) -> Result<Standing> {
        let (reader, writer) = std::io::pipe()?;
        let standing = Standing { clean_up: contender.clean_up.clone(), cwd: contender.cwd.clone(), _stdin: writer };
        for line in &contender.set_up {
            let run = |said: &File| {
                command(line, &contender.cwd).stdin(reader.try_clone()?).stderr(said.try_clone()?).status().and_then(succeeded)
            };
            heard(run).map_err(|e| Error::other(format!("the set-up failed: {e}")))?;
        }
        Ok(standing)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        for line in &self.clean_up {
            let _nothing_left_is_fine = command(line, &self.cwd).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Shape;
    use crate::shape::words;

    fn contender(dir: &Path, steps: &[&str]) -> Contender {
        Contender {
            shape: Shape::Run,
            name: "test",
            set_up: vec![words("touch set-up")],
            steps: steps.iter().map(|line| Step::new(words(line))).collect(),
            clean_up: vec![words("false"), words("rm set-up")],
            probe: None,
            cwd: dir.into(),
            placeholders: Vec::new(),
        }
    }

    #[test]
    fn what_was_set_up_is_cleaned_up_although_a_round_failed() {
        let dir = tempfile::tempdir().unwrap();
        let contender = contender(dir.path(), &["true", "false", "touch too-far"]);
        let standing = Standing::begin(&contender).unwrap();
        assert!(dir.path().join("set-up").exists());
        let failed = round(&contender, |step| command(&step.argv, dir.path()).status());
        assert_eq!(failed.unwrap_err().to_string(), "exit status: 1");
        assert!(!dir.path().join("too-far").exists());
        drop(standing);
        assert!(!dir.path().join("set-up").exists());
    }

    #[test]
    fn a_set_up_that_fails_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut contender = contender(dir.path(), &[]);
        contender.set_up = vec![["sh", "-c", "echo because >&2; exit 3"].map(Into::into).to_vec()];
        let said = Standing::begin(&contender).err().unwrap().to_string();
        assert_eq!(said, "the set-up failed: exit status: 3: because");
    }

    #[test]
    fn what_was_set_up_keeps_its_standard_input_as_long_as_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let mut contender = contender(dir.path(), &[]);
        contender.set_up = vec![["sh", "-c", "exec 3<&0; (cat <&3; touch ended) & true"].map(Into::into).to_vec()];
        contender.clean_up = Vec::new();
        let standing = Standing::begin(&contender).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!dir.path().join("ended").exists());
        drop(standing);
        for _ in 0..500 {
            if dir.path().join("ended").exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("it still waits for its standard input");
    }

    #[test]
    fn the_end_of_an_orphan_is_awaited() {
        sys::adopt_orphans().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = "(sleep 0.1; touch ended) & echo $! > pid";
        let mut contender = contender(dir.path(), &[]);
        contender.steps = vec![Step { argv: ["sh", "-c", script].map(Into::into).to_vec(), payload: Some(file) }];
        let size = round(&contender, |step| command(&step.argv, dir.path()).status()).unwrap();
        assert!(size > 0 && dir.path().join("ended").exists());
    }
}
