//! The walk that finds what deny patterns match: by as many threads as there are processors once a tree turns out to be large, into
//! directories only below which something can still match. Never follows a symbolic link. The threads have ended when it returns, so that
//! the caller is alone again at clone3(2).

use super::{Hit, Kind, Search};
use crate::policy::glob::Progress;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Directories that are read before anybody is asked to help: a thread costs as much as some of them.
const ALONE: usize = 64;
/// Bytes of the path of a directory that is still gone into; a longer one is a match as a whole, since there is an end to what a path can say
/// (PATH_MAX), and whoever can write could make every later search fail by going beyond.
const LONGEST: usize = 3500;
/// More only wait for each other's locks in the kernel.
const MAX_WORKERS: usize = 8;

/// What of a directory matters: names that match, and directories to go on in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    pub hits: Vec<(OsString, Kind)>,
    pub below: Vec<OsString>,
}

/// Where a walk gets its directories from.
pub(super) trait Source: Sync {
    /// Reads a directory; of its entries `see` keeps what matters.
    ///
    /// # Errors
    /// Those of readdir(3); a directory that is gone has nothing in it.
    fn level(&self, dir: &Path, see: &dyn Fn(&OsStr, Kind, &mut Level)) -> io::Result<Level>;
}

/// What was found, sorted; directories that could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What matches.
    pub hits: Vec<Hit>,
    /// Directories whose entries the caller may not list, but may open by name.
    pub barred: Vec<PathBuf>,
}

/// Walks the tree of a search.
pub(super) fn scan(search: &Search, source: &dyn Source, workers: usize) -> io::Result<Found> {
    let walk = Walk { search, source, state: Mutex::default(), changed: Condvar::new() };
    walk.lock().todo.push(Job { dir: search.root.into(), progress: Progress::start(search.patterns), depth: 1 });
    walk.work(ALONE);
    let helpers = if walk.lock().todo.is_empty() { 0 } else { workers.min(MAX_WORKERS).saturating_sub(1) };
    std::thread::scope(|threads| {
        // Where there may be no more of them (RLIMIT_NPROC, a pids cgroup) it takes longer.
        let helped = |_: &usize| std::thread::Builder::new().spawn_scoped(threads, || walk.work(usize::MAX)).is_ok();
        (0..helpers).take_while(helped).for_each(drop);
        walk.work(usize::MAX);
    });
    let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut found = state.failed.map_or(Ok(state.found), Err)?;
    found.hits.sort_by(|a, b| a.path.cmp(&b.path));
    found.barred.sort();
    Ok(found)
}

struct Walk<'a> {
    search: &'a Search<'a>,
    source: &'a dyn Source,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    todo: Vec<Job>,
    /// Those who may still find more to do.
    busy: usize,
    found: Found,
    failed: Option<io::Error>,
}

struct Job {
    dir: PathBuf,
    progress: Progress,
    /// Of its entries; those of the root have 1.
    depth: usize,
}

impl Walk<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads directories until there are none left, or as many as `most`.
    fn work(&self, most: usize) {
        for _ in 0..most {
            let Some(job) = self.next() else { return };
            let level = self.read(&job);
            let mut state = self.lock();
            match level {
                Ok(level) => self.keep(&mut state, &job, level),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => state.found.barred.push(job.dir),
                Err(e) => {
                    let what = format!("`{}`: {e}", job.dir.display());
                    state.failed.get_or_insert(io::Error::new(e.kind(), what));
                    state.todo.clear();
                }
            }
            state.busy -= 1;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        while state.todo.is_empty() && state.busy > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let job = state.todo.pop()?;
        state.busy += 1;
        Some(job)
    }

    fn read(&self, job: &Job) -> io::Result<Level> {
        let Search { patterns, max_depth, .. } = *self.search;
        let deeper = max_depth.is_none_or(|most| job.depth < most);
        self.source.level(&job.dir, &|name, kind, level| {
            let (hit, below) = job.progress.step(patterns, name);
            let enter = kind == Kind::Dir && deeper && !below.is_over();
            // What is denied as a whole is looked into only for the sake of what is granted inside.
            if enter && (!hit || self.is_open(&job.dir, name)) {
                level.below.push(name.into());
            }
            if hit {
                level.hits.push((name.into(), kind));
            }
        })
    }

    fn is_open(&self, dir: &Path, name: &OsStr) -> bool {
        let at = dir.join(name);
        self.search.open.iter().any(|open| open.starts_with(&at))
    }

    fn keep(&self, state: &mut State, job: &Job, level: Level) {
        let Level { hits, below } = level;
        state.found.hits.extend(hits.into_iter().map(|(name, kind)| Hit { path: job.dir.join(name), kind }));
        if state.failed.is_some() {
            return;
        }
        for name in below {
            let (_, progress) = job.progress.step(self.search.patterns, &name);
            let dir = job.dir.join(name);
            match dir.as_os_str().len() > LONGEST {
                true => state.found.hits.push(Hit { path: dir, kind: Kind::Dir }),
                false => state.todo.push(Job { dir, progress, depth: job.depth + 1 }),
            }
        }
    }
}
