//! Records that no longer say what is so: of a process whose number another one has, and such as somebody has spoilt.

use super::{Case, Place};
use crate::launch::{Launch, while_orphans_are_collected};
use crate::report::{Verdict, fail};
use std::fs;
use std::os::unix::fs::FileExt;

pub const CASES: &[Case] =
    &[("a number that belongs to another process now", reused), ("one digit of the record is another one", spoilt)];

/// In a pid namespace of its own, where nobody else takes the number: the container dies, and the next process but the container's is
/// given its number, a stranger of the same user's. No verb signals, stops, joins or lists it. Each step that goes wrong has an exit code.
const REUSE: &str = r#"
as="setpriv --reuid $3 --regid $4 --clear-groups --"
C="$as $0 --root $1"
for delete in "delete a" "delete --force a"; do
  $C run --detach --bundle "$2" a || exit 11
  P=$($C state a | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
  kill -KILL "$P" || exit 12
  while [ -d "/proc/$P" ]; do sleep 0.01; done
  tries=0
  until echo $((P - 1)) >/proc/sys/kernel/ns_last_pid; $as sleep 1000 & [ $! = "$P" ]; do
    kill $!
    tries=$((tries + 1))
    [ $tries = 50 ] && exit 13
  done
  while [ "$(cat /proc/$P/comm)" != sleep ]; do sleep 0.01; done
  $C state a | grep -q '"status": "stopped"' || exit 14
  $C list | grep '^a ' | grep -q stopped || exit 15
  for verb in "kill a KILL" "kill a STOP" "exec a /bin/true" "start a" "pause a" "checkpoint a"; do
    $C $verb 2>/dev/null && { echo "$verb"; exit 16; }
  done
  $C ps a 2>/dev/null | grep -w "$P" && exit 17
  $C kill --all a STOP && $C kill --all a KILL || exit 21
  for verb in "resume a" "update --pids-limit 50 a" "events --stats a"; do
    $C $verb >/dev/null 2>&1
  done
  $C $delete || exit 18
  $C state a 2>/dev/null && exit 19
  grep -q '^State:.S' "/proc/$P/status" || exit 20
  kill -KILL "$P"
done
"#;

fn reused(place: &Place) -> Verdict {
    let turn = &place.turn;
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    let (codexrun, state) = (turn.column.runtime.path.display().to_string(), turn.state.display().to_string());
    let [uid, gid] = [turn.column.actor.uid, turn.column.actor.gid].map(|id| id.to_string());
    let space = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "--mount-proc"];
    let argv = [&space[..], &["/bin/sh", "-c", REUSE, &codexrun, &state, &bundle, &uid, &gid]].concat();
    let launch = Launch { keeps_root: true, ..Launch::new(&argv, &turn.dir) };
    let ran = launch.run(&turn.column.actor)?;
    ran.must("exit 0: no verb reaches a stranger", ran.code == 0)
}

/// The container that runs is still the one that is told of, killed and deleted.
fn spoilt(place: &Place) -> Verdict {
    let turn = &place.turn;
    let container = turn.started(&turn.sleeper())?;
    let file = turn.state.join(&container.id).join("state.json");
    let text = fs::read_to_string(&file)?;
    let pid = format!("\"pid\":{}", container.pid()?);
    let Some(at) = text.find(&pid) else { return fail(file.display(), pid, text) };
    let last = at + pid.len() - 1;
    let digit = [(text.as_bytes()[last] - b'0' + 1) % 10 + b'0'];
    fs::File::options().write(true).open(&file)?.write_all_at(&digit, last as u64)?;
    container.is("running")?;
    turn.succeeds(&["exec", &container.id, "/bin/true"])?;
    turn.succeeds(&["kill", &container.id, "CONT"])?;
    let ran = while_orphans_are_collected(|| turn.call(&["delete", "--force", &container.id]))?;
    ran.must("exit 0", ran.code == 0)?;
    turn.unknown(&container.id)
}
