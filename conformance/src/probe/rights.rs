//! Everything that may be done with one path, tried and taken back: what `codexrun explain` foretells.

use crate::Verb;
use crate::syscall::{Arg, call, text};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The verb of this file: its detail is a letter for each right that there is, in the order of `explain`.
pub const VERBS: &[Verb] = &[("rights", |a| Ok(rights(Path::new(a[0]))))];

fn rights(path: &Path) -> String {
    let there = match fs::metadata(path) {
        Ok(meta) => Some(meta.is_dir()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        // What cannot be looked at can perhaps still be moved.
        Err(_) => return letter(delete(path), 'd'),
    };
    match there {
        Some(is_dir) => {
            let may = [(read(path, is_dir), 'r'), (write(path, is_dir), 'w'), (delete(path), 'd'), (execute(path, is_dir), 'x')];
            may.map(|(may, name)| letter(may, name)).concat()
        }
        None => letter(create(path), 'c') + &letter(delete(path), 'd'),
    }
}

fn letter(may: bool, name: char) -> String {
    if may { name.into() } else { String::new() }
}

fn read(path: &Path, is_dir: bool) -> bool {
    if is_dir { fs::read_dir(path).is_ok() } else { File::open(path).is_ok() }
}

fn write(path: &Path, is_dir: bool) -> bool {
    if !is_dir {
        return OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).is_ok();
    }
    let new = path.join("probe-made");
    fs::create_dir(&new).is_ok() && fs::remove_dir(&new).is_ok()
}

/// rename(2) within one directory asks for what unlink(2) and rmdir(2) ask for, and can be taken back.
fn delete(path: &Path) -> bool {
    let mut other = path.as_os_str().to_owned();
    other.push("-probe-moved");
    fs::rename(path, &other).is_ok() && fs::rename(&other, path).is_ok()
}

/// Of a file by execveat(2) with AT_EXECVE_CHECK (Linux 6.14), which security modules are asked about too. access(2) asks for the real
/// user, who is the effective one here.
fn execute(path: &Path, is_dir: bool) -> bool {
    const CHECK: i64 = 0x10000;
    let path = text(&path.to_string_lossy());
    let at = || Arg::Int(libc::AT_FDCWD.into());
    if !is_dir {
        match call(libc::SYS_execveat, [at(), Arg::Text(&path), Arg::Null, Arg::Null, Arg::Int(CHECK)]) {
            Err(libc::EINVAL) => {}
            checked => return checked.is_ok(),
        }
    }
    let mode = Arg::Int(libc::X_OK.into());
    call(libc::SYS_faccessat, [at(), Arg::Text(&path), mode]).is_ok()
}

/// With the directories that are missing above it.
fn create(path: &Path) -> bool {
    let missing = |dir: &&Path| fs::symlink_metadata(dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    let mut above: Vec<PathBuf> = path.ancestors().skip(1).take_while(missing).map(PathBuf::from).collect();
    above.reverse();
    let made: Vec<PathBuf> = above.into_iter().take_while(|dir| fs::create_dir(dir).is_ok()).collect();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    if file.is_ok() {
        // A link that led nowhere has its target now.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        fs::remove_file(target).unwrap_or(());
    }
    made.iter().rev().for_each(|dir| fs::remove_dir(dir).unwrap_or(()));
    file.is_ok()
}
