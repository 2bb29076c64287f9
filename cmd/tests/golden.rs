//! Every folder of bundle-examples/, compiled and planned again: a change of meaning is a diff in review.
//!
//! `CODEXRUN_UPDATE=1 cargo test -p codexrun --test golden` writes what is found instead of comparing it.

use libruntime::annotation::POLICY_SHA256;
use libruntime::policy::parse::{self, Base};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every example says of its own, whatever the machine.
const CWD: &str = "/home/dev/project";
const HOME: &str = "/home/dev";
/// What `proxy-only` needs besides.
const PROXY: [&str; 2] = ["--env", "HTTP_PROXY=http://agent:secret@localhost:3128/"];
const COMMAND: [&str; 3] = ["--", "cargo", "test"];

/// Issue and README name these; more are welcome.
const EXAMPLES: [&str; 10] = [
    "choices",
    "danger-full-access",
    "landlock-alone",
    "proxy-only",
    "read-only",
    "restricted-read",
    "restricted-read-bare",
    "split-deny",
    "workspace-write",
    "workspace-write-worktree",
];

struct Example {
    name: String,
    dir: PathBuf,
    policy: PathBuf,
}

fn examples() -> Vec<Example> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundle-examples");
    let mut dirs: Vec<PathBuf> = fs::read_dir(all).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs.into_iter().map(example).collect()
}

fn example(dir: PathBuf) -> Example {
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let forms = ["policy.json", "policy.toml"].map(|form| dir.join(form));
    let policy = forms.into_iter().find(|p| p.exists()).unwrap_or_else(|| panic!("{name}: no policy.json or policy.toml"));
    Example { name, dir, policy }
}

impl Example {
    /// Runs codexrun with the example's policy, view and directory; what it prints.
    fn codexrun(&self, verb: &str, policy: &str, more: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        command.args([verb, policy]).arg(&self.policy).arg("--view").arg(self.dir.join("view.json"));
        let proxy = if self.name == "proxy-only" { &PROXY[..] } else { &[] };
        let output = command.args(["--cwd", CWD]).args(proxy).args(more).args(COMMAND).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{}: codexrun {verb}: {said}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// File name → what it must hold.
    fn made(&self) -> Vec<(&'static str, String)> {
        let out = tempfile::tempdir().unwrap();
        let at = out.path().join("bundle");
        let bundle = |other: &str| {
            let _ = fs::remove_dir_all(&at);
            self.codexrun("spec", "--from-policy", &["--bundle", at.to_str().unwrap(), "--portable-to", other])
        };
        let losses = format!("runc\n{}crun\n{}", indented(&bundle("runc")), indented(&bundle("crun")));
        vec![
            ("canonical.json", self.canonical()),
            ("config.json", fs::read_to_string(at.join("config.json")).unwrap()),
            ("plan.txt", self.codexrun("plan", "--policy", &[])),
            ("losses.txt", losses),
        ]
    }

    fn policy(&self) -> libruntime::policy::Policy {
        let base = Base { cwd: Path::new(CWD), home: Some(Path::new(HOME)) };
        parse::load(self.policy.to_str().unwrap(), &base).unwrap().policy
    }

    /// Without a newline at its end, so that `sha256sum canonical.json` is the digest.
    fn canonical(&self) -> String {
        self.policy().canonical_json().to_string()
    }
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("  {line}\n")).collect()
}

/// The first lines that differ, as `diff` would show them.
fn difference(file: &Path, golden: &str, now: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (golden.lines().collect(), now.lines().collect());
    let from = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let same_end = old[from..].iter().rev().zip(new[from..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = format!("{} line {}\n", file.display(), from + 1);
    for (sign, lines) in [("-", &old), ("+", &new)] {
        lines[from..lines.len() - same_end].iter().take(20).for_each(|line| writeln!(text, "{sign} {line}").unwrap());
    }
    text
}

#[test]
fn every_example_is_what_its_policy_gives() {
    let update = std::env::var_os("CODEXRUN_UPDATE").is_some();
    let mut differences = String::new();
    for example in examples() {
        for (name, now) in example.made() {
            let file = example.dir.join(name);
            let golden = fs::read_to_string(&file).unwrap_or_default();
            match golden == now {
                true => {}
                false if update => fs::write(&file, now).unwrap(),
                false => differences.push_str(&difference(&file, &golden, &now)),
            }
        }
    }
    assert!(differences.is_empty(), "CODEXRUN_UPDATE=1 accepts this:\n{differences}");
}

#[test]
fn the_annotation_is_the_digest_of_the_policy() {
    for example in examples() {
        let config = fs::read_to_string(example.dir.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["annotations"][POLICY_SHA256], example.policy().digest(), "{}", example.name);
    }
}

#[test]
fn every_kind_of_policy_has_an_example_with_a_page() {
    let examples = examples();
    for name in EXAMPLES {
        let found = examples.iter().find(|e| e.name == name).unwrap_or_else(|| panic!("bundle-examples/{name} is missing"));
        let page = fs::read_to_string(found.dir.join("README.md")).unwrap();
        assert!(page.starts_with(&format!("# {name}\n")), "{name}/README.md");
    }
}
