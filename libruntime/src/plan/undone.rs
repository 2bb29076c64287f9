//! Words of a mount that do not hold in the end, since another one says otherwise: of two that exclude each other one is lost, and that is
//! said.

use super::op::Attrs;
use super::options::{Meaning, Options, meaning, words};
use crate::sys::mount::attr::ATIME;
use oci_spec::runtime::Mount;

/// Each such word, with one that says otherwise.
pub(super) fn words_of<'a>(mount: &'a Mount, options: &Options) -> Vec<(&'a str, &'a str)> {
    let all: Vec<(&str, Claim)> = words(mount).filter_map(|word| Some((word, claim(options, word)?))).collect();
    let rival = |lost: &Claim| {
        let same = |one: &Claim| one.holds && one.about == lost.about && one.bits & lost.bits != 0;
        all.iter().rfind(|(_, one)| same(one)).map(|(word, _)| *word)
    };
    all.iter().filter(|(_, one)| !one.holds).filter_map(|(word, one)| Some((*word, rival(one)?))).collect()
}

/// Words of propagation that do not hold beside `linux.rootfsPropagation`, which is set last, and with an `r` for everything there is.
pub(super) fn by_the_root<'a>(mount: &'a Mount, root: &str) -> Vec<&'a str> {
    let lost: &[&str] = match root {
        "rshared" => &["private", "unbindable"],
        "runbindable" => &["slave", "shared"],
        _ => &[],
    };
    words(mount).filter(|word| lost.contains(word) || word.strip_prefix('r').is_some_and(|word| lost.contains(&word))).collect()
}

/// What a word is about, and whether it holds.
struct Claim<'a> {
    about: &'a str,
    bits: u64,
    holds: bool,
}

fn claim<'a>(options: &Options, word: &'a str) -> Option<Claim<'a>> {
    let Attrs { own, tree, .. } = options.attrs;
    let Some((meaning, recursive)) = meaning(word) else { return once(options, word) };
    let set = own.set | tree.set;
    let moved = if recursive || own.propagation == 0 { tree.propagation } else { own.propagation };
    let (about, bits, holds) = match meaning {
        Meaning::Set(flag) => ("attributes", flag, set & flag != 0),
        Meaning::Clear(flag) => ("attributes", flag, set & flag == 0),
        Meaning::Atime(mode) => ("attributes", ATIME, set & ATIME == mode),
        Meaning::NotAtime(not, _) => ("attributes", ATIME, set & ATIME != not),
        Meaning::Propagate(flag) => ("propagation", !0, moved & flag != 0),
        Meaning::IdMap { recursive } => ("ids", !0, options.idmap == Some(recursive)),
        Meaning::Super => return opposed(options, word),
        Meaning::Bind { .. } | Meaning::Remount | Meaning::Nothing | Meaning::CopyUp | Meaning::Refused => return None,
    };
    Some(Claim { about, bits, holds })
}

/// Of these the kernel takes the last.
fn opposed<'a>(options: &Options, word: &'a str) -> Option<Claim<'a>> {
    let pair =
        [["sync", "async"], ["lazytime", "nolazytime"], ["mand", "nomand"]].into_iter().find(|pair| pair.contains(&word))?;
    let last = options.data.iter().rfind(|(key, _)| pair.contains(&key.as_str()))?;
    Some(Claim { about: pair[0], bits: !0, holds: last.0 == word })
}

/// A parameter that has one value, and keeps the last that it is given.
fn once<'a>(options: &Options, word: &'a str) -> Option<Claim<'a>> {
    const ONCE: &[&str] = &["mode", "size", "nr_blocks", "nr_inodes", "uid", "gid", "huge", "mpol", "ptmxmode", "max", "hidepid"];
    let (about, value) = word.split_once('=').filter(|(key, _)| ONCE.contains(key))?;
    let last = options.data.iter().rfind(|(key, _)| key == about)?;
    Some(Claim { about, bits: !0, holds: last.1.as_deref() == Some(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(typ: &str, options: &str) -> String {
        let words: Vec<&str> = options.split(',').collect();
        let mount = serde_json::json!({"destination": "/m", "type": typ, "options": words});
        let mount = serde_json::from_value(mount).unwrap();
        let lost = words_of(&mount, &Options::of(&mount).unwrap());
        lost.iter().map(|(word, by)| format!("{word}:{by}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_word_that_the_roots_takes_back_is_named() {
        let options = ["rprivate", "slave", "unbindable", "shared", "ro"];
        let mount = serde_json::json!({"destination": "/m", "type": "bind", "options": options});
        let mount = serde_json::from_value(mount).unwrap();
        assert_eq!(by_the_root(&mount, "rshared"), ["rprivate", "unbindable"]);
        assert_eq!(by_the_root(&mount, "runbindable"), ["slave", "shared"]);
        assert!(["shared", "rslave", "rprivate", ""].iter().all(|root| by_the_root(&mount, root).is_empty()));
    }

    #[test]
    fn of_two_words_that_exclude_each_other_one_is_named() {
        for (typ, options, lost) in [
            ("bind", "rbind,rro,rw", "rw:rro"),
            ("bind", "rbind,rw,rro", "rw:rro"),
            ("bind", "rbind,ro,rrw", "ro:rrw"),
            ("bind", "rro,rrw", "rrw:rro"),
            ("bind", "ro,rw", "ro:rw"),
            ("bind", "rw,ro", "rw:ro"),
            ("tmpfs", "ro,rrw", "rrw:ro"),
            ("tmpfs", "noexec,exec,exec", "noexec:exec"),
            ("bind", "rnoexec,exec,rnosuid,dev", "exec:rnoexec"),
            ("tmpfs", "noatime,relatime", "noatime:relatime"),
            ("tmpfs", "noatime,norelatime", ""),
            ("bind", "slave,private", "slave:private"),
            ("bind", "shared,rprivate", "shared:rprivate"),
            ("bind", "unbindable,shared", "unbindable:shared"),
            ("bind", "private,shared,rslave,rshared", ""),
            ("bind", "idmap,ridmap", "idmap:ridmap"),
            ("tmpfs", "sync,async,lazytime", "sync:async"),
            ("tmpfs", "mode=755,size=4k,mode=700,mode=700", "mode=755:mode=700"),
            ("overlay", "lowerdir+=/a,lowerdir+=/b", ""),
            ("bind", "bind,rbind,ro,rro,nosuid,nosuid,defaults,silent", ""),
        ] {
            assert_eq!(undone(typ, options), lost, "{typ} {options}");
        }
    }
}
