//! One policy → one text: the tagged permission profile that Codex takes today, and its SHA-256, by which a bundle says
//! what it was made from.

use crate::policy::choice::KEY;
use crate::policy::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

// Keys are written in alphabetical order: whether serde_json's map sorts or keeps the order depends on a feature that
// any crate of the build may switch on, and the digest must not.

impl Policy {
    /// The policy as a tagged permission profile, its entries in written order.
    pub fn canonical_json(&self) -> Value {
        let network = word(self.network);
        let form = match &self.file_system {
            FileSystem::Unrestricted if self.network == Network::Enabled => {
                json!({"type": "disabled"})
            }
            FileSystem::Unrestricted => {
                json!({"file_system": {"type": "unrestricted"}, "network": network, "type": "managed"})
            }
            FileSystem::Restricted(r) => {
                json!({"file_system": restricted(r), "network": network, "type": "managed"})
            }
            FileSystem::External => json!({"network": network, "type": "external"}),
        };
        match (self.choices.canonical_json(), form) {
            // Before the others by the alphabet.
            (Some(choices), Value::Object(form)) => std::iter::once((KEY.to_owned(), choices)).chain(form).collect(),
            (_, form) => form,
        }
    }

    /// Lower-case hexadecimal SHA-256 of [`Policy::canonical_json`] without spaces.
    pub fn digest(&self) -> String {
        let hash = Sha256::digest(self.canonical_json().to_string());
        hash.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
            hex
        })
    }
}

fn restricted(r: &Restricted) -> Value {
    let entries: Vec<Value> = r.entries.iter().map(entry).collect();
    let depth = r.glob_scan_max_depth.map(|depth| json!(depth.get()));
    object([("entries", Some(json!(entries))), ("glob_scan_max_depth", depth), ("type", Some(json!("restricted")))])
}

fn entry(entry: &Entry) -> Value {
    let access = match entry.access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Deny => "deny",
    };
    let missing = entry.skip_missing.then(|| json!("skip"));
    object([("access", Some(json!(access))), ("missing_path_behavior", missing), ("path", Some(target(&entry.target)))])
}

fn target(target: &Target) -> Value {
    match target {
        Target::Path(path) => json!({"path": text(path), "type": "path"}),
        Target::Glob(pattern) => json!({"pattern": pattern, "type": "glob_pattern"}),
        Target::Special(place) => json!({"type": "special", "value": special(place)}),
    }
}

fn special(place: &Special) -> Value {
    let (kind, path, subpath) = match place {
        Special::Root => ("root", None, None),
        Special::Minimal => ("minimal", None, None),
        Special::Tmpdir => ("tmpdir", None, None),
        Special::SlashTmp => ("slash_tmp", None, None),
        Special::ProjectRoots { subpath } => ("project_roots", None, subpath.as_deref().map(text)),
        Special::Unknown { path, subpath } => ("unknown", Some(json!(path)), subpath.as_ref().map(|s| json!(s))),
    };
    object([("kind", Some(json!(kind))), ("path", path), ("subpath", subpath)])
}

/// Parsed policies hold only UTF-8.
fn text(path: &Path) -> Value {
    json!(path.to_string_lossy())
}

fn word(network: Network) -> Value {
    match network {
        Network::Restricted => json!("restricted"),
        Network::Proxy => json!({"mode": "proxy"}),
        Network::Enabled => json!("enabled"),
    }
}

/// The fields that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::Object(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::choice::{Choices, Git, LIMITS, StdioSockets};
    use crate::policy::domain::Domains;
    use crate::policy::parse::{Base, Format, parse, preset};
    use std::num::NonZeroUsize;

    fn every_choice() -> Choices {
        let mut choices =
            Choices { private_tmp: true, git: Git::Commit, deny_secrets: true, nested_git: true, ..Choices::default() };
        choices.devices = vec!["dri".into(), "/dev/x*".into()];
        choices.caches = vec!["npm".into()];
        choices.unix_datagrams = true;
        choices.stdio_sockets = StdioSockets::None;
        choices.unix_sockets = vec!["/run/x.sock".into()];
        choices.dns = vec![443, 80];
        choices.tcp_ports = Some(vec![5432]);
        let domains = [("crates.io", true), ("*.x.y", false)].map(|(pattern, allowed)| (pattern.to_owned(), allowed)).into();
        choices.proxy = Some(Domains {
            domains,
            limited: true,
            local: true,
            socks: Some(false),
            proxy_url: Some("http://localhost:1".into()),
            socks_url: Some("socks5h://localhost:2".into()),
        });
        choices.allow_syscalls = vec!["keys".into()];
        for name in LIMITS {
            choices.limits.set(name, "3").unwrap();
        }
        choices
    }

    fn targets() -> Vec<Target> {
        let mut places = vec![Special::Root, Special::Minimal, Special::Tmpdir, Special::SlashTmp];
        for subpath in [None, Some("x/ü \"q\"")] {
            places.push(Special::ProjectRoots { subpath: subpath.map(Into::into) });
            places.push(Special::Unknown { path: ":next".into(), subpath: subpath.map(Into::into) });
        }
        let paths = ["/", "/a b/\n", "/~"].map(|path| Target::Path(path.into()));
        places.into_iter().map(Target::Special).chain(paths).collect()
    }

    fn entries() -> Vec<Entry> {
        let mut entries = Vec::new();
        for target in targets() {
            for access in [Access::Read, Access::Write, Access::Deny] {
                let entry = |skip_missing| Entry { target: target.clone(), access, skip_missing };
                entries.extend([false, true].map(entry));
            }
        }
        for glob in ["/r/**/*.env", "codex-project-roots://*.pem"] {
            entries.push(Entry { target: Target::Glob(glob.into()), access: Access::Deny, skip_missing: false });
        }
        entries
    }

    /// Every kind of file system and network, and every run of entries.
    fn policies() -> Vec<Policy> {
        let entries = entries();
        let mut systems = vec![FileSystem::Unrestricted, FileSystem::External];
        for start in 0..entries.len() {
            for depth in [None, NonZeroUsize::new(start)] {
                let entries = entries.iter().skip(start).step_by(1 + start % 5).cloned().collect();
                systems.push(FileSystem::Restricted(Restricted { entries, glob_scan_max_depth: depth }));
            }
        }
        let networks = [Network::Restricted, Network::Proxy, Network::Enabled];
        let all = |file_system: FileSystem| {
            let choices = |network| match network {
                Network::Enabled | Network::Proxy => Choices::default(),
                Network::Restricted => every_choice(),
            };
            networks.map(|network| Policy { file_system: file_system.clone(), network, choices: choices(network) })
        };
        systems.into_iter().flat_map(all).collect()
    }

    #[test]
    fn the_canonical_form_parses_back_to_the_same_policy() {
        let base = Base { cwd: Path::new("/repo"), home: None };
        for policy in policies() {
            let text = policy.canonical_json().to_string();
            assert_eq!(parse("p", &text, Format::Json, &base).unwrap().policy, policy, "{text}");
        }
    }

    #[test]
    fn the_digest_is_the_sha256_of_the_compact_text() {
        let policy = preset("read-only").unwrap();
        assert_eq!(
            policy.canonical_json().to_string(),
            r#"{"file_system":{"entries":[{"access":"read","path":{"type":"special","value":{"kind":"root"}}}],"type":"restricted"},"network":"restricted","type":"managed"}"#
        );
        assert_eq!(policy.digest(), "8ec711db351b3fe07d5a50d61330540e69f08cb8ed6a563848a211a5722912bf");
        assert_ne!(policy.digest(), preset("workspace").unwrap().digest());
    }
}
