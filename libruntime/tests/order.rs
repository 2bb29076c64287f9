//! docs/order.md says what src/plan/order.rs says: one row per stage, in order, with its name in listings and its reason.

use std::fs;
use std::path::Path;

#[derive(Debug, Default)]
struct Stage {
    variant: String,
    reason: String,
    name: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The variants of `enum Stage` with their doc comments, and the arms of `Stage::name`.
fn stages(source: &str) -> Vec<Stage> {
    let body = source.split("pub enum Stage {").nth(1).unwrap();
    let (variants, rest) = body.split_once("\n}").unwrap();
    let (mut stages, mut reason) = (Vec::new(), String::new());
    for line in variants.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("///") {
            Some(text) => reason = format!("{reason} {}", text.trim()).trim().to_owned(),
            None => stages.push(Stage {
                variant: line.trim_end_matches(',').to_owned(),
                reason: std::mem::take(&mut reason),
                ..Stage::default()
            }),
        }
    }
    for arm in rest.lines().filter(|line| line.contains("=>")) {
        let (variants, name) = arm.split_once("=>").unwrap();
        for stage in stages.iter_mut().filter(|s| variants.split('|').any(|v| v.trim() == format!("Stage::{}", s.variant))) {
            stage.name = name.trim().trim_matches([',', '"']).to_owned();
        }
    }
    stages
}

/// `| a | b |` → `[a, b]`, for the lines below the table's head.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_page_has_every_stage_in_order_with_its_name_and_reason() {
    let stages = stages(&read("src/plan/order.rs"));
    let rows = rows(&read("../docs/order.md"));
    assert!(stages.len() > 20, "order.rs is not read as it is written: {stages:?}");
    for (at, stage) in stages.iter().enumerate() {
        let row = rows.get(at).map(Vec::as_slice).unwrap_or_default();
        let [variant, name, what, reason] = row else { panic!("docs/order.md, row {}: {row:?} is not {stage:?}", at + 1) };
        let said = [variant.trim_matches('`'), name, reason];
        assert_eq!(said, [&stage.variant, &stage.name, &stage.reason], "docs/order.md, row {}", at + 1);
        assert!(!what.is_empty(), "docs/order.md does not say what `{}` does", stage.variant);
    }
    assert_eq!(rows.len(), stages.len(), "docs/order.md has rows for stages that are gone");
}
