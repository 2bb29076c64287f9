//! What the last walk of a tree found, directory by directory, so that the next one asks each directory only whether it has changed.
//!
//! A name can appear in a directory, go, or become something else only with its mtime and ctime; ctime cannot be set by anybody. Both have the
//! clock's granularity: a directory that changed within [`YOUNG`] before the walk is read again next time.
//!
//! A cache that was forged would hide a secret. It is therefore read only from a file and a directory that belong to the caller and to which
//! nobody else may write, and compile keeps the directory read-only in every sandbox that may write around it.

use super::scan::Level;
use super::{Kind, Search};
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// File systems keep times in steps of up to this.
const YOUNG: Duration = Duration::from_secs(2);
/// Fewer directories are read as fast as a file about them.
const WORTH: usize = 64;
/// More than a tree of a million directories needs.
const MAX_BYTES: u64 = 256 << 20;
/// Trees that are remembered; more would fill /run with such as nobody searches any more.
const MOST: usize = 64;
const MAGIC: &[u8] = b"codexrun scan 1\n";

/// Which directory it was, and when it last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    dev: u64,
    ino: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        let (mtime, ctime) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        Stamp { dev: meta.dev(), ino: meta.ino(), mtime, ctime }
    }

    fn numbers(self) -> [i64; 6] {
        [self.dev.cast_signed(), self.ino.cast_signed(), self.mtime.0, self.mtime.1, self.ctime.0, self.ctime.1]
    }
}

/// What is known from before, and what is to be known next time.
pub(super) struct Cache {
    file: PathBuf,
    key: Vec<u8>,
    known: HashMap<OsString, (Stamp, Level)>,
    /// Directories that changed after this are not remembered.
    old: i64,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    seen: Vec<(PathBuf, Stamp, Level)>,
    read: usize,
}

impl Cache {
    /// For one search. `None`: the directory cannot be trusted.
    pub fn open(dir: &Path, search: &Search) -> Option<Cache> {
        if fs::symlink_metadata(dir).is_ok_and(|meta| !is_ours(&meta, true)) {
            return None;
        }
        let key = key(search);
        let name = Sha256::digest(&key).iter().take(16).fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        let file = dir.join(name);
        let known = load(&file, &key).unwrap_or_default();
        let start = SystemTime::now().checked_sub(YOUNG)?.duration_since(UNIX_EPOCH).ok()?;
        Some(Cache { file, key, known, old: i64::try_from(start.as_secs()).ok()?, now: Mutex::default() })
    }

    /// What a directory holds: as remembered if it is still the same, else as `read` finds it.
    pub fn level(&self, dir: &Path, read: impl FnOnce() -> io::Result<Level>) -> io::Result<Level> {
        let stamp = Stamp::of(&fs::symlink_metadata(dir)?);
        let known = self.known.get(dir.as_os_str()).filter(|(known, _)| *known == stamp).map(|(_, level)| level.clone());
        let is_known = known.is_some();
        let level = known.map_or_else(read, Ok)?;
        if stamp.mtime.0.max(stamp.ctime.0) < self.old {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.read += usize::from(!is_known);
            now.seen.push((dir.into(), stamp, level.clone()));
        }
        Ok(level)
    }

    /// Writes down what was seen, if that saves the next walk enough. What goes wrong costs only time, so nobody is told.
    pub fn save(self) {
        let now = self.now.into_inner().unwrap_or_else(PoisonError::into_inner);
        if now.seen.len() >= WORTH && now.read * 16 >= now.seen.len() {
            store(&self.file, &text(&self.key, &now.seen)).unwrap_or(());
        }
    }
}

fn is_ours(meta: &Metadata, dir: bool) -> bool {
    meta.uid() == geteuid().as_raw() && meta.mode() & 0o077 == 0 && if dir { meta.is_dir() } else { meta.is_file() }
}

/// Everything that decides what a walk enters and keeps.
fn key(search: &Search) -> Vec<u8> {
    format!("{:?}", (search.root, search.patterns, search.max_depth, search.open)).into_bytes()
}

fn load(file: &Path, key: &[u8]) -> Option<HashMap<OsString, (Stamp, Level)>> {
    let mut file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file).ok()?;
    let meta = file.metadata().ok()?;
    if !is_ours(&meta, false) || meta.len() > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    parse(&bytes, key)
}

/// What [`text`] has written. `None`: something else, or for another search.
pub fn parse(text: &[u8], key: &[u8]) -> Option<HashMap<OsString, (Stamp, Level)>> {
    let mut reader = Reader(text.strip_prefix(MAGIC)?);
    if reader.bytes()? != key {
        return None;
    }
    let mut known = HashMap::new();
    while !reader.0.is_empty() {
        let dir = reader.name()?;
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = reader.number()?;
        }
        let [dev, ino, m, mn, c, cn] = numbers;
        let stamp = Stamp { dev: dev.cast_unsigned(), ino: ino.cast_unsigned(), mtime: (m, mn), ctime: (c, cn) };
        let below = (0..reader.number()?).map(|_| reader.name()).collect::<Option<_>>()?;
        let hits = (0..reader.number()?).map(|_| Some((reader.name()?, reader.kind()?))).collect::<Option<_>>()?;
        known.insert(dir, (stamp, Level { hits, below }));
    }
    Some(known)
}

/// The directory is made when it is missing.
fn store(file: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    crate::put::whole(file, text, 0o600)?;
    file.parent().map_or(Ok(()), prune)
}

/// Removes the oldest.
fn prune(dir: &Path) -> io::Result<()> {
    let age = |entry: fs::DirEntry| Ok((entry.metadata()?.modified()?, entry.path()));
    let mut files = fs::read_dir(dir)?.map(|entry| age(entry?)).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let excess = files.len().saturating_sub(MOST);
    files.into_iter().take(excess).try_for_each(|(_, file)| fs::remove_file(file))
}

pub fn text(key: &[u8], seen: &[(PathBuf, Stamp, Level)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let number = |out: &mut Vec<u8>, n: i64| out.extend(n.to_le_bytes());
    let name = |out: &mut Vec<u8>, name: &[u8]| {
        number(out, name.len() as i64);
        out.extend(name);
    };
    name(&mut out, key);
    for (dir, stamp, level) in seen {
        name(&mut out, dir.as_os_str().as_bytes());
        stamp.numbers().into_iter().for_each(|n| number(&mut out, n));
        number(&mut out, level.below.len() as i64);
        level.below.iter().for_each(|below| name(&mut out, below.as_bytes()));
        number(&mut out, level.hits.len() as i64);
        for (hit, kind) in &level.hits {
            name(&mut out, hit.as_bytes());
            number(&mut out, KINDS.iter().position(|k| k == kind).unwrap_or_default() as i64);
        }
    }
    out
}

const KINDS: [Kind; 3] = [Kind::Dir, Kind::File, Kind::Symlink];

/// What is left to read. `None` from any question: the file is damaged, and counts for nothing.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<i64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn name(&mut self) -> Option<OsString> {
        self.bytes().map(|bytes| OsString::from_vec(bytes.to_vec()))
    }

    fn kind(&mut self) -> Option<Kind> {
        KINDS.get(usize::try_from(self.number()?).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::glob::Pattern;
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    /// A tree of many directories that nobody has touched for a while, as far as a cache can see.
    struct Tree {
        dir: tempfile::TempDir,
        patterns: Vec<Pattern>,
        /// Directories that were read, not remembered.
        read: Cell<usize>,
        late: Duration,
    }

    impl Tree {
        fn new() -> Tree {
            let dir = tempfile::tempdir().unwrap();
            (0..WORTH + 10).for_each(|n| fs::create_dir_all(dir.path().join(format!("tree/{n}"))).unwrap());
            let patterns = Pattern::parse(dir.path(), "**/*.env").unwrap();
            Tree { dir, patterns, read: Cell::new(0), late: Duration::from_secs(60) }
        }

        fn cache(&self) -> Option<Cache> {
            let root = self.dir.path();
            let search = Search { root, patterns: &self.patterns, max_depth: None, open: &[] };
            let cache = Cache::open(&root.join("cache"), &search)?;
            Some(Cache { old: cache.old + self.late.as_secs() as i64, ..cache })
        }

        /// Names found, and how many directories were read for it.
        fn walk(&self) -> (Vec<OsString>, usize) {
            let cache = self.cache();
            self.read.set(0);
            let mut hits = Vec::new();
            for n in 0..WORTH + 10 {
                let at = self.dir.path().join(format!("tree/{n}"));
                let read = || {
                    self.read.set(self.read.get() + 1);
                    let names = fs::read_dir(&at)?.map(|e| Ok((e?.file_name(), Kind::File))).collect::<io::Result<_>>()?;
                    Ok(Level { hits: names, below: Vec::new() })
                };
                let level = cache.as_ref().map_or_else(read, |cache| cache.level(&at, read)).unwrap();
                hits.extend(level.hits.into_iter().map(|(name, _)| name));
            }
            cache.into_iter().for_each(Cache::save);
            (hits, self.read.get())
        }

        fn file(&self) -> PathBuf {
            fs::read_dir(self.dir.path().join("cache")).unwrap().next().unwrap().unwrap().path()
        }
    }

    #[test]
    fn an_unchanged_tree_is_not_read_again() {
        let tree = Tree::new();
        fs::write(tree.dir.path().join("tree/7/a.env"), "").unwrap();
        let all = WORTH + 10;
        assert_eq!(tree.walk(), (vec!["a.env".into()], all));
        assert_eq!(tree.walk(), (vec!["a.env".into()], 0));
        fs::write(tree.dir.path().join("tree/8/b.env"), "").unwrap();
        assert_eq!(tree.walk(), (vec!["a.env".into(), "b.env".into()], 1));
        fs::remove_file(tree.dir.path().join("tree/7/a.env")).unwrap();
        assert_eq!(tree.walk().0, ["b.env"]);
    }

    #[test]
    fn what_changed_a_moment_ago_is_read_again() {
        let tree = Tree { late: Duration::ZERO, ..Tree::new() };
        tree.walk();
        assert_eq!(tree.walk().1, WORTH + 10);
    }

    #[test]
    fn a_directory_whose_times_were_set_back_is_read_again() {
        let tree = Tree::new();
        tree.walk();
        let at = tree.dir.path().join("tree/3");
        let before = fs::metadata(&at).unwrap().modified().unwrap();
        fs::write(at.join("new.env"), "").unwrap();
        File::open(&at).unwrap().set_modified(before).unwrap();
        assert_eq!(tree.walk(), (vec!["new.env".into()], 1), "ctime tells");
    }

    #[test]
    fn a_cache_that_others_could_have_written_is_not_believed() {
        let tree = Tree::new();
        tree.walk();
        let (file, dir) = (tree.file(), tree.dir.path().join("cache"));
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o620);
        assert_eq!(tree.walk().1, WORTH + 10);
        mode(&dir, 0o777);
        assert!(tree.cache().is_none());
        mode(&dir, 0o700);
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        assert_eq!(tree.walk().1, WORTH + 10);
    }

    #[test]
    fn the_oldest_trees_are_forgotten() {
        let tree = Tree::new();
        tree.walk();
        let dir = tree.dir.path().join("cache");
        for n in 0..MOST + 5 {
            let file = File::create(dir.join(n.to_string())).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(n as u64)).unwrap();
        }
        prune(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), MOST);
        assert!(dir.join((MOST + 4).to_string()).exists() && !dir.join("0").exists());
        assert_eq!(tree.walk().1, 0, "the newest is still known");
    }

    #[test]
    fn a_damaged_cache_counts_for_nothing() {
        let tree = Tree::new();
        tree.walk();
        let whole = fs::read(tree.file()).unwrap();
        for length in [0, 5, MAGIC.len(), 40, whole.len() - 1] {
            let key = tree.cache().unwrap().key;
            fs::write(tree.file(), &whole[..length]).unwrap();
            assert!(load(&tree.file(), &key).is_none(), "{length}");
        }
    }
}
