//! Two accounts side by side: what the one permits and the other does not.

use super::{Explained, Facts, Namespace, Verdict};
use crate::bpf::{Call, Calls, permits};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One thing that only one of two permits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// `path`, `namespace`, `network`, `unix socket`, `system call`, `capability`, `environment`, `limit`, `privileges`.
    pub kind: &'static str,
    /// Which.
    pub name: String,
    /// What is permitted there: `write, create`; `the caller's`.
    pub what: String,
}

/// What `b` permits and `a` does not, on the host for which both were made. The reverse: exchange them.
pub fn diff(a: (&Explained, &Facts), b: (&Explained, &Facts)) -> Vec<Difference> {
    let mut all = paths(a.0, b.0);
    let (a, b) = (a.1, b.1);
    all.extend(namespaces(a, b));
    all.extend(calls(a.system_calls.as_ref(), b.system_calls.as_ref()));
    all.extend(sockets(a.unix_sockets.as_deref(), b.unix_sockets.as_deref()));
    if b.unix_datagrams && !a.unix_datagrams {
        all.push(difference("unix socket", "datagrams", "of its own, and to what is granted"));
    }
    all.extend(ports(a.tcp_ports.as_deref(), b.tcp_ports.as_deref()));
    let gained = b.capabilities.iter().filter(|name| !a.capabilities.contains(name));
    all.extend(gained.map(|name| difference("capability", name, "")));
    if a.no_new_privileges && !b.no_new_privileges {
        all.push(difference("privileges", "new ones", "by set-user-ID programs"));
    }
    let set = b.environment.iter().filter(|var| !a.environment.contains(var));
    // The name alone: a value may be a secret.
    all.extend(set.map(|var| difference("environment", var.split('=').next().unwrap_or_default(), "set so")));
    let unlike = a.limits.iter().filter(|limit| !b.limits.contains(limit));
    all.extend(unlike.map(|(name, value)| difference("limit", name, &format!("not {value}"))));
    all
}

fn difference(kind: &'static str, name: &str, what: &str) -> Difference {
    Difference { kind, name: name.to_owned(), what: what.to_owned() }
}

/// Of every place that either speaks of, and of something new in it.
fn paths(a: &Explained, b: &Explained) -> Vec<Difference> {
    let places: BTreeSet<&Path> = a.places().chain(b.places()).collect();
    places
        .into_iter()
        .filter_map(|path| {
            let (in_a, in_b) = (a.path(path), b.path(path));
            let more = in_a
                .rights()
                .into_iter()
                .zip(in_b.rights())
                .filter(|((_, a), (_, b))| **b == Verdict::Yes && **a != Verdict::Yes);
            let names: Vec<&str> = more.map(|((name, _), _)| name).collect();
            (!names.is_empty()).then(|| difference("path", &path.to_string_lossy(), &names.join(", ")))
        })
        .collect()
}

/// One that is shared with the caller shows and gives more than one of its own.
fn namespaces(a: &Facts, b: &Facts) -> Vec<Difference> {
    let pairs = a.namespaces.iter().zip(&b.namespaces).filter(|((_, a), (_, b))| a != b && *b != Namespace::Own);
    let words = |whose: &Namespace| match whose {
        Namespace::Own => "its own".to_owned(),
        Namespace::Caller => "the caller's".to_owned(),
        Namespace::Joined(path) => path.to_string_lossy().into_owned(),
    };
    pairs.map(|((kind, _), (_, whose))| difference("namespace", kind, &words(whose))).collect()
}

fn sockets(a: Option<&[PathBuf]>, b: Option<&[PathBuf]>) -> Vec<Difference> {
    let own = (a.is_none() && b.is_some()).then(|| difference("unix socket", "its own", "of streams"));
    let granted = b.into_iter().flatten().filter(|path| !a.is_some_and(|a| a.contains(path)));
    own.into_iter().chain(granted.map(|path| difference("unix socket", &path.to_string_lossy(), "of the host's"))).collect()
}

/// Of TCP; none: all.
fn ports(a: Option<&[u16]>, b: Option<&[u16]>) -> Vec<Difference> {
    match (a, b) {
        (None, _) => Vec::new(),
        (Some(_), None) => vec![difference("network", "TCP", "to every port")],
        (Some(a), Some(b)) => {
            let new = b.iter().filter(|port| !a.contains(port));
            new.map(|port| difference("network", "TCP", &format!("to port {port}"))).collect()
        }
    }
}

static ALL: Calls = Calls { named: Vec::new(), default: 0x7fff_0000, unheard: None };

fn calls(a: Option<&Calls>, b: Option<&Calls>) -> Vec<Difference> {
    let (a, b) = (a.unwrap_or(&ALL), b.unwrap_or(&ALL));
    let names: BTreeSet<&'static str> = a.named.iter().chain(&b.named).map(|call| call.name).collect();
    let mut all: Vec<Difference> = names.iter().filter_map(|name| call(&a.of(name), &b.of(name))).collect();
    if permits(b.default) && !permits(a.default) {
        all.push(difference("system call", "all that are not named", ""));
    }
    all
}

/// Whether `b` lets something of a call through that `a` does not: line by line, as they are written.
fn call(a: &Call, b: &Call) -> Option<Difference> {
    let lines = |call: &Call, permitted: bool| -> Vec<String> {
        call.lines.iter().filter(|(_, answer)| permits(*answer) == permitted).map(|(when, _)| when.clone()).collect()
    };
    let only =
        |these: Vec<String>, those: Vec<String>| these.into_iter().filter(|line| !those.contains(line)).collect::<Vec<_>>();
    let freed = match permits(b.otherwise) {
        true if !permits(a.otherwise) => vec!["in general".to_owned()],
        true => only(lines(a, false), lines(b, false)),
        false => Vec::new(),
    };
    let granted = if permits(a.otherwise) { Vec::new() } else { only(lines(b, true), lines(a, true)) };
    let all = [freed, granted].concat();
    (!all.is_empty()).then(|| difference("system call", a.name, &all.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: u32 = 0x0005_0001;

    fn named(name: &'static str, lines: &[(&str, u32)], otherwise: u32) -> Call {
        Call { name, lines: lines.iter().map(|(when, what)| (when.to_string(), *what)).collect(), otherwise }
    }

    #[test]
    fn a_call_that_is_freed_is_told_with_its_conditions() {
        let strict = Calls {
            named: vec![
                named("mount", &[], REFUSED),
                named("socket", &[("arg0 == 1", REFUSED), ("arg0 == 3", REFUSED)], ALL.default),
            ],
            ..ALL.clone()
        };
        let loose = Calls { named: vec![named("socket", &[("arg0 == 3", REFUSED)], ALL.default)], ..ALL.clone() };
        let words = |all: Vec<Difference>| all.into_iter().map(|d| format!("{} {}", d.name, d.what)).collect::<Vec<_>>();
        assert_eq!(words(calls(Some(&strict), Some(&loose))), ["mount in general", "socket arg0 == 1"]);
        assert_eq!(words(calls(Some(&loose), Some(&strict))), [""; 0]);
        assert_eq!(calls(Some(&strict), None).len(), 2);
        assert_eq!(calls(Some(&strict), Some(&strict)), []);
    }

    #[test]
    fn a_port_is_told_that_only_one_reaches() {
        let words = |a: Option<&[u16]>, b: Option<&[u16]>| ports(a, b).into_iter().map(|d| d.what).collect::<Vec<_>>();
        assert_eq!(words(Some(&[1]), Some(&[1, 2])), ["to port 2"]);
        assert_eq!(words(Some(&[]), None), ["to every port"]);
        assert_eq!([words(None, Some(&[1])), words(None, None), words(Some(&[1]), Some(&[]))], [[""; 0]; 3]);
    }

    #[test]
    fn a_list_of_what_is_permitted_is_compared_with_one_of_what_is_refused() {
        let few = Calls { named: vec![named("read", &[], ALL.default)], default: REFUSED, unheard: None };
        let all = calls(Some(&few), None);
        assert_eq!(all.last().map(|d| d.name.as_str()), Some("all that are not named"));
        assert_eq!(calls(None, Some(&few)), []);
    }
}
