//! The option strings of config.json's mounts (config.md, "Linux mount options"; mount(8)) as a table.

use super::op::Attrs;
use crate::sys::mount::MountAttr;
use crate::sys::mount::attr::*;
use crate::{Error, Result};
use oci_spec::runtime::Mount;

const PRIVATE: u64 = 1 << 18;
const SLAVE: u64 = 1 << 19;
const SHARED: u64 = 1 << 20;
const UNBINDABLE: u64 = 1 << 17;

/// What a word of the tables says.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Set(u64),
    Clear(u64),
    /// One of the exclusive access-time modes.
    Atime(u64),
    /// Any of them but this one, in whose place there is another.
    NotAtime(u64, u64),
    Propagate(u64),
    Bind {
        recursive: bool,
    },
    Remount,
    Nothing,
    /// For the superblock; a bind has none of its own.
    Super,
    CopyUp,
    IdMap {
        recursive: bool,
    },
    Refused,
}
use Meaning::*;

/// What a mount from outside keeps in a user namespace; how it treats access times is another matter.
pub const LOCKABLE: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NODIRATIME;

/// The words that take one of these off, the attribute, and how it is called.
pub(super) const FREEING: &[(&str, u64, &str)] = &[
    ("rw", RDONLY, "ro"),
    ("suid", NOSUID, "nosuid"),
    ("dev", NODEV, "nodev"),
    ("exec", NOEXEC, "noexec"),
    ("diratime", NODIRATIME, "nodiratime"),
];

/// Options with a recursive twin spelled with an `r` in front.
const ATTRIBUTES: &[(&str, Meaning)] = &[
    ("ro", Set(RDONLY)),
    ("rw", Clear(RDONLY)),
    ("nosuid", Set(NOSUID)),
    ("suid", Clear(NOSUID)),
    ("nodev", Set(NODEV)),
    ("dev", Clear(NODEV)),
    ("noexec", Set(NOEXEC)),
    ("exec", Clear(NOEXEC)),
    ("noatime", Atime(NOATIME)),
    ("strictatime", Atime(STRICTATIME)),
    ("relatime", Atime(0)),
    ("atime", Atime(0)),
    ("norelatime", NotAtime(0, STRICTATIME)),
    ("nostrictatime", NotAtime(STRICTATIME, 0)),
    ("nodiratime", Set(NODIRATIME)),
    ("diratime", Clear(NODIRATIME)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("symfollow", Clear(NOSYMFOLLOW)),
];

const WORDS: &[(&str, Meaning)] = &[
    ("bind", Bind { recursive: false }),
    ("rbind", Bind { recursive: true }),
    ("remount", Remount),
    ("defaults", Nothing),
    ("private", Propagate(PRIVATE)),
    ("slave", Propagate(SLAVE)),
    ("shared", Propagate(SHARED)),
    ("unbindable", Propagate(UNBINDABLE)),
    // Which messages the kernel logs; which counter of changes a file system keeps, since Linux 4.16 its own affair.
    ("silent", Nothing),
    ("loud", Nothing),
    ("iversion", Nothing),
    ("noiversion", Nothing),
    ("async", Super),
    ("lazytime", Super),
    ("nolazytime", Super),
    ("mand", Super),
    ("nomand", Super),
    ("sync", Super),
    ("dirsync", Super),
    ("idmap", IdMap { recursive: false }),
    ("ridmap", IdMap { recursive: true }),
    ("tmpcopyup", CopyUp),
    ("copy-symlink", Refused),
    ("src-nofollow", Refused),
    ("dest-nofollow", Refused),
];

/// Every option of the tables that is applied, sorted; what else a file system takes is its own.
pub fn names() -> Vec<String> {
    let applied = |(_, meaning): &&(&str, Meaning)| !matches!(meaning, Refused);
    let own = ATTRIBUTES.iter().chain(WORDS).filter(applied).map(|(name, _)| (*name).to_owned());
    let recursive = |(_, meaning): &&(&str, Meaning)| matches!(meaning, Propagate(_));
    let twins = ATTRIBUTES.iter().chain(WORDS.iter().filter(recursive)).map(|(name, _)| format!("r{name}"));
    own.chain(twins).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Each word of a mount's options: a string may hold several with commas between them, as mount(2) takes them.
pub fn words(mount: &Mount) -> impl Iterator<Item = &str> {
    all(mount.options().as_deref().unwrap_or_default())
}

/// Words that change nothing on any kernel that codexrun runs on.
pub(super) fn idle(mount: &Mount) -> impl Iterator<Item = &str> {
    words(mount).filter(|word| *word != "defaults" && matches!(look_up(WORDS, word), Some(Nothing)))
}

/// Whether the kernel itself knows it, for any file system.
pub(super) fn is_of_any(word: &str) -> bool {
    matches!(look_up(WORDS, word), Some(Super))
}

/// Whether it changes a mount that is there, rather than to mount something.
pub fn is_remount(mount: &Mount) -> bool {
    words(mount).any(|word| word == "remount")
}

/// Whether it is a bind, by its type or by one of these.
pub fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || words(mount).any(|option| matches!(option, "bind" | "rbind"))
}

fn all(options: &[String]) -> impl Iterator<Item = &str> {
    options.iter().flat_map(|several| apart(several)).filter(|option| !option.is_empty())
}

/// What the options of one mount say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// `remount`.
    pub remount: bool,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub idmap: Option<bool>,
    /// Attributes.
    pub attrs: Attrs,
    /// What is not in the tables is for the file system: (key, value).
    pub data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Those of a mount.
    ///
    /// # Errors
    /// Each that is refused.
    pub fn of(mount: &Mount) -> Result<Self, Vec<Error>> {
        Options::parse(mount.options().as_deref().unwrap_or_default(), !is_remount(mount) && !is_bind(mount))
    }

    /// Reads them in order; a later one overrides an earlier. A `new` file system has nothing that could be cleared.
    fn parse(options: &[String], new: bool) -> Result<Self, Vec<Error>> {
        let mut out = Options { remount: all(options).any(|option| option == "remount"), ..Options::default() };
        let refused: Vec<Error> = all(options).filter_map(|option| out.add(option).err()).collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        let Attrs { own, tree, .. } = &mut out.attrs;
        if new {
            (own.clear, tree.clear) = (own.clear & ATIME, tree.clear & ATIME);
        }
        // What is said of all below holds for the mount itself too, wherever it stands: runc and crun say it last.
        let said = tree.set | tree.clear;
        (own.set, own.clear) = (own.set & !said, own.clear & !said);
        Ok(out)
    }

    /// Whether their words of propagation mean what the source is on the host: whose slave it becomes, whose peer it stays, or what
    /// lies below it and is not spoken of.
    pub fn ask_for_peers(&self) -> bool {
        self.attrs.own.propagation != 0 || self.attrs.tree.propagation & (SLAVE | SHARED) != 0
    }

    /// Private, with all below, where they say nothing of propagation.
    pub fn private_unless_said(&mut self) {
        if self.attrs.own.propagation | self.attrs.tree.propagation == 0 {
            self.attrs.tree.propagation = PRIVATE;
        }
    }

    fn add(&mut self, option: &str) -> Result<()> {
        if let Some((meaning, recursive)) = meaning(option) {
            return self.word(option, meaning, recursive);
        }
        let (key, value) = option.split_once('=').map_or((option, None), |(k, v)| (k, Some(v.to_owned())));
        // The kernel would read `ro=recursive` of mount(8) as the file system's `ro`; `idmap=…` is crun's.
        if value.is_some() && (look_up(ATTRIBUTES, key).is_some() || look_up(WORDS, key).is_some()) {
            return Err(Error::new(format!("mount option `{key}` takes no value: `{option}`")));
        }
        self.data.push((key.to_owned(), value));
        Ok(())
    }

    fn word(&mut self, option: &str, meaning: Meaning, recursive: bool) -> Result<()> {
        let Attrs { own, tree, .. } = &mut self.attrs;
        match meaning {
            Set(_) | Clear(_) | Atime(_) | NotAtime(..) if recursive => apply_to_all(tree, meaning),
            Set(_) | Clear(_) | Atime(_) | NotAtime(..) => apply(own, meaning),
            Propagate(flag) if recursive => {
                tree.propagation = moved(tree.propagation, flag);
                // The mount's own comes after.
                own.propagation = if own.propagation == 0 { 0 } else { moved(own.propagation, flag) };
            }
            Propagate(flag) => own.propagation = moved(own.propagation, flag),
            Bind { recursive } => self.bind = Some(recursive || self.bind == Some(true)),
            Refused => return Err(Error::new(format!("mount option `{option}` is not supported"))),
            CopyUp => self.copy_up = true,
            IdMap { recursive } => self.idmap = Some(recursive),
            Super => self.data.push((option.to_owned(), None)),
            Remount | Nothing => {}
        }
        Ok(())
    }
}

/// At the commas that are not in quotes and behind no backslash, as security modules and overlayfs have them.
fn apart(several: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    several.split(move |c: char| {
        let separates = c == ',' && !quoted && !escaped;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    })
}

fn look_up(table: &[(&str, Meaning)], option: &str) -> Option<Meaning> {
    table.iter().find(|(name, _)| *name == option).map(|(_, meaning)| *meaning)
}

/// What a word of the tables means, and whether it is the recursive twin that speaks of all below too.
pub(super) fn meaning(option: &str) -> Option<(Meaning, bool)> {
    let twin = |name| look_up(ATTRIBUTES, name).or(look_up(WORDS, name).filter(|meaning| matches!(meaning, Propagate(_))));
    let own = look_up(WORDS, option).or(look_up(ATTRIBUTES, option)).map(|meaning| (meaning, false));
    own.or_else(|| option.strip_prefix('r').and_then(twin).map(|meaning| (meaning, true)))
}

/// As mount(2) would do one after the other. Of what was made private or a slave before it became shared both are left; what is private
/// has nobody whose slave it could become.
fn moved(before: u64, flag: u64) -> u64 {
    match flag {
        SHARED if before & (PRIVATE | UNBINDABLE) != 0 => PRIVATE | SHARED,
        SHARED => before | SHARED,
        SLAVE if before & PRIVATE != 0 => PRIVATE,
        flag => flag,
    }
}

/// In one call what is set goes before what is cleared (mount_setattr(2)), wherever the words stand: so it is with runc and crun.
fn apply_to_all(tree: &mut MountAttr, meaning: Meaning) {
    match meaning {
        Clear(flag) if tree.set & flag != 0 => {}
        meaning => apply(tree, meaning),
    }
}

fn apply(attr: &mut MountAttr, meaning: Meaning) {
    match meaning {
        Set(flag) => (attr.set, attr.clear) = (attr.set | flag, attr.clear & !flag),
        Clear(flag) => (attr.set, attr.clear) = (attr.set & !flag, attr.clear | flag),
        Atime(mode) => (attr.set, attr.clear) = (attr.set & !ATIME | mode, attr.clear | ATIME),
        // What else has been said of it stays.
        NotAtime(not, mode) if attr.clear & ATIME == 0 || attr.set & ATIME == not => apply(attr, Atime(mode)),
        NotAtime(..) => {}
        Propagate(_) | Bind { .. } | Remount | Nothing | Super | CopyUp | IdMap { .. } | Refused => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Options {
        let words: Vec<String> = options.split(',').map(str::to_owned).collect();
        Options::parse(&words, false).unwrap()
    }

    #[test]
    fn a_recursive_read_only_bind_is_one_call_for_the_whole_tree() {
        let o = parse("rbind,ro,nosuid,rro,rnosuid,rnodev");
        assert_eq!(o.bind, Some(true));
        assert_eq!(o.attrs.tree.set, RDONLY | NOSUID | NODEV);
        assert!(o.attrs.own.is_empty());
    }

    #[test]
    fn a_later_option_overrides_an_earlier_one() {
        assert_eq!((parse("ro,rw").attrs.own.set, parse("ro,rw").attrs.own.clear), (0, RDONLY));
        let cleared = |typ: &str, options: &[&str]| {
            let mount = serde_json::json!({"destination": "/m", "type": typ, "options": options});
            Options::of(&serde_json::from_value(mount).unwrap()).unwrap().attrs.own.clear
        };
        assert_eq!(cleared("tmpfs", &["rw", "exec", "relatime"]), ATIME);
        assert_eq!((cleared("tmpfs", &["remount", "rw"]), cleared("bind", &["exec"])), (RDONLY, NOEXEC));
        assert_eq!(parse("noatime,relatime").attrs.own.set, 0);
        assert_eq!(parse("noatime,relatime").attrs.own.clear, ATIME);
        for (options, set) in [
            ("norelatime", STRICTATIME),
            ("noatime,norelatime", NOATIME),
            ("relatime,norelatime", STRICTATIME),
            ("nostrictatime", 0),
            ("noatime,nostrictatime", NOATIME),
            ("strictatime,nostrictatime", 0),
        ] {
            assert_eq!((parse(options).attrs.own.set, parse(options).attrs.own.clear), (set, ATIME), "{options}");
        }
    }

    /// As by runc 1.1.5 and crun 1.8.1, for which it is a call of its own behind the others.
    #[test]
    fn what_is_said_of_the_whole_tree_holds_wherever_it_stands() {
        let of = |typ: &str, options: &str| {
            let words: Vec<&str> = options.split(',').collect();
            let mount = serde_json::json!({"destination": "/m", "type": typ, "options": words});
            let Attrs { own, tree, .. } = Options::of(&serde_json::from_value(mount).unwrap()).unwrap().attrs;
            assert_eq!(own.propagation | tree.propagation, 0);
            ((own.set, own.clear), (tree.set, tree.clear))
        };
        for (options, own, tree) in [
            ("rro,rw,dev", (0, NODEV), (RDONLY, 0)),
            ("rw,rro", (0, 0), (RDONLY, 0)),
            ("ro,rrw", (0, 0), (0, RDONLY)),
            ("rro,rrw", (0, 0), (RDONLY, 0)),
            ("rrw,rro", (0, 0), (RDONLY, 0)),
            ("noexec,rexec,nodev", (NODEV, 0), (0, NOEXEC)),
            ("rnoatime,relatime", (0, 0), (NOATIME, ATIME)),
            ("rnoatime,rrelatime", (0, 0), (0, ATIME)),
        ] {
            assert_eq!(of("bind", options), (own, tree), "{options}");
        }
        for (options, own, tree) in [("ro,rrw", RDONLY, 0), ("rro,rw", 0, RDONLY), ("rro,rrw", 0, RDONLY)] {
            assert_eq!(of("tmpfs", options), ((own, 0), (tree, 0)), "{options}");
        }
        assert_eq!((parse("rbind,bind").bind, parse("bind,rbind").bind), (Some(true), Some(true)));
    }

    #[test]
    fn words_of_propagation_are_steps_one_behind_the_other() {
        for (options, own, tree) in [
            ("private,shared", PRIVATE | SHARED, 0),
            ("slave,shared", SLAVE | SHARED, 0),
            ("unbindable,shared", PRIVATE | SHARED, 0),
            ("shared,slave", SLAVE, 0),
            ("private,slave", PRIVATE, 0),
            ("private,shared,slave", PRIVATE, 0),
            ("slave,shared,private", PRIVATE, 0),
            ("rslave,rshared", 0, SLAVE | SHARED),
            ("rslave,shared", SHARED, SLAVE),
            ("private,rshared", PRIVATE | SHARED, SHARED),
            ("shared,rprivate", PRIVATE, PRIVATE),
            ("rshared,private", PRIVATE, SHARED),
        ] {
            let attrs = parse(options).attrs;
            assert_eq!((attrs.own.propagation, attrs.tree.propagation), (own, tree), "{options}");
        }
    }

    #[test]
    fn several_may_stand_in_one_string() {
        let one = |options: &str| Options::parse(&[options.to_owned()], false).unwrap();
        assert_eq!(one("ro,mode=755,,size=4k"), parse("ro,mode=755,size=4k"));
        assert_eq!(one(""), Options::default());
        let whole = one(r#"context="u:r:t:s0:c1,c2",lowerdir=/a\,b:/c,index=off"#).data;
        let values: Vec<&str> = whole.iter().map(|(_, value)| value.as_deref().unwrap()).collect();
        assert_eq!(values, [r#""u:r:t:s0:c1,c2""#, r"/a\,b:/c", "off"]);
    }

    #[test]
    fn what_is_not_in_the_table_goes_to_the_file_system() {
        let o = parse("nosuid,mode=755,newinstance,ptmxmode=0666");
        let data = [("mode", Some("755")), ("newinstance", None), ("ptmxmode", Some("0666"))];
        assert_eq!(o.data, data.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))));
    }

    #[test]
    fn every_recursive_twin_is_known_and_refused_words_are_named() {
        for (name, _) in ATTRIBUTES {
            assert!(parse(&format!("r{name}")).data.is_empty(), "r{name}");
        }
        assert_eq!(parse("rslave").attrs.tree.propagation, SLAVE);
        let words = ["copy-symlink", "ro=recursive", "idmap=uids=0-1-9"];
        let refused = Options::parse(&words.map(str::to_owned), false).unwrap_err();
        assert!(refused.iter().zip(words).all(|(error, word)| error.to_string().contains(&format!("`{word}`"))), "{refused:?}");
        assert_eq!(refused.len(), words.len());
    }

    /// The table of config.md, "Linux mount options".
    #[test]
    fn every_option_of_the_specification_is_understood() {
        let for_the_file_system = "async,dirsync,lazytime,mand,nolazytime,nomand,sync";
        let all = "atime,bind,defaults,dev,diratime,exec,iversion,loud,noatime,nodev,nodiratime,noexec,noiversion,norelatime,\
                   nostrictatime,nosuid,nosymfollow,private,ratime,rbind,rdev,rdiratime,relatime,remount,rexec,rnoatime,rnodev,\
                   rnodiratime,rnoexec,rnorelatime,rnostrictatime,rnosuid,rnosymfollow,ro,rprivate,rrelatime,rro,rrw,rshared,rslave,\
                   rstrictatime,rsuid,rsymfollow,runbindable,rw,shared,silent,slave,strictatime,suid,symfollow,tmpcopyup,unbindable,\
                   idmap,ridmap";
        for option in all.split(',') {
            assert!(parse(option).data.is_empty(), "{option}");
        }
        for option in for_the_file_system.split(',') {
            assert_eq!(parse(option).data, [(option.to_owned(), None)]);
        }
    }
}
