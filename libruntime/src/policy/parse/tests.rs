//! Tables per form: what each text means, and what each wrong text is answered.

use super::{Base, Format, MAX_BYTES, Parsed, load, parse, preset};
use crate::Result;
use crate::policy::{FileSystem, Network, Policy};
use std::path::Path;

fn base() -> Base<'static> {
    Base { cwd: Path::new("/repo/app"), home: Some(Path::new("/home/u")) }
}

fn json(text: &str) -> Result<Parsed> {
    parse("p.json", text, Format::Json, &base())
}

fn toml(text: &str) -> Result<Parsed> {
    parse("c.toml", text, Format::Toml, &base())
}

/// One line per entry, so that a table shows what a text means.
fn show(policy: &Policy) -> String {
    let json = policy.canonical_json();
    let network = match policy.network {
        Network::Enabled => "+net",
        Network::Proxy => "proxy",
        Network::Restricted => "-net",
    };
    let entries = json["file_system"]["entries"].as_array().cloned().unwrap_or_default();
    let mut words: Vec<String> = entries.iter().map(show_entry).collect();
    match &policy.file_system {
        FileSystem::Unrestricted => words.push("unrestricted".into()),
        FileSystem::External => words.push("external".into()),
        FileSystem::Restricted(r) => words.extend(r.glob_scan_max_depth.map(|d| format!("depth={d}"))),
    }
    words.push(network.into());
    words.join(" ")
}

fn show_entry(e: &serde_json::Value) -> String {
    let path = &e["path"];
    let special = &path["value"];
    let name = ["path", "pattern"].iter().find_map(|k| path[k].as_str());
    let name = name.or(special["path"].as_str()).or(special["kind"].as_str()).unwrap_or("?");
    let sub = special["subpath"].as_str().map(|s| format!("[{s}]")).unwrap_or_default();
    let glob = if path["type"] == "glob_pattern" { "glob:" } else { "" };
    let skip = if e["missing_path_behavior"] == "skip" { "?" } else { "" };
    format!("{glob}{name}{sub}={}{skip}", e["access"].as_str().unwrap_or("?"))
}

const PROTECTED: &str = "project_roots[.git]=read? project_roots[.agents]=read? project_roots[.codex]=read?";

/// `*` in an expectation stands for the three protected names.
#[track_caller]
fn means(read: fn(&str) -> Result<Parsed>, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let parsed = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(show(&parsed.policy), expected.replace(" * ", &format!(" {PROTECTED} ")), "{text}");
    }
}

#[track_caller]
fn refuses(read: fn(&str) -> Result<Parsed>, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        match read(text) {
            Err(e) => assert_eq!(e.to_string(), *expected, "{text}"),
            Ok(parsed) => panic!("{text}: accepted as {}", show(&parsed.policy)),
        }
    }
}

const LEGACY: &[(&str, &str)] = &[
    (r#"{"type":"danger-full-access"}"#, "unrestricted +net"),
    (r#"{"type":"read-only"}"#, "root=read -net"),
    (r#"{"type":"read-only","network_access":true}"#, "root=read +net"),
    (r#"{"type":"external-sandbox"}"#, "external -net"),
    (r#"{"type":"external-sandbox","network_access":"enabled"}"#, "external +net"),
    (r#"{"type":"workspace-write"}"#, "root=read project_roots=write slash_tmp=write tmpdir=write * -net"),
    (
        r#"{"type":"workspace-write","writable_roots":["/a//b/../c/.","~","~//d"],"network_access":true,
           "exclude_tmpdir_env_var":true,"exclude_slash_tmp":false}"#,
        "root=read project_roots=write slash_tmp=write /a/c=write /home/u=write /home/u/d=write * +net",
    ),
    (r#"{"type":"workspace-write","exclude_slash_tmp":true}"#, "root=read project_roots=write tmpdir=write * -net"),
    (r#"{"type":"read-only","access":{"type":"full-access"}}"#, "root=read -net"),
    (
        r#"{"type":"read-only","access":{"type":"restricted","readable_roots":["/srv"]}}"#,
        "minimal=read project_roots=read slash_tmp=read /srv=read -net",
    ),
    (
        r#"{"type":"workspace-write","exclude_slash_tmp":true,"read_only_access":
           {"type":"restricted","include_platform_defaults":false,"readable_roots":["/srv"]}}"#,
        "/srv=read project_roots=write tmpdir=write * -net",
    ),
];

#[test]
fn every_legacy_form_has_its_meaning() {
    means(json, LEGACY);
}

const SPLIT: &[(&str, &str)] = &[
    (
        r#"{"file_system":{"kind":"restricted","glob_scan_max_depth":3,"entries":[
         {"path":{"type":"special","value":{"kind":"root"}},"access":"read"},
         {"path":{"type":"special","value":{"kind":"minimal"}},"access":"read"},
         {"path":{"type":"special","value":{"kind":"project_roots"}},"access":"write"},
         {"path":{"type":"special","value":{"kind":"current_working_directory","subpath":"./.git"}},"access":"read","missing_path_behavior":"skip"},
         {"path":{"type":"special","value":{"kind":"slash_tmp"}},"access":"write"},
         {"path":{"type":"special","value":{"kind":"tmpdir"}},"access":"write"},
         {"path":{"type":"path","path":"/srv/data/"},"access":"none"},
         {"path":{"type":"glob_pattern","pattern":"/repo/**/*.env"},"access":"deny"}]},"network":"enabled"}"#,
        "root=read minimal=read project_roots=write project_roots[.git]=read? slash_tmp=write tmpdir=write \
         /srv/data=deny glob:/repo/**/*.env=deny depth=3 +net",
    ),
    (r#"{"file_system":{"kind":"unrestricted","entries":[]},"network":"restricted"}"#, "unrestricted -net"),
    (r#"{"file_system":{"kind":"unrestricted"},"network":{"mode":"proxy"}}"#, "unrestricted proxy"),
    (r#"{"file_system":{"kind":"external-sandbox"},"network":"enabled"}"#, "external +net"),
    (r#"{"file_system":{"kind":"unrestricted"}}"#, "unrestricted -net"),
    (r#"{"kind":"unrestricted"}"#, "unrestricted -net"),
    (r#"{"entries":[{"path":{"type":"path","path":"/../a"},"access":"read"}]}"#, "/a=read -net"),
    (
        r#"{"kind":"restricted","entries":[{"access":"deny","path":{"type":"glob_pattern","pattern":"codex-project-roots://**/*.env"}}]}"#,
        "glob:codex-project-roots://**/*.env=deny -net",
    ),
];

#[test]
fn every_split_form_has_its_meaning() {
    means(json, SPLIT);
}

const PROFILES: &[(&str, &str)] = &[
    (r#"{"type":"disabled"}"#, "unrestricted +net"),
    (r#"{"type":"external","network":"enabled"}"#, "external +net"),
    (r#"{"type":"managed","file_system":{"type":"unrestricted"},"network":"restricted"}"#, "unrestricted -net"),
    (r#"{"type":"external","network":{"mode":"proxy"}}"#, "external proxy"),
    (
        r#"{"type":"managed","file_system":{"type":"restricted","glob_scan_max_depth":2,"entries":
           [{"path":{"type":"path","path":"/a"},"access":"write"}]},"network":"enabled"}"#,
        "/a=write depth=2 +net",
    ),
    (
        r#"{"network":{"enabled":true},"file_system":{"entries":[{"path":{"type":"path","path":"/a"},"access":"read"}]}}"#,
        "/a=read +net",
    ),
    (r#"{"file_system":{"read":["/a"],"write":["/b","~/c"]}}"#, "/a=read /b=write /home/u/c=write -net"),
    (r#"{"file_system":{"write":["/b"],"read":null},"network":null}"#, "/b=write -net"),
    (r#"{"network":{"enabled":false}}"#, "-net"),
    (r#"{"network":{}}"#, "-net"),
    (r#"{}"#, "-net"),
];

#[test]
fn every_profile_form_has_its_meaning() {
    means(json, PROFILES);
}

#[test]
fn an_unknown_special_token_is_kept_and_warned_about() {
    let text = r#"{"kind":"restricted","entries":[
  {"path":{"type":"special","value":{"kind":"unknown","path":":future","subpath":"x"}},"access":"read"},
  {"path":{"type":"special","value":{"kind":"home","user":7}},"access":"write"}]}"#;
    let parsed = json(text).unwrap();
    assert_eq!(show(&parsed.policy), ":future[x]=read home=write -net");
    assert_eq!(
        parsed.warnings,
        [
            "p.json:2:62: entries[0].path.value.path: unknown special path `:future` has no effect",
            "p.json:3:45: entries[1].path.value.kind: unknown special path `home` has no effect",
        ]
    );
}

#[test]
fn a_policy_that_permits_nothing_says_so() {
    assert_eq!(json(" {}").unwrap().warnings, ["p.json:1:2: the policy has no entries, so it permits no path"]);
}

const TOML: &[(&str, &str)] = &[
    ("model = 'x'\nsandbox_mode = 'read-only'\n[tools]\nweb = true", "root=read -net"),
    ("sandbox_mode = 'danger-full-access'", "unrestricted +net"),
    (
        "sandbox_mode = 'workspace-write'\n[sandbox_workspace_write]\nwritable_roots = ['/x', '~/.cache']\n\
         network_access = true\nexclude_tmpdir_env_var = true\nexclude_slash_tmp = true",
        "root=read project_roots=write /x=write /home/u/.cache=write * +net",
    ),
    ("default_permissions = ':read-only'", "root=read -net"),
    ("default_permissions = ':danger-full-access'", "unrestricted +net"),
    (
        "default_permissions = ':workspace'\n[sandbox_workspace_write]\nexclude_slash_tmp = true",
        "root=read project_roots=write tmpdir=write * -net",
    ),
    (
        r#"
default_permissions = "work"
[permissions.work]
description = "d"
[permissions.work.filesystem]
glob_scan_max_depth = 2
":root" = "read"
":minimal" = "read"
":tmpdir" = "write"
":slash_tmp" = "write"
"~/z/" = "write"
"/abs/**" = "read"
"/**" = "read"
"/abs/**/*.pem" = "deny"
"~/**/key" = "none"
[permissions.work.filesystem.":workspace_roots"]
"." = "write"
".git" = "read"
"src/**" = "write"
"**/*.env" = "deny"
[permissions.work.filesystem."/base"]
"." = "read"
"sub" = "write"
"**/*.key" = "deny"
[permissions.work.network]
enabled = true
"#,
        "root=read minimal=read tmpdir=write slash_tmp=write /home/u/z=write /abs=read /=read glob:/abs/**/*.pem=deny \
         glob:/home/u/**/key=deny project_roots=write project_roots[.git]=read project_roots[src]=write \
         glob:codex-project-roots://**/*.env=deny /base=read /base/sub=write glob:/base/**/*.key=deny depth=2 +net",
    ),
];

#[test]
fn config_toml_has_its_meaning() {
    means(toml, TOML);
}

const EXTENDS: &[(&str, &str)] = &[
    (
        "default_permissions = 'a'\npermissions.a.extends = ':workspace'\n\
         permissions.a.filesystem.':project_roots'.'.git' = 'write'",
        "root=read project_roots=write slash_tmp=write tmpdir=write project_roots[.agents]=read? \
         project_roots[.codex]=read? project_roots[.git]=write -net",
    ),
    (
        "default_permissions = 'a'\npermissions.a.extends = 'b'\n\
         permissions.a.filesystem = { '/x/' = 'deny' }\n\
         permissions.b.filesystem = { '/x' = 'write', '/y' = 'read', glob_scan_max_depth = 4 }\n\
         permissions.b.network.enabled = true",
        "/y=read /x=deny depth=4 +net",
    ),
    ("default_permissions = 'a'\npermissions.a.extends = ':danger-full-access'", "unrestricted +net"),
    (
        "default_permissions = 'a'\npermissions.a = { extends = ':danger-full-access', network.enabled = false, \
         filesystem.'~/.ssh' = 'deny' }",
        "root=write /home/u/.ssh=deny -net",
    ),
    (
        "default_permissions = 'a'\npermissions.a.workspace_roots = { '../lib' = true, '~/off' = false, '/on' = true }\n\
         permissions.a.filesystem.':workspace_roots' = { '.' = 'write', '.git' = 'read', '*.pem' = 'deny' }",
        "project_roots=write /repo/lib=write /on=write project_roots[.git]=read /repo/lib/.git=read /on/.git=read \
         glob:codex-project-roots://*.pem=deny glob:/repo/lib/*.pem=deny glob:/on/*.pem=deny -net",
    ),
    (
        "default_permissions = 'a'\npermissions.a = { extends = 'b', workspace_roots = { '/repo/lib' = false } }\n\
         permissions.b = { workspace_roots = { '../lib' = true }, filesystem = { ':workspace_roots' = 'read' } }",
        "project_roots=read -net",
    ),
];

#[test]
fn a_child_profile_overrides_its_parent() {
    means(toml, EXTENDS);
}

#[test]
fn unix_sockets_are_those_that_the_profile_allows_in_the_end() {
    let parent = "permissions.b.network.unix_sockets = { '/run/a' = 'allow', '/run/b' = 'allow', '/run/c' = 'deny' }";
    let child = "permissions.a = { extends = 'b', network.unix_sockets = { '/run/b' = 'deny', '~/d' = 'allow' } }";
    let parsed = toml(&format!("default_permissions = 'a'\n{parent}\n{child}")).unwrap();
    assert_eq!(parsed.policy.choices.unix_sockets, ["/run/a", "/home/u/d"]);
    let parsed = json(r#"{"type": "read-only", "codexrun": {"unix_sockets": ["/run/a", "~/d"]}}"#).unwrap();
    assert_eq!(parsed.policy.choices.unix_sockets, ["/run/a", "/home/u/d"]);
    for wrong in [r#"["run/a"]"#, r#"[1]"#, r#""/run/a""#] {
        assert!(json(&format!(r#"{{"type": "read-only", "codexrun": {{"unix_sockets": {wrong}}}}}"#)).is_err(), "{wrong}");
    }
}

#[test]
fn all_unix_sockets_are_a_grant_of_the_youngest_profile_that_says_so_and_of_a_network_that_is_not_off() {
    let of = |network: &str| {
        let parent = "permissions.b = { extends = ':read-only', network.dangerously_allow_all_unix_sockets = true }";
        let parsed =
            toml(&format!("default_permissions = 'a'\n{parent}\npermissions.a = {{ extends = 'b', network = {{ {network} }} }}"));
        parsed.map(|parsed| (parsed.policy.choices.unix_sockets, parsed.warnings))
    };
    let granted = (vec!["/".to_owned()], vec![]);
    assert_eq!(of("enabled = true").unwrap(), granted);
    assert_eq!(of("enabled = true, domains = { 'a.b' = 'allow' }").unwrap(), granted);
    assert_eq!(of("enabled = true, dangerously_allow_all_unix_sockets = false").unwrap(), (vec![], vec![]));
    let (none, warnings) = of("enabled = false").unwrap();
    assert_eq!(none, [""; 0]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("the network is off, and `dangerously_allow_all_unix_sockets` has no effect"), "{warnings:?}");
    assert!(of("dangerously_allow_all_unix_sockets = 1").is_err());
}

/// Codex's own description of its file; the values that it gives are its defaults, or say what may stand there.
const WHOLE: &str = r#"
default_permissions = "work"
sandbox_mode = "workspace-write"
[sandbox_workspace_write]
writable_roots = ["/home/u/.cache"]
network_access = false
exclude_tmpdir_env_var = false
exclude_slash_tmp = false

[permissions.work]
extends = ":workspace"
description = "…"
[permissions.work.workspace_roots]
"../sibling" = true
[permissions.work.filesystem]
glob_scan_max_depth = 2
":root" = "read"
":minimal" = "read"
":tmpdir" = "write"
":slash_tmp" = "write"
"/abs/or/~/path" = "write"
"/abs/**/*.pem" = "deny"
[permissions.work.filesystem.":workspace_roots"]
"." = "write"
".git" = "read"
"**/*.env" = "deny"
[permissions.work.network]
enabled = true
mode = "full"
proxy_url = "http://127.0.0.1:3128"
socks_url = "http://127.0.0.1:8081"
enable_socks5 = true
enable_socks5_udp = true
allow_upstream_proxy = true
allow_local_binding = false
dangerously_allow_non_loopback_proxy = false
dangerously_allow_all_unix_sockets = false
[permissions.work.network.domains]
"*.openai.com" = "allow"
"evil.example" = "deny"
[permissions.work.network.unix_sockets]
"/run/x.sock" = "allow"
"#;

#[test]
fn every_key_of_config_toml_is_taken() {
    let parsed = toml(WHOLE).unwrap();
    assert_eq!(parsed.policy.network, Network::Proxy);
    assert_eq!(parsed.policy.choices.unix_sockets, ["/run/x.sock"]);
    let said = show(&parsed.policy);
    for entry in ["/abs/or/~/path=write", "/repo/sibling=write", "glob:/abs/**/*.pem=deny", "/home/u/.cache=write", "depth=2"] {
        assert!(said.contains(entry), "{entry} in {said}");
    }
    // What can have no effect is said, and nothing else.
    let named: Vec<&str> = parsed.warnings.iter().filter_map(|warning| warning.split(": ").nth(1)).collect();
    let network = "permissions.work.network";
    assert_eq!(named, ["sandbox_mode", &format!("{network}.enable_socks5_udp"), &format!("{network}.allow_upstream_proxy")]);
}

#[test]
fn a_workspace_root_is_literal_in_the_globs_below_it() {
    let text = "default_permissions = 'a'\npermissions.a.workspace_roots = { '/w[1]*' = true }\n\
         permissions.a.filesystem.':workspace_roots' = { '*.pem' = 'deny' }";
    means(toml, &[(text, "glob:codex-project-roots://*.pem=deny glob:/w[[]1][*]/*.pem=deny -net")]);
}

#[test]
fn toml_warns_about_what_has_no_effect() {
    let text = "sandbox_mode = 'read-only'\ndefault_permissions = 'a'\n[permissions.a.filesystem]\n\
                ':later' = 'read'\n[permissions.a.filesystem.':next']\n'x' = 'read'";
    let parsed = toml(text).unwrap();
    assert_eq!(show(&parsed.policy), ":later=read :next[x]=read -net");
    assert_eq!(
        parsed.warnings,
        [
            "c.toml:1:16: sandbox_mode: `default_permissions` takes the place of `sandbox_mode`, which has no effect",
            "c.toml:4:1: permissions.a.filesystem.\":later\": unknown special path `:later` has no effect",
            "c.toml:5:27: permissions.a.filesystem.\":next\": unknown special path `:next` has no effect",
        ]
    );
}

#[test]
fn codexs_older_confinement_is_not_passed_over_in_silence() {
    let said = |features: &str| toml(&format!("sandbox_mode = 'read-only'\n{features}")).unwrap().warnings;
    let on = said("[features]\nuse_legacy_landlock = true\nother = 'x'");
    assert!(matches!(&on[..], [one] if one.contains("features.use_legacy_landlock: has no effect")), "{on:?}");
    for none in ["", "features = 1", "[features]\nuse_legacy_landlock = false", "[features]\nother = true"] {
        assert!(said(none).is_empty(), "{none}");
    }
}

#[test]
fn json_that_is_not_json_is_refused_where_it_breaks() {
    refuses(
        json,
        &[
            ("", "p.json:1:1: not JSON: EOF while parsing a value"),
            ("{\n \"type\": ü}", "p.json:2:10: not JSON: expected value"),
            ("{\"ü\": 1,}", "p.json:1:9: not JSON: trailing comma"),
            ("{}\n{}", "p.json:2:1: not JSON: trailing characters"),
            ("{\"type\":1,\n \"type\":2}", "p.json:2:2: duplicate key `type`"),
            ("3", "p.json:1:1: expected an object, found `3`"),
            ("[]", "p.json:1:1: expected an object, found a list"),
        ],
    );
    let deep = "[".repeat(200_000);
    assert_eq!(json(&deep).unwrap_err().to_string(), "p.json:1:128: nested deeper than 128 levels");
}

#[test]
fn a_wrong_json_policy_is_refused_with_place_and_expectation() {
    refuses(
        json,
        &[
            (
                r#"{"mode":"x"}"#,
                "p.json:1:2: mode: unknown field `mode` in a policy; expected `type`, `file_system`, `network`, `kind` or `entries`",
            ),
            (
                r#"{"type":"readonly"}"#,
                "p.json:1:9: type: expected `danger-full-access`, `read-only`, `external-sandbox`, `workspace-write`, \
                 `managed`, `disabled` or `external`, found `readonly`",
            ),
            (
                "{\"type\":\"workspace-write\",\n  \"writeable_roots\":[]}",
                "p.json:2:3: writeable_roots: unknown field `writeable_roots` in `workspace-write`; expected `type`, \
                 `writable_roots`, `network_access`, `exclude_tmpdir_env_var`, `exclude_slash_tmp` or `read_only_access` \
                 (hint: read as a legacy sandbox policy)",
            ),
            (
                r#"{"type":"workspace-write","network_access":"enabled"}"#,
                "p.json:1:44: network_access: expected `true` or `false`, found `enabled` (hint: read as a legacy sandbox policy)",
            ),
            (
                r#"{"type":"external-sandbox","network_access":true}"#,
                "p.json:1:45: network_access: expected `restricted` or `enabled`, found `true` (hint: read as a legacy sandbox policy)",
            ),
            (
                "{\"type\":\"workspace-write\",\n\"writable_roots\":[\"/ok\", \"rel\"]}",
                "p.json:2:26: writable_roots[1]: expected an absolute path or `~/…`, found `rel` (hint: read as a legacy sandbox policy)",
            ),
            (
                r#"{"type":"workspace-write","writable_roots":["/a\u0000b"]}"#,
                "p.json:1:45: writable_roots[0]: a path cannot contain NUL (hint: read as a legacy sandbox policy)",
            ),
            (
                r#"{"type":"read-only","access":{"type":"full-access","readable_roots":[]}}"#,
                "p.json:1:52: access.readable_roots: unknown field `readable_roots` in `full-access`; expected `type` \
                 (hint: read as a legacy sandbox policy)",
            ),
            (
                "{\"kind\":\"restricted\",\"entries\":[\n {\"path\":{\"type\":\"path\",\"path\":\"/a\"},\"access\":\"rw\"}]}",
                "p.json:2:47: entries[0].access: expected `read`, `write`, `deny` or `none`, found `rw` (hint: read as a file system policy)",
            ),
            (
                r#"{"kind":"restricted","entries":[{"path":{"type":"path","path":"/a"}}]}"#,
                "p.json:1:33: entries[0]: missing field `access` (hint: read as a file system policy)",
            ),
            (
                r#"{"kind":"unrestricted","entries":[{"path":{"type":"path","path":"/a"},"access":"deny"}]}"#,
                "p.json:1:34: entries: entries have no effect unless the file system is `restricted` (hint: read as a file system policy)",
            ),
            (
                r#"{"entries":[{"path":{"type":"glob_pattern","pattern":"/a/*"},"access":"read"}]}"#,
                "p.json:1:54: entries[0].path.pattern: a glob can only be denied; expected an exact path (hint: read as a file system policy)",
            ),
            (
                r#"{"entries":[{"path":{"type":"glob_pattern","pattern":"/a/../*"},"access":"deny"}]}"#,
                "p.json:1:54: entries[0].path.pattern: expected a glob pattern without `..`, found `/a/../*` (hint: read as a file system policy)",
            ),
            (
                r#"{"entries":[{"path":{"type":"special","value":{"kind":"project_roots","subpath":"../x"}},"access":"read"}]}"#,
                "p.json:1:81: entries[0].path.value.subpath: expected a relative path without `..`, found `../x` \
                 (hint: read as a file system policy)",
            ),
            (
                r#"{"entries":[],"glob_scan_max_depth":0}"#,
                "p.json:1:37: glob_scan_max_depth: expected a whole number from 1, found `0` (hint: read as a file system policy)",
            ),
            (r#"{"network":"enabled"}"#, "p.json:1:1: missing field `file_system` (hint: read as a split policy)"),
            (
                r#"{"network":"on","file_system":{"kind":"restricted"}}"#,
                "p.json:1:12: network: expected `restricted` or `enabled`, found `on` (hint: read as a split policy)",
            ),
            (
                r#"{"type":"managed","file_system":{"kind":"restricted"}}"#,
                "p.json:1:34: file_system.kind: unknown field `kind` in a managed file system; expected `type`, \
                 `entries` or `glob_scan_max_depth` (hint: read as a permission profile)",
            ),
            (
                r#"{"type":"disabled","network":"enabled"}"#,
                "p.json:1:20: network: unknown field `network` in a disabled profile; expected `type` (hint: read as a permission profile)",
            ),
            (
                r#"{"network":{"enabled":true,"unix_sockets":{}}}"#,
                "p.json:1:28: network.unix_sockets: unknown field `unix_sockets` in an untagged profile's network; \
                 expected `enabled` (hint: read as an untagged permission profile)",
            ),
            (
                r#"{"file_system":{"read":["/a"],"entries":[]}}"#,
                "p.json:1:31: file_system.entries: unknown field `entries` in an untagged profile's lists; \
                 expected `read` or `write` (hint: read as an untagged permission profile)",
            ),
        ],
    );
}

#[test]
fn a_wrong_config_toml_is_refused_with_place_and_expectation() {
    refuses(
        toml,
        &[
            (
                "model = 'x'",
                "c.toml:1:1: expected `sandbox_mode` or `default_permissions`, found neither (hint: read as config.toml)",
            ),
            (
                "sandbox_mode = 'yolo'",
                "c.toml:1:16: sandbox_mode: expected `read-only`, `workspace-write` or `danger-full-access`, found `yolo` (hint: read as config.toml)",
            ),
            (
                "sandbox_mode = 'read-only'\n[sandbox_workspace_write]\nwritable = []",
                "c.toml:3:1: sandbox_workspace_write.writable: unknown field `writable` in `[sandbox_workspace_write]`; \
                 expected `writable_roots`, `network_access`, `exclude_tmpdir_env_var` or `exclude_slash_tmp` (hint: read as config.toml)",
            ),
            (
                "sandbox_mode = 'workspace-write'\nsandbox_workspace_write = 1979-05-27",
                "c.toml:2:27: sandbox_workspace_write: expected a table, found a date (hint: read as config.toml)",
            ),
            (
                "default_permissions = ':yolo'",
                "c.toml:1:23: default_permissions: expected `:read-only`, `:workspace` or `:danger-full-access`, found `:yolo` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'w'",
                "c.toml:1:23: default_permissions: no profile `w` in `[permissions]` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\npermissions.a.extends = 'b'",
                "c.toml:2:25: permissions.a.extends: no profile `b` in `[permissions]`: `a` → `b` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\npermissions.a.extends = 'b'\npermissions.b.extends = 'a'",
                "c.toml:3:25: permissions.b.extends: `extends` has no end: `a` → `b` → `a` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a]\n[permissions.':a']",
                "c.toml:3:14: permissions.\":a\": only the built-in profiles have names that begin with `:` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a]\nfile_system = {}",
                "c.toml:3:1: permissions.a.file_system: unknown field `file_system` in a permission profile; expected \
                 `extends`, `description`, `workspace_roots`, `filesystem` or `network` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.filesystem]\nglob_scan_max_depth = 0",
                "c.toml:3:23: permissions.a.filesystem.glob_scan_max_depth: expected a whole number from 1, found `0` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.filesystem]\n'src' = 'read'",
                "c.toml:3:1: permissions.a.filesystem.src: expected an absolute path, `~/…` or a special path that begins \
                 with `:`, found `src` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.filesystem]\n'~bob/x' = 'read'",
                "c.toml:3:1: permissions.a.filesystem.\"~bob/x\": expected an absolute path or `~/…`, found `~bob/x` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.filesystem]\n'/a/*.c' = 'write'",
                "c.toml:3:1: permissions.a.filesystem.\"/a/*.c\": expected an exact path, or one that ends in `/**`, found `/a/*.c` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.filesystem.':tmpdir']\n'x' = 'write'",
                "c.toml:3:1: permissions.a.filesystem.\":tmpdir\".x: only `:workspace_roots` and paths can hold paths \
                 below them; expected `.` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.filesystem.':workspace_roots']\n'../x' = 'write'",
                "c.toml:3:1: permissions.a.filesystem.\":workspace_roots\".\"../x\": expected a relative path without `..`, \
                 found `../x` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.network]\nenabled = true\ndomains = { 'a.b' = 'yes' }",
                "c.toml:4:21: permissions.a.network.domains.\"a.b\": expected `allow` or `deny`, found `yes` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.network.unix_sockets]\n'run/x' = 'allow'",
                "c.toml:3:1: permissions.a.network.unix_sockets.\"run/x\": expected an absolute path or `~/…`, found `run/x` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.network]\non = true",
                "c.toml:3:1: permissions.a.network.on: unknown field `on` in a profile's network; expected `enabled`, `unix_sockets`, \
                 `dangerously_allow_all_unix_sockets`, `domains`, `mode`, `allow_local_binding`, `enable_socks5`, `proxy_url` or `socks_url` (hint: read as config.toml)",
            ),
            (
                "default_permissions = 'a'\n[permissions.a.workspace_roots]\n'../x' = 1",
                "c.toml:3:10: permissions.a.workspace_roots.\"../x\": expected `true` or `false`, found `1` (hint: read as config.toml)",
            ),
            ("a = 1\na = 2", "c.toml:2:1: not TOML: duplicate key"),
        ],
    );
}

#[test]
fn a_tilde_without_home_is_refused() {
    let base = Base { home: None, ..base() };
    let text = r#"{"file_system":{"write":["~/x"]}}"#;
    let error = parse("-", text, Format::Json, &base).unwrap_err().to_string();
    assert!(error.starts_with("<stdin>:1:26: file_system.write[0]: cannot expand `~`"), "{error}");
}

#[test]
fn presets_are_found_with_and_without_colon() {
    let shown = |name: &str| preset(name).map(|policy| show(&policy)).unwrap_or_default();
    let workspace = format!("root=read project_roots=write slash_tmp=write tmpdir=write {PROTECTED} -net");
    for prefix in ["", ":"] {
        assert_eq!(shown(&format!("{prefix}read-only")), "root=read -net");
        assert_eq!(shown(&format!("{prefix}workspace-write")), workspace);
        assert_eq!(shown(&format!("{prefix}workspace")), workspace);
        assert_eq!(shown(&format!("{prefix}danger-full-access")), "unrestricted +net");
    }
    assert_eq!(preset("::read-only"), None);
}

#[test]
fn load_takes_presets_and_files_and_says_what_is_neither() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let means = |arg: &str| show(&load(arg, &base()).unwrap().policy);
    let fails = |arg: &str| load(arg, &base()).unwrap_err().to_string();

    assert_eq!(means(":read-only"), "root=read -net");
    assert_eq!(means(&file("a", b"\n {\"type\":\"read-only\"}")), "root=read -net");
    assert_eq!(means(&file("b", b"sandbox_mode='read-only'")), "root=read -net");
    assert_eq!(means(&file("c.toml", b"sandbox_mode='read-only'")), "root=read -net");
    assert_eq!(
        fails(":yolo"),
        "no preset `:yolo`; expected `:read-only`, `:workspace-write`, `:workspace` or `:danger-full-access`"
    );
    assert_eq!(
        fails("/nowhere/x"),
        "`/nowhere/x` is neither a preset (`read-only`, `workspace-write`, `workspace` or `danger-full-access`) \
         nor a readable file: No such file or directory (os error 2)"
    );
    assert_eq!(
        crate::policy::parse::additional("read-only", &base()).unwrap_err().to_string(),
        "`read-only` is neither a JSON object nor a readable file: No such file or directory (os error 2) \
         (hint: a preset is a policy of its own: `--policy` takes it)"
    );
    let bad = file("d.json", b"{\n\"\xff\"}");
    assert_eq!(fails(&bad), format!("{bad}:2:2: the policy is not UTF-8"));
    let long = file("e.json", "é".repeat(MAX_BYTES).as_bytes());
    assert_eq!(fails(&long), format!("{long}:1:1: the policy is larger than 1048576 bytes"));
}

#[test]
fn truncated_and_mutated_text_never_panics() {
    let json_texts = [LEGACY, SPLIT, PROFILES].concat();
    let toml_texts = [TOML, EXTENDS].concat();
    let mut random = 1u64;
    for (read, texts) in [(json as fn(&str) -> _, json_texts), (toml as fn(&str) -> _, toml_texts)] {
        for (text, _) in texts {
            (0..text.len()).filter_map(|end| text.get(..end)).for_each(|text| again(read(text)));
            for _ in 0..200 {
                again(read(&mutated(text, &mut random)));
            }
        }
    }
}

/// One character replaced, doubled or removed.
fn mutated(text: &str, random: &mut u64) -> String {
    let mut next = |n: usize| {
        *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*random >> 33) as usize % n
    };
    let mut chars: Vec<char> = text.chars().collect();
    let with: Vec<char> = "\"\\{}[]:,.~/*0u\0\n\u{fffd}'=#".chars().collect();
    let at = next(chars.len().max(1));
    match next(3) {
        _ if chars.is_empty() => {}
        0 => chars[at] = with[next(with.len())],
        1 => chars.insert(at, with[next(with.len())]),
        _ => drop(chars.remove(at)),
    }
    chars.into_iter().collect()
}

/// Whatever is accepted has a canonical form that means the same.
fn again(parsed: Result<Parsed>) {
    match parsed {
        Ok(parsed) => {
            let canonical = parsed.policy.canonical_json().to_string();
            assert_eq!(json(&canonical).unwrap().policy, parsed.policy, "{canonical}");
        }
        Err(e) => assert!(e.place.is_some() && !e.to_string().contains('\n'), "{e}"),
    }
}

#[test]
fn deeply_nested_toml_is_refused() {
    let keys = vec!["a"; 79].join(".");
    let nested = format!("{keys} = {}1{}", format!("{{ {keys} = ").repeat(70), " }".repeat(70));
    for text in [nested, format!("a = {}", "[".repeat(100_000)), vec!["a"; 100_000].join(".") + " = 1"] {
        let error = toml(&text).unwrap_err();
        assert!(error.place.is_some(), "{error}");
    }
}

#[test]
fn a_policy_may_be_as_large_as_the_limit_and_no_larger() {
    let policy = r#"{"type":"read-only"}"#;
    let text = |bytes: usize| policy.to_owned() + &" ".repeat(bytes - policy.len());
    assert!(json(&text(MAX_BYTES)).is_ok());
    assert_eq!(json(&text(MAX_BYTES + 1)).unwrap_err().to_string(), "p.json:1:1: the policy is larger than 1048576 bytes");
    let entry = r#"{"path":{"type":"path","path":"/a"},"access":"read"}"#;
    let many = MAX_BYTES / (entry.len() + 1) - 3;
    let list = vec![entry; many].join(",");
    match json(&format!("{{\"entries\":[{list}]}}")).unwrap().policy.file_system {
        FileSystem::Restricted(r) => assert_eq!(r.entries.len(), many),
        other => panic!("{other:?}"),
    }
}
