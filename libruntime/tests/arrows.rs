//! Who may call whom (docs/architecture.md): the source is searched for what an arrow does not permit.

use std::fs;
use std::path::{Path, PathBuf};

/// Files, what may not stand there, and the exceptions.
struct Arrow {
    from: &'static [&'static str],
    never: &'static [&'static str],
    but: &'static [&'static str],
}

const ARROWS: &[Arrow] = &[
    // The plan thinks and touches nothing: of sys it has types and numbers only.
    Arrow {
        from: &["plan/", "bpf/"],
        never: &[
            "std::fs",
            "std::env",
            "std::process",
            "std::io",
            "crate::sys",
            "crate::state",
            "crate::run",
            "crate::policy",
            "crate::systemd",
            "nix::",
        ],
        but: &[
            "crate::systemd::value",
            "crate::systemd::text",
            "crate::sys::file::Resolve",
            "crate::sys::landlock::Handled",
            "crate::sys::mount::MountAttr",
            "crate::sys::mount::attr",
            "crate::sys::mount::{MountAttr, attr}",
        ],
    },
    // Policy ends with a bundle; only the view looks at the disk, and only it and the reader of policy files may.
    Arrow {
        from: &["policy/"],
        never: &[
            "crate::plan",
            "crate::run",
            "crate::state",
            "crate::sys",
            "crate::bpf",
            "crate::host",
            "std::process",
            "std::env::",
        ],
        // Where the records are, for no sandbox to reach them; by which names codexrun is executed, for none to replace them.
        but: &[
            "std::env::var_os",
            "std::env::consts",
            "std::env::current_exe",
            "crate::state::Store::places",
            "crate::sys::process::called",
        ],
    },
    Arrow { from: &["policy/compile/"], never: &["std::fs", "std::env", "nix::", "libc::open"], but: &[] },
    // Nothing is waited for by a clock that somebody can set.
    Arrow {
        from: &["run/", "broker/", "bridge/", "cgroup/", "systemd/", "host/", "sys/"],
        never: &["SystemTime", "CLOCK_REALTIME"],
        but: &[],
    },
    // Rules as they are written: who loads them is another.
    Arrow {
        from: &["landlock.rs"],
        never: &["crate::run", "crate::plan", "crate::policy", "crate::sys", "std::fs"],
        but: &["crate::sys::landlock::Handled"],
    },
    Arrow { from: &["losses.rs"], never: &["crate::run", "crate::policy", "std::process", "std::fs"], but: &[] },
    // Explain reads the plan and asks the host through one trait; it starts nothing.
    Arrow {
        from: &["explain/"],
        never: &["crate::run", "crate::state", "crate::cgroup", "std::process", "std::env", "nix::"],
        but: &[],
    },
    Arrow {
        from: &[
            "explain/answer.rs",
            "explain/because.rs",
            "explain/build.rs",
            "explain/facts.rs",
            "explain/right.rs",
            "explain/walk.rs",
            "explain/wall.rs",
        ],
        never: &["std::fs", "crate::sys"],
        but: &["crate::sys::mount::attr"],
    },
    // After the clone: the list and the kernel, nothing that decides, allocates by itself or looks at the user's file.
    Arrow {
        from: &["run/child.rs", "run/op/", "run/init.rs"],
        never: &[
            "std::fs",
            "std::env",
            "std::io",
            "std::process",
            "format!",
            "println!",
            "crate::state",
            "crate::policy",
            "crate::bundle",
            "crate::host",
            "crate::bpf",
            "oci_spec",
            "serde",
            "libc::syscall",
            "nix::",
        ],
        but: &[],
    },
    // The system calls know nobody.
    Arrow {
        from: &["sys/"],
        never: &[
            "crate::plan",
            "crate::run",
            "crate::state",
            "crate::policy",
            "crate::bundle",
            "crate::bpf",
            "crate::host",
            "crate::Error",
        ],
        but: &["crate::bpf::Insn", "crate::bpf::device::Insn"], // what seccomp(2) and bpf(2) take
    },
    // A client of systemd's: units and properties, whosever they are.
    Arrow {
        from: &["systemd/"],
        never: &[
            "crate::plan",
            "crate::run",
            "crate::state",
            "crate::policy",
            "crate::bundle",
            "crate::bpf",
            "crate::host",
            "crate::cgroup",
            "std::fs",
        ],
        but: &[],
    },
    // The parent's side of a cgroup: does what the plan says, and knows of no container.
    Arrow {
        from: &["cgroup/", "resctrl.rs"],
        never: &["crate::run", "crate::state", "crate::policy", "crate::bundle", "crate::bpf"],
        but: &[],
    },
    // Two hooks of any runtime: it knows what they are told, and the kernel.
    Arrow {
        from: &["bridge/"],
        never: &["crate::plan", "crate::state", "crate::policy", "crate::bundle", "crate::bpf", "crate::host", "oci_spec"],
        but: &[],
    },
    // Answers calls of a sandbox: it knows the kernel and what it was told when it began.
    Arrow {
        from: &["broker/"],
        never: &[
            "crate::plan",
            "crate::run",
            "crate::state",
            "crate::policy",
            "crate::bundle",
            "crate::bpf",
            "crate::host",
            "oci_spec",
            "std::process",
        ],
        but: &[],
    },
    Arrow { from: &["state/", "bundle/"], never: &["crate::plan", "crate::run", "crate::policy"], but: &[] },
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn cmd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cmd/src")
}

/// Every source file below `dir`, as its path from `src` and its lines without comments and tests.
fn sources(dir: &Path) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if !is_test(&path) {
            let name = path.strip_prefix(src()).unwrap_or(&path).to_str().unwrap().to_owned();
            all.push((name, code(&fs::read_to_string(&path).unwrap())));
        }
    }
    all
}

/// Files that `#[cfg(test)]` brings in.
fn is_test(path: &Path) -> bool {
    ["tests.rs", "testing.rs", "oracle.rs", "every.rs"].iter().any(|name| path.ends_with(name))
        || path.extension().is_none_or(|e| e != "rs")
}

fn code(text: &str) -> Vec<String> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let uncomment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text[..tests].lines().map(uncomment).collect()
}

impl Arrow {
    fn broken(&self, line: &str) -> Option<&'static str> {
        let mut rest = line.to_owned();
        self.but.iter().for_each(|allowed| rest = rest.replace(allowed, ""));
        self.never.iter().copied().find(|word| mentions(&rest, word))
    }
}

/// `nix::` is not mentioned by `unix::`.
fn mentions(line: &str, word: &str) -> bool {
    let inside = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| !inside(at))
}

#[test]
fn a_broken_arrow_is_seen() {
    let plan = &ARROWS[0];
    for line in
        ["use std::fs;", "    nix::unistd::getuid()", "crate::sys::mount::attach(fd)", "use crate::sys::{mount, file::Resolve};"]
    {
        assert!(plan.broken(line).is_some(), "{line}");
    }
    for line in [
        "use std::os::unix::ffi::OsStrExt;",
        "use crate::sys::mount::{MountAttr, attr};",
        "let x = crate::sys::mount::attr::RDONLY;",
    ] {
        assert_eq!(plan.broken(line), None, "{line}");
    }
}

#[test]
fn no_arrow_goes_back() {
    let mut broken = Vec::new();
    for (file, lines) in sources(&src()) {
        for arrow in ARROWS.iter().filter(|arrow| arrow.from.iter().any(|from| file.starts_with(from))) {
            let found = lines.iter().enumerate().filter_map(|(at, line)| Some((at + 1, arrow.broken(line)?)));
            broken.extend(found.map(|(at, word)| format!("src/{file}:{at}: `{word}`")));
        }
    }
    assert!(broken.is_empty(), "docs/architecture.md, \"Who may call whom\", does not permit:\n{}", broken.join("\n"));
}

#[test]
fn every_arrow_speaks_of_files_that_exist() {
    let files = sources(&src());
    for from in ARROWS.iter().flat_map(|arrow| arrow.from) {
        assert!(files.iter().any(|(file, _)| file.starts_with(from)), "src/{from}");
    }
}

/// Where `unsafe_code` is allowed besides `sys`: lib.rs, for `sys` alone; the C entry point; the allocator, and a test build's.
const UNSAFE: [&str; 4] = ["alloc_trap.rs", "entry.rs", "lib.rs", "memory.rs"];

/// The compiler denies it too (`#![deny(unsafe_code)]`); this also sees an `allow` that somebody adds.
#[test]
fn only_sys_is_unsafe() {
    let word = |line: &String| mentions(line, "unsafe ") || line.contains("allow(unsafe_code)");
    let files = sources(&src()).into_iter().chain(sources(&cmd()));
    let outside = files.filter(|(file, lines)| !file.starts_with("sys/") && lines.iter().any(word));
    let mut outside: Vec<_> = outside.filter_map(|(file, _)| Some(Path::new(&file).file_name()?.to_str()?.to_owned())).collect();
    outside.sort();
    assert_eq!(outside, UNSAFE);
}

/// The macros of the standard library panic when a stream has no room.
#[test]
fn what_cannot_be_said_stops_nothing() {
    for (file, lines) in sources(&src()).iter().chain(&sources(&cmd())) {
        assert_eq!(lines.iter().find(|line| ["print!(", "println!("].iter().any(|word| line.contains(word))), None, "{file}");
    }
}

#[test]
fn the_command_line_makes_no_system_calls() {
    for (file, lines) in sources(&cmd()).iter().filter(|(file, _)| !UNSAFE.iter().any(|name| file.ends_with(name))) {
        let asks = |word: &&str| lines.iter().any(|line| mentions(line, word));
        assert_eq!(["libc::", "nix::", "libruntime::sys"].iter().find(|word| asks(word)), None, "{file}");
    }
}
