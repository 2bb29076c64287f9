//! What `run --detach` leaves, and the verbs that handle it.

use super::{Case, On, Play, WRITE, case, until};
use crate::matrix::gone;
use crate::report::{No, Verdict, fail};
use crate::runtime::{Job, Kind, fresh_id};
use serde_json::Value;

pub const CASES: &[Case] = &[
    case("run --detach, state, list, kill, delete", On::Bundle, life),
    case("delete refuses a running container", On::Bundle, running_refused),
    case("state of an unknown id fails", On::Bundle, unknown),
    case("an id is taken only once", On::Bundle, taken),
];

/// A detached container that is deleted at the end, whatever the case found.
struct Detached<'a, 'b> {
    play: &'a Play<'b>,
    id: String,
}

impl Drop for Detached<'_, '_> {
    fn drop(&mut self) {
        let _ = self.play.column.verb(&self.play.scene, &["delete", "--force", &self.id]);
    }
}

fn detached<'a, 'b>(play: &'a Play<'b>, script: &str) -> Result<Detached<'a, 'b>, No> {
    let bundle = play.scene.bundle(&play.column.actor)?;
    let made = play.column.spec(&play.scene, &bundle, &Job::sh(WRITE, &play.scene, script))?;
    made.code_is(0)?;
    let id = fresh_id();
    let container = Detached { play, id: id.clone() };
    let running = play.column.begin(&play.scene, &["run", "--detach", "--bundle", &bundle.display().to_string(), &id])?;
    let ran = running.finish_beside_others()?;
    ran.code_is(0)?;
    Ok(container)
}

impl Detached<'_, '_> {
    fn verb(&self, words: &[&str]) -> Result<crate::launch::Ran, No> {
        let running = self.play.column.begin(&self.play.scene, words)?;
        Ok(running.finish_beside_others()?)
    }

    fn status(&self) -> Result<String, No> {
        let ran = self.verb(&["state", &self.id])?;
        let state: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        match state["status"].as_str() {
            Some(status) => Ok(status.into()),
            None => fail(&ran.line, "a JSON state with `status`", ran.summary()),
        }
    }

    fn status_is(&self, expected: &str) -> Verdict {
        let asked = || self.status().unwrap_or_else(|_| "unknown".into());
        until(expected, || asked() == expected).or_else(|_| fail(format!("state {}", self.id), expected, asked()))
    }
}

fn life(play: &Play) -> Verdict {
    let container = detached(play, "sleep 300")?;
    container.status_is("running")?;
    let listed = container.verb(&["list"])?;
    listed.must("the id is listed", listed.code == 0 && listed.out.contains(&container.id))?;
    container.verb(&["kill", &container.id, "KILL"])?.code_is(0)?;
    container.status_is("stopped")?;
    let deleted = container.verb(&["delete", &container.id])?;
    deleted.code_is(0)?;
    gone(&[play.scene.w().join(".codex"), play.scene.w().join(".agents")], &deleted.line)
}

fn running_refused(play: &Play) -> Verdict {
    let container = detached(play, "sleep 300")?;
    let refused = container.verb(&["delete", &container.id])?;
    refused.must("a failure", refused.code != 0)?;
    container.status_is("running")
}

fn unknown(play: &Play) -> Verdict {
    let ran = play.column.verb(&play.scene, &["state", "no-such-container"])?;
    // Engines look for runc's words; crun has its own.
    let says = ran.err.contains("does not exist") || play.column.runtime.kind == Kind::Crun;
    ran.must("a failure, `does not exist`", ran.code != 0 && says)
}

fn taken(play: &Play) -> Verdict {
    let bundle = play.scene.bundle(&play.column.actor)?;
    play.column.spec(&play.scene, &bundle, &Job::sh(WRITE, &play.scene, "exit 0"))?.code_is(0)?;
    let container = detached(play, "sleep 300")?;
    let again = container.verb(&["run", "--bundle", &bundle.display().to_string(), &container.id])?;
    again.must("a failure", again.code != 0)?;
    container.status_is("running")
}
