//! What a policy costs: to compile one, and to launch under ever more denied files, beside bubblewrap with the same mounts.

use std::ffi::OsString;
use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::Place;
use crate::round::command;
use crate::shape::{self, Base, words};
use crate::stats::median;

/// Denied files.
const SIZES: [usize; 3] = [10, 100, 1000];
/// Directories of the large tree, and files in each.
const TREE: (usize, usize) = (1000, 100);
const ROUNDS: usize = 20;

/// Prints the figures; whether codexrun was faster than bubblewrap at every size, and than itself where it had searched before.
pub fn measure(place: &Place, codexrun: &Path) -> Result<bool> {
    let files = denied(&place.at("denied"))?;
    let mut faster = compile(place, codexrun, &files)?;
    println!("\nlaunch, median ms of {ROUNDS} rounds{:>16}{:>20}{:>8}", "codexrun", "bwrap, same mounts", "ratio");
    for size in SIZES {
        let policy = policy(place, &format!("denied-{size}.json"), &entries(&files[..size]))?;
        let ours = line(codexrun, "sandbox", &policy);
        let theirs = bwrap(&place.at("denied"), &files[..size]);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS.min(4000 / size) {
            a.push(run(&ours, &place.at("denied"))?);
            b.push(run(&theirs, &place.at("denied"))?);
        }
        let (a, b) = (median(&a), median(&b));
        println!("  {size:>5} denied files{a:>28.2}{b:>20.2}{:>8.2}", a / b);
        faster &= a < b;
    }
    Ok(faster)
}

/// Whether a search whose results were kept is the faster one.
fn compile(place: &Place, codexrun: &Path, files: &[PathBuf]) -> Result<bool> {
    println!("policy to plan, median ms of {ROUNDS} rounds");
    let many = policy(place, "many.json", &entries(files))?;
    for (name, policy) in [("workspace-write", "workspace-write".into()), ("1000 denied files", many)] {
        said(name, &repeated(&line(codexrun, "plan", &policy), &place.at("denied"), || Ok(()))?);
    }
    let tree = tree(&place.at("tree"))?;
    let glob = json!({"path": {"type": "glob_pattern", "pattern": "codex-project-roots://**/*.env"}, "access": "deny"});
    let plan = line(codexrun, "plan", &policy(place, "glob.json", &[glob])?);
    // Whoever has no directory below /run keeps nothing, and both figures are about the same.
    let kept = std::env::var_os("XDG_RUNTIME_DIR").map_or("/run".into(), PathBuf::from).join("codexrun-scan");
    let forget = || match fs::remove_dir_all(&kept) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    // What changed a moment ago is not kept.
    std::thread::sleep(Duration::from_millis(3100));
    let (first, again) = (repeated(&plan, &tree, forget)?, repeated(&plan, &tree, || Ok(()))?);
    said("**/*.env in 100 000 files, the first time", &first);
    said("**/*.env in 100 000 files, again", &again);
    let faster = !kept.exists() || median(&again) < median(&first);
    forget().map(|()| faster)
}

fn said(name: &str, times: &[f64]) {
    println!("  {name:<44}{:>8.2}", median(times));
}

fn repeated(line: &[OsString], cwd: &Path, before: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    (0..ROUNDS).map(|_| before().and_then(|()| run(line, cwd))).collect()
}

/// Milliseconds.
fn run(line: &[OsString], cwd: &Path) -> Result<f64> {
    let start = Instant::now();
    let status = command(line, cwd).status()?;
    let time = start.elapsed().as_secs_f64() * 1000.0;
    if status.success() { Ok(time) } else { Err(Error::other(format!("{}: {status}", line[0].display()))) }
}

fn line(codexrun: &Path, verb: &str, policy: &str) -> Vec<OsString> {
    [vec![codexrun.into()], words(&format!("{verb} --policy {policy} -- /bin/true"))].concat()
}

fn bwrap(cwd: &Path, files: &[PathBuf]) -> Vec<OsString> {
    let mut line = [vec!["bwrap".into()], shape::bwrap(&shape::workspace_write(cwd, Base::PerDirectory))].concat();
    let end = line.pop(); // the `--` in front of the command
    for file in files {
        line.extend(["--ro-bind".into(), "/dev/null".into(), file.into()]);
    }
    line.extend(end);
    line.push("/bin/true".into());
    line
}

fn denied(dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir(dir)?;
    let files: Vec<PathBuf> = (0..SIZES[2]).map(|n| dir.join(format!("{n}.env"))).collect();
    files.iter().try_for_each(|file| fs::write(file, "secret")).map(|()| files)
}

fn tree(root: &Path) -> Result<PathBuf> {
    for n in 0..TREE.0 {
        let dir = root.join(format!("{}/{n}", n % 30));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("x.env"), "")?;
        (1..TREE.1).try_for_each(|n| fs::write(dir.join(format!("{n}.c")), ""))?;
    }
    Ok(root.into())
}

fn entries(files: &[PathBuf]) -> Vec<Value> {
    files.iter().map(|file| json!({"path": {"type": "path", "path": file}, "access": "deny"})).collect()
}

fn policy(place: &Place, name: &str, more: &[Value]) -> Result<String> {
    let special = |kind: &str, access: &str| json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access});
    let base = [special("root", "read"), special("project_roots", "write"), special("slash_tmp", "write")];
    let entries: Vec<&Value> = base.iter().chain(more).collect();
    let file = place.at(name);
    fs::write(&file, json!({"kind": "restricted", "entries": entries}).to_string())?;
    Ok(file.display().to_string())
}
