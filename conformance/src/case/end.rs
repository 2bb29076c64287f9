//! How a sandbox ends: exit codes, and the streams that go through it.

use super::{Case, On, Play, WRITE, case};
use crate::report::Verdict;
use crate::runtime::Job;

pub const CASES: &[Case] = &[
    case("0", On::Every, |p| code(p, "exit 0", 0)),
    case("3", On::Every, |p| code(p, "exit 3", 3)),
    case("255", On::Every, |p| code(p, "exit 255", 255)),
    case("128 + SIGTERM", On::Codexrun, |p| code(p, "kill -TERM $$; sleep 5", 143)),
    case("128 + SIGKILL", On::Codexrun, |p| code(p, "kill -KILL $$; sleep 5", 137)),
    case("127 when the command is not found", On::Codexrun, |p| refused(p, "codexrun-test-no-such-command", 127)),
    case("127 when the path is not there", On::Codexrun, |p| refused(p, "/no/such/command", 127)),
    case("126 when it is not executable", On::Codexrun, not_executable),
    case("126 when it is a directory", On::Codexrun, |p| refused(p, "/usr", 126)),
    case("under read-only", On::Every, |p| p.sh("read-only", "exit 4")?.code_is(4)),
    case("under danger-full-access", On::Every, |p| p.sh("danger-full-access", "exit 5")?.code_is(5)),
    case("stdin, stdout and stderr pass through", On::Every, streams),
    case("a large output arrives whole", On::Every, large_output),
    case("arguments arrive byte for byte", On::Every, arguments),
];

impl crate::launch::Ran {
    /// Ends with this code and leaves nothing.
    pub fn code_is(&self, code: i32) -> Verdict {
        self.must(&format!("exit {code}"), self.code == code)
    }
}

fn code(play: &Play, script: &str, code: i32) -> Verdict {
    play.write(script)?.code_is(code)
}

fn refused(play: &Play, command: &str, code: i32) -> Verdict {
    let ran = play.column.run(&play.scene, &Job::new(WRITE, &play.scene, &[command]))?;
    let says = ran.err.starts_with("codexrun: error: ") && ran.err.contains(command);
    ran.must(&format!("exit {code} and `codexrun: error: …` that names the command"), ran.code == code && says)
}

fn not_executable(play: &Play) -> Verdict {
    let script = play.scene.w().join("script.txt").display().to_string();
    refused(play, &script, 126)
}

fn streams(play: &Play) -> Verdict {
    let job = Job { stdin: "one\ntwo\n".into(), ..Job::sh(WRITE, &play.scene, "cat; echo three >&2") };
    let ran = play.column.run(&play.scene, &job)?;
    ran.must("`one two` on stdout, `three` on stderr", ran.code == 0 && ran.out == "one\ntwo\n" && ran.err == "three\n")
}

fn large_output(play: &Play) -> Verdict {
    let ran = play.write("head -c 3000000 /dev/zero | tr '\\0' x")?;
    ran.must("exit 0", ran.code == 0)?;
    if ran.out.len() == 3_000_000 { Ok(()) } else { crate::report::fail(&ran.line, "3000000 bytes", ran.out.len()) }
}

fn arguments(play: &Play) -> Verdict {
    let words = ["", "a b", "$HOME", "ü\u{301}", "--", "-x", "'\"\\"];
    let argv: Vec<&str> = ["/usr/bin/printf", "[%s]"].into_iter().chain(words).collect();
    let ran = play.column.run(&play.scene, &Job::new(WRITE, &play.scene, &argv))?;
    let expected: String = words.iter().map(|w| format!("[{w}]")).collect();
    ran.must(&expected, ran.code == 0 && ran.out == expected)
}
