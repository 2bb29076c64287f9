//! The machine's part of docs/spec-conformance.md: each case and what came of it, per runtime.

use super::{GROUPS, SYSTEMD, USER};
use crate::oci::Must;
use crate::oci::doc::{MACHINE, short};
use crate::report::Report;
use std::path::Path;

const HEAD: &str = "
Written by `cargo run -p conformance -- --vm --write-doc docs/spec-conformance.md`; do not edit. A virtual machine with every controller in
cgroup v2, AppArmor, a disk, and systemd for the last two tables. A `no` of runc's or crun's may also be about what they are older than, or do
otherwise by choice.
";

/// Replaces that part of the page, and leaves the rest.
pub fn write(path: &Path, report: &Report) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let page = std::fs::read_to_string(path).map_err(failed)?;
    let rest = page.find(MACHINE).map_or(page.as_str(), |at| &page[..at]);
    std::fs::write(path, format!("{rest}{MACHINE}{}", part(report))).map_err(failed)
}

fn part(report: &Report) -> String {
    let groups = GROUPS.iter().chain([&SYSTEMD, &USER]);
    groups.fold(HEAD.to_owned(), |text, (subject, cases)| text + &table(subject, cases, report))
}

fn table(subject: &str, cases: &[Must], report: &Report) -> String {
    let mut text =
        format!("\n## {subject}\n\n| | case | codexrun | runc 1.1.5 | crun 1.8.1 |\n| --- | --- | --- | --- | --- |\n");
    for must in cases {
        let verdict = |runtime| report.word(must.name, runtime).and_then(|word| short(&word)).unwrap_or("not asked");
        let verdicts = super::inside::RUNTIMES.map(verdict).join(" | ");
        text += &format!("| {} | `{}` | {verdicts} |\n", must.says, must.name);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_has_every_case_of_the_machine() {
        let page = include_str!("../../../docs/spec-conformance.md");
        let part = &page[page.find(super::MACHINE).expect("the machine's part")..];
        let missing: Vec<_> =
            super::super::all().map(|m| m.name).filter(|name| !part.contains(&format!("| `{name}` | ok |"))).collect();
        assert!(missing.is_empty(), "write it again: {missing:?}");
    }
}
