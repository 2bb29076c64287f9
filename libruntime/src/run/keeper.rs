//! The keeper: a process of its own that makes an empty directory, a placeholder, for every protected name that is missing, so that it
//! can be mounted over, and removes it when the sandbox has ended, however codexrun ended. When codexrun was killed it also ends the
//! sandbox and removes its cgroup.
//!
//! A placeholder is an empty directory of mode 01555, which nobody makes by hand. Every sandbox that mounts over it holds a
//! shared flock(2) on it, and it is removed only under an exclusive one: rmdir(2) of a mount point detaches the mounts that other
//! mount namespaces have on it, so a concurrent sandbox would lose its protection. The kernel drops a lock with its holder, so
//! that no registry can be stale; a placeholder whose keeper was killed is taken over by the next sandbox.

use super::fault::{Column, Fault};
use crate::Error;
use crate::annotation::{PLACEHOLDER_MODE as MODE, is_placeholder};
use crate::cgroup::Cgroup;
use crate::listing::entries;
use crate::mountinfo;
use crate::plan::op::Sync;
use crate::plan::place::c_path;
use crate::proc_status::ProcStatus;
use crate::sys::file::{self, Resolve};
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::process::{self, Cloned};
use crate::sys::{Errno, Result, cred, signal};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the keeper of one sandbox needs.
pub(super) struct Keeper<'a> {
    /// The names.
    pub paths: &'a [PathBuf],
    /// PID 1 of the sandbox: when it is dead, so is everybody in it.
    pub container: OwnedFd,
    /// The parent's end of the child's socket: the child waits for [`Sync::Placeholders`].
    pub gate: OwnedFd,
    /// Where a fault goes.
    pub faults: OwnedFd,
    /// Init's word that nobody is left in the sandbox but itself.
    pub ended: Option<OwnedFd>,
    /// The process that would do all this if it were not killed.
    pub codexrun: OwnedFd,
    /// The sandbox is to die with it. A codexrun that dies between the clone and init's prctl(2) sends no death signal, and init would not
    /// see its socket closed as long as the keeper has a copy.
    pub dies_together: bool,
    /// Recorded nowhere else.
    pub cgroup: Option<&'a Cgroup>,
}

impl Keeper<'_> {
    /// The life of the keeper. When it exits, everything is removed or somebody else's to remove.
    pub fn run(self) -> ! {
        let prepared = self.prepare().map_err(|errno| (self.paths.len(), errno));
        let kept = match prepared.and_then(|()| self.reserve()) {
            Ok(kept) => kept,
            Err((step, errno)) => self.fail(step, errno),
        };
        // Nobody must wait for the end of what only we still hold open.
        drop((self.gate, self.faults));
        let codexrun = self.codexrun.as_fd();
        let together = self.dies_together.then_some(codexrun);
        if let Err(errno) = await_end(self.container.as_fd(), self.ended.as_ref().map(AsFd::as_fd), together) {
            // The only way left to say it; every errno fits.
            process::exit(errno as i32);
        }
        let released = release(kept);
        remove_cgroup(codexrun, self.cgroup);
        outlast(released)
    }

    /// Holds nothing of the caller's open, and is out of reach of the signals that are meant for it.
    fn prepare(&self) -> Result<()> {
        let [container, faults, gate, codexrun] =
            [&self.container, &self.faults, &self.gate, &self.codexrun].map(AsRawFd::as_raw_fd);
        file::close_all_but([container, faults, gate, codexrun, self.ended.as_ref().map_or(-1, AsRawFd::as_raw_fd)])?;
        // Two for each name: the soft limit is for programs that use select(2).
        let (_, most) = process::getrlimit(libc::RLIMIT_NOFILE)?;
        process::setrlimit(libc::RLIMIT_NOFILE, most, most)?;
        process::umask(0); // the mode is the mark
        signal::set_mask(&signal::Set::all_but(&[]))?;
        process::setsid()
    }

    /// What failed, by its index: a path, or after the last one all of it.
    fn reserve(&self) -> std::result::Result<Vec<Kept>, (usize, Errno)> {
        let mut kept = Vec::new();
        for (i, path) in self.paths.iter().enumerate() {
            match reserve(path) {
                Ok(one) => kept.extend(one),
                Err(errno) => {
                    drop(release(kept));
                    // What failed may have come after mkdir(2). Now there are descriptors to look with again.
                    drop(release_all(&self.paths[i..=i]));
                    return Err((i, errno));
                }
            }
        }
        // For a cgroup alone nobody waits.
        let told = if self.paths.is_empty() { Ok(()) } else { file::write_all(self.gate.as_fd(), &[Sync::Placeholders as u8]) };
        if let Err(errno) = told {
            drop(release(kept));
            return Err((self.paths.len(), errno));
        }
        Ok(kept)
    }

    /// Says so, unless the sandbox has died meanwhile and said why itself, and ends. A codexrun that lives waits for that, and does the rest.
    fn fail(self, step: usize, errno: Errno) -> ! {
        let codexrun = self.codexrun.as_fd();
        let alone = file::poll_for(codexrun, 0) == Ok(true);
        if !alone && errno != Errno::EPIPE {
            Fault { column: Column::Keeper, step: step as u16, errno: errno as i32 }.send(self.faults.as_fd());
        }
        // Who waits for our word hears now that none comes.
        drop((self.gate, self.faults));
        if alone {
            let together = self.dies_together.then_some(codexrun);
            // Whoever is left in the cgroup goes with it.
            await_end(self.container.as_fd(), self.ended.as_ref().map(AsFd::as_fd), together).unwrap_or(());
            remove_cgroup(codexrun, self.cgroup);
        }
        process::exit(1)
    }
}

/// What a codexrun that was killed would have done.
fn remove_cgroup(codexrun: BorrowedFd, cgroup: Option<&Cgroup>) {
    if file::poll_for(codexrun, 0) == Ok(true) {
        // Nobody is there to be told of what fails; then the next sandbox removes it.
        cgroup.map_or(Ok(()), Cgroup::remove).unwrap_or(());
    }
}

/// Until init says so, or until PID 1 is dead. An `ended` that closes without a word says nothing: init was killed, and others may
/// live a moment longer.
fn await_end(container: BorrowedFd, mut ended: Option<BorrowedFd>, mut codexrun: Option<BorrowedFd>) -> Result<()> {
    loop {
        let [over, told, orphaned] = file::poll([Some(container), ended, codexrun])?;
        if over || told && ended.take().map_or(Ok(0), |ended| file::read(ended, &mut [0]))? == 1 {
            return Ok(());
        }
        if orphaned {
            codexrun = None;
            match pidfd_send_signal(container, libc::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A placeholder, with a lock on it.
struct Kept {
    parent: OwnedFd,
    name: CString,
    dir: OwnedFd,
    made: bool,
}

/// `None`: something real has come to stand there meanwhile. It is mounted over all the same, and is not ours to remove.
fn reserve(path: &Path) -> Result<Option<Kept>> {
    let (parent, name) = split(path)?;
    loop {
        let made = match file::mkdir_at(parent.as_fd(), &name, MODE) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno),
        };
        let dir = match open(parent.as_fd(), &name)? {
            Found::Placeholder(dir) => dir,
            Found::Nothing => continue,
            Found::Other => return Ok(None),
        };
        match lock_shared(dir.as_fd()) {
            // Its owner may remove it at any time, with a lock of ours or without; and must not keep everybody from starting.
            Err(Errno::EWOULDBLOCK) if is_others(dir.as_fd())? => return Ok(None),
            locked => locked?,
        }
        // Between the open and the lock another keeper may have removed it; then it has no name any more.
        if file::stat(dir.as_fd())?.links > 0 {
            return Ok(Some(Kept { parent, name, dir, made }));
        }
    }
}

fn is_others(dir: BorrowedFd) -> Result<bool> {
    Ok(file::stat(dir)?.owner.0 != cred::euid())
}

/// A keeper holds the exclusive lock for an instant only. Who holds it longer is nobody of ours, and would stop us for ever; who is another
/// user is waited for as long as his keeper may take.
fn lock_shared(dir: BorrowedFd) -> Result<()> {
    let patience = if is_others(dir)? { 50 } else { 200 };
    for _ in 0..patience {
        match file::flock(dir, libc::LOCK_SH | libc::LOCK_NB) {
            Err(Errno::EWOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    Err(Errno::EWOULDBLOCK)
}

/// The directory that a name lies in, reached without crossing a symbolic link, and its last component.
fn split(path: &Path) -> Result<(OwnedFd, CString)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL) };
    let c = |p: &Path| c_path(p).map_err(|_| Errno::EINVAL);
    let parent = file::open_in(file::cwd(), &c(parent)?, libc::O_PATH | libc::O_DIRECTORY, Resolve::HostNoLinks)?;
    Ok((parent, c(Path::new(name))?))
}

/// What is there already, of a keeper that is no more.
fn existing(path: &Path) -> Result<Option<Kept>> {
    let (parent, name) = match split(path) {
        Err(Errno::ENOENT) => return Ok(None),
        split => split?,
    };
    Ok(match open(parent.as_fd(), &name)? {
        Found::Placeholder(dir) => Some(Kept { parent, name, dir, made: false }),
        Found::Nothing | Found::Other => None,
    })
}

/// What stands at a name.
enum Found {
    Placeholder(OwnedFd),
    /// Not, or not any more.
    Nothing,
    /// Something that is not ours.
    Other,
}

fn open(parent: BorrowedFd, name: &CString) -> Result<Found> {
    match file::open_at(parent, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
        Ok(dir) if is_placeholder(file::stat(dir.as_fd())?.mode) => Ok(Found::Placeholder(dir)),
        Err(Errno::ENOENT) => Ok(Found::Nothing),
        Ok(_) | Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => Ok(Found::Other),
        Err(errno) => Err(errno),
    }
}

/// What became of placeholders that were let go.
#[derive(Default)]
struct Released {
    /// Those that we made and somebody else still holds.
    contended: Vec<Kept>,
    /// Why one has stayed that nobody holds.
    failed: Option<Errno>,
}

/// Removes every placeholder that nobody else holds.
fn release(kept: Vec<Kept>) -> Released {
    let mut released = Released::default();
    for one in kept {
        match file::flock(one.dir.as_fd(), libc::LOCK_EX | libc::LOCK_NB).and_then(|()| one.remove()) {
            Ok(()) => {}
            // Whoever holds it removes it, unless the directory is sticky and we alone may.
            Err(Errno::EWOULDBLOCK) if one.made => released.contended.push(one),
            Err(Errno::EWOULDBLOCK) => {}
            Err(errno) => released.failed = Some(errno),
        }
    }
    released
}

/// The exit code of a keeper that has left something, which no errno is: whoever waits for it tries again, and tells.
pub(super) const LEFT: i32 = 255;

/// Does the keeper's last duty for one that was killed or could not; what stays all the same, and why.
pub(super) fn release_all(paths: &[PathBuf]) -> Vec<(&PathBuf, Errno)> {
    let let_go = |path| existing(path).map(|found| release(found.into_iter().collect()).failed).unwrap_or_else(Some);
    paths.iter().filter_map(|path| Some((path, let_go(path)?))).collect()
}

/// Stays, in the background, until the others have ended; the parent waits only for the first of the two processes.
fn outlast(Released { contended, failed }: Released) -> ! {
    if !contended.is_empty() && matches!(process::clone(0), Ok(Cloned::Child)) {
        contended.into_iter().for_each(Kept::outlast);
    }
    process::exit(failed.map_or(0, |_| LEFT))
}

impl Kept {
    /// Nobody waits any more who could be told of a failure.
    fn outlast(self) {
        let _ = file::flock(self.dir.as_fd(), libc::LOCK_EX).and_then(|()| self.remove());
    }

    /// Under the exclusive lock. What is no longer empty or no longer ours is not a placeholder any more, and stays.
    fn remove(&self) -> Result<()> {
        let there = match file::open_at(self.parent.as_fd(), &self.name, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            there => file::stat(there?.as_fd())?,
        };
        if !is_placeholder(there.mode) || there.id != file::stat(self.dir.as_fd())?.id {
            return Ok(());
        }
        match file::rmdir_at(self.parent.as_fd(), &self.name) {
            Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => Ok(()),
            removed => removed,
        }
    }
}

/// How long processes that are ending may take to let go of their mounts.
const PATIENCE: Duration = Duration::from_secs(2);

/// Removes what a sandbox left behind whose keeper was killed, and what another runtime made of the names (mode 0755): only empty
/// directories, and only where no other mount namespace has something mounted.
pub fn sweep(paths: &[PathBuf]) -> crate::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut left: Vec<&PathBuf> = paths.iter().collect();
    // A runtime may call the hook when it has killed the container and not yet seen it end (crun's `delete --force`).
    loop {
        let namespaces = mount_namespaces().map_err(|e| Error::new("cannot tell who has something mounted").cause(e))?;
        left.retain(|path| sweep_one(path, &namespaces) == Swept::Later);
        if left.is_empty() || Instant::now() > end {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What became of one name.
#[derive(Debug, PartialEq, Eq)]
enum Swept {
    Done,
    /// Who has something mounted on it is about to end.
    Later,
}

fn sweep_one(path: &Path, namespaces: &[Namespace]) -> Swept {
    let Ok((parent, name)) = split(path) else { return Swept::Done };
    let open = file::open_at(parent.as_fd(), &name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let Ok(dir) = open else { return Swept::Done };
    if file::flock(dir.as_fd(), libc::LOCK_EX | libc::LOCK_NB).is_err() {
        return Swept::Done;
    }
    let mut users = namespaces.iter().filter(|other| other.covers(path, parent.as_fd())).peekable();
    if users.peek().is_none() {
        // Fails when it is not empty: then it is somebody's.
        let _ = file::rmdir_at(parent.as_fd(), &name);
        return Swept::Done;
    }
    if users.all(Namespace::ending) { Swept::Later } else { Swept::Done }
}

/// A mount namespace of this machine, seen through one of its processes.
struct Namespace {
    process: PathBuf,
    /// On what it has something mounted.
    points: Vec<PathBuf>,
}

impl Namespace {
    /// Whether the process that it is seen through has been killed, or is on its way out.
    fn ending(&self) -> bool {
        let status = match ProcStatus::below(&self.process) {
            Ok(status) => status,
            Err(e) => return is_gone(&e),
        };
        let killed = |name| status.set(name).is_some_and(|set| set >> (libc::SIGKILL - 1) & 1 == 1);
        status.field("State").is_some_and(|state| state.starts_with(['Z', 'X'])) || killed("SigPnd") || killed("ShdPnd")
    }

    /// Whether something is mounted there on `path`, in the same directory that `parent` is here and not only one of that name.
    fn covers(&self, path: &Path, parent: BorrowedFd) -> bool {
        let there = || std::fs::metadata(self.process.join("root").join(path.parent()?.strip_prefix("/").ok()?)).ok();
        let same = |meta: std::fs::Metadata| file::stat(parent).is_ok_and(|here| here.id == (meta.dev(), meta.ino()));
        // A root that cannot be looked into is no reason to take somebody's protection away.
        self.points.iter().any(|point| point == path) && there().is_none_or(same)
    }
}

/// Every mount namespace whose processes can be looked at, once. What one of them has mounted is not known when it cannot be read, unless
/// it has ended.
fn mount_namespaces() -> std::io::Result<Vec<Namespace>> {
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for entry in entries("/proc".as_ref())? {
        let process = entry.path();
        let Ok(namespace) = std::fs::read_link(process.join("ns/mnt")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        match std::fs::read(process.join("mountinfo")) {
            Ok(text) => {
                let points = mountinfo::parse(&text).into_iter().map(|mount| mount.point).collect();
                found.push(Namespace { process, points });
                seen.insert(namespace);
            }
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// EINVAL: a process that has ended, and not been waited for, has no mount namespace.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd::pidfd_open;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    use std::os::unix::process::ExitStatusExt;

    fn dir() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join(".codex");
        (dir, path)
    }

    #[test]
    fn a_placeholder_is_made_kept_and_removed() {
        let (_dir, path) = dir();
        let kept = reserve(&path).unwrap().unwrap();
        assert!(kept.made);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, MODE & !0o022 | MODE & 0o1555);
        assert!(release(vec![kept]).contended.is_empty());
        assert!(!path.exists());
    }

    #[test]
    fn what_a_placeholder_inherits_from_its_parent_does_not_make_it_a_strangers() {
        let (dir, path) = dir();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o2775)).unwrap();
        release(vec![reserve(&path).unwrap().expect("ours")]);
        assert!(!path.exists());
        // As a default access control list would have it.
        std::fs::DirBuilder::new().mode(0o1550).create(&path).unwrap();
        release(vec![reserve(&path).unwrap().expect("ours")]);
        assert!(!path.exists());
    }

    #[test]
    fn the_last_of_two_keepers_removes_it() {
        let (_dir, path) = dir();
        let (first, second) = (reserve(&path).unwrap().unwrap(), reserve(&path).unwrap().unwrap());
        assert!(!second.made);
        let contended = release(vec![first]).contended;
        assert!(path.exists(), "a concurrent sandbox keeps its protection");
        release(vec![second]);
        assert!(!path.exists(), "nobody holds it any more");
        contended.into_iter().for_each(Kept::outlast);
        assert!(!path.exists());
    }

    #[test]
    fn keepers_that_come_and_go_at_once_never_lose_it() {
        let (_dir, path) = dir();
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for _ in 0..200 {
                        let kept = reserve(&path).unwrap().expect("what was removed meanwhile is made again");
                        assert!(path.exists());
                        release(vec![kept]).contended.into_iter().for_each(Kept::outlast);
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_keeper_left_is_taken_over() {
        let (_dir, path) = dir();
        std::mem::drop(reserve(&path).unwrap());
        assert!(path.exists());
        let kept = reserve(&path).unwrap().unwrap();
        assert!(!kept.made);
        release(vec![kept]);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_is_not_a_placeholder_is_left_alone() {
        let (_dir, path) = dir();
        std::fs::create_dir(&path).unwrap();
        assert!(reserve(&path).unwrap().is_none());
        assert!(path.exists());
    }

    #[test]
    fn what_somebody_put_into_a_placeholder_stays() {
        let (_dir, path) = dir();
        let kept = reserve(&path).unwrap().unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(path.join("config.toml"), "x").unwrap();
        release(vec![kept]);
        assert!(path.join("config.toml").exists());
    }

    #[test]
    fn a_stranger_that_holds_the_lock_does_not_stop_us_for_ever() {
        let (_dir, path) = dir();
        let kept = reserve(&path).unwrap().unwrap();
        file::flock(kept.dir.as_fd(), libc::LOCK_EX).unwrap();
        assert_eq!(reserve(&path).err(), Some(Errno::EWOULDBLOCK));
    }

    #[test]
    fn another_user_who_holds_the_lock_does_not_stop_us_at_all() {
        let (_dir, path) = dir();
        let kept = reserve(&path).unwrap().unwrap();
        if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
            return eprintln!("skipped: only root can give a directory away");
        }
        file::flock(kept.dir.as_fd(), libc::LOCK_EX).unwrap();
        assert!(reserve(&path).unwrap().is_none(), "it is mounted over, and not ours to remove");
    }

    #[test]
    fn a_sandbox_that_dies_before_the_placeholders_are_made_leaves_none() {
        let (_dir, path) = dir();
        let (gate, other) = file::socketpair().unwrap();
        let (_, faults) = file::pipe().unwrap();
        drop(other);
        let (container, _) = file::pipe().unwrap();
        let (codexrun, _) = file::pipe().unwrap();
        let paths = std::slice::from_ref(&path);
        let keeper = Keeper { paths, container, gate, faults, ended: None, codexrun, dies_together: true, cgroup: None };
        assert_eq!(keeper.reserve().err(), Some((1, Errno::EPIPE)));
        assert!(!path.exists());
    }

    /// Three descriptors: two for the first name, and for the second none any more when it has been made.
    #[test]
    fn a_keeper_that_comes_to_the_end_of_its_descriptors_leaves_nothing() {
        let (_dir, path) = dir();
        let paths = [path.clone(), path.with_extension("two")];
        let [(gate, _other), (container, _), (faults, _), (codexrun, _)] =
            [file::socketpair(), file::pipe(), file::pipe(), file::pipe()].map(std::result::Result::unwrap);
        let kept = [&gate, &container, &faults, &codexrun].map(AsRawFd::as_raw_fd);
        let keeper = Keeper { paths: &paths, container, gate, faults, ended: None, codexrun, dies_together: true, cgroup: None };
        let Cloned::Parent(pid, _) = process::clone(0).unwrap() else {
            let prepared = file::close_all_but(kept).and_then(|()| process::setrlimit(libc::RLIMIT_NOFILE, 3, 3));
            process::exit(i32::from(prepared.is_err() || keeper.reserve().err() != Some((1, Errno::EMFILE))));
        };
        assert_eq!(process::wait(pid, 0).unwrap().map(|(_, how)| how), Some(process::Ended::Exited(0)));
        assert_eq!(paths.map(|path| path.exists()), [false; 2]);
    }

    #[test]
    fn a_sandbox_that_missed_the_death_of_codexrun_is_killed() {
        let mut sandbox = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let container = pidfd_open(nix::unistd::Pid::from_raw(sandbox.id().cast_signed())).unwrap();
        let (alive, held) = file::pipe().unwrap();
        drop(held);
        await_end(container.as_fd(), None, Some(alive.as_fd())).unwrap();
        assert_eq!(sandbox.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_placeholder_that_cannot_be_reached_is_told_and_one_that_is_gone_is_not() {
        let (dir, path) = dir();
        assert_eq!(release_all(std::slice::from_ref(&path)), []);
        drop(reserve(&path).unwrap());
        let root = path.parent().unwrap();
        let aside = root.with_extension("aside");
        std::fs::rename(root, &aside).unwrap();
        assert_eq!(release_all(std::slice::from_ref(&path)), []);
        std::os::unix::fs::symlink(&aside, root).unwrap();
        assert_eq!(release_all(std::slice::from_ref(&path)), [(&path, Errno::ELOOP)]);
        std::fs::remove_file(root).unwrap();
        std::fs::rename(&aside, root).unwrap();
        assert_eq!(release_all(std::slice::from_ref(&path)), []);
        assert!(!path.exists());
        drop(dir);
    }

    #[test]
    fn a_symbolic_link_on_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        assert_eq!(reserve(&root.join("link/.git")).err(), Some(Errno::ELOOP));
        assert!(!root.join("real/.git").exists());
    }
}
