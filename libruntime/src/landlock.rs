//! Landlock rules as they are written in an annotation, in the words of landlockconfig's JSON: what they say, and which kernel knows the
//! rights that they name. Pure: loads nothing.

use crate::sys::landlock::Handled;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The text of the annotation. Each list of rights has names of landlock(7), or a group: `v5.all`, everything that ABI 5 knows of its kind;
/// `v5.read_execute`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What is denied where no rule permits it.
    pub ruleset: Vec<Ruleset>,
    /// What is permitted to files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_beneath: Vec<PathBeneath>,
    /// What is permitted to TCP ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net_port: Vec<NetPort>,
}

/// Rights that are denied unless a rule permits them; several rulesets are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ruleset {
    /// Of files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handled_access_fs: Vec<String>,
    /// Of TCP ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handled_access_net: Vec<String>,
    /// What does not leave the sandbox: signals, connections to abstract Unix sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scoped: Vec<String>,
}

/// Rights to some files and to all that lies below them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathBeneath {
    /// To a file only those count that a file can have.
    pub allowed_access: Vec<String>,
    /// Absolute paths inside the container.
    pub parent: Vec<PathBuf>,
}

/// Rights to some TCP ports of any address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetPort {
    /// `bind_tcp`, `connect_tcp`.
    pub allowed_access: Vec<String>,
    /// The ports.
    pub port: Vec<u16>,
}

/// The same in the kernel's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is denied otherwise.
    pub handled: Handled,
    /// A place and the rights to it; each place once.
    pub paths: Vec<(PathBuf, u64)>,
    /// A port and the rights to it.
    pub ports: Vec<(u16, u64)>,
}

/// What a right is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Files,
    Network,
    Scope,
}

/// A right: its name, its bit, and the first ABI and Linux that have it.
struct Right {
    of: Of,
    name: &'static str,
    bit: u64,
    abi: u32,
    linux: &'static str,
}

const fn right(of: Of, name: &'static str, bit: u32, abi: u32, linux: &'static str) -> Right {
    Right { of, name, bit: 1 << bit, abi, linux }
}

/// landlock(7).
const RIGHTS: &[Right] = &[
    right(Of::Files, "execute", 0, 1, "5.13"),
    right(Of::Files, "write_file", 1, 1, "5.13"),
    right(Of::Files, "read_file", 2, 1, "5.13"),
    right(Of::Files, "read_dir", 3, 1, "5.13"),
    right(Of::Files, "remove_dir", 4, 1, "5.13"),
    right(Of::Files, "remove_file", 5, 1, "5.13"),
    right(Of::Files, "make_char", 6, 1, "5.13"),
    right(Of::Files, "make_dir", 7, 1, "5.13"),
    right(Of::Files, "make_reg", 8, 1, "5.13"),
    right(Of::Files, "make_sock", 9, 1, "5.13"),
    right(Of::Files, "make_fifo", 10, 1, "5.13"),
    right(Of::Files, "make_block", 11, 1, "5.13"),
    right(Of::Files, "make_sym", 12, 1, "5.13"),
    right(Of::Files, "refer", 13, 2, "5.19"), // link(2) and rename(2) from one directory to another
    right(Of::Files, "truncate", 14, 3, "6.2"),
    right(Of::Files, "ioctl_dev", 15, 5, "6.10"),
    right(Of::Network, "bind_tcp", 0, 4, "6.7"),
    right(Of::Network, "connect_tcp", 1, 4, "6.7"),
    right(Of::Scope, "abstract_unix_socket", 0, 6, "6.12"),
    right(Of::Scope, "signal", 1, 6, "6.12"),
];

/// The newest ABI whose rights have names here.
pub const NEWEST: u32 = 6;
/// The rights that a file can have which is no directory (landlock.h, ACCESS_FILE).
pub const OF_A_FILE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
/// `connect_tcp`.
const CONNECT: u64 = 1 << 1;
const READ_EXECUTE: u64 = 1 | 1 << 2 | 1 << 3;

/// The bits of a list of names.
fn bits(of: Of, names: &[String]) -> Result<u64> {
    names.iter().map(|name| named(of, name)).try_fold(0, |all, bits| Ok(all | bits?))
}

fn named(of: Of, name: &str) -> Result<u64> {
    let ours = || RIGHTS.iter().filter(move |right| right.of == of);
    let group = name.strip_prefix('v').and_then(|rest| rest.split_once('.'));
    let version = group.and_then(|(version, word)| Some((version.parse::<u32>().ok()?, word)));
    match version.filter(|(version, _)| (1..=NEWEST).contains(version)) {
        Some((version, "all")) => return Ok(ours().filter(|right| right.abi <= version).fold(0, |all, right| all | right.bit)),
        Some((_, "read_execute")) if of == Of::Files => return Ok(READ_EXECUTE),
        _ => {}
    }
    let one = ours().find(|right| right.name == name).map(|right| right.bit);
    one.ok_or_else(|| {
        let known: Vec<&str> = ours().map(|right| right.name).collect();
        Error::new(format!("`{name}` is no right; known are {}, v{NEWEST}.all", known.join(", ")))
    })
}

impl Config {
    /// Reads the text of the annotation.
    ///
    /// # Errors
    /// What is no JSON of this form.
    pub fn parse(text: &str) -> Result<Config> {
        serde_json::from_str(text).map_err(|e| Error::new("is no Landlock rules").cause(e))
    }

    /// What it says, in numbers.
    ///
    /// # Errors
    /// A right that is not known; one that a rule permits and no ruleset denies; nothing denied.
    pub fn rules(&self) -> Result<Rules> {
        let mut rules = Rules::default();
        for Ruleset { handled_access_fs, handled_access_net, scoped } in &self.ruleset {
            rules.handled.files |= bits(Of::Files, handled_access_fs)?;
            rules.handled.network |= bits(Of::Network, handled_access_net)?;
            rules.handled.scoped |= bits(Of::Scope, scoped)?;
        }
        if rules.handled == Handled::default() {
            return Err(Error::new("`ruleset` denies nothing"));
        }
        for PathBeneath { allowed_access, parent } in &self.path_beneath {
            let access = permitted(Of::Files, allowed_access, rules.handled.files)?;
            parent.iter().for_each(|path| add(&mut rules.paths, path.clone(), access));
        }
        for NetPort { allowed_access, port } in &self.net_port {
            let access = permitted(Of::Network, allowed_access, rules.handled.network)?;
            port.iter().for_each(|port| add(&mut rules.ports, *port, access));
        }
        Ok(rules)
    }
}

fn permitted(of: Of, names: &[String], handled: u64) -> Result<u64> {
    let access = bits(of, names)?;
    match names_of(of, access & !handled).next() {
        Some(name) => Err(Error::new(format!("`{name}` is permitted by a rule, and denied by no `ruleset`"))),
        None if access == 0 => Err(Error::new("a rule permits nothing")),
        None => Ok(access),
    }
}

fn names_of(of: Of, bits: u64) -> impl Iterator<Item = &'static str> {
    RIGHTS.iter().filter(move |right| right.of == of && right.bit & bits != 0).map(|right| right.name)
}

/// The kernel adds up what several rules say of one place.
fn add<T: PartialEq>(all: &mut Vec<(T, u64)>, place: T, access: u64) {
    match all.iter_mut().find(|(known, _)| *known == place) {
        Some((_, known)) => *known |= access,
        None => all.push((place, access)),
    }
}

/// The names of rights to files.
pub fn file_rights(bits: u64) -> Vec<&'static str> {
    names_of(Of::Files, bits).collect()
}

/// The names of rights to TCP ports.
pub fn port_rights(bits: u64) -> Vec<&'static str> {
    names_of(Of::Network, bits).collect()
}

/// The TCP ports that may be connected to; `None`: all.
pub fn connectable(handled: &Handled, ports: &[(u16, u64)]) -> Option<Vec<u16>> {
    let permitted = || ports.iter().filter(|(_, access)| access & CONNECT != 0).map(|(port, _)| *port).collect();
    (handled.network & CONNECT != 0).then(permitted)
}

/// The names of what is scoped.
pub fn scopes(bits: u64) -> Vec<&'static str> {
    names_of(Of::Scope, bits).collect()
}

/// What is asked of a kernel that does not have it, a clause for each ABI; `abi` 0 is a kernel without Landlock, of which one says it all.
pub fn missing(handled: &Handled, abi: u32) -> Vec<String> {
    if abi == 0 && handled.files | handled.network | handled.scoped != 0 {
        return vec!["this kernel has no Landlock, or has it switched off (`lsm=` of its command line)".to_owned()];
    }
    let wanted = |right: &&Right| {
        let bits = match right.of {
            Of::Files => handled.files,
            Of::Network => handled.network,
            Of::Scope => handled.scoped,
        };
        bits & right.bit != 0
    };
    let lacks = |since: u32| {
        let rights: Vec<&Right> = RIGHTS.iter().filter(|right| right.abi == since).filter(wanted).collect();
        let names: Vec<&str> = rights.iter().map(|right| right.name).collect();
        let linux = rights.first()?.linux;
        Some(format!("`{}` needs Landlock's ABI {since} (Linux {linux}); this kernel has ABI {abi}", names.join("`, `")))
    };
    (abi + 1..=NEWEST).filter_map(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::landlock::{ABI, Access, AccessFs, AccessNet, BitFlags, Scope};

    fn rules(text: &str) -> Result<Rules> {
        Config::parse(text)?.rules()
    }

    #[test]
    fn a_group_is_what_the_crate_landlock_knows_of_that_abi() {
        for (n, abi) in [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6].into_iter().enumerate() {
            let group = |word: &str| vec![format!("v{}.{word}", n + 1)];
            assert_eq!(bits(Of::Files, &group("all")).unwrap(), AccessFs::from_all(abi).bits());
            assert_eq!(bits(Of::Files, &group("read_execute")).unwrap(), AccessFs::from_read(abi).bits());
            assert_eq!(bits(Of::Network, &group("all")).unwrap(), AccessNet::from_all(abi).bits());
            assert_eq!(bits(Of::Scope, &group("all")).unwrap(), Scope::from_all(abi).bits());
        }
        assert_eq!(OF_A_FILE, AccessFs::from_file(ABI::V6).bits());
        assert_eq!(named(Of::Files, "refer").unwrap(), BitFlags::from(AccessFs::Refer).bits());
    }

    #[test]
    fn several_words_about_one_place_add_up() {
        let text = r#"{"ruleset": [{"handledAccessFs": ["v1.all"]}, {"handledAccessNet": ["connect_tcp"], "scoped": ["signal"]}],
            "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/a", "/b"]}, {"allowedAccess": ["execute"], "parent": ["/b"]}],
            "netPort": [{"allowedAccess": ["connect_tcp"], "port": [443]}]}"#;
        let rules = rules(text).unwrap();
        assert_eq!(rules.handled, Handled { files: (1 << 13) - 1, network: 2, scoped: 2 });
        assert_eq!(rules.paths, [("/a".into(), 4), ("/b".into(), 5)]);
        assert_eq!(rules.ports, [(443, 2)]);
        let text = serde_json::to_string(&Config::parse(text).unwrap()).unwrap();
        assert_eq!(super::tests::rules(&text).unwrap(), rules);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, why) in [
            ("[]", "is no Landlock rules"),
            (r#"{"ruleset": []}"#, "denies nothing"),
            (r#"{"ruleset": [{"handledAccessFs": ["write"]}]}"#, "`write` is no right"),
            (r#"{"ruleset": [{"handledAccessFs": ["v99.all"]}]}"#, "`v99.all` is no right"),
            (r#"{"ruleset": [{"scoped": ["v6.read_execute"]}]}"#, "`v6.read_execute` is no right"),
            (r#"{"ruleset": [{"scoped": ["signal"]}], "rules": []}"#, "unknown field"),
            (
                r#"{"ruleset": [{"handledAccessFs": ["execute"]}], "pathBeneath": [{"allowedAccess": ["refer"], "parent": ["/"]}]}"#,
                "`refer` is permitted",
            ),
            (
                r#"{"ruleset": [{"handledAccessFs": ["execute"]}], "pathBeneath": [{"allowedAccess": [], "parent": ["/"]}]}"#,
                "permits nothing",
            ),
        ] {
            let said = rules(text).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn an_older_kernel_is_told_what_it_lacks() {
        let asked = Handled { files: 1 << 15 | 1, network: 1, scoped: 0 };
        assert!(missing(&asked, NEWEST).is_empty());
        assert_eq!(missing(&asked, 4), ["`ioctl_dev` needs Landlock's ABI 5 (Linux 6.10); this kernel has ABI 4"]);
        assert_eq!(missing(&asked, 0).len(), 1);
    }
}
