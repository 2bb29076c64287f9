//! What goes through the three streams, and what is kept of it.

use super::{Check, Group, On, Play, check};
use crate::engine::{Name, image};
use crate::launch::Ran;
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "streams", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("stdout and stderr stay apart", On::Every, apart),
    check("stdin arrives with -i", On::Every, stdin),
    check("a large output arrives whole", On::Every, large),
    check("logs keeps both streams", On::Every, logs),
    check("logs -f ends with the container", On::Every, followed),
    check("attach shows the output", On::Every, attach),
    check("attach feeds stdin", On::Every, attach_stdin),
];

fn apart(p: &Play) -> Verdict {
    let ran = p.sh(&[], "echo out; echo err >&2")?;
    ran.must("`out` and `err`", ran.code == 0 && ran.out == "out\n" && ran.err == "err\n")
}

fn stdin(p: &Play) -> Verdict {
    let call = ["run", "--rm", "-i", "--network=none", image::NAME, "cat"];
    let ran = p.cli.fed(&call, "first\nsecond")?;
    ran.must("what was fed", ran.code == 0 && ran.out == "first\nsecond")
}

fn large(p: &Play) -> Verdict {
    let ran = p.sh(&[], "head -c 3000000 /dev/zero | tr '\\0' x")?;
    ran.must("3000000 bytes", ran.code == 0 && ran.out.len() == 3_000_000)
}

fn logs(p: &Play) -> Verdict {
    let name = p.background(&[], "echo out; echo err >&2")?;
    p.becomes(&name, ".State.Status", "exited")?;
    let ran = p.cli.run(&["logs", &name])?;
    ran.must("`out` and `err`", ran.out == "out\n" && ran.err == "err\n")
}

fn followed(p: &Play) -> Verdict {
    let name = p.background(&[], "for i in 1 2 3; do echo $i; sleep 0.1; done")?;
    let ran = p.cli.run(&["logs", "-f", &name])?;
    ran.must("1, 2, 3", ran.code == 0 && ran.out == "1\n2\n3\n")
}

/// Speaks only after a signal, so that the attached one cannot come too late.
const ON_DEMAND: &str = "trap 'echo heard; exit 6' USR1; echo ready; while :; do sleep 0.05; done";

fn attach(p: &Play) -> Verdict {
    let name = p.ready(&[], ON_DEMAND)?;
    let attached = p.cli.start(&["attach", "--no-stdin", &name])?;
    // Nothing tells when it is attached; the loop of signals ends with the container.
    let mut ended = false;
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        ended = p.cli.run(&["kill", "-s", "USR1", &name])?.code != 0 || p.inspect(&name, ".State.Running")? != "true";
        if ended {
            break;
        }
    }
    let ran = attached.finish_beside_others()?;
    ran.must("`heard`", ended && code(p, &ran, 6) && ran.out.contains("heard\n"))
}

fn attach_stdin(p: &Play) -> Verdict {
    let name = p.background(&["-i"], "read word; echo \"got $word\"; exit 8")?;
    p.cli.fed(&["attach", &name], "this\n")?;
    p.becomes(&name, ".State.Status", "exited")?;
    let logs = p.cli.run(&["logs", &name])?;
    logs.must("`got this`", logs.out == "got this\n")
}

/// Only docker's attach passes the exit code on.
fn code(p: &Play, ran: &Ran, code: i32) -> bool {
    ran.code == if p.engine == Name::Docker { code } else { 0 }
}
