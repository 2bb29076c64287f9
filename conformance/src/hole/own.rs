//! The runtime itself, as a process in the container: its memory and descriptors, and its own file.

use super::race::{self, met};
use crate::oci::bundle::push;
use crate::oci::container::Container;
use crate::oci::idmap::in_user_namespace;
use crate::oci::turn::Turn;
use crate::report::{Verdict, fail};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Looks into every process that is not of the image's, without a process of its own that would be in the way. What has another name
/// afterwards was the image's already when it was looked into.
const WATCH: &str = r#"echo up; while :; do for p in /proc/[0-9]*; do
    [ $p = /proc/1 ] && continue
    { read -r name < $p/comm; } 2>/dev/null || continue
    case $name in true|sh|busybox) continue;; esac
    echo "seen $name"
    for f in $p/exe $p/cwd $p/root $p/fd/*; do
        [ -e $f ] || continue
        { read -r now < $p/comm; } 2>/dev/null
        [ "$now" = "$name" ] && echo "open $f"
    done
done; done"#;

/// The process that enters has everything of the runtime's open until its execve(2). In a user namespace the one who watches may even
/// trace.
pub fn joining(turn: &Turn) -> Verdict {
    let mut config = turn.sh(WATCH);
    if !turn.column.actor.is_root() {
        for set in ["bounding", "permitted", "effective"] {
            push(&mut config["process"]["capabilities"][set], "CAP_SYS_PTRACE".into());
        }
    }
    let container = turn.started(&config)?;
    container.says("up")?;
    race::again(&mut || turn.succeeds(&["exec", &container.id, "/bin/true"]).map(drop))?;
    unopened(&container.text())
}

/// In a pod the first process of the next container enters with the host's files: whoever may trace there must not reach it.
pub fn neighbour(turn: &Turn) -> Verdict {
    let own = |config| if turn.column.actor.is_root() { in_user_namespace(config) } else { config };
    let mut watcher = own(turn.sh(WATCH));
    for set in ["bounding", "permitted", "effective"] {
        push(&mut watcher["process"]["capabilities"][set], "CAP_SYS_PTRACE".into());
    }
    let container = turn.started(&watcher)?;
    container.says("up")?;
    let pid = container.pid()?;
    let mut config = turn.config(&["/bin/true"]);
    let namespaces = config["linux"]["namespaces"].as_array().into_iter().flatten();
    let others = namespaces.filter(|one| one["type"] != "pid" && one["type"] != "user").cloned();
    let joined = ["user", "pid"].map(|kind| json!({"type": kind, "path": format!("/proc/{pid}/ns/{kind}")}));
    config["linux"]["namespaces"] = others.chain(joined).collect();
    ["uidMappings", "gidMappings"].iter().for_each(|maps| config["linux"][maps] = Value::Null);
    let bundle = turn.bundle(&config)?.display().to_string();
    race::again(&mut || turn.succeeds(&["run", "--bundle", &bundle, &turn.fresh()]).map(drop))?;
    unopened(&container.text())
}

/// [`WATCH`] has seen the runtime, and could open nothing of it.
fn unopened(text: &str) -> Verdict {
    let open: Vec<&str> = text.lines().filter(|l| l.starts_with("open ")).collect();
    if !open.is_empty() {
        return fail("seen from inside", "nothing can be opened", open.join("\n"));
    }
    met("processes of the runtime's in the container", text.contains("seen "))
}

/// A program of the image that is the runtime, in each way in which the kernel gets there.
pub fn file(turn: &Turn) -> Verdict {
    for make in [as_link, as_script, as_nested, as_interpreter] {
        let config = turn.config(&["/work/tool", "--version"]);
        let bundle = super::image(turn, &config, |root| make(&root.join("work")))?;
        let ran = turn.call(&["run", "--bundle", &bundle.display().to_string(), &turn.fresh()])?;
        // By a signal it ends when it was executed and could make nothing of itself.
        ran.must("an error", (1..128).contains(&ran.code) && !ran.out.contains("version"))?;
    }
    swapped(turn)
}

type Made = std::io::Result<()>;

fn executable(path: &Path, bytes: &[u8]) -> Made {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn as_link(dir: &Path) -> Made {
    symlink("/proc/self/exe", dir.join("tool"))
}

fn as_script(dir: &Path) -> Made {
    executable(&dir.join("tool"), b"#!/proc/self/exe\n")
}

fn as_nested(dir: &Path) -> Made {
    executable(&dir.join("tool"), b"#!/work/second\n")?;
    executable(&dir.join("second"), b"#! /proc/thread-self/exe\n")
}

/// An ELF file whose PT_INTERP is the program that is running, elf(5).
fn as_interpreter(dir: &Path) -> Made {
    const INTERPRETER: &[u8] = b"/proc/self/exe\0";
    const HEADERS: u64 = 64 + 2 * 56;
    const BASE: u64 = 0x40_0000;
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let size = HEADERS + INTERPRETER.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    [2, machine].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    elf.extend(1_u32.to_le_bytes());
    [BASE + HEADERS, 64, 0].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    elf.extend(0_u32.to_le_bytes());
    [64_u16, 56, 2, 0, 0, 0].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    // PT_INTERP, then PT_LOAD of the whole file.
    for (kind, flags, offset, len) in [(3_u32, 4_u32, HEADERS, INTERPRETER.len() as u64), (1, 5, 0, size)] {
        [kind, flags].iter().for_each(|n| elf.extend(n.to_le_bytes()));
        [offset, BASE + offset, BASE + offset, len, len, 0x1000].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    }
    elf.extend(INTERPRETER);
    executable(&dir.join("tool"), &elf)
}

/// Keeps every program open that is not the image's until its process has ended (it is busy before), and then writes to it.
const WRITE: &str = r#"echo up; while :; do for p in /proc/[0-9]*; do
    [ -e $p/exe ] || continue
    [ $p/exe -ef /bin/busybox ] && continue
    { while [ -e $p/exe ]; do :; done; echo tried; echo written > /proc/self/fd/3; } 3< $p/exe
done; done 2>/dev/null"#;

/// Between a look at the program and its execve(2) it becomes the runtime: that one has no guard up, and is found by its neighbours
/// (codexrun's once or more in most rounds; it is read-only then, or root's). It is a copy that nobody else runs from.
fn swapped(turn: &Turn) -> Verdict {
    let bundle = super::image(turn, &turn.sh(WRITE), |root| {
        executable(&root.join("work/tool"), b"#!/bin/sh\n")?;
        executable(&root.join("work/evil"), b"#!/proc/self/exe\n")
    })?;
    let path = &turn.column.runtime.path;
    let (copy, whole) = (turn.dir.join("runtime"), fs::read(path)?);
    executable(&copy, &whole)?;
    // As cargo install(1) leaves it: whose container it is may write to it.
    turn.column.actor.own(&copy)?;
    let (from, to) = (path.display().to_string(), copy.display().to_string());
    let container = Container::create(turn, bundle.clone(), &[])?;
    container.made.must("create exits 0", container.made.code == 0)?;
    container.start()?;
    container.says("up")?;
    let (well, refused) = (Cell::new(0), Cell::new(0));
    let work = bundle.join("rootfs/work");
    race::run(&work.join("tool"), &work.join("evil"), || {
        let mut launch = turn.launch(&["exec", &container.id, "/work/tool"]);
        launch.argv.iter_mut().filter(|word| **word == from).for_each(|word| word.clone_from(&to));
        let ran = launch.start(&turn.column.actor)?.finish_beside_others()?;
        let count = if ran.code == 0 { &well } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    })?;
    if fs::read(&copy)? != whole {
        return fail("the runtime's own file", "unchanged", "written to from inside");
    }
    met("both programs", well.get() > 0 && refused.get() > 0)
}
