//! The file that a call is about, as the process that makes it names it: what a sentence about that call has to name, too.

use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A path is their first argument.
const BY_PATH: &[i64] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_readlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_chdir,
    libc::SYS_statfs,
    libc::SYS_rename,
    libc::SYS_mknod,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_setxattr,
];

/// A directory, and a path in it.
const IN_DIRECTORY: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchownat,
    libc::SYS_fchmodat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_open_tree,
    super::fallback::OPEN_TREE_ATTR,
];

/// An open file.
const OF_FILE: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_lseek,
    libc::SYS_fgetxattr,
    libc::SYS_fsetxattr,
];

/// Of a call that is about to be made with these first arguments; none where it is about no file, or one without a name.
pub fn of(pid: Pid, nr: i64, [first, second]: [u64; 2]) -> Option<PathBuf> {
    let fd = |fd: u64| match fd as i32 {
        libc::AT_FDCWD => fs::read_link(format!("/proc/{pid}/cwd")).ok(),
        fd => fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok(),
    };
    let path = match nr {
        nr if BY_PATH.contains(&nr) => fd(libc::AT_FDCWD as u64)?.join(text(pid, first)?),
        nr if IN_DIRECTORY.contains(&nr) => {
            let name = text(pid, second)?;
            if name.is_absolute() { name } else { fd(first)?.join(name) }
        }
        nr if OF_FILE.contains(&nr) => fd(first)?,
        _ => return None,
    };
    let named = |path: &Path| path.is_absolute() && !path.to_string_lossy().starts_with("/memfd:");
    Some(path).filter(|path| named(path))
}

/// A C string in a process's memory.
fn text(pid: Pid, at: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let (mut bytes, mut next) = (Vec::new(), [0]);
    while bytes.len() < libc::PATH_MAX as usize {
        memory.read_exact_at(&mut next, at + bytes.len() as u64).ok()?;
        match next[0] {
            0 => return Some(String::from_utf8_lossy(&bytes).into_owned().into()),
            byte => bytes.push(byte),
        }
    }
    None
}

/// Whether a sentence names it, or what it lies in, or what it will be called.
pub fn is_told(file: &Path, sentence: &str) -> bool {
    let file = plain(file);
    let words = sentence.split(|c: char| c.is_whitespace() || "`\"'(),:;".contains(c)).filter(|word| word.starts_with('/'));
    let within =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_of =
        |word: &str| word == file || word != "/" && (within(word, &file) || within(&file, word) || is_beside(&file, word));
    words.map(|word| plain(Path::new(word))).any(|word| is_of(&word))
}

/// A file that is written before it is there lies beside it and begins as it does.
fn is_beside(file: &str, word: &str) -> bool {
    Path::new(file).parent() == Path::new(word).parent() && file.starts_with(word)
}

/// One that has no name yet is told by its directory; whose process it is about may be anybody's.
fn plain(file: &Path) -> String {
    let unnamed = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('#'));
    let file = file.parent().filter(|_| unnamed).unwrap_or(file).to_string_lossy();
    match file.strip_prefix("/proc/").and_then(|rest| rest.split_once('/')) {
        Some((whose, rest)) if whose.bytes().all(|b| b.is_ascii_digit()) => format!("/proc/self/{rest}"),
        _ => file.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_a_file_or_what_is_around_it_and_not_another() {
        let told = |file: &str, sentence: &str| is_told(Path::new(file), sentence);
        assert!(told("/run/a/state.json", "codexrun: error: cannot write `/run/a/state.json`: EIO"));
        assert!(told("/run/a/state.json", "codexrun: error: /run/a: cannot make it: EIO"));
        assert!(told("/run", "codexrun: error: cannot make `/run/a`: EIO"));
        assert!(!told("/run/a/state.json", "codexrun: error: cannot write `/run/b`: EIO"));
        assert!(!told("/run/a", "codexrun: error: cannot look at /: EIO") && told("/", "codexrun: error: cannot list `/`: EIO"));
        assert!(told("/run/a/state.json.new", "codexrun: error: cannot write `/run/a/state.json`: EIO"));
        assert!(told("/run/pids/#12 (deleted)", "codexrun: error: cannot write the pid file `/run/pids/pid`: EIO"));
        assert!(told("/proc/17/cgroup", "codexrun: error: cannot read /proc/self/cgroup: EIO"));
        assert!(!told("/proc/17/cgroup", "codexrun: error: cannot read /proc/self/stat: EIO"));
    }

    #[test]
    fn a_call_is_about_a_file_by_its_path_or_by_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("file")).unwrap();
        let own = std::os::fd::AsRawFd::as_raw_fd(&file) as u64;
        let path = std::ffi::CString::new(dir.path().join("other").to_str().unwrap()).unwrap();
        let (of, at) = (|nr, args| of(Pid::this(), nr, args), path.as_ptr() as u64);
        assert_eq!(of(libc::SYS_read, [own, 0]), Some(dir.path().join("file")));
        assert_eq!(of(libc::SYS_mkdir, [at, 0]), Some(dir.path().join("other")));
        assert_eq!(of(libc::SYS_openat, [libc::AT_FDCWD as u64, at]), Some(dir.path().join("other")));
        assert_eq!(of(libc::SYS_getpid, [own, 0]), None);
    }
}
