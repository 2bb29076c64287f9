//! Places that nobody can write to any more, or never could: each verb is done, or it is not and says why, and what runs goes on.

use super::full::{Small, refused_by};
use super::{Case, Place};
use crate::launch::{Launch, Ran, while_orphans_are_collected};
use crate::report::{Verdict, skip};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("a state directory that has become read-only, each verb", frozen),
    ("a read-only /run, each verb", never),
    ("a read-only /dev/shm in place of a runtime directory, each verb", temporary),
];

/// What a verb, of a container that runs, must come to.
#[derive(Clone, Copy, PartialEq)]
enum Must {
    /// Nothing of it is written.
    Done,
    /// It cannot be kept.
    Refused,
    /// By who can and has a cgroup.
    Either,
}
use Must::{Done, Either, Refused};

/// `ID` runs, `WAITS` was created; in this order, as the last ones end them.
const VERBS: &[(&[&str], Must)] = &[
    (&["state", "ID"], Done),
    (&["list"], Done),
    (&["ps", "ID"], Done),
    (&["exec", "ID", "/bin/true"], Done),
    (&["kill", "ID", "CONT"], Done),
    (&["pause", "ID"], Either),
    (&["resume", "ID"], Either),
    (&["update", "--pids-limit", "50", "ID"], Either),
    (&["events", "--stats", "ID"], Either),
    (&["start", "WAITS"], Either),
    (&["create", "--bundle", "DIR", "ID"], Refused),
    (&["run", "--bundle", "DIR", "ID"], Refused),
    (&["create", "--bundle", "DIR", "NEW"], Refused),
    (&["run", "--bundle", "DIR", "NEW"], Refused),
    (&["delete", "ID"], Refused),
    (&["sandbox", "--policy", "read-only", "--", "/bin/true"], Done),
    (&["kill", "ID", "KILL"], Done),
    (&["delete", "--force", "ID"], Refused),
    (&["delete", "--force", "WAITS"], Refused),
];

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Done without a word, or one sentence.
fn judged(verb: &str, ran: &Ran, must: Must, took: Duration) -> Verdict {
    ran.must(&format!("an end within {PATIENCE:?}, not after {took:?}"), took < PATIENCE)?;
    match must {
        Done => ran.must("exit 0", ran.code == 0 && ran.err.is_empty()),
        Either if ran.code == 0 => Ok(()),
        // What `exec` runs may exit with 1.
        Either | Refused => refused_by(ran, if verb == "exec" { 255 } else { 1 }),
    }
}

/// Plays each verb.
fn each(place: &Place, call: impl Fn(&[&str]) -> Launch, named: impl Fn(&str) -> String, verbs: &[(&[&str], Must)]) -> Verdict {
    for (words, must) in verbs {
        let words: Vec<String> = words.iter().map(|word| named(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (launch, begun) = (call(&words), Instant::now());
        let ran = while_orphans_are_collected(|| launch.start(&place.turn.column.actor)?.finish_beside_others())?;
        judged(words[0], &ran, *must, begun.elapsed())?;
    }
    Ok(())
}

/// Records are where every codexrun looks.
fn unrooted(place: &Place, words: &[&str]) -> Launch {
    let mut launch = place.turn.launch(words);
    launch.argv.drain(1..3);
    launch
}

/// Two containers are there before, and afterwards they are deleted.
fn frozen(place: &Place) -> Verdict {
    let turn = &place.turn;
    let dir = turn.bundle(&turn.sleeper())?.display().to_string();
    let small = Small::mount(place, &turn.state, "size=4m")?;
    let [runs, waits, new] = [(); 3].map(|()| turn.fresh());
    turn.succeeds(&["run", "--detach", "--bundle", &dir, &runs])?;
    // With another cgroup.
    let other = turn.bundle(&turn.sleeper())?.display().to_string();
    turn.succeeds(&["create", "--bundle", &other, &waits])?;
    small.remount(true)?;
    let named = |word: &str| match word {
        "ID" => runs.clone(),
        "WAITS" => waits.clone(),
        "NEW" => new.clone(),
        "DIR" => dir.clone(),
        word => word.into(),
    };
    let played = each(place, |words| turn.launch(words), named, VERBS);
    small.remount(false)?;
    for id in [&runs, &waits] {
        let ran = while_orphans_are_collected(|| turn.call(&["delete", "--force", id]))?;
        ran.must("exit 0", ran.code == 0)?;
        turn.unknown(id)?;
    }
    played?;
    small.is_empty("delete --force")
}

/// Nobody could ever record anything there.
const NOBODY: &[(&[&str], Must)] = &[
    (&["list"], Done),
    (&["state", "ID"], Refused),
    (&["ps", "ID"], Refused),
    (&["start", "ID"], Refused),
    (&["exec", "ID", "/bin/true"], Refused),
    (&["kill", "ID", "KILL"], Refused),
    (&["pause", "ID"], Refused),
    (&["resume", "ID"], Refused),
    (&["update", "--pids-limit", "50", "ID"], Refused),
    (&["events", "--stats", "ID"], Refused),
    (&["delete", "ID"], Refused),
    (&["delete", "--force", "ID"], Done),
    (&["create", "--bundle", "DIR", "ID"], Refused),
    (&["run", "--bundle", "DIR", "ID"], Refused),
    (&["run", "DIR"], Done),
    (&["sandbox", "--policy", "read-only", "--", "/bin/true"], Done),
    (&["sandbox", "--policy", "workspace-write", "--", "/bin/true"], Done),
];

/// Root's records are in /run, an ordinary user's in what XDG_RUNTIME_DIR names.
fn never(place: &Place) -> Verdict {
    let turn = &place.turn;
    let at = if turn.column.actor.is_root() { "/run".into() } else { turn.dir.join("run") };
    let _small = Small::mount(place, &at, "ro")?;
    nowhere(place, |words| unrooted(place, words))
}

/// The suite's own /dev/shm stays as it is.
const SHUT: &str = r#"gid=$1; shift
mount -t tmpfs -o ro,mode=1777 none /dev/shm && exec setpriv --reuid "$0" --regid "$gid" --clear-groups -- "$@""#;

/// Without XDG_RUNTIME_DIR an ordinary user's are in /dev/shm.
fn temporary(place: &Place) -> Verdict {
    let actor = &place.turn.column.actor;
    if actor.is_root() {
        return skip("root's are in /run");
    }
    let [uid, gid] = [actor.uid, actor.gid].map(|id| id.to_string());
    let shut = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", SHUT, &uid, &gid].map(str::to_string);
    nowhere(place, |words| {
        let launch = unrooted(place, words);
        Launch { argv: [&shut[..], &launch.argv].concat(), env: Vec::new(), keeps_root: true, ..launch }
    })
}

fn nowhere(place: &Place, call: impl Fn(&[&str]) -> Launch) -> Verdict {
    let turn = &place.turn;
    let (dir, id) = (turn.bundle(&turn.sh("exit 0"))?.display().to_string(), turn.fresh());
    let named = |word: &str| match word {
        "ID" => id.clone(),
        "DIR" => dir.clone(),
        word => word.into(),
    };
    each(place, call, named, NOBODY)
}
