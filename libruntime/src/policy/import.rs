//! Settings of other sandboxes → one policy, and what of them it cannot say. Anthropic's sandbox-runtime (`srt-settings.json`) and Claude
//! Code (`settings.json`) share their words: reads are permitted but for `denyRead`, writes are not but for `allowWrite`.

use super::choice::Choices;
use super::domain::Domains;
use super::glob::Pattern;
use super::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Component, Path, PathBuf};

/// Whose settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// sandbox-runtime: `{"network": …, "filesystem": …}`.
    Srt,
    /// Claude Code: `{"sandbox": …, "permissions": …}`.
    Claude,
}

/// A policy, and a sentence for each setting that it does not carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What could be said.
    pub policy: Policy,
    /// The place of each in the settings, and why not.
    pub lost: Vec<String>,
}

/// What `~` and relative paths begin at.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// The project.
    pub cwd: &'a Path,
    /// The home directory.
    pub home: Option<&'a Path>,
}

/// Which of the two a document is, by its words.
pub fn origin(settings: &Value) -> Option<Origin> {
    let has = |names: [&str; 2]| names.iter().any(|name| settings.get(name).is_some());
    match () {
        () if has(["sandbox", "permissions"]) => Some(Origin::Claude),
        () if has(["network", "filesystem"]) => Some(Origin::Srt),
        () => None,
    }
}

/// Reads the settings. A value of the wrong type is an error: read otherwise it could be a permission too many.
pub fn import(settings: &Value, origin: Origin, base: &Base) -> Result<Imported> {
    let mut draft = Draft {
        base: *base,
        entries: vec![entry(Target::Special(Special::Root), Access::Read)],
        shut: Vec::new(),
        patterns: Vec::new(),
        kept: Vec::new(),
        lost: Vec::new(),
        domains: Domains::default(),
    };
    let network = match origin {
        Origin::Srt => draft.settings(table(settings, "the settings")?, "")?,
        Origin::Claude => draft.claude(table(settings, "the settings")?)?,
    };
    draft.protect_what_they_protect()?;
    draft.close();
    let file_system = FileSystem::Restricted(Restricted { entries: draft.entries, glob_scan_max_depth: None });
    let proxy = (network == Network::Proxy).then_some(draft.domains);
    let choices = Choices { proxy, ..Choices::default() };
    Ok(Imported { policy: Policy { file_system, network, choices }, lost: draft.lost })
}

fn table<'v>(value: &'v Value, place: &str) -> Result<&'v Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::new("expected a table").at(place))
}

fn list<'v>(value: &'v Value, place: &str) -> Result<Vec<&'v str>> {
    let wrong = || Error::new("expected a list of texts").at(place);
    value.as_array().ok_or_else(wrong)?.iter().map(|item| item.as_str().ok_or_else(wrong)).collect()
}

fn entry(target: Target, access: Access) -> Entry {
    Entry { target, access, skip_missing: false }
}

struct Draft<'a> {
    base: Base<'a>,
    entries: Vec<Entry>,
    /// What may not be written to, and what not read.
    shut: Vec<PathBuf>,
    /// What may not be read, by patterns.
    patterns: Vec<Pattern>,
    /// What may not be written to.
    kept: Vec<PathBuf>,
    lost: Vec<String>,
    domains: Domains,
}

/// The lists of `filesystem`, and what each says.
const LISTS: [(&str, Access); 4] =
    [("denyRead", Access::Deny), ("allowRead", Access::Read), ("allowWrite", Access::Write), ("denyWrite", Access::Read)];

/// What sandbox-runtime, which is Claude Code's too, keeps commands from writing to whatever its settings say: other programs obey it.
/// Git's hooks and configuration are of them, and are protected here already.
const BUILT_IN: [&str; 13] = [
    ".gitconfig",
    ".gitmodules",
    ".bashrc",
    ".bash_profile",
    ".zshrc",
    ".zprofile",
    ".profile",
    ".ripgreprc",
    ".mcp.json",
    ".vscode",
    ".idea",
    ".claude/commands",
    ".claude/agents",
];

impl Draft<'_> {
    /// In the project, as far as it is writable; there also in the directories below it.
    fn protect_what_they_protect(&mut self) -> Result<()> {
        let grants = self.entries.iter().filter(|entry| entry.access == Access::Write);
        let grants: Vec<PathBuf> = grants.filter_map(|entry| Some(self.place(entry)?.to_owned())).collect();
        let open = |path: &Path| grants.iter().any(|grant| path.starts_with(grant) || grant.starts_with(path));
        for name in BUILT_IN.iter().filter(|name| open(&self.base.cwd.join(name))) {
            self.path(name, Access::Read, true, "built in")?;
        }
        if grants.iter().any(|grant| self.base.cwd.starts_with(grant) || grant.starts_with(self.base.cwd)) {
            let why = "protected in the project itself and not below it: only a denial of reading can be a pattern";
            self.lose(&format!("built in: {}", BUILT_IN.join(", ")), why);
        }
        Ok(())
    }

    fn lose(&mut self, place: &str, why: &str) {
        self.lost.push(format!("{place}: {why}"));
    }

    /// There a denial wins wherever it stands, here the longest path: a grant below one, or at it, would open what was shut.
    fn close(&mut self) {
        let (shut, patterns) = (&self.shut, &self.patterns);
        let matched = |path: &Path| path.ancestors().any(|above| patterns.iter().any(|one| one.matches(above)));
        let below = |path: &Path| shut.iter().any(|above| path.starts_with(above)) || matched(path);
        let closed = |entry: &Entry| self.place(entry).is_some_and(below);
        let (dropped, kept): (Vec<_>, Vec<_>) =
            self.entries.iter().cloned().partition(|entry| entry.access == Access::Write && closed(entry));
        self.entries = kept;
        let sentence = |entry: &Entry| format!("{}: is not writable, as a denial at or above it wins", entry.target);
        self.lost.extend(dropped.iter().map(sentence));
        for path in std::mem::take(&mut self.kept) {
            // Read-only here is readable, which what cannot be read must not become.
            if !self.denied(&path) {
                self.entries.push(entry(Target::Path(path), Access::Read));
            }
        }
    }

    fn place<'e>(&'e self, entry: &'e Entry) -> Option<&'e Path> {
        match &entry.target {
            Target::Path(path) => Some(path),
            Target::Special(Special::ProjectRoots { .. }) => Some(self.base.cwd),
            Target::Special(_) | Target::Glob(_) => None,
        }
    }

    /// Whether the longest path at or above `path` denies it.
    fn denied(&self, path: &Path) -> bool {
        let nearest = path.ancestors().find_map(|above| {
            let mut here = self.entries.iter().filter(|entry| self.place(entry) == Some(above)).peekable();
            let deny = self.patterns.iter().any(|one| one.matches(above));
            (deny || here.peek().is_some()).then(|| deny || here.any(|entry| entry.access == Access::Deny))
        });
        nearest.unwrap_or(false)
    }

    /// What both have: `network` and `filesystem`.
    fn settings(&mut self, settings: &Map<String, Value>, place: &str) -> Result<Network> {
        let mut network = Network::Restricted;
        for (key, value) in settings {
            let at = format!("{place}{key}");
            match key.as_str() {
                "filesystem" => self.file_system(table(value, &at)?, &at)?,
                "network" => network = self.network(table(value, &at)?, &at)?,
                _ => self.lose(&at, "has no counterpart"),
            }
        }
        Ok(network)
    }

    fn file_system(&mut self, settings: &Map<String, Value>, place: &str) -> Result<()> {
        for (key, value) in settings {
            let at = format!("{place}.{key}");
            let Some((_, access)) = LISTS.iter().find(|(name, _)| name == key) else {
                self.lose(&at, "has no counterpart");
                continue;
            };
            for (n, path) in list(value, &at)?.into_iter().enumerate() {
                self.path(path, *access, key.starts_with("deny"), &format!("{at}[{n}]"))?;
            }
        }
        Ok(())
    }

    /// Domains are those of a proxy of codexrun's; without any that is allowed nothing is reached.
    fn network(&mut self, settings: &Map<String, Value>, place: &str) -> Result<Network> {
        for (key, value) in settings {
            let at = format!("{place}.{key}");
            let empty = value.as_array().is_some_and(Vec::is_empty) || *value == Value::Bool(false);
            let why = match key.as_str() {
                _ if empty => continue,
                "allowedDomains" | "deniedDomains" => {
                    let all = list(value, &at)?.into_iter().map(|pattern| (pattern.to_owned(), key == "allowedDomains"));
                    for (pattern, allowed) in all {
                        // A denial wins, in whichever order they stand.
                        *self.domains.domains.entry(pattern).or_insert(true) &= allowed;
                    }
                    continue;
                }
                "allowUnixSockets" | "allowAllUnixSockets" => "Unix sockets stay refused while the network is shut",
                _ => "has no counterpart",
            };
            self.lose(&at, why);
        }
        let allowed = self.domains.patterns(true).next().is_some();
        Ok(if allowed { Network::Proxy } else { Network::Restricted })
    }

    fn claude(&mut self, settings: &Map<String, Value>) -> Result<Network> {
        let mut network = Network::Restricted;
        // What Claude Code's sandbox lets a command write to when nothing is said.
        for place in [Special::ProjectRoots { subpath: None }, Special::Tmpdir] {
            self.entries.push(entry(Target::Special(place), Access::Write));
        }
        for (key, value) in settings {
            match key.as_str() {
                "sandbox" => network = self.sandbox(table(value, key)?)?,
                "permissions" => self.permissions(table(value, key)?)?,
                _ => {} // of the program, not of its sandbox
            }
        }
        Ok(network)
    }

    fn sandbox(&mut self, settings: &Map<String, Value>) -> Result<Network> {
        let on = settings.get("enabled").is_none_or(|on| *on == Value::Bool(true));
        if !on {
            self.lose("sandbox.enabled", "the sandbox is off there; a policy is one that is on");
        }
        let rest = settings.iter().filter(|(key, _)| *key != "enabled").map(|(key, value)| (key.clone(), value.clone()));
        self.settings(&rest.collect(), "sandbox.")
    }

    fn permissions(&mut self, settings: &Map<String, Value>) -> Result<()> {
        for (key, value) in settings {
            let at = format!("permissions.{key}");
            match key.as_str() {
                "allow" | "deny" => {
                    for (n, rule) in list(value, &at)?.into_iter().enumerate() {
                        self.rule(rule, key == "deny", &format!("{at}[{n}]"))?;
                    }
                }
                "additionalDirectories" => {
                    for (n, path) in list(value, &at)?.into_iter().enumerate() {
                        self.path(path, Access::Write, false, &format!("{at}[{n}]"))?;
                    }
                }
                _ => self.lose(&at, "nobody is there to be asked"),
            }
        }
        Ok(())
    }

    /// `Edit(PATH)`, `Write(PATH)`, `Read(PATH)`; every other rule is about another tool.
    fn rule(&mut self, rule: &str, deny: bool, at: &str) -> Result<()> {
        let parsed = rule.strip_suffix(')').and_then(|rule| rule.split_once('('));
        let (access, path) = match (parsed, deny) {
            (Some(("Edit" | "Write", path)), true) => (Access::Read, path),
            (Some(("Edit" | "Write", path)), false) => (Access::Write, path),
            (Some(("Read", path)), true) => (Access::Deny, path),
            (Some(("Read", _)), false) => return Ok(()), // everything is readable
            _ => {
                self.lose(at, &format!("`{rule}` is a rule about a tool, not about files"));
                return Ok(());
            }
        };
        // There `//` begins at the root, and `/` where the settings are.
        let path = match path.strip_prefix("//") {
            Some(path) => format!("/{path}"),
            None => path.trim_start_matches('/').to_owned(),
        };
        self.path(&path, access, deny, at)
    }

    fn path(&mut self, text: &str, access: Access, shut: bool, at: &str) -> Result<()> {
        let stem = text.strip_suffix("/**").unwrap_or(text);
        let glob = stem.contains(['*', '?', '[']);
        let path = self.absolute(stem, at)?;
        match access {
            Access::Deny if glob => {
                let pattern = path.to_string_lossy().into_owned();
                self.patterns.extend(Pattern::parse("/".as_ref(), &pattern).map_err(|e| e.at(at))?);
                self.entries.push(entry(Target::Glob(pattern), access));
            }
            Access::Read | Access::Write if glob => {
                self.lose(at, &format!("`{text}`: only a denial of reading can be a pattern"));
            }
            Access::Read | Access::Write | Access::Deny => {
                if shut {
                    self.shut.push(path.clone());
                }
                match (shut, access) {
                    (true, Access::Read) => self.kept.push(path),
                    _ => self.entries.push(entry(Target::Path(path), access)),
                }
            }
        }
        Ok(())
    }

    fn absolute(&self, text: &str, at: &str) -> Result<PathBuf> {
        let home = || self.base.home.ok_or_else(|| Error::new("cannot expand `~`: no home directory is known").at(at));
        let path = match text.strip_prefix('~') {
            Some("") => home()?.to_owned(),
            Some(rest) if rest.starts_with('/') => home()?.join(&rest[1..]),
            _ => self.base.cwd.join(text),
        };
        let mut clean = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => drop(clean.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(clean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What the settings say: without what is built in.
    fn read(settings: Value) -> (Vec<String>, Vec<String>) {
        let (mut entries, mut lost) = whole(settings);
        entries.retain(|entry| !BUILT_IN.iter().any(|name| *entry == format!("/w/{name} Read")));
        lost.retain(|why| !why.starts_with("built in: "));
        (entries, lost)
    }

    fn whole(settings: Value) -> (Vec<String>, Vec<String>) {
        let base = Base { cwd: Path::new("/w"), home: Some(Path::new("/home/u")) };
        let imported = import(&settings, origin(&settings).unwrap(), &base).unwrap();
        let FileSystem::Restricted(restricted) = imported.policy.file_system else { panic!() };
        let entries = restricted.entries.iter().map(|entry| format!("{} {:?}", entry.target, entry.access)).collect();
        (entries, imported.lost)
    }

    #[test]
    fn sandbox_runtime_settings_become_entries_and_domains() {
        let (entries, lost) = read(json!({
            "network": { "allowedDomains": ["github.com", "*.x.example"], "deniedDomains": ["x.example"], "allowLocalBinding": false },
            "filesystem": { "denyRead": ["~/.ssh", "secrets/*.pem"], "allowWrite": [".", "/tmp/**"], "denyWrite": [".env", "*.key"] },
        }));
        assert_eq!(
            entries,
            [":root Read", "/w Write", "/tmp Write", "/home/u/.ssh Deny", "/w/secrets/*.pem Deny", "/w/.env Read"]
        );
        assert_eq!(lost, ["filesystem.denyWrite[1]: `*.key`: only a denial of reading can be a pattern"]);
    }

    #[test]
    fn what_is_built_in_there_is_protected_where_the_project_can_be_written() {
        let (entries, lost) = whole(json!({ "filesystem": { "allowWrite": [".", ".vscode"], "denyRead": [".mcp.json"] } }));
        for there in ["/w/.bashrc Read", "/w/.claude/agents Read", "/w/.vscode Read", "/w/.mcp.json Deny"] {
            assert!(entries.contains(&there.into()), "{there}: {entries:?}");
        }
        assert_eq!(entries.len(), 2 + BUILT_IN.len());
        assert!(lost[0].starts_with("built in: .gitconfig, .gitmodules, ") && lost[1].starts_with("/w/.vscode: is not writable"));
        assert_eq!((whole(json!({ "filesystem": { "allowWrite": ["/srv"] } })).0.len(), lost.len()), (2, 2));
        let below = whole(json!({ "filesystem": { "allowWrite": ["sub", ".idea/x"] } }));
        assert_eq!((below.0, below.1.len()), ([":root Read", "/w/sub Write", "/w/.idea Read"].map(str::to_owned).to_vec(), 2));
        assert_eq!(whole(json!({ "sandbox": { "enabled": true } })).0.len(), 3 + BUILT_IN.len());
    }

    #[test]
    fn domains_are_those_of_a_proxy_and_a_denial_wins() {
        let read = |network: Value| {
            let base = Base { cwd: Path::new("/w"), home: None };
            let policy = import(&json!({ "network": network }), Origin::Srt, &base).unwrap().policy;
            (policy.network, policy.choices.proxy.map(|domains| domains.canonical_json()))
        };
        let both = json!({ "allowedDomains": ["a.b", "*.c.d"], "deniedDomains": ["a.b", "e.f"] });
        let domains = json!({ "domains": { "*.c.d": "allow", "a.b": "deny", "e.f": "deny" } });
        assert_eq!(read(both), (Network::Proxy, Some(domains)));
        assert_eq!(read(json!({ "allowedDomains": ["a.b"], "deniedDomains": ["a.b"] })), (Network::Restricted, None));
    }

    #[test]
    fn a_denial_wins_over_a_grant_below_it_as_it_does_there() {
        let (entries, lost) =
            read(json!({ "filesystem": { "allowWrite": ["/a", "/a/b", "/c", "/a/b/c"], "denyWrite": ["/a/b", "/c"] } }));
        assert_eq!(entries, [":root Read", "/a Write", "/a/b Read", "/c Read"]);
        assert_eq!(lost.len(), 3, "{lost:?}");
    }

    #[test]
    fn a_denial_of_writing_opens_nothing_that_is_denied_to_be_read() {
        let (entries, lost) = read(json!({ "filesystem": {
            "denyRead": ["/k", "keys*"], "allowRead": ["/k/pub"], "allowWrite": ["."],
            "denyWrite": ["/k/config", "/k/pub/x", "/k", "keys1/x", "lib"],
        } }));
        let want = [":root Read", "/w Write", "/k Deny", "/w/keys* Deny", "/k/pub Read", "/k/pub/x Read", "/w/lib Read"];
        let sorted = |mut all: Vec<String>| {
            all.sort();
            all
        };
        assert_eq!(sorted(entries), sorted(want.map(str::to_owned).to_vec()));
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn claude_code_rules_about_files_become_entries() {
        let (entries, lost) = read(json!({
            "model": "x",
            "sandbox": { "enabled": true, "excludedCommands": ["docker"], "filesystem": { "allowWrite": ["~/.cache"] } },
            "permissions": { "allow": ["Edit(//srv/out)", "Bash(npm test)"], "deny": ["Read(./.env)", "Edit(/lib/**)"] },
        }));
        assert_eq!(
            entries,
            [
                ":root Read",
                ":workspace_roots Write",
                ":tmpdir Write",
                "/srv/out Write",
                "/w/.env Deny",
                "/home/u/.cache Write",
                "/w/lib Read",
            ]
        );
        assert_eq!(lost.len(), 2, "{lost:?}");
        assert!(
            lost.iter().any(|l| l.starts_with("permissions.allow[1]")) && lost.iter().any(|l| l.starts_with("sandbox.excluded"))
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        let base = Base { cwd: Path::new("/w"), home: None };
        for settings in [json!({ "filesystem": { "denyRead": "~/.ssh" } }), json!({ "filesystem": [] }), json!([])] {
            assert!(import(&settings, Origin::Srt, &base).is_err(), "{settings}");
        }
        assert!(import(&json!({ "filesystem": { "denyRead": ["~/.ssh"] } }), Origin::Srt, &base).is_err(), "no home");
    }
}
