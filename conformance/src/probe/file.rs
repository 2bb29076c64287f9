//! Probes of the file system: what may be read, written, made, moved and linked.

use crate::Verb;
use crate::outcome::{Outcome, word};
use crate::syscall::{Arg, call, text};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

/// Every verb of this file.
pub const VERBS: &[Verb] = &[
    ("read", |a| read(a[0])),
    ("list", |a| list(a[0])),
    ("stat", |a| Ok(format!("{:o}", fs::metadata(a[0])?.mode()))),
    ("write", |a| write(a[0])),
    ("open-write", |a| done(OpenOptions::new().write(true).open(a[0]).map(drop))),
    ("truncate", |a| done(OpenOptions::new().write(true).truncate(true).open(a[0]).map(drop))),
    ("create", |a| create(a[0])),
    ("mkdir", |a| done(fs::create_dir(a[0]))),
    ("rmdir", |a| done(fs::remove_dir(a[0]))),
    ("unlink", |a| done(fs::remove_file(a[0]))),
    ("rename", |a| done(fs::rename(a[0], a[1]))),
    ("exchange", |a| exchange(a[0], a[1])),
    ("rename-new-file", |a| rename_new(a[0], a[1], false)),
    ("rename-new-dir", |a| rename_new(a[0], a[1], true)),
    ("link", |a| done(fs::hard_link(a[0], a[1]))),
    ("link-write", |a| fs::hard_link(a[0], a[1]).map_err(Into::into).and_then(|()| write(a[1]))),
    ("symlink", |a| done(symlink(a[0], a[1]))),
    ("symlink-write", |a| symlink(a[0], a[1]).map_err(Into::into).and_then(|()| write(a[1]))),
    ("swap-write", |a| swap_write(a[0], a[1], a[2])),
    ("chmod", |a| done(fs::set_permissions(a[0], fs::Permissions::from_mode(0o777)))),
    ("chown", |a| chown(a[0])),
    ("xattr", |a| xattr(a[0])),
    ("utime", |a| utime(a[0])),
    ("mkfifo", |a| mknod(a[0], libc::S_IFIFO, 0)),
    ("mknod", |a| mknod(a[0], libc::S_IFCHR, 0x0103)),
    ("exec", |a| exec(a[0])),
    ("chardev", |a| chardev(a[0], a[1])),
    ("pty", |_| pty()),
    ("through", |a| through(a[0])),
];

fn done(result: std::io::Result<()>) -> Outcome {
    Ok(result.map(|()| String::new())?)
}

/// Reads one byte: some files in /proc let themselves be opened and refuse to be read.
fn read(path: &str) -> Outcome {
    let mut byte = [0];
    match File::open(path)?.read(&mut byte)? {
        0 => word("empty", ""),
        _ => Ok(String::new()),
    }
}

fn list(path: &str) -> Outcome {
    match fs::read_dir(path)?.count() {
        0 => word("empty", ""),
        n => Ok(format!("{n} entries")),
    }
}

fn write(path: &str) -> Outcome {
    done(OpenOptions::new().append(true).open(path)?.write_all(b"written by the probe\n"))
}

fn create(path: &str) -> Outcome {
    done(OpenOptions::new().write(true).create_new(true).open(path)?.write_all(b"made by the probe\n"))
}

fn exchange(a: &str, b: &str) -> Outcome {
    let (at, from, to) = (i64::from(libc::AT_FDCWD), text(a), text(b));
    let flags = Arg::Int(libc::RENAME_EXCHANGE.into());
    call(libc::SYS_renameat2, [Arg::Int(at), Arg::Text(&from), Arg::Int(at), Arg::Text(&to), flags])?;
    Ok(String::new())
}

/// Makes something new and moves it over a protected name, as editors and git do.
fn rename_new(new: &str, over: &str, dir: bool) -> Outcome {
    if dir {
        fs::create_dir(new)?
    } else {
        drop(File::create(new)?)
    }
    done(fs::rename(new, over))
}

/// Moves a directory away, puts a link in its place, and writes a file through the link.
fn swap_write(dir: &str, target: &str, file: &str) -> Outcome {
    fs::rename(dir, format!("{dir}.was"))?;
    symlink(target, dir)?;
    write(&format!("{dir}/{file}"))
}

fn chown(path: &str) -> Outcome {
    let meta = fs::metadata(path)?;
    done(std::os::unix::fs::chown(path, Some(meta.uid()), Some(meta.gid())))
}

fn xattr(path: &str) -> Outcome {
    let (path, name) = (text(path), text("user.codexrun-test"));
    let args = [Arg::Text(&path), Arg::Text(&name), Arg::In(b"x"), Arg::Int(1), Arg::Int(0)];
    call(libc::SYS_setxattr, args)?;
    Ok(String::new())
}

fn utime(path: &str) -> Outcome {
    let path = text(path);
    let args = [Arg::Int(libc::AT_FDCWD.into()), Arg::Text(&path), Arg::Null, Arg::Int(0)];
    call(libc::SYS_utimensat, args)?;
    Ok(String::new())
}

fn mknod(path: &str, kind: u32, device: i64) -> Outcome {
    let path = text(path);
    let mode = Arg::Int((kind | 0o600).into());
    call(libc::SYS_mknodat, [Arg::Int(libc::AT_FDCWD.into()), Arg::Text(&path), mode, Arg::Int(device)])?;
    Ok(String::new())
}

fn exec(path: &str) -> Outcome {
    let status = Command::new(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(status.to_string())
}

/// A device node that is there, is the right one, and opens: a bind with `nodev` shows the node and refuses it.
fn chardev(path: &str, expected: &str) -> Outcome {
    let meta = fs::metadata(path)?;
    let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
    let got = format!("{major}:{minor}");
    if !meta.file_type().is_char_device() || got != expected {
        return word("differs", got);
    }
    // /dev/tty without a controlling terminal says ENXIO: that is the right device answering.
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(e) if e.raw_os_error() != Some(libc::ENXIO) => Err(e.into()),
        _ => Ok(got),
    }
}

/// A new pseudo-terminal: the other end must be in this sandbox's own devpts.
fn pty() -> Outcome {
    let master = OpenOptions::new().read(true).write(true).open("/dev/ptmx")?;
    let (fd, mut unlock, mut number) = (i64::from(std::os::fd::AsRawFd::as_raw_fd(&master)), [0; 4], [0; 4]);
    call(libc::SYS_ioctl, [Arg::Int(fd), Arg::Int(libc::TIOCSPTLCK as i64), Arg::Out(&mut unlock)])?;
    call(libc::SYS_ioctl, [Arg::Int(fd), Arg::Int(libc::TIOCGPTN as i64), Arg::Out(&mut number)])?;
    let path = format!("/dev/pts/{}", u32::from_ne_bytes(number));
    drop(OpenOptions::new().read(true).write(true).custom_flags_noctty().open(&path)?);
    Ok(path)
}

/// O_NOCTTY in one word.
trait NoCtty {
    fn custom_flags_noctty(&mut self) -> &mut Self;
}

impl NoCtty for OpenOptions {
    fn custom_flags_noctty(&mut self) -> &mut Self {
        std::os::unix::fs::OpenOptionsExt::custom_flags(self, libc::O_NOCTTY)
    }
}

/// A descriptor link such as /dev/stdout leads to an open file.
fn through(path: &str) -> Outcome {
    Ok(fs::read_link(path)?.display().to_string())
}
