//! The words of the command line, before the grammar sees them: what Go's `flag` package accepts and clap does not is written as clap
//! wants it. runc is a Go program, and its callers (go-runc, conmon, scripts) write what Go accepts.
//!
//! * `-root DIR`, `-no-subreaper`: a long option with one dash → with two;
//! * `--detach=true`, `--debug=false`: a flag with a value → the flag, or nothing;
//! * `--memory-swap -1`: a value that begins with a dash → `--memory-swap=-1`;
//! * `state --root DIR ID`: a global option behind the verb → before it;
//! * `sandbox --stdio-sockets ls`: a value that may be left out is the next word only when it is one that the option knows;
//! * `exec ID ls -l`, `sandbox ls -l`: the words of another program → `exec ID -- ls -l`, so that none of them is taken for an option.
//!
//! Which options there are and which take a value is asked of the grammar itself. A word after `--` is never touched.

use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A command line that clap can read.
#[derive(Debug, Default)]
pub struct Line {
    /// The program's name first.
    pub words: Vec<OsString>,
    /// The verb, when it is one of the grammar's.
    pub verb: Option<String>,
}

/// Rewrites `argv` for `grammar`.
pub fn normalise(argv: impl IntoIterator<Item = OsString>, grammar: &Command) -> Line {
    let mut argv = argv.into_iter().peekable();
    let program = argv.next();
    let mut walk = Walk { grammar, verb: None, positionals: 0, global: Vec::new(), own: Vec::new() };
    while let Some(word) = argv.next() {
        if word == "--" {
            walk.own.push(word);
            break;
        }
        if walk.begins_payload(&word) {
            walk.own.extend(["--".into(), word]);
            break;
        }
        walk.word(word, &mut argv);
        if walk.payload_follows() {
            let next = argv.next();
            walk.own.extend(next.as_ref().filter(|next| *next != "--").map(|_| "--".into()));
            walk.own.extend(next);
            break;
        }
    }
    let verb = walk.verb.map(|verb| verb.get_name().to_owned());
    Line { words: program.into_iter().chain(walk.global).chain(walk.own).chain(argv).collect(), verb }
}

struct Walk<'a> {
    grammar: &'a Command,
    verb: Option<&'a Command>,
    /// How many words after the verb were no options.
    positionals: usize,
    /// The global options and their values.
    global: Vec<OsString>,
    /// The verb and what belongs to it.
    own: Vec<OsString>,
}

/// An option of the grammar.
struct Found<'a> {
    option: &'a Arg,
    global: bool,
}

impl<'a> Walk<'a> {
    fn word(&mut self, word: OsString, rest: &mut Peekable<impl Iterator<Item = OsString>>) {
        match word.as_bytes() {
            [b'-', b'-', text @ ..] => self.long(text, &word, rest),
            // As in Go, a long name is looked for first: `-root` is not `-r oot`.
            [b'-', text @ ..] if text.len() > 1 && self.find_long(text).is_some() => self.long(text, &word, rest),
            [b'-', letters @ ..] if !letters.is_empty() => self.shorts(letters, &word, rest),
            _ => self.plain(word),
        }
    }

    fn plain(&mut self, word: OsString) {
        let verb = word.to_str().filter(|_| self.verb.is_none() && self.positionals == 0);
        self.verb = self.verb.or_else(|| self.grammar.find_subcommand(verb?));
        // The word that should have been a verb, and is none, is counted too: the next one is not tried.
        self.positionals += usize::from(verb.is_none() || self.verb.is_none());
        self.own.push(word);
    }

    fn long(&mut self, text: &[u8], word: &OsStr, rest: &mut Peekable<impl Iterator<Item = OsString>>) {
        let Some(Found { option, global }) = self.find_long(text) else {
            return self.own.push(word.to_owned());
        };
        let value = text.iter().position(|&b| b == b'=').map(|at| &text[at + 1..]);
        let words = match (takes_value(option), value) {
            (true, None) => with_value(join(b"--", text), rest.next_if(|next| takes(option, next))),
            (false, Some(value)) => match truth(value) {
                Some(true) => vec![join(b"--", &text[..text.len() - value.len() - 1])],
                Some(false) => Vec::new(),
                // Clap refuses it, and says which option it is.
                None => vec![join(b"--", text)],
            },
            (true, Some(_)) | (false, None) => vec![join(b"--", text)],
        };
        if global { self.global.extend(words) } else { self.own.extend(words) }
    }

    /// `-b DIR`, `-bDIR`, `-qf json`: the first letter that takes a value takes what follows.
    fn shorts(&mut self, letters: &[u8], word: &OsStr, rest: &mut impl Iterator<Item = OsString>) {
        let valued = letters.iter().position(|&b| self.find_short(char::from(b)).is_some_and(takes_value));
        let takes_next = valued.is_some_and(|at| at + 1 == letters.len());
        self.own.extend(with_value(word.to_owned(), if takes_next { rest.next() } else { None }));
    }

    /// By its name, whatever value stands behind it; the verb's own first.
    fn find_long(&self, text: &[u8]) -> Option<Found<'a>> {
        let name = text.split(|&b| b == b'=').next()?;
        let of =
            |command: &'a Command| command.get_arguments().find(|a| a.get_long().is_some_and(|long| long.as_bytes() == name));
        let own = self.verb.and_then(of).map(|option| Found { option, global: false });
        own.or_else(|| of(self.grammar).map(|option| Found { option, global: true }))
    }

    fn find_short(&self, letter: char) -> Option<&'a Arg> {
        self.verb.unwrap_or(self.grammar).get_arguments().find(|option| option.get_short() == Some(letter))
    }

    /// Whether this word and all further ones are another program's: `sandbox ls -l`.
    fn begins_payload(&self, word: &OsStr) -> bool {
        let many = |arg: &&Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1) && !arg.is_last_set();
        let next = self.verb.filter(|verb| verb.get_positionals().take(self.positionals).find(many).is_none());
        let next = next.and_then(|verb| verb.get_positionals().nth(self.positionals));
        next.is_some_and(Arg::is_last_set) && !word.as_bytes().starts_with(b"-")
    }

    /// Whether all further words are another program's: `exec ID`, `ps ID`.
    fn payload_follows(&self) -> bool {
        let payload = |verb: &Command| verb.get_positionals().position(Arg::is_trailing_var_arg_set);
        self.verb.and_then(payload).is_some_and(|at| self.positionals == at)
    }
}

/// In one word when the value looks like an option.
fn with_value(option: OsString, value: Option<OsString>) -> Vec<OsString> {
    match value {
        Some(value) if value.as_bytes().starts_with(b"-") => {
            vec![join(join(option.as_bytes(), b"=").as_bytes(), value.as_bytes())]
        }
        value => [Some(option), value].into_iter().flatten().collect(),
    }
}

fn takes_value(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Whether this word behind the option is its value: of one that may be left out, only a known one.
fn takes(option: &Arg, word: &OsStr) -> bool {
    let optional = option.get_num_args().is_some_and(|range| range.min_values() == 0);
    !optional || option.get_possible_values().iter().any(|value| word == value.get_name())
}

/// Go's strconv.ParseBool.
fn truth(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

fn join(first: &[u8], second: &[u8]) -> OsString {
    OsString::from_vec([first, second].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Cli;
    use clap::CommandFactory;

    /// The words after the program's name, and the verb.
    fn read(line: &str) -> (String, Option<String>) {
        let argv = ["codexrun"].into_iter().chain(line.split(' ')).map(OsString::from);
        // A verb like `exec`, whose further words are not ours.
        let id = Arg::new("id");
        let command = Arg::new("command").num_args(0..).trailing_var_arg(true);
        let tty = Arg::new("tty").short('t').long("tty").action(ArgAction::SetTrue);
        let env = Arg::new("env").short('e').long("env").action(ArgAction::Append);
        let grammar = Cli::command().subcommand(Command::new("enter").args([id, command, tty, env]));
        let line = normalise(argv, &grammar);
        let words: Vec<_> = line.words[1..].iter().map(|word| word.to_str().unwrap()).collect();
        (words.join(" "), line.verb)
    }

    #[test]
    fn what_go_accepts_becomes_what_clap_accepts() {
        let table = [
            ("-root /r list", "--root /r list"),
            ("-root=/r -debug list -q", "--root=/r --debug list -q"),
            ("--debug=true list --quiet=false", "--debug list"),
            ("--systemd-cgroup=1 list -quiet=T", "--systemd-cgroup list --quiet"),
            ("list --quiet=maybe", "list --quiet=maybe"),
            ("run -b /b -detach -pid-file /p x", "run -b /b --detach --pid-file /p x"),
            ("run x -bundle=/b", "run x --bundle=/b"),
            ("list -qf json", "list -qf json"),
            ("list -root /r", "--root /r list"),
            ("state --debug x --log l", "--debug --log l state x"),
            ("spec --rootless", "spec --rootless"),
            ("-rootless auto spec -rootless", "--rootless auto spec --rootless"),
            ("--root -r list", "--root=-r list"),
            ("run -b -b x", "run -b=-b x"),
        ];
        for (line, words) in table {
            assert_eq!(read(line).0, words, "{line}");
        }
    }

    #[test]
    fn what_clap_accepts_stays_as_it_is() {
        let table = [
            "--root /r --log=l --log-format json list --format table",
            "state x",
            "list --no-such -x --",
            "no-such-verb -x",
            "sandbox -- ls -debug=true --root",
            "list -f",
            "-",
        ];
        for line in table {
            assert_eq!(read(line).0, line);
        }
    }

    #[test]
    fn the_words_of_another_program_are_not_touched() {
        let table = [
            ("enter x ls -debug --tty=true", "enter x -- ls -debug --tty=true"),
            ("enter -t -e -A=1 x -t", "enter -t -e=-A=1 x -- -t"),
            ("enter -tty=true -env A=1 x sh -c exit", "enter --tty --env A=1 x -- sh -c exit"),
            ("enter x -- ls -debug", "enter x -- ls -debug"),
            ("enter x", "enter x"),
            ("-root r enter x enter -debug", "--root r enter x -- enter -debug"),
            ("sandbox --cwd d ls -debug=true", "sandbox --cwd d -- ls -debug=true"),
            ("sandbox -policy p sandbox ls", "sandbox --policy p -- sandbox ls"),
            ("sandbox -tcp-ports 1,2 ls", "sandbox --tcp-ports 1,2 -- ls"),
            ("sandbox --stdio-sockets ls none", "sandbox --stdio-sockets -- ls none"),
            ("sandbox -stdio-sockets -- none", "sandbox --stdio-sockets -- none"),
            ("sandbox --stdio-sockets none ls", "sandbox --stdio-sockets none -- ls"),
        ];
        for (line, words) in table {
            assert_eq!(read(line).0, words, "{line}");
        }
    }

    #[test]
    fn the_verb_is_found_behind_options_and_their_values() {
        assert_eq!(read("--root list --log=state run x").1.as_deref(), Some("run"));
        assert_eq!(read("-log list -debug state x").1.as_deref(), Some("state"));
        assert_eq!(read("--root list").1, None);
        assert_eq!(read("nonsense list").1, None);
    }
}
