//! Where records live: `ROOT/ID/state.json`, next to `ROOT/ID/lock`, which whoever makes or removes the directory holds.
//! A crash at any point leaves a directory that `reserve` takes over or `delete` removes.

use super::{ContainerId, Record};
use crate::annotation::is_placeholder;
use crate::host::in_initial_user_namespace;
use crate::listing::entries;
use crate::sys::{Errno, file};
use crate::xdg::{of_login, runtime_dir};
use crate::{Error, Result};
use nix::sys::stat::Mode;
use oci_spec::runtime::Spec;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the container was made of.
pub(super) const CONFIG: &str = "config.json";
/// FIFO: a byte starts the process of a created container.
pub(super) const START: &str = "start";
/// FIFO: what `start` hears when that fails.
pub(super) const FAULT: &str = "fault";
/// Unix socket: where processes of `exec` reach the container's broker.
pub(super) const DOOR: &str = "broker";
const STATE: &str = "state.json";
/// [`STATE`] until it is whole.
const NEW: &str = "state.json.new";
/// Another one, for when somebody has spoilt [`STATE`]: nothing else says which process and which cgroup are the container's.
const COPY: &str = "state.json.copy";
const LOCK: &str = "lock";
/// Root's, whose XDG_RUNTIME_DIR may be somebody else's.
const OF_ROOT: &str = "/run/codexrun";
/// How long another codexrun may take to let go of a container.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directory that holds one directory per container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
    /// Believed only as the caller's own: who named the place need not have been the caller, and below /dev/shm anybody could have made it.
    guarded: bool,
}

/// A container's directory, held exclusively until dropped; other processes cannot make or remove it meanwhile.
#[derive(Debug)]
pub struct Reserved {
    dir: PathBuf,
    lock: File,
}

impl Store {
    /// Where every codexrun of this user looks, engines' included: they pass no `--root`.
    ///
    /// # Errors
    /// The kernel does not tell which user namespace this is.
    pub fn usual() -> Result<Store> {
        let uid = nix::unistd::geteuid();
        // Root's XDG_RUNTIME_DIR may belong to somebody else (sudo, podman), so root proper ignores it.
        if uid.is_root() && in_initial_user_namespace()? {
            return Ok(Store::at(OF_ROOT));
        }
        let root = runtime_dir().map_or_else(|| in_memory(uid), |dir| dir.join("codexrun"));
        Ok(Store { root, guarded: true })
    }

    /// Where a codexrun of this user would look by this environment, by none, and by a login's: what a sandbox could make in one of
    /// these, another codexrun would believe.
    ///
    /// # Errors
    /// As of [`Store::usual`].
    pub fn places() -> Result<Vec<PathBuf>> {
        let (uid, usual) = (nix::unistd::geteuid(), Store::usual()?.root);
        if usual == Path::new(OF_ROOT) {
            return Ok(vec![usual]);
        }
        let others = [in_memory(uid), of_login(uid.as_raw()).join("codexrun")];
        Ok(std::iter::once(usual.clone()).chain(others.into_iter().filter(|other| *other != usual)).collect())
    }

    /// Whether every bundle hides it, in whatever environment it was compiled.
    pub fn is_hidden_anywhere(&self) -> bool {
        let uid = nix::unistd::geteuid();
        let known = [OF_ROOT.into(), in_memory(uid), of_login(uid.as_raw()).join("codexrun")];
        self.guarded && known.contains(&self.root)
    }

    /// Whether somebody has named it by `--root`.
    pub fn is_named(&self) -> bool {
        !self.guarded
    }

    /// The directory that has one for each container; it need not be there.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `--root DIR`.
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into(), guarded: false }
    }

    /// Takes `id` for a new container.
    pub fn reserve(&self, id: &ContainerId) -> Result<Reserved> {
        let taken = || Error::new("container with given ID already exists");
        self.make()?;
        let dir = self.dir(id);
        loop {
            let made = make_dir(&dir).map_err(|e| failed("create", &dir, &e))?;
            let held = hold(&dir).inspect_err(|_| {
                if made {
                    // There may be room for a directory and none for a lock in it. Fails when somebody else has put one there.
                    let _ = fs::remove_dir(&dir);
                }
            });
            match held? {
                Held::Yes(reserved) if !reserved.dir.join(STATE).exists() => {
                    // What a crash left of one that was never recorded.
                    if !made {
                        clear(&reserved.dir)?;
                    }
                    return Ok(reserved);
                }
                Held::Yes(_) | Held::Elsewhere => return Err(taken()),
                // Removed by its owner between the two calls: the name is free again.
                Held::Gone => continue,
            }
        }
    }

    /// The record of `id`; its copy when the record is garbled.
    pub fn load(&self, id: &ContainerId) -> Result<Record> {
        self.trust()?;
        self.read(id, STATE).or_else(|e| if e == absent() { Err(e) } else { self.read(id, COPY).or(Err(e)) })
    }

    fn read(&self, id: &ContainerId, name: &str) -> Result<Record> {
        let file = self.dir(id).join(name);
        let text = crate::text::read(&file, u64::MAX).map_err(|e| match e.kind() {
            ErrorKind::NotFound => absent(),
            _ => failed("read", &file, &e),
        })?;
        let garbled = |why: String| {
            let hint =
                format!("`codexrun delete --force {id}` removes it when nobody is in its cgroup any more, and ends nobody");
            Error::new("garbled record").at(file.display().to_string()).cause(why).hint(hint)
        };
        let text = unsealed(&text).ok_or_else(|| garbled("it is not as it was written".into()))?;
        let mut record: Record = serde_json::from_slice(text).map_err(|e| garbled(e.to_string()))?;
        record.dir = self.dir(id);
        match record.id == *id {
            true => Ok(record),
            false => Err(garbled(format!("it is of container `{}`", record.id))),
        }
    }

    /// Every container, sorted by id; a record that cannot be read is an error in its place.
    pub fn list(&self) -> Result<Vec<Result<Record>>> {
        Ok(self.ids()?.iter().map(|id| self.load(id)).collect())
    }

    /// The id of every container, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        self.trust()?;
        let entries = match entries(&self.root) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| failed("read", &self.root, &e))?,
        };
        let mut ids: Vec<ContainerId> = entries.iter().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        ids.sort();
        // Without a record it is about to be made, or was abandoned: nothing to show.
        ids.retain(|id| self.dir(id).join(STATE).try_exists().unwrap_or(true));
        Ok(ids)
    }

    /// As [`Store::hold`], for who removes it whatever has become of it: what stands in the place of the lock, and is none, goes first.
    ///
    /// # Errors
    /// It does not go; or as of [`Store::hold`].
    pub fn hold_to_remove(&self, id: &ContainerId) -> Result<Option<Reserved>> {
        self.trust()?;
        let lock = self.dir(id).join(LOCK);
        // Nobody can have it locked, so that nobody's hold is lost.
        if is_no_file(&lock) {
            unlink(&lock)?;
        }
        self.hold(id)
    }

    /// Takes hold of a container that is there, so that nobody else starts or removes it meanwhile; `None` if it is gone.
    pub fn hold(&self, id: &ContainerId) -> Result<Option<Reserved>> {
        self.trust()?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match hold(&self.dir(id))? {
                Held::Yes(reserved) => return Ok(Some(reserved)),
                // The codexrun that ran it in the foreground has removed it.
                Held::Gone => return Ok(None),
                Held::Elsewhere if Instant::now() > give_up => break,
                Held::Elsewhere => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        Err(Error::new(format!("container `{id}` is in use by another codexrun")).hint("try again when it has ended"))
    }

    fn dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Makes the directory, if it is missing.
    ///
    /// # Errors
    /// It cannot be made, or is not the caller's alone.
    pub fn make(&self) -> Result<()> {
        // Asked first: mkdir(2) says only that it is there, also where it is there and cannot be looked at.
        match fs::metadata(&self.root) {
            // From now on it is more than that: the keeper leaves it, and who has it covered keeps it covered.
            Ok(meta) if is_placeholder(meta.mode()) => {
                fs::set_permissions(&self.root, Permissions::from_mode(0o700))
                    .map_err(|e| failed("take over", &self.root, &e))?;
            }
            Ok(meta) if meta.is_dir() => {}
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed("read", &self.root, &e)),
            Ok(_) | Err(_) => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
                made.map_err(|e| failed("create", &self.root, &e).hint("set XDG_RUNTIME_DIR, or --root"))?;
            }
        }
        self.trust()
    }

    /// A record says which process to kill: one that another user can write must not be believed.
    fn trust(&self) -> Result<()> {
        if !self.guarded {
            return Ok(());
        }
        let meta = match fs::symlink_metadata(&self.root) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            meta => meta.map_err(|e| failed("read", &self.root, &e))?,
        };
        let own = meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw();
        // What a sandbox holds the name by has nothing in it, and nobody else can put anything there.
        let ours = own && (meta.mode() & 0o077 == 0 || is_placeholder(meta.mode()));
        ours.then_some(()).ok_or_else(|| {
            let what = format!("`{}` is not a directory that only you can enter", self.root.display());
            Error::new(what).hint("remove it, or set XDG_RUNTIME_DIR or --root")
        })
    }
}

/// Without XDG_RUNTIME_DIR: where every user may write and no sandbox does, as each has a /dev/shm of its own.
fn in_memory(uid: nix::unistd::Uid) -> PathBuf {
    format!("/dev/shm/codexrun-{uid}").into()
}

enum Held {
    Yes(Reserved),
    /// Another process holds it.
    Elsewhere,
    /// The directory was removed.
    Gone,
}

fn hold(dir: &Path) -> Result<Held> {
    let path = dir.join(LOCK);
    let strange = || {
        let what = format!("`{}`, by which codexrun holds a container, is no regular file", path.display());
        Error::new(what).hint(format!("`codexrun delete --force {}` removes it", dir.file_name().unwrap_or_default().display()))
    };
    // A FIFO that nobody reads must not hold us up.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&path);
    let lock = match open {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Held::Gone),
        Err(e) if is_no_file(&path) => return Err(strange().cause(e)),
        lock => lock.map_err(|e| failed("open", &path, &e))?,
    };
    let held = lock.metadata().map_err(|e| failed("read", &path, &e))?;
    if !held.is_file() {
        return Err(strange());
    }
    match file::flock(lock.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
        Ok(()) => {}
        Err(Errno::EWOULDBLOCK) => return Ok(Held::Elsewhere),
        Err(e) => return Err(failed("lock", &path, &e.into())),
    }
    // The file may have been unlinked, and the directory made anew, while we waited: then this lock guards nothing.
    match fs::symlink_metadata(&path) {
        Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => Ok(Held::Yes(Reserved { dir: dir.to_owned(), lock })),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("read", &path, &e)),
        Ok(_) | Err(_) => Ok(Held::Gone),
    }
}

/// Whether it was not there before.
fn make_dir(dir: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

impl Reserved {
    /// Writes the record, whole or not at all. No fsync: after a power loss there is no container either.
    pub fn save(&self, record: &Record) -> Result<()> {
        let (file, new) = (self.dir.join(STATE), self.dir.join(NEW));
        let text = sealed(serde_json::to_vec(record).map_err(|e| Error::new("cannot write the state").cause(e))?);
        let written = write(&new, &text).and_then(|()| fs::rename(&new, &file)).and_then(|()| write(&self.dir.join(COPY), &text));
        written.map_err(|e| failed("write", &file, &e))
    }

    /// The lock, for a child that must not share it: a lock lives as long as anybody has it open.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Keeps what the container is made of.
    pub fn keep_config(&self, spec: &Spec) -> Result<()> {
        let file = self.dir.join(CONFIG);
        let text = serde_json::to_vec(spec).map_err(|e| Error::new("cannot write the configuration").cause(e))?;
        write(&file, &text).map_err(|e| failed("write", &file, &e))
    }

    /// Makes the FIFOs by which `start` reaches the container's process; both ends of each, for that process to hold.
    pub fn fifos(&self) -> Result<(OwnedFd, OwnedFd)> {
        let fifo = |name: &str| {
            let path = self.dir.join(name);
            let made = nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from);
            // Both ends: a FIFO without a writer would be at its end at once.
            let open = made.and_then(|()| OpenOptions::new().read(true).write(true).open(&path));
            open.map(OwnedFd::from).map_err(|e| failed("make", &path, &e))
        };
        Ok((fifo(START)?, fifo(FAULT)?))
    }

    /// Where the container's broker of Unix sockets listens for processes of `exec`.
    pub fn door(&self) -> PathBuf {
        self.dir.join(DOOR)
    }

    /// The place of a further file, which goes when the rest goes.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Removes everything that is kept of the container; content if it is gone already.
    pub fn remove(self) -> Result<()> {
        clear(&self.dir)?;
        // The lock last, since without it the rest is anybody's; a crash before leaves a directory that can be reserved again.
        match fs::remove_file(self.dir.join(LOCK)).and_then(|()| fs::remove_dir(&self.dir)) {
            // Whoever was waiting for the lock may have taken the name the moment the file went: it is theirs now.
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(failed("remove", &self.dir, &e))
            }
            _ => Ok(()),
        }
    }
}

/// Everything but the lock; the record first, since what has none can be reserved again.
fn clear(dir: &Path) -> Result<()> {
    [STATE, NEW, COPY, CONFIG, START, FAULT, DOOR].iter().try_for_each(|name| unlink(&dir.join(name)))
}

/// Removes what is there of that name, if anything is; an empty directory too, which somebody has put there.
fn unlink(path: &Path) -> Result<()> {
    let removed = match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::IsADirectory => fs::remove_dir(path),
        removed => removed,
    };
    match removed {
        Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => {
            Err(failed("remove", path, &e).hint("empty it: what is in there is not codexrun's"))
        }
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", path, &e)),
        _ => Ok(()),
    }
}

/// Whether something else stands there.
fn is_no_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file())
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // Said aloud: a child that was forked without exec shares the lock, and closing our descriptor would not end it.
        let _ = self.lock.unlock();
    }
}

/// With a line that says what stood above it: in a pid or a start time any other digit would be believed.
pub(crate) fn sealed(mut text: Vec<u8>) -> Vec<u8> {
    let seal = seal(&text);
    text.push(b'\n');
    text.extend(seal.as_bytes());
    text
}

/// What was sealed, if it is still that.
fn unsealed(text: &[u8]) -> Option<&[u8]> {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return Some(text) };
    (text[end + 1..] == *seal(&text[..end]).as_bytes()).then_some(&text[..end])
}

fn seal(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(8).fold(String::new(), |seal, byte| format!("{seal}{byte:02x}"))
}

fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(text)
}

/// Nothing has this name.
pub fn absent() -> Error {
    Error::new("container does not exist").hint("`codexrun list` has those that do; `--root` says where they are recorded")
}

fn failed(call: &str, path: &Path, e: &io::Error) -> Error {
    Error::new(format!("cannot {call} `{}`", path.display())).cause(e)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, sleeper};
    use super::*;
    use crate::annotation::PLACEHOLDER_MODE;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("deep/root"));
        (dir, store)
    }

    fn id(text: &str) -> ContainerId {
        text.parse().unwrap()
    }

    fn said<T>(result: Result<T>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn a_record_is_saved_and_found_again() {
        let (_dir, store) = store();
        assert_eq!(store.list().unwrap(), []);
        let mut child = sleeper();
        let first = record("a", &child);
        store.reserve(&id("a")).unwrap().save(&first).unwrap();
        let first = Record { dir: store.dir(&id("a")), ..first };
        assert_eq!(store.load(&id("a")).unwrap(), first);
        assert_eq!(store.list().unwrap(), [Ok(first)]);
        let file = store.dir(&id("a")).join(STATE);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        child.kill().unwrap();
        child.wait().unwrap();
        store.hold(&id("a")).unwrap().unwrap().remove().unwrap();
        assert_eq!(store.load(&id("a")).err(), Some(absent()));
        assert!(!store.dir(&id("a")).exists());
    }

    #[test]
    fn an_id_is_taken_once() {
        let (_dir, store) = store();
        let mut child = sleeper();
        let held = store.reserve(&id("a")).unwrap();
        assert_eq!(said(store.reserve(&id("a"))), "container with given ID already exists");
        held.save(&record("a", &child)).unwrap();
        drop(held);
        assert_eq!(said(store.reserve(&id("a"))), "container with given ID already exists");
        store.reserve(&id("b")).unwrap();
        store.hold(&id("a")).unwrap().unwrap().remove().unwrap();
        store.reserve(&id("a")).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_reservation_that_was_abandoned_is_free_again() {
        let (_dir, store) = store();
        drop(store.reserve(&id("a")).unwrap());
        assert_eq!(store.load(&id("a")).err(), Some(absent()));
        assert_eq!(store.list().unwrap(), []);
        store.reserve(&id("a")).unwrap().remove().unwrap();
        assert!(!store.dir(&id("a")).exists());
    }

    #[test]
    fn what_is_no_lock_holds_nobody_up_and_goes_with_what_is_removed() {
        let (_dir, store) = store();
        let lock = store.dir(&id("a")).join(LOCK);
        let put: [fn(&Path); 4] = [
            |at| nix::unistd::mkfifo(at, Mode::S_IRWXU).unwrap(),
            |at| fs::create_dir(at).unwrap(),
            |at| std::os::unix::fs::symlink("nowhere", at).unwrap(),
            |at| drop(std::os::unix::net::UnixListener::bind(at).unwrap()),
        ];
        for put in put {
            fs::create_dir_all(store.dir(&id("a"))).unwrap();
            put(&lock);
            let why = format!("`{}`, by which codexrun holds a container, is no regular file", lock.display());
            for said in [said(store.reserve(&id("a"))), said(store.hold(&id("a")))] {
                assert!(said.starts_with(&why) && said.ends_with("(hint: `codexrun delete --force a` removes it)"), "{said}");
            }
            store.hold_to_remove(&id("a")).unwrap().unwrap().remove().unwrap();
            assert!(!store.dir(&id("a")).exists());
        }
        fs::create_dir_all(lock.join("somebodys")).unwrap();
        assert!(said(store.hold_to_remove(&id("a"))).contains("/a/lock`: Directory not empty"));
        // One that is a lock stays whose it is.
        let held = store.reserve(&id("b")).unwrap();
        assert!(matches!(hold(&held.dir), Ok(Held::Elsewhere)));
    }

    #[test]
    fn a_directory_in_the_place_of_a_file_of_ours_goes_with_the_rest() {
        let (_dir, store) = store();
        for name in [STATE, NEW, COPY, CONFIG, START, FAULT, DOOR] {
            let held = store.reserve(&id("a")).unwrap();
            fs::create_dir(held.dir.join(name)).unwrap();
            held.remove().unwrap();
            assert!(!store.dir(&id("a")).exists(), "{name}");
        }
    }

    #[test]
    fn what_a_crash_left_is_not_taken_for_the_next_containers() {
        let (_dir, store) = store();
        let held = store.reserve(&id("a")).unwrap();
        held.fifos().unwrap();
        held.keep_config(&Spec::default()).unwrap();
        drop(held);
        let held = store.reserve(&id("a")).unwrap();
        assert_eq!(fs::read_dir(store.dir(&id("a"))).unwrap().count(), 1, "only the lock");
        held.fifos().unwrap();
        held.remove().unwrap();
        assert!(!store.dir(&id("a")).exists());
    }

    #[test]
    fn many_at_once_get_one_reservation() {
        let (_dir, store) = store();
        let won = std::thread::scope(|s| {
            let tries: Vec<_> = (0..8).map(|_| s.spawn(|| store.reserve(&id("a")).ok())).collect();
            tries.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>().iter().flatten().count()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn names_that_come_and_go_are_never_held_twice() {
        let (_dir, store) = store();
        let holders = std::sync::atomic::AtomicUsize::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        let round = || {
            let Ok(held) = store.reserve(&id("a")) else {
                return;
            };
            assert_eq!(holders.fetch_add(1, order), 0);
            fs::write(held.dir.join(STATE), "x").unwrap();
            holders.fetch_sub(1, order);
            held.remove().unwrap();
        };
        std::thread::scope(|s| (0..4).for_each(|_| drop(s.spawn(|| (0..500).for_each(|_| round())))));
        assert!(!store.dir(&id("a")).exists());
    }

    #[test]
    fn a_garbled_record_is_named_and_can_be_deleted() {
        let (_dir, store) = store();
        let dir = store.dir(&id("a"));
        fs::create_dir_all(&dir).unwrap();
        for text in ["", "{", "{\"id\":\"../b\"}", "null"] {
            fs::write(dir.join(STATE), text).unwrap();
            let error = said(store.load(&id("a")));
            assert!(error.contains("/a/state.json: garbled record: "), "{error}");
            let hint = "(hint: `codexrun delete --force a` removes it when nobody is in its cgroup any more, and ends nobody)";
            assert!(error.ends_with(hint), "{error}");
            assert!(store.list().unwrap()[0].is_err());
        }
        store.hold(&id("a")).unwrap().unwrap().remove().unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn a_record_that_was_spoilt_has_a_copy() {
        let (_dir, store) = store();
        let mut child = sleeper();
        let first = record("a", &child);
        store.reserve(&id("a")).unwrap().save(&first).unwrap();
        fs::write(store.dir(&id("a")).join(STATE), "{").unwrap();
        assert_eq!(store.load(&id("a")).unwrap().pid, first.pid);
        fs::write(store.dir(&id("a")).join(COPY), "").unwrap();
        assert!(said(store.load(&id("a"))).contains("/a/state.json: garbled record: "));
        fs::remove_file(store.dir(&id("a")).join(STATE)).unwrap();
        assert_eq!(store.load(&id("a")).err(), Some(absent()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_record_that_was_changed_anywhere_is_not_believed_and_its_copy_is() {
        let (_dir, store) = store();
        let mut child = sleeper();
        let first = record("a", &child);
        store.reserve(&id("a")).unwrap().save(&first).unwrap();
        let [state, copy] = [STATE, COPY].map(|name| store.dir(&id("a")).join(name));
        let whole = fs::read(&state).unwrap();
        let is_first = |found: Record| (found.pid, found.start_time) == (first.pid, first.start_time);
        for at in 0..whole.len() {
            let bits = [1, 4, 32].map(|bit| [&whole[..at], &[whole[at] ^ bit], &whole[at + 1..]].concat());
            for text in bits.into_iter().chain([whole[..at].to_vec()]) {
                fs::write(&state, &text).unwrap();
                assert!(is_first(store.load(&id("a")).unwrap()), "{at}: {}", String::from_utf8_lossy(&text));
                fs::write(&copy, &text).unwrap();
                assert!(store.load(&id("a")).map_or(true, is_first), "{at}: {}", String::from_utf8_lossy(&text));
                assert_eq!(said(store.reserve(&id("a"))), "container with given ID already exists");
                fs::write(&copy, &whole).unwrap();
            }
            // It stays in the list, whatever it says.
            assert_eq!(store.list().unwrap().len(), 1);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_placeholder_of_a_sandbox_becomes_the_root_when_there_is_something_to_record() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { root: dir.path().join("r"), guarded: true };
        fs::create_dir(&store.root).unwrap();
        // The second as it is in a directory that hands its group on.
        for mode in [PLACEHOLDER_MODE, PLACEHOLDER_MODE | 0o2000] {
            fs::set_permissions(&store.root, Permissions::from_mode(mode)).unwrap();
            assert_eq!(store.list().unwrap(), []);
            store.reserve(&id("a")).unwrap();
            assert_eq!(fs::metadata(&store.root).unwrap().mode() & 0o7777, 0o700);
            fs::remove_dir_all(store.root.join("a")).unwrap();
        }
    }

    #[test]
    fn a_record_of_another_container_is_not_believed() {
        let (_dir, store) = store();
        let mut child = sleeper();
        store.reserve(&id("a")).unwrap().save(&record("b", &child)).unwrap();
        assert!(said(store.load(&id("a"))).contains("it is of container `b`"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_public_root_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("r");
        let store = Store { root: root.clone(), guarded: true };
        store.reserve(&id("a")).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(said(store.load(&id("a"))).contains("only you can enter"));
        assert!(said(store.reserve(&id("b"))).contains("only you can enter"));
        assert!(said(store.hold(&id("a"))).contains("only you can enter"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(Store { root: link, guarded: true }.list().is_err());
    }
}
