//! The process: directory, environment, arguments, flags; and the names of the host.

use super::Who::{Both, Root};
use super::bundle::remove;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("config.process.cwd.set", "the program starts in cwd", Both, cwd),
    must("config.process.cwd.absolute", "a cwd that is not absolute is an error", Both, cwd_relative),
    must("config.process.cwd.required", "a process without cwd is an error", Both, |t| without(t, "cwd")),
    must("config.process.env", "the environment is what env says and nothing else", Both, env),
    must("config.process.args.required", "args has at least one entry; otherwise an error", Both, no_args),
    must("config.process.args.execvp", "args[0] without a slash is looked up in PATH of env", Both, execvp),
    must("config.process.args.argv", "every argument arrives byte for byte", Both, argv),
    must("config.process.args.relative", "args[0] with a slash is a path, not looked up", Both, relative),
    must("config.process.no-new-privileges.true", "the process cannot gain privileges", Both, |t| nnp(t, json!(true), "1")),
    must("config.process.no-new-privileges.default", "unset leaves no_new_privs off", Root, |t| nnp(t, Value::Null, "0")),
    must("config.process.oom-score-adj.set", "oom_score_adj has the given value", Both, oom_set),
    must("config.process.oom-score-adj.unset", "oom_score_adj stays what it was for the caller", Both, oom_unset),
    must("config.process.terminal.default", "no terminal unless one is asked for", Both, no_terminal),
    must("config.process.console-size.ignored", "consoleSize is ignored without a terminal", Both, console_size),
    must("config.hostname", "the hostname as seen inside", Both, hostname),
    must("config.domainname", "the domainname as seen inside", Both, domainname),
];

fn cwd(turn: &Turn) -> Verdict {
    let mut config = turn.sh("pwd; readlink /proc/self/cwd");
    config["process"]["cwd"] = json!("/etc");
    turn.prints(&config, "/etc\n/etc\n")
}

fn cwd_relative(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["cwd"] = json!("etc");
    turn.refused(&config)
}

fn without(turn: &Turn, field: &str) -> Verdict {
    let mut config = turn.sleeper();
    remove(&mut config["process"], field);
    turn.refused(&config)
}

/// HOME may be added: it is what a shell would set, and runc does.
fn env(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["/bin/cat", "/proc/self/environ"]);
    config["process"]["env"] = json!(["PATH=/bin", "A=1", "EMPTY=", "B=x=y z"]);
    let text = turn.output(&config)?;
    let words: Vec<&str> = text.split_terminator('\0').filter(|w| !w.starts_with("HOME=")).collect();
    let expected = ["PATH=/bin", "A=1", "EMPTY=", "B=x=y z"];
    if words == expected { Ok(()) } else { fail("environ", format!("{expected:?}"), format!("{words:?}")) }
}

fn no_args(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["args"] = json!([]);
    turn.refused(&config)?;
    without(turn, "args")
}

fn execvp(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["only-here", "word"]);
    config["process"]["env"] = json!(["PATH=/nowhere:/work/bin:/bin"]);
    let bundle = turn.bundle(&config)?;
    let bin = bundle.join("rootfs/work/bin");
    std::fs::create_dir(&bin)?;
    std::fs::write(bin.join("only-here"), "#!/bin/sh\necho \"found $1\"\n")?;
    std::fs::set_permissions(bin.join("only-here"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    turn.column.actor.own(&bin)?;
    let container = super::container::Container::create(turn, bundle, &[])?;
    container.made.must("create exits 0", container.made.code == 0)?;
    container.start()?;
    container.ended()?;
    container.says("found word\n")
}

fn argv(turn: &Turn) -> Verdict {
    let words = ["", "a b", "$HOME", "ü\u{301}", "--", "-x", "'\"\\", "new\nline"];
    let args: Vec<&str> = ["/bin/printf", "[%s]"].into_iter().chain(words).collect();
    let expected: String = words.iter().map(|w| format!("[{w}]")).collect();
    turn.prints(&turn.config(&args), &expected)
}

fn relative(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["bin/echo", "here"]);
    turn.prints(&config, "here\n")?;
    config["process"]["args"] = json!(["./echo", "here"]);
    config["process"]["cwd"] = json!("/bin");
    config["linux"]["cgroupsPath"] = turn.sleeper()["linux"]["cgroupsPath"].clone();
    turn.prints(&config, "here\n")
}

/// A line of /proc/self/status.
pub fn status_line(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

fn nnp(turn: &Turn, value: Value, expected: &str) -> Verdict {
    let mut config = turn.config(&["/bin/cat", "/proc/self/status"]);
    if !value.is_null() {
        config["process"]["noNewPrivileges"] = value;
    }
    let seen = status_line(&turn.output(&config)?, "NoNewPrivs");
    if seen == expected { Ok(()) } else { fail("NoNewPrivs", expected, seen) }
}

fn oom_set(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["/bin/cat", "/proc/self/oom_score_adj"]);
    config["process"]["oomScoreAdj"] = json!(321);
    turn.prints(&config, "321\n")
}

fn oom_unset(turn: &Turn) -> Verdict {
    let caller = ["/bin/sh", "-c", "echo 17 > /proc/self/oom_score_adj; exec \"$0\" \"$@\""];
    let ran = turn.run_by(&caller, &turn.config(&["/bin/cat", "/proc/self/oom_score_adj"]))?;
    ran.must("17, as the caller's", ran.code == 0 && ran.out == "17\n")
}

const HAS_TTY: &str = "tty -s && echo terminal; (: < /dev/tty) 2>/dev/null && echo controlling; echo end";

fn no_terminal(turn: &Turn) -> Verdict {
    turn.prints(&turn.sh(HAS_TTY), "end\n")
}

fn console_size(turn: &Turn) -> Verdict {
    for terminal in [json!(false), Value::Null] {
        let mut config = turn.sh(HAS_TTY);
        config["process"]["consoleSize"] = json!({"height": 10, "width": 20});
        if !terminal.is_null() {
            config["process"]["terminal"] = terminal;
        }
        turn.prints(&config, "end\n")?;
    }
    Ok(())
}

fn hostname(turn: &Turn) -> Verdict {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    turn.prints(&turn.config(&["/bin/hostname"]), "inside\n")?;
    let after = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    if before == after { Ok(()) } else { fail("hostname", before, after) }
}

fn domainname(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["/bin/cat", "/proc/sys/kernel/domainname"]);
    config["domainname"] = json!("domain.example");
    turn.prints(&config, "domain.example\n")
}
