//! The floor: clone3, the mounts it is told, execve, wait. No checks, no policy, no state, no clean-up but `rmdir`; what
//! a runtime takes beyond this is its own doing.
//!
//!     floor [-r FILE] FLAG… STEP… -- CMD ARG…
//!     floor -t
//!
//! FLAGs are namespaces (`user net …`), STEPs are described at [`Step`]. `-r FILE` writes the largest resident size of
//! any process of the tree, in KiB, to FILE: this program is so small that what `vfork` inherits from it does not count.
//!
//! `-t` is a payload: it writes the time (CLOCK_MONOTONIC, eight bytes of nanoseconds) to its standard output, a pipe, and lives until
//! nobody reads from that any more.
#![no_main]

mod sys;

use libc::c_int;
use std::ffi::CStr;

type Words = std::slice::Iter<'static, &'static CStr>;

/// One thing the child does. Paths are relative to the new root once `scratch` or `rootfs` has been said.
#[derive(Clone, Copy)]
enum Step {
    /// `map IN OUT`: the child maps itself, so that nobody has to wait for the other.
    Map(&'static CStr, &'static CStr),
    /// `lo`: loopback up; the kernel adds 127.0.0.1 and ::1 by itself.
    Lo,
    /// `scratch`: the new root is an empty tmpfs.
    Scratch,
    /// `rootfs PATH`: the new root is a directory.
    Rootfs(&'static CStr),
    /// `dir PATH`
    Dir(&'static CStr),
    /// `file PATH`: an empty file, to bind over.
    File(&'static CStr),
    /// `link TEXT PATH`
    Link(&'static CStr, &'static CStr),
    /// `node PATH MINOR`: a character device of major 1, or 5 for minor 0 (tty).
    Node(&'static CStr, u32),
    /// `ro SRC DST`, `rw SRC DST`, `dev SRC DST`: a recursive bind, opened before the view changes.
    Bind(&'static CStr, &'static CStr, u64),
    /// `mount TYPE PATH FLAGS DATA`; `-` for no data.
    Mount(&'static CStr, &'static CStr, u64, &'static CStr),
    /// `cover PATH`: itself, read-only.
    Cover(&'static CStr),
    /// `hostname NAME`
    Hostname(&'static CStr),
    /// `pivot`
    Pivot,
    /// `cd PATH`
    Cd(&'static CStr),
    /// `rmdir PATH`: what the parent removes at the end, by its path on the host.
    Rmdir(&'static CStr),
}

const NAMESPACES: &[(&CStr, c_int)] = &[
    (c"user", libc::CLONE_NEWUSER),
    (c"mnt", libc::CLONE_NEWNS),
    (c"pid", libc::CLONE_NEWPID),
    (c"ipc", libc::CLONE_NEWIPC),
    (c"uts", libc::CLONE_NEWUTS),
    (c"net", libc::CLONE_NEWNET),
];

const USAGE: c_int = 2;

struct Run {
    rusage: Option<&'static CStr>,
    flags: c_int,
    steps: Vec<Step>,
    command: &'static [&'static CStr],
}

fn parse(args: &'static [&'static CStr]) -> Option<Run> {
    let cut = args.iter().position(|a| *a == c"--")?;
    let (mut rest, mut run) = (args[..cut].iter(), Run { rusage: None, flags: 0, steps: Vec::new(), command: &args[cut + 1..] });
    while let Some(&word) = rest.next() {
        if word == c"-r" {
            run.rusage = Some(rest.next()?);
        } else if let Some((_, flag)) = NAMESPACES.iter().find(|(name, _)| *name == word) {
            run.flags |= flag;
        } else {
            run.steps.push(step(word, &mut rest)?);
        }
    }
    Some(run)
}

fn step(word: &CStr, rest: &mut Words) -> Option<Step> {
    let mut arg = || rest.next().copied();
    Some(match word.to_bytes() {
        b"map" => Step::Map(arg()?, arg()?),
        b"lo" => Step::Lo,
        b"scratch" => Step::Scratch,
        b"rootfs" => Step::Rootfs(arg()?),
        b"dir" => Step::Dir(arg()?),
        b"file" => Step::File(arg()?),
        b"link" => Step::Link(arg()?, arg()?),
        b"node" => Step::Node(arg()?, number(arg()?)? as u32),
        b"ro" => Step::Bind(arg()?, arg()?, sys::RDONLY | sys::NOSUID | sys::NODEV),
        b"rw" => Step::Bind(arg()?, arg()?, sys::NOSUID | sys::NODEV),
        b"dev" => Step::Bind(arg()?, arg()?, sys::NOSUID),
        b"mount" => Step::Mount(arg()?, arg()?, number(arg()?)?, arg().map(|data| if data == c"-" { c"" } else { data })?),
        b"cover" => Step::Cover(arg()?),
        b"hostname" => Step::Hostname(arg()?),
        b"pivot" => Step::Pivot,
        b"cd" => Step::Cd(arg()?),
        b"rmdir" => Step::Rmdir(arg()?),
        _ => return None,
    })
}

fn number(text: &CStr) -> Option<u64> {
    text.to_str().ok()?.parse().ok()
}

impl Step {
    fn run(&self, tree: c_int) -> c_int {
        match *self {
            Step::Map(inside, outside) => sys::map(inside, outside),
            Step::Lo => sys::lo(),
            Step::Scratch => sys::scratch(),
            Step::Rootfs(path) => sys::rootfs(path),
            Step::Dir(path) => sys::mkdir(path),
            Step::File(path) => sys::mkfile(path),
            Step::Link(text, path) => sys::symlink(text, path),
            Step::Node(path, minor) => sys::mknod(path, if minor == 0 { 5 } else { 1 }, minor),
            Step::Bind(_, to, _) => sys::attach(tree, to),
            Step::Mount(kind, at, flags, data) => sys::mount(kind, at, flags, data),
            Step::Cover(path) => sys::attach(sys::open_tree(path, sys::RDONLY | sys::NOSUID | sys::NODEV), path),
            Step::Hostname(name) => sys::hostname(name),
            Step::Pivot => sys::pivot(),
            Step::Cd(path) => sys::chdir(path),
            Step::Rmdir(_) => 0,
        }
    }
}

/// In the child: never returns but by failing. The number of the step that failed is the exit code.
fn child(run: &Run, trees: &mut [c_int], argv: &[*const libc::c_char]) -> c_int {
    if run.flags & libc::CLONE_NEWNS != 0 && sys::make_slave() < 0 {
        return 101;
    }
    let binds = run.steps.iter().zip(trees.iter_mut());
    for (step, tree) in binds {
        if let Step::Bind(from, _, attributes) = step {
            *tree = sys::open_tree(from, *attributes);
        }
    }
    match run.steps.iter().zip(trees.iter()).position(|(step, tree)| step.run(*tree) < 0) {
        Some(failed) => 102 + failed as c_int,
        None => sys::exec(argv),
    }
}

fn run(args: &'static [&'static CStr]) -> c_int {
    if *args == [c"-t"] {
        return sys::tell_time_and_wait();
    }
    let Some(run) = parse(args) else { return USAGE };
    if run.command.is_empty() {
        return USAGE;
    }
    let mut trees = vec![-1; run.steps.len()];
    let argv: Vec<_> = run.command.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    let pid = sys::clone3(run.flags);
    if pid == 0 {
        sys::exit(child(&run, &mut trees, &argv));
    }
    let (code, peak) = sys::wait(pid);
    for step in &run.steps {
        if let Step::Rmdir(path) = step {
            sys::rmdir(path);
        }
    }
    if let Some(file) = run.rusage {
        sys::write_number(file, peak);
    }
    code
}
