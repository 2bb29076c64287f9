//! The option strings of config.json's mounts (config.md, "Linux mount options"; mount(8)) as a table.

use super::op::Attrs;
use crate::sys::mount::attr::*;
use crate::{Error, Result};
use oci_spec::runtime::Mount;

const PRIVATE: u64 = 1 << 18;
const SLAVE: u64 = 1 << 19;
const SHARED: u64 = 1 << 20;
const UNBINDABLE: u64 = 1 << 17;

#[derive(Clone, Copy)]
enum Meaning {
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
        let mut out = Options::parse(mount.options().as_deref().unwrap_or_default())?;
        // A new file system has nothing that could be cleared.
        if !out.remount && !is_bind(mount) {
            out.attrs.own.clear &= ATIME;
        }
        Ok(out)
    }

    /// Reads them in order; a later one overrides an earlier.
    fn parse(options: &[String]) -> Result<Self, Vec<Error>> {
        let mut out = Options { remount: all(options).any(|option| option == "remount"), ..Options::default() };
        let refused: Vec<Error> = all(options).filter_map(|option| out.add(option).err()).collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        // The tree's attributes hold for the mount itself too: a second call that would add nothing is left out.
        let (own, tree) = (&mut out.attrs.own, out.attrs.tree);
        if own.clear == 0 && own.propagation == 0 && own.set & !tree.set == 0 {
            *own = Default::default();
        }
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
        if let Some(meaning) = look_up(WORDS, option) {
            return self.word(option, meaning);
        }
        if let Some(meaning) = look_up(ATTRIBUTES, option) {
            apply(&mut self.attrs.own, meaning);
        } else if let Some(meaning) = option.strip_prefix('r').and_then(|o| look_up(ATTRIBUTES, o)) {
            apply(&mut self.attrs.tree, meaning);
            take_back(&mut self.attrs.own, meaning);
        } else if let Some(Propagate(flag)) = option.strip_prefix('r').and_then(|o| look_up(WORDS, o)) {
            (self.attrs.tree.propagation, self.attrs.own.propagation) = (flag, 0);
        } else {
            let (key, value) = option.split_once('=').map_or((option, None), |(k, v)| (k, Some(v.to_owned())));
            // The kernel would read `ro=recursive` of mount(8) as the file system's `ro`; `idmap=…` is crun's.
            if value.is_some() && (look_up(ATTRIBUTES, key).is_some() || look_up(WORDS, key).is_some()) {
                return Err(Error::new(format!("mount option `{key}` takes no value: `{option}`")));
            }
            self.data.push((key.to_owned(), value));
        }
        Ok(())
    }

    fn word(&mut self, option: &str, meaning: Meaning) -> Result<()> {
        match meaning {
            Bind { recursive } => self.bind = Some(recursive),
            Propagate(flag) => self.attrs.own.propagation = flag,
            Refused => return Err(Error::new(format!("mount option `{option}` is not supported"))),
            CopyUp => self.copy_up = true,
            IdMap { recursive } => self.idmap = Some(recursive),
            Super => self.data.push((option.to_owned(), None)),
            Remount | Nothing | Set(_) | Clear(_) | Atime(_) | NotAtime(..) => {}
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

fn apply(attr: &mut crate::sys::mount::MountAttr, meaning: Meaning) {
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

/// What the mount itself has been given is said anew of it and of all below.
fn take_back(own: &mut crate::sys::mount::MountAttr, meaning: Meaning) {
    let flags = match meaning {
        Set(flag) | Clear(flag) => flag,
        Atime(_) | NotAtime(..) => ATIME,
        Propagate(_) | Bind { .. } | Remount | Nothing | Super | CopyUp | IdMap { .. } | Refused => 0,
    };
    (own.set, own.clear) = (own.set & !flags, own.clear & !flags);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Options {
        let words: Vec<String> = options.split(',').map(str::to_owned).collect();
        Options::parse(&words).unwrap()
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
        assert_eq!(parse("rro,rrw").attrs.tree.clear, RDONLY);
        let cleared = |typ: &str, options: &[&str]| {
            let mount = serde_json::json!({"destination": "/m", "type": typ, "options": options});
            Options::of(&serde_json::from_value(mount).unwrap()).unwrap().attrs.own.clear
        };
        assert_eq!(cleared("tmpfs", &["rw", "exec", "relatime"]), ATIME);
        assert_eq!((cleared("tmpfs", &["remount", "rw"]), cleared("bind", &["exec"])), (RDONLY, NOEXEC));
        assert_eq!(cleared("none", &["rbind", "rro", "rw", "dev"]), RDONLY | NODEV);
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
        let (both, tree) = (parse("private,noexec,rshared,rexec").attrs, parse("rshared,private").attrs);
        assert_eq!((both.own, both.tree.propagation, both.tree.clear), (Default::default(), SHARED, NOEXEC));
        assert_eq!((tree.own.propagation, tree.tree.propagation), (PRIVATE, SHARED));
    }

    #[test]
    fn several_may_stand_in_one_string() {
        let one = |options: &str| Options::parse(&[options.to_owned()]).unwrap();
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
        let refused = Options::parse(&words.map(str::to_owned)).unwrap_err();
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
