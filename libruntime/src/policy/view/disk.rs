//! The view of the machine that codexrun runs on. One system call per question; only the ids are
//! remembered.

use super::automount::Automounts;
use super::cache::Cache;
use super::scan::{Found, Level, Source, scan};
use super::{Kind, PROXY, Search, View};
use crate::annotation::is_placeholder;
use crate::listing::{again, entries};
use crate::proc_status::ProcStatus;
use crate::sys::process::called;
use crate::xdg::{of_login, runtime_dir};
use crate::{Error, Result, passwd};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statfs::{AUTOFS_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid, getgroups};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf, absolute};

/// Of a directory: who does not own it removes only his own names (inode(7)).
const STICKY: u32 = libc::S_ISVTX;
/// Others than its owner may make names in it.
const OPEN: u32 = 0o022;
/// See the trait; enough for git's configuration, and for any `gitdir:` pointer.
const READ_MAX: u64 = 1 << 20;

/// Where results of searches are kept, in the caller's part of /run.
const SCAN: &str = "codexrun-scan";

/// The real host.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    uid: u32,
    gid: u32,
}

impl Disk {
    /// The host, as the caller sees it.
    pub fn new() -> Self {
        Disk { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }

    /// Not in `$HOME`, which a sandbox may have been given, and where a link may lead on: in the caller's part of /run.
    fn cache(self) -> Option<PathBuf> {
        let run = if self.uid == 0 { Some("/run".into()) } else { runtime_dir() };
        run.map(|path| path.join(SCAN))
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl View for Disk {
    fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    fn capabilities(&self) -> Result<u64> {
        let unknown = || Error::new("cannot tell the caller's capabilities");
        let status = ProcStatus::below(Path::new("/proc/self"));
        let status = status.map_err(|e| unknown().cause(format!("/proc/self/status: {e}")))?;
        status.set("CapEff").ok_or_else(unknown)
    }

    fn home(&self) -> Result<Option<PathBuf>> {
        let home = match std::env::var_os("HOME") {
            Some(home) => Some(home),
            None => passwd::entry(self.uid)?.map(|entry| entry.home),
        };
        Ok(home.map(PathBuf::from).filter(|path| path.is_absolute()))
    }

    fn home_of(&self, user: &OsStr) -> Result<Option<PathBuf>> {
        Ok(passwd::named(user)?.map(|entry| PathBuf::from(entry.home)).filter(|path| path.is_absolute()))
    }

    fn tmpdir(&self) -> Option<PathBuf> {
        std::env::var_os("TMPDIR").map(PathBuf::from)
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let meta = fs::symlink_metadata(path)?;
        let kind = meta.file_type();
        if is_placeholder(meta.mode()) && is_empty(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(kind_of(kind))
    }

    fn is_regular(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
    }

    fn link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = entries(path)?.iter().map(DirEntry::path).collect::<Vec<_>>();
        paths.sort();
        Ok(paths)
    }

    fn search(&self, search: &Search) -> io::Result<Found> {
        let cache = self.cache().and_then(|dir| Cache::open(&dir, search));
        let tree = Tree { automounts: Automounts::probe()?, cache, disk: *self };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let found = scan(search, &tree, workers)?;
        if let Some(cache) = tree.cache {
            cache.save();
        }
        Ok(found)
    }

    fn caches(&self) -> Vec<PathBuf> {
        let login = (self.uid != 0).then(|| of_login(self.uid).join(SCAN));
        let own = self.cache();
        let login = login.filter(|login| own.as_ref() != Some(login));
        own.into_iter().chain(login).collect()
    }

    fn records(&self) -> Result<Vec<PathBuf>> {
        crate::state::Store::places()
    }

    fn controllers(&self) -> Option<Vec<String>> {
        None
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Whoever can write there may have made it a FIFO, which open(2) would wait for.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Without room it would be read by small steps.
        let mut text = Vec::with_capacity(meta.len().min(READ_MAX) as usize + 1);
        match file.take(READ_MAX + 1).read_to_end(&mut text)? as u64 {
            0..=READ_MAX => Ok(text),
            _ => Err(Errno::EFBIG.into()),
        }
    }

    fn readable(&self, path: &Path) -> io::Result<bool> {
        if self.uid == 0 {
            return answered(fs::metadata(path).map(|meta| open_to(&meta, self.uid, self.gid)));
        }
        Ok(may(path, AccessFlags::R_OK | AccessFlags::X_OK)?
            || may(path, AccessFlags::R_OK)? && answered(fs::metadata(path).map(|meta| !meta.is_dir()))?)
    }

    fn enters(&self, dir: &Path) -> io::Result<bool> {
        if self.uid != 0 {
            return Ok(true);
        }
        match fs::metadata(dir) {
            Err(e) if speaks_of_the_path(&e) => Ok(true),
            meta => meta.map(|meta| searchable(&meta, self.gid)),
        }
    }

    fn writable(&self, path: &Path) -> io::Result<bool> {
        match faccessat(AT_FDCWD, path, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS).map_err(io::Error::from) {
            Ok(()) => Ok(true),
            // Nobody can, inside the sandbox neither (`conformance --explain`: a workspace that is such a mount).
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(false),
            // The owner of a directory can give itself the right (chmod(2)), inside the sandbox too.
            Err(e) if speaks_of_the_path(&e) => answered(fs::metadata(path).map(|meta| meta.uid() == self.uid)),
            Err(e) => Err(e),
        }
    }

    fn programs(&self) -> Vec<PathBuf> {
        let exe = self.exe();
        // A descriptor's name is nobody's to replace, and what it leads to is the own file.
        let called = called().map(|name| Path::new(OsStr::from_bytes(name.to_bytes()))).and_then(|path| absolute(path).ok());
        let called = called.filter(|path| *path != exe && !path.starts_with("/proc") && !path.starts_with("/dev"));
        [exe.with_file_name(PROXY), exe].into_iter().chain(called).collect()
    }

    fn has_other_names(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|meta| meta.nlink() > 1)
    }

    fn of_others(&self, path: &Path) -> io::Result<bool> {
        let Some(dir) = path.parent() else { return Ok(false) };
        let dir = fs::symlink_metadata(dir)?;
        if dir.mode() & STICKY == 0 || dir.mode() & OPEN == 0 {
            return Ok(false);
        }
        match fs::symlink_metadata(path) {
            // A file system of its owner's, which answers nobody else (fuse(4)).
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(true),
            meta => Ok(meta?.uid() != self.uid),
        }
    }

    fn owns(&self, dir: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(dir)?.uid() == self.uid)
    }

    fn is_automounted(&self, dir: &Path) -> bool {
        statfs(dir).is_ok_and(|fs| fs.filesystem_type() == AUTOFS_SUPER_MAGIC)
    }

    fn exe(&self) -> PathBuf {
        std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into())
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }
}

fn kind_of(kind: FileType) -> Kind {
    match () {
        () if kind.is_dir() => Kind::Dir,
        () if kind.is_symlink() => Kind::Symlink,
        () => Kind::File,
    }
}

/// The tree that a search walks.
struct Tree {
    automounts: Automounts,
    cache: Option<Cache>,
    disk: Disk,
}

impl Source for Tree {
    fn level(&self, dir: &Path, see: &dyn Fn(&OsStr, Kind, &mut Level)) -> io::Result<Level> {
        // Nothing could be mounted there, and the sandbox does not get there either.
        if self.automounts.wait_at(dir) || !self.disk.enters(dir)? {
            return Ok(Level::default());
        }
        let read = || read(dir, see);
        match self.cache.as_ref().map_or_else(read, |cache| cache.level(dir, read)) {
            // Gone, or no directory any more.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => Ok(Level::default()),
            // Nor may the sandbox go there, unless it can guess names.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !may(dir, AccessFlags::X_OK)? => Ok(Level::default()),
            level => level,
        }
    }
}

/// Through no symbolic link: one may have taken the place of a directory since its name was read.
fn read(dir: &Path, see: &dyn Fn(&OsStr, Kind, &mut Level)) -> io::Result<Level> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let opened = again(|| Ok(openat2(AT_FDCWD, dir, how)?))?;
    let mut level = Level::default();
    for entry in Dir::from_fd(opened)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let kind = match entry.file_type() {
            _ if name == "." || name == ".." => continue,
            Some(Type::Directory) => Kind::Dir,
            Some(Type::Symlink) => Kind::Symlink,
            Some(_) => Kind::File,
            // This file system does not say.
            None => kind_of(fs::symlink_metadata(dir.join(name))?.file_type()),
        };
        see(name, kind, &mut level);
    }
    Ok(level)
}

/// Or gone meanwhile. What cannot be listed is no placeholder: those everybody may list.
fn is_empty(path: &Path) -> io::Result<bool> {
    match entries(path) {
        Ok(list) => Ok(list.is_empty()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(e) => Err(e),
    }
}

fn may(path: &Path, how: AccessFlags) -> io::Result<bool> {
    answered(faccessat(AT_FDCWD, path, how, AtFlags::AT_EACCESS).map(|()| true).map_err(io::Error::from))
}

/// What the path is like is an answer too: no.
fn answered(result: io::Result<bool>) -> io::Result<bool> {
    result.or_else(|e| if speaks_of_the_path(&e) { Ok(false) } else { Err(e) })
}

/// Whether an error says what a path is like, or what the caller may do there. Every other says that the host could not answer, and
/// must not be taken for "there is nothing": a sandbox would have less in it than its policy names, or protect less.
pub fn speaks_of_the_path(error: &io::Error) -> bool {
    use Errno::{EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM, EROFS};
    // EINVAL: no symbolic link (any more). ENXIO: a socket is not opened.
    let of_the_path = [ENOENT, ENOTDIR, EACCES, EPERM, ELOOP, ENAMETOOLONG, EROFS, EINVAL, ENXIO];
    // An error without a number is made by a view: no file, no text.
    error.raw_os_error().is_none_or(|number| of_the_path.contains(&Errno::from_raw(number)))
}

/// faccessat(2) says yes to root's capabilities, which the sandbox does not have.
fn open_to(meta: &Metadata, uid: u32, gid: u32) -> bool {
    let shift = match () {
        () if meta.uid() == uid => 6,
        () if meta.gid() == gid => 3,
        () => 0,
    };
    let need = if meta.is_dir() { 0o5 } else { 0o4 };
    (meta.mode() >> shift) & need == need
}

/// The same for root of a user namespace in which it is alone.
fn searchable(meta: &Metadata, gid: u32) -> bool {
    let member = |group: u32| group == gid || getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == group));
    match meta.mode() {
        _ if (meta.uid(), meta.gid()) == (0, gid) => true,
        mode if meta.uid() == 0 => mode & 0o100 != 0,
        mode if mode & 0o011 == 0o011 => true,
        mode if member(meta.gid()) => mode & 0o010 != 0,
        mode => mode & 0o001 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::glob::Pattern;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_disk_answers_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        let disk = Disk::new();
        assert_eq!(disk.kind(dir.path()).unwrap(), Kind::Dir);
        assert_eq!(disk.kind(&at("file")).unwrap(), Kind::File);
        assert_eq!(disk.kind(&at("link")).unwrap(), Kind::Symlink);
        assert_eq!(disk.kind(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.link(&at("link")).unwrap(), Path::new("file"));
        assert_eq!(disk.read(&at("link")).unwrap(), b"text");
        assert_eq!(disk.list(dir.path()).unwrap(), [at("file"), at("link")]);
        assert!(disk.writable(dir.path()).unwrap() && disk.readable(dir.path()).unwrap() && disk.readable(&at("file")).unwrap());
        assert!(!disk.readable(&at("none")).unwrap() && !disk.writable(&at("none")).unwrap());
    }

    #[test]
    fn an_empty_directory_of_mode_01555_counts_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".git");
        fs::create_dir(&path).unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let disk = Disk::new();
        assert!(disk.kind(&path).is_ok());
        mode(0o1755);
        fs::create_dir(path.join("x")).unwrap();
        mode(0o1555);
        assert!(disk.kind(&path).is_ok());
        mode(0o1755);
        fs::remove_dir(path.join("x")).unwrap();
        mode(0o1555);
        for inherited in [0o1555, 0o3555, 0o1550] {
            mode(inherited);
            assert_eq!(disk.kind(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let whole = vec![0xe9; READ_MAX as usize];
        fs::write(&path, &whole).unwrap();
        assert_eq!(Disk::new().read(&path).unwrap(), whole);
        fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        let error = Disk::new().read(&path).unwrap_err();
        assert!(error.raw_os_error() == Some(libc::EFBIG) && !speaks_of_the_path(&error));
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".git");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Disk::new().read(&path).is_err());
    }

    #[test]
    fn an_unreadable_directory_is_unreadable_to_root_as_well() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
        assert!(!Disk::new().readable(dir.path()).unwrap());
    }

    #[test]
    fn root_goes_only_where_its_own_namespace_lets_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("d");
        fs::create_dir(&at).unwrap();
        if !geteuid().is_root() {
            eprintln!("skipped: only root can give a directory away");
            return assert!(Disk::new().enters(&at).unwrap());
        }
        for (uid, gid, mode, want) in [
            (0, 0, 0o000, true), // CAP_DAC_OVERRIDE
            (0, 7, 0o077, false),
            (7, 7, 0o700, false),
            (7, 7, 0o711, true),
            (7, 0, 0o710, true),
            (7, 0, 0o701, false),
        ] {
            std::os::unix::fs::chown(&at, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Disk { uid: 0, gid: 0 }.enters(&at).unwrap(), want, "{uid}:{gid} {mode:o}");
        }
    }

    #[test]
    fn a_sticky_directory_of_everybodys_has_what_others_have_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        fs::write(&ours, "").unwrap();
        symlink("none", &theirs).unwrap();
        let disk = Disk::new();
        if std::os::unix::fs::lchown(&theirs, Some(65534), None).is_err() {
            return eprintln!("skipped: only root can give a link away");
        }
        for (mode, want) in [(0o1777, true), (0o1775, true), (0o777, false), (0o1755, false)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(disk.of_others(&theirs).unwrap(), want, "{mode:o}");
            assert!(!disk.of_others(&ours).unwrap(), "{mode:o}");
        }
        assert!(disk.owns(dir.path()).unwrap() && !disk.owns(&theirs).unwrap());
    }

    #[test]
    fn what_cannot_be_listed_is_no_placeholder_and_no_reason_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".git");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1000)).unwrap();
        // Root lists it all the same.
        let want = if geteuid().is_root() { Err(io::ErrorKind::NotFound) } else { Ok(Kind::Dir) };
        assert_eq!(Disk::new().kind(&path).map_err(|e| e.kind()), want);
    }

    #[test]
    fn codexruns_programs_are_its_file_the_proxy_beside_it_and_how_it_was_called() {
        let all = Disk::new().programs();
        let own = std::env::current_exe().unwrap();
        assert!(all.contains(&own) && all.contains(&own.with_file_name(PROXY)), "{all:?}");
        let called = Path::new(OsStr::from_bytes(called().unwrap().to_bytes()));
        assert_eq!(called.canonicalize().unwrap(), own);
    }

    /// The paths that a pattern finds below `root`, relative to it.
    fn found(root: &Path, pattern: &str) -> Vec<String> {
        let patterns = Pattern::parse(root, pattern).unwrap();
        let search = Search { root, patterns: &patterns, max_depth: None, open: &[] };
        let found = Disk::new().search(&search).unwrap();
        found.hits.iter().map(|hit| hit.path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_large_tree_is_searched_completely() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..300).map(|n| format!("{}/{n:03}", n % 7)).collect();
        for name in &names {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("x.env"), "").unwrap();
        }
        symlink(dir.path(), dir.path().join("again")).unwrap();
        let mut want: Vec<String> = names.iter().map(|name| format!("{name}/x.env")).collect();
        want.sort();
        assert_eq!(found(dir.path(), "**/*.env"), want);
        assert_eq!(found(dir.path(), "*/00[0-9]/*.env").len(), 10);
        assert_eq!(found(dir.path(), "aga*"), ["again"], "a link is found, and not followed");
    }

    #[test]
    fn a_directory_that_lies_too_deep_for_a_path_is_a_match_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (mut at, name) = (File::open(dir.path()).unwrap(), "d".repeat(200));
        for _ in 0..40 {
            nix::sys::stat::mkdirat(&at, name.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            at = nix::fcntl::openat(&at, name.as_str(), flags, nix::sys::stat::Mode::empty()).unwrap().into();
        }
        let all = found(dir.path(), "**/*.env");
        assert!(all.len() == 1 && all[0].len() > 3300 && all[0].ends_with("ddd"), "{all:?}");
    }

    /// Directories are moved, removed, shut and swapped for links all the while.
    #[test]
    fn a_tree_that_changes_during_the_search_neither_stops_it_nor_leads_it_astray() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("w");
        let at = |n: usize| root.join(format!("{}/{n}/in", n % 9));
        (0..200).for_each(|n| fs::create_dir_all(at(n)).unwrap());
        let (kept, outside) = (root.join("kept/a.env"), dir.path().join("outside"));
        for file in [&kept, &outside.join("b.env")] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for n in (0..200).cycle().take_while(|_| !over.load(std::sync::atomic::Ordering::Relaxed)) {
                    let (here, away) = (at(n), at(n).with_extension("away"));
                    fs::rename(&here, &away).unwrap();
                    symlink(if n % 2 == 0 { &outside } else { &root }, &here).unwrap();
                    fs::set_permissions(&away, fs::Permissions::from_mode(if n % 3 == 0 { 0o000 } else { 0o700 })).unwrap();
                    fs::remove_file(&here).unwrap();
                    fs::remove_dir(&away).and_then(|()| fs::create_dir(&here)).unwrap();
                }
            });
            let patterns = Pattern::parse(&root, "**/*.env").unwrap();
            let search = Search { root: &root, patterns: &patterns, max_depth: None, open: &[] };
            let tree = Tree { automounts: Automounts::default(), cache: None, disk: Disk::new() };
            let all: Vec<_> = (0..30).map(|_| scan(&search, &tree, 4)).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            for found in all {
                let hits: Vec<PathBuf> = found.unwrap().hits.into_iter().map(|hit| hit.path).collect();
                assert_eq!(hits, std::slice::from_ref(&kept));
            }
        });
    }
}
