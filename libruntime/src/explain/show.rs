//! An account for people: two or three lines a path, a line a fact.

use super::{Answer, Facts, Namespace, Verdict};
use crate::bpf::{Calls, answer, permits};
use crate::bridge::{Route, Side};
use crate::error::plain;
use crate::policy::compile::Lift;
use std::fmt;

/// Names are others': what is told is one line.
fn tell(f: &mut fmt::Formatter<'_>, line: fmt::Arguments) -> fmt::Result {
    writeln!(f, "{}", plain(&line.to_string()))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let may: Vec<&str> = self.all_rights().filter(|(_, verdict)| **verdict == Verdict::Yes).map(|(name, _)| name).collect();
        let may = if may.is_empty() { "nothing".to_owned() } else { may.join(", ") };
        tell(f, format_args!("{}: {}: {may}", self.path.display(), self.kind))?;
        if self.at != self.path {
            tell(f, format_args!("  leads to {}", self.at.display()))?;
        }
        if let Some(mount) = &self.mount {
            let because = self.because.as_ref().map(|because| format!(", {because}")).unwrap_or_default();
            tell(f, format_args!("  {} at {}{because}", mount.origin, mount.at.display()))?;
        }
        self.refusals().iter().try_for_each(|line| tell(f, format_args!("  {line}")))
    }
}

impl Answer {
    /// `not write, delete: the mount is read-only (mounts[3])`: rights with one reason share a line. What goes without saying (a
    /// file that exists cannot be created) is not said.
    fn refusals(&self) -> Vec<String> {
        let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, verdict) in self.all_rights() {
            let reason = match verdict {
                Verdict::Yes => continue,
                Verdict::No { why, .. } if ["it exists", "it is missing"].contains(&why.as_str()) => continue,
                Verdict::No { why, by: Some(by) } => format!("{why} ({by})"),
                Verdict::No { why, by: None } => why.clone(),
                Verdict::Unknown { why } => format!("not known before: {why}"),
            };
            match lines.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, names)) => names.push(name),
                None => lines.push((reason, vec![name])),
            }
        }
        lines.into_iter().map(|(reason, names)| format!("not {}: {reason}", names.join(", "))).collect()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((uid, gid), (out_uid, out_gid)) = (self.inside, self.outside);
        let power = if self.capabilities.is_empty() { "no capabilities".to_owned() } else { self.capabilities.join(" ") };
        let more = if self.no_new_privileges { ", no new privileges" } else { "" };
        writeln!(f, "user         {uid}:{gid}, outside {out_uid}:{out_gid}; {power}{more}")?;
        writeln!(f, "isolation    {}", self.isolation())?;
        writeln!(f, "namespaces   {}", self.spaces())?;
        tell(f, format_args!("network      {}", self.network()))?;
        if let Some(granted) = &self.unix_sockets {
            let paths: String = granted.iter().map(|path| format!("; {}", path.display())).collect();
            let datagrams = if self.unix_datagrams { " and datagrams" } else { "" };
            tell(f, format_args!("unix sockets its own, of streams{datagrams}{paths}"))?;
        }
        match &self.system_calls {
            Some(calls) => show_calls(calls, f)?,
            None => writeln!(f, "system calls all")?,
        }
        for Lift { name, calls, because } in &self.lifts {
            tell(f, format_args!("             allow_syscalls {name} would permit {}: {because}", calls.join(" ")))?;
        }
        let names: Vec<&str> = self.environment.iter().map(|var| var.split('=').next().unwrap_or_default()).collect();
        tell(f, format_args!("environment  {}", names.join(" ")))?;
        match self.limits.is_empty() {
            true => writeln!(f, "limits       the caller's"),
            false => self.limits.iter().try_for_each(|(name, value)| writeln!(f, "limit        {name} = {value}")),
        }
    }
}

impl Facts {
    /// Whether the network namespace is the caller's, a new one or another.
    pub fn network(&self) -> String {
        let network = self.namespaces.iter().find(|(kind, _)| *kind == "network");
        let which = match network.map(|(_, whose)| whose) {
            Some(Namespace::Own) => self.routes.iter().fold("its own, with nothing but loopback".into(), told),
            Some(Namespace::Joined(path)) => format!("that of `{}`", path.display()),
            Some(Namespace::Caller) | None => "the caller's".into(),
        };
        match self.tcp_ports.as_deref() {
            None => which,
            Some([]) => format!("{which}; to no port of TCP"),
            Some(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                format!("{which}; of TCP to the ports {} alone", ports.join(", "))
            }
        }
    }

    fn isolation(&self) -> String {
        let behind = if self.landlock && self.isolation != "landlock" { ", with Landlock as a second wall" } else { "" };
        let lost = if self.lost.is_empty() { String::new() } else { format!("; given up: {}", self.lost.join(", ")) };
        format!("{}{behind}{lost}", self.isolation)
    }

    fn spaces(&self) -> String {
        let of = |wanted: &Namespace| {
            let names = self.namespaces.iter().filter(|(_, whose)| whose == wanted).map(|(kind, _)| *kind);
            names.collect::<Vec<_>>().join(" ")
        };
        format!("its own: {}; the caller's: {}", of(&Namespace::Own), of(&Namespace::Caller))
    }
}

fn told(network: String, route: &Route) -> String {
    let Route { side, listen, dial, says, either: _ } = route;
    let dial = route.second().map_or(dial.to_string(), |second| format!("{dial} or {second}"));
    match side {
        Side::Inside if says.name => {
            format!("{network}; names are resolved there, and {listen} goes by the proxy {dial} of the caller's")
        }
        Side::Inside => format!("{network}; there {listen} is {dial} of the caller's"),
        Side::Outside => format!("{network}; the caller's {listen} is {dial} there"),
    }
}

fn show_calls(calls: &Calls, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let differ = |permitted: bool| {
        let names = calls.named.iter().filter(|call| call.lines.is_empty() && permits(call.otherwise) == permitted);
        names.map(|call| call.name).collect::<Vec<_>>()
    };
    let usual = permits(calls.default);
    let word = if usual { "all but" } else { "only" };
    let newer = calls.unheard.map_or(String::new(), |from| format!("; from number {from} ENOSYS"));
    writeln!(f, "system calls {word} {}; others {}{newer}", differ(!usual).join(" "), answer(calls.default))?;
    let by_argument: Vec<&str> = calls.named.iter().filter(|call| !call.lines.is_empty()).map(|call| call.name).collect();
    if by_argument.is_empty() { Ok(()) } else { writeln!(f, "             by their arguments: {}", by_argument.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::super::Shown;
    use super::*;

    #[test]
    fn a_path_is_told_on_one_line_without_orders_to_a_terminal() {
        let yes = || Verdict::Yes;
        let path = std::path::PathBuf::from("/w/a\n/etc: file: write\x1b[2K");
        let answer = Answer {
            at: path.clone(),
            path,
            kind: "file",
            read: yes(),
            write: yes(),
            create: yes(),
            delete: yes(),
            execute: yes(),
            connect: None,
            mount: None,
            because: None,
        };
        assert!(answer.to_string().starts_with("/w/a\\n/etc: file: write\\u{1b}[2K: file: read"), "{answer}");
        assert_eq!(answer.to_string().lines().count(), 1);
    }

    #[test]
    fn rights_with_one_reason_share_a_line() {
        let no = |why: &str, by: Option<&str>| Verdict::No { why: why.into(), by: by.map(str::to_owned) };
        let shut = no("the mount is read-only", Some("mounts[3]"));
        let answer = Answer {
            path: "/w/l".into(),
            at: "/w/f".into(),
            kind: "file",
            read: Verdict::Yes,
            write: shut.clone(),
            create: no("it exists", None),
            delete: shut,
            execute: no("mode 0644 of 0:0", None),
            connect: None,
            mount: Some(Shown { origin: "mounts[3]".into(), at: "/w".into(), read_only: true }),
            because: None,
        };
        let text = "/w/l: file: read\n  leads to /w/f\n  mounts[3] at /w\n  not write, delete: the mount is read-only (mounts[3])\n  \
                    not execute: mode 0644 of 0:0\n";
        assert_eq!(answer.to_string(), text);
    }
}
