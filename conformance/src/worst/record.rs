//! Records that no longer say what is so: of a process whose number another one has, and such as somebody has spoilt.

use super::{Case, Place};
use crate::launch::{Launch, while_orphans_are_collected};
use crate::report::{Verdict, fail, skip};
use std::fs;
use std::os::unix::fs::FileExt;

pub const CASES: &[Case] =
    &[("a number that belongs to another process now", reused), ("one digit of the record is another one", spoilt)];

/// In a pid namespace of its own, where nobody else takes the number: the container dies, and the next process but the container's is
/// given its number. Each step that goes wrong has an exit code.
const REUSE: &str = r#"
C="$0 --root $1"
$C run --detach --bundle "$2" a || exit 11
P=$($C state a | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
kill -KILL "$P" || exit 12
while [ -d "/proc/$P" ]; do sleep 0.01; done
tries=0
until echo $((P - 1)) >/proc/sys/kernel/ns_last_pid; sleep 1000 & [ $! = "$P" ]; do
  kill $!
  tries=$((tries + 1))
  [ $tries = 50 ] && exit 13
done
$C state a | grep -q '"status": "stopped"' || exit 14
$C kill a KILL 2>/dev/null && exit 15
$C kill --all a KILL || exit 16
$C exec a /bin/true 2>/dev/null && exit 17
kill -0 "$P" || exit 18
$C delete a || exit 19
kill -0 "$P" || exit 20
kill -KILL "$P"
"#;

fn reused(place: &Place) -> Verdict {
    let turn = &place.turn;
    if !turn.column.actor.is_root() {
        return skip("ns_last_pid is root's to write");
    }
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    let (codexrun, state) = (turn.column.runtime.path.display().to_string(), turn.state.display().to_string());
    let space = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "--mount-proc"];
    let argv = [&space[..], &["/bin/sh", "-c", REUSE, &codexrun, &state, &bundle]].concat();
    let ran = Launch::new(&argv, &turn.dir).run(&turn.column.actor)?;
    ran.must("exit 0: a stranger is neither signalled nor joined", ran.code == 0)
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
    let ran = while_orphans_are_collected(|| turn.call(&["delete", "--force", &container.id]))?;
    ran.must("exit 0", ran.code == 0)?;
    turn.unknown(&container.id)
}
