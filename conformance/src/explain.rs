//! The property behind `codexrun explain`: in random trees under random policies it foretells what the sandbox then finds. A world is
//! a tree, a policy and some hundred paths; explain is asked, and then the probe tries every right to every path in one launch.

mod world;

use crate::actor::Actor;
use crate::launch::{Launch, Ran};
use crate::report::{Verdict, fail};
use crate::scene::Stage;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;
use world::World;

/// The row's name in the report.
pub const ROW: &str = "explain: says what the kernel then does";

/// What came of the worlds of one user.
#[derive(Default)]
struct Tally {
    refused: u32,
    paths: usize,
    unknown: usize,
}

/// `count` worlds, each of which depends on the seed and its own number alone.
pub fn run(stage: &Stage, actor: &Actor, count: u32, seed: u64) -> Verdict {
    let (mut tally, started) = (Tally::default(), Instant::now());
    for number in 0..count {
        one(stage, actor, seed.wrapping_add(number.into()), &mut tally)?;
    }
    let Tally { refused, paths, unknown } = tally;
    let name = &actor.name;
    eprintln!(
        "explain: {name}: seed {seed}, {count} worlds ({refused} refused), {paths} paths ({unknown} not foretold), {:.1?}",
        started.elapsed()
    );
    // A generator that makes nothing to compare would always succeed.
    match paths {
        0 => fail("explain", "paths to compare", "none"),
        _ if unknown * 10 > paths => fail("explain", "at most a tenth not foretold", format!("{unknown} of {paths}")),
        _ => Ok(()),
    }
}

fn one(stage: &Stage, actor: &Actor, seed: u64, tally: &mut Tally) -> Verdict {
    let world = World::make(stage, actor, seed)?;
    let command =
        format!("conformance --explain 1 --seed {seed}, as {}; {} {}", actor.name, world.policy_text, world.flags.join(" "));
    let said = explain(stage, actor, &world)?;
    let found = sandbox(stage, actor, &world)?;
    if said.code != 0 || found.code != 0 {
        tally.refused += 1;
        let both = said.code == found.code;
        return if both { Ok(()) } else { fail(&command, format!("as explain: {}", said.summary()), found.summary()) };
    }
    let (said, found) = (foretold(&said.out), seen(&found.out));
    tally.paths += world.paths.len();
    for path in &world.paths {
        match (said.get(path), found.get(path)) {
            (Some(Foretold { letters: None, .. }), Some(_)) => tally.unknown += 1,
            (Some(Foretold { letters: Some(letters), whole }), Some(found)) if letters != found => {
                return fail(&command, format!("{path}: `{letters}`, explained as {whole}"), format!("`{found}`"));
            }
            (Some(_), Some(_)) => {}
            (said, found) => return fail(&command, format!("{path} in both answers"), format!("{:?} {found:?}", said.is_some())),
        }
    }
    Ok(())
}

/// A policy, or what `spec` makes of it: the root is then a directory on disk, and everything goes through config.json.
fn explain(stage: &Stage, actor: &Actor, world: &World) -> std::io::Result<Ran> {
    let (exe, policy, cwd) = (text(&stage.codexrun), text(&world.policy), text(&world.cwd));
    let (questions, bundle) = (text(&world.questions), text(&world.bundle));
    if !world.as_bundle {
        let argv = [&exe, "explain", "--json", "--policy", &policy, "--cwd", &cwd, "--from", &questions];
        return Launch::new(&with_flags(&argv, world, &[]), &world.cwd).run(actor);
    }
    let (probe, list) = (text(&stage.probe), text(&world.list));
    let argv = [&exe, "spec", "--from-policy", &policy, "--cwd", &cwd, "--bundle", &bundle];
    let made = Launch::new(&with_flags(&argv, world, &["--", &probe, &list]), &world.cwd).run(actor)?;
    if made.code != 0 {
        return Ok(made);
    }
    Launch::new(&[&exe, "explain", "--json", "--from", &questions, &bundle], &world.cwd).run(actor)
}

fn sandbox(stage: &Stage, actor: &Actor, world: &World) -> std::io::Result<Ran> {
    let (exe, policy, cwd) = (text(&stage.codexrun), text(&world.policy), text(&world.cwd));
    if world.as_bundle {
        return Launch::new(&[&exe, "run", &text(&world.bundle)], &world.cwd).run(actor);
    }
    let (probe, list) = (text(&stage.probe), text(&world.list));
    let argv = [&exe, "sandbox", "--policy", &policy, "--cwd", &cwd];
    Launch::new(&with_flags(&argv, world, &["--", &probe, &list]), &world.cwd).run(actor)
}

fn with_flags<'a>(argv: &[&'a str], world: &'a World, command: &[&'a str]) -> Vec<&'a str> {
    let flags: Vec<&str> = world.flags.iter().map(String::as_str).collect();
    [argv, &flags, command].concat()
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// What explain said of a path: a letter for each right, `None` when it says that nobody can know.
struct Foretold {
    letters: Option<String>,
    whole: String,
}

const RIGHTS: [(&str, char); 5] = [("read", 'r'), ("write", 'w'), ("create", 'c'), ("delete", 'd'), ("execute", 'x')];

fn foretold(json: &str) -> BTreeMap<String, Foretold> {
    let json: Value = serde_json::from_str(json).unwrap_or_default();
    let all = json["paths"].as_array().cloned().unwrap_or_default();
    let answer = |one: &Value| {
        let known = RIGHTS.iter().all(|(right, _)| one[right]["allowed"].is_boolean());
        let letters = RIGHTS.iter().filter(|(right, _)| one[right]["allowed"] == true).map(|(_, letter)| *letter).collect();
        let foretold = Foretold { letters: known.then_some(letters), whole: one.to_string() };
        (one["path"].as_str().unwrap_or_default().to_owned(), foretold)
    };
    all.iter().map(answer).collect()
}

fn seen(out: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let mut words = line.split('\t');
        let (path, result, detail) = (words.next()?, words.next()?, words.next()?);
        Some((path.to_owned(), if result == "ok" { detail.to_owned() } else { format!("{result}: {detail}") }))
    };
    out.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_letters() {
        let yes = |yes: Option<bool>| serde_json::json!({ "allowed": yes });
        let one = serde_json::json!({ "path": "/a", "read": yes(Some(true)), "write": yes(Some(false)), "create": yes(Some(false)),
            "delete": yes(Some(true)), "execute": yes(Some(false)) });
        let mut other = one.clone();
        other["path"] = "/b".into();
        other["read"] = yes(None);
        let said = foretold(&serde_json::json!({ "paths": [one, other] }).to_string());
        assert_eq!(said["/a"].letters.as_deref(), Some("rd"));
        assert_eq!(said["/b"].letters, None);
        assert_eq!(seen("/a\tok\trd\n/b\tSIG9\tkilled\n")["/b"], "SIG9: killed");
    }
}
