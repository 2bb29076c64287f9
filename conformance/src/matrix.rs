//! The policy matrix: one launch per policy and column answers every probe; then the host is looked at.

use crate::launch::{GRACE, Ran};
use crate::outside::Outside;
use crate::policy::{POLICIES, Policy};
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::{Column, Job};
use crate::scene::{Scene, Stage, difference, snapshot};
use crate::table::{Ask, LINES, Line, allows};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a probe said: its result and its detail.
type Answers = BTreeMap<String, (String, String)>;

/// The looks at the host after each launch.
pub const AFTER: &[&str] = &[
    "the command ended by itself and left nothing running",
    "what is outside is untouched",
    "protected metadata is untouched",
    "no placeholder is left",
    "nobody outside was called",
    "the host's mounts are as before",
];

/// The rows of the matrix, as they are printed.
pub fn rows() -> Vec<String> {
    LINES.iter().map(row).chain(AFTER.iter().map(|a| format!("after: {a}"))).collect()
}

fn row(line: &Line) -> String {
    format!("{}: {}", line.group, line.probe)
}

/// Plays one column under every policy.
pub fn run_one(stage: &Stage, column: &Column, wanted: &dyn Fn(&str) -> bool) {
    if !rows().iter().any(|r| wanted(r)) {
        return;
    }
    for (number, policy) in POLICIES.iter().enumerate() {
        let failed = |verdicts: &Vec<(String, Verdict)>| verdicts.iter().any(|(_, v)| matches!(v, Err(No::Fail { .. })));
        let answers = match launch(stage, column, number, policy) {
            Ok(verdicts) if !failed(&verdicts) => Ok(verdicts),
            Ok(_) | Err(No::Fail { .. }) => {
                eprintln!("conformance: asked again: {} under {}", column.name(), policy.name);
                launch(stage, column, number, policy)
            }
            Err(no) => Err(no),
        };
        let verdicts = match answers {
            Ok(verdicts) => verdicts,
            Err(no) => asked(column, number, policy).into_iter().map(|row| (row, Err(no.clone()))).collect(),
        };
        let verdicts = verdicts.into_iter().filter(|(row, _)| wanted(row));
        verdicts.for_each(|(row, verdict)| crate::told::say_under(&row, policy.name, verdict));
    }
}

/// The rows that are asked under a policy, for when nothing could be.
fn asked(column: &Column, number: usize, policy: &Policy) -> Vec<String> {
    let lines = LINES.iter().filter(|l| l.answer(number) != "-" && (l.ask == Ask::Every || column.runtime.is_codexrun()));
    let after = AFTER.iter().filter(|_| policy.confined).map(|a| format!("after: {a}"));
    lines.map(row).chain(after).collect()
}

fn launch(stage: &Stage, column: &Column, number: usize, policy: &Policy) -> Result<Vec<(String, Verdict)>, No> {
    if let Some(reason) = column.obstacle() {
        return skip(reason);
    }
    let scene = stage.scene(&column.actor)?;
    let outside = Outside::new(&scene, &column.actor)?;
    let list = scene.w().join("list.txt");
    std::fs::write(&list, probe_list(&scene, &outside, number))?;
    let probe = scene.w().join("bin/probe").display().to_string();
    let job = Job { leak: true, ..Job::new(policy.word(&scene)?, &scene, &[&probe, &list.display().to_string()]) };
    let before = Host::look(&scene);
    let ran = column.run(&scene, &job)?;
    let answers = parse(&ran.out);
    let mut verdicts: Vec<_> = LINES
        .iter()
        .filter(|line| line.answer(number) != "-")
        .map(|line| (row(line), judge(line, column, number, &answers, &ran)))
        .collect();
    if policy.confined {
        let looks = after(&scene, &before, policy, &outside, &ran);
        verdicts.extend(AFTER.iter().map(|a| format!("after: {a}")).zip(looks));
    }
    Ok(verdicts)
}

fn probe_list(scene: &Scene, outside: &Outside, number: usize) -> String {
    let lines = LINES.iter().enumerate().filter(|(_, l)| l.answer(number) != "-");
    lines.map(|(n, l)| format!("{n}\t{}\n", fill(&l.probe.replace(' ', "\t"), scene, outside))).collect()
}

fn fill(probe: &str, scene: &Scene, outside: &Outside) -> String {
    let path = |p: PathBuf| p.display().to_string();
    let names = [
        ("{w}", path(scene.w())),
        ("{x}", path(scene.x())),
        ("{out}", path(scene.out())),
        ("{tmp}", path(outside.tmp.clone())),
        ("{pid}", outside.pid().to_string()),
        ("{tcp}", outside.tcp.clone()),
        ("{udp}", outside.udp.clone()),
        ("{name}", outside.name.clone()),
    ];
    names.iter().fold(probe.to_string(), |text, (name, value)| text.replace(name, value))
}

fn parse(out: &str) -> Answers {
    let fields = out.lines().map(|l| l.splitn(3, '\t').map(str::to_string).collect::<Vec<_>>());
    fields.filter(|f| f.len() == 3).map(|f| (f[0].clone(), (f[1].clone(), f[2].clone()))).collect()
}

fn judge(line: &Line, column: &Column, number: usize, answers: &Answers, ran: &Ran) -> Verdict {
    if line.ask == Ask::Codexrun && !column.runtime.is_codexrun() {
        return skip("OCI has no field for it, only codexrun's annotation says it");
    }
    let key = LINES.iter().position(|l| std::ptr::eq(l, line)).unwrap_or_default().to_string();
    let expected = line.answer(number);
    match answers.get(&key) {
        Some((seen, _)) if allows(expected, seen) => Ok(()),
        Some((seen, detail)) => {
            fail(format!("{}\n            (in {})", line.probe, ran.line), expected, format!("{seen} {detail}"))
        }
        None => fail(&ran.line, "an answer of the probe", ran.summary()),
    }
}

/// What must be the same after a launch.
struct Host {
    outside: BTreeMap<PathBuf, String>,
    metadata: Vec<BTreeMap<PathBuf, String>>,
    placeholders: Vec<PathBuf>,
    mounts: String,
}

impl Host {
    fn look(scene: &Scene) -> Host {
        let protected = [scene.w().join(".git"), scene.x().join(".git"), scene.x().join(".agents"), scene.x().join(".codex")];
        Host {
            outside: snapshot(&scene.out()),
            metadata: protected.iter().map(|p| snapshot(p)).collect(),
            placeholders: metadata_names(scene).into_iter().filter(|p| p.symlink_metadata().is_ok()).collect(),
            mounts: std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        }
    }
}

/// Every name that a runtime may have made a placeholder for.
fn metadata_names(scene: &Scene) -> Vec<PathBuf> {
    let roots = [scene.w(), scene.x(), PathBuf::from("/tmp")];
    roots.iter().flat_map(|r| [".git", ".agents", ".codex"].map(|n| r.join(n))).collect()
}

fn after(scene: &Scene, before: &Host, policy: &Policy, outside: &Outside, ran: &Ran) -> Vec<Verdict> {
    let now = Host::look(scene);
    let same = |a: &BTreeMap<_, _>, b: &BTreeMap<_, _>, what: &str| match difference(a, b) {
        None => Ok(()),
        Some(difference) => fail(&ran.line, what, difference),
    };
    let metadata = before.metadata.iter().zip(&now.metadata).try_for_each(|(a, b)| same(a, b, "no change"));
    let called = outside.called();
    let calls = if policy.restricted && !called.is_empty() { fail(&ran.line, "no call", called) } else { Ok(()) };
    let mounts = if before.mounts == now.mounts { Ok(()) } else { fail(&ran.line, &before.mounts, &now.mounts) };
    vec![
        ran.must("exit 0, nothing left running", ran.code == 0),
        same(&before.outside, &now.outside, "no change"),
        metadata,
        placeholders_gone(scene, before, &ran.line),
        calls,
        mounts,
    ]
}

fn placeholders_gone(scene: &Scene, before: &Host, line: &str) -> Verdict {
    let new: Vec<PathBuf> = metadata_names(scene).into_iter().filter(|p| !before.placeholders.contains(p)).collect();
    gone(&new, line)
}

/// Waits until none of the paths is there, at most the grace period.
pub fn gone(paths: &[PathBuf], line: &str) -> Verdict {
    let end = Instant::now() + GRACE;
    loop {
        let there: Vec<&PathBuf> = paths.iter().filter(|p| p.symlink_metadata().is_ok()).collect();
        if there.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            let names: Vec<String> = there.iter().map(|p| described(p)).collect();
            there.iter().for_each(|p| drop(std::fs::remove_dir(p)));
            return fail(line, "gone within 2 s", format!("still there: {}", names.join(", ")));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn described(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let mode = path.symlink_metadata().map(|m| m.mode()).unwrap_or(0);
    format!("{} (mode {mode:o})", path.display())
}
