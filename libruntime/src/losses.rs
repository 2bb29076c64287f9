//! What another runtime would not enforce of a spec, or would refuse, as found with runc 1.1.5 and crun 1.8.1. Both bring
//! `lo` up and begin a new session, so neither of these is a loss.

use crate::bundle::{self, Bundle, CONFIG};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::{Error, annotation};
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Another OCI runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// runc 1.1.
    Runc,
    /// crun 1.8.
    Crun,
    /// One of which nothing is known but what it says itself: see [`unlisted`].
    Any,
}

/// One thing that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Where in config.json.
    pub place: String,
    /// What is asked there.
    pub clause: Cow<'static, str>,
    /// What happens instead.
    pub consequence: Cow<'static, str>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.clause, self.consequence)
    }
}

/// A loss that somebody else has found.
pub fn lost(place: &str, clause: &'static str, consequence: &'static str) -> Loss {
    loss(place, clause, consequence)
}

fn loss(place: impl Into<String>, clause: impl Into<Cow<'static, str>>, consequence: impl Into<Cow<'static, str>>) -> Loss {
    Loss { place: place.into(), clause: clause.into(), consequence: consequence.into() }
}

/// Everything that `other` would lose of `spec`; empty if it means the same there.
pub fn losses(spec: &Spec, other: Other) -> Vec<Loss> {
    let json = serde_json::to_value(spec).unwrap_or_default();
    let mut losses = annotations(spec);
    losses.extend(fields(&json, other));
    losses.extend(placeholders_by_hand(spec));
    losses.extend(snapshot(spec));
    losses.extend(wall_time(spec));
    losses.extend(unix_sockets(spec));
    losses.extend(landlock(spec));
    losses.extend(alone(spec));
    losses.extend(given_up(spec));
    losses.extend(mounts_outside(spec));
    losses.extend(device(&json, other));
    losses.extend(version(spec, other));
    losses.extend(no_root_id(spec, other));
    losses.extend(root_itself(spec, other));
    losses.extend(root_on_root(&json, other));
    losses
}

/// (annotation, the value that asks for something, clause, consequence). Not here: `session`, because runc and crun
/// always begin a session; `policy.sha256`, which asks for nothing; `placeholders`, which depends on the hooks.
const ANNOTATIONS: &[(&str, &str, &str, &str)] = &[
    (
        annotation::INIT,
        "reaper",
        "an init that reaps and forwards signals",
        "the command itself is PID 1: a signal for which it has no handler is ignored, and nobody reaps orphans",
    ),
    (
        annotation::DIE_WITH_PARENT,
        "true",
        "death with the process that started it",
        "the container goes on when the runtime is killed",
    ),
    (
        annotation::STDIO_SOCKETS,
        "connected",
        "no standard stream but files, pipes, terminals and connections, and of Unix sockets only bytes",
        "any is passed on, and reaches what it reaches outside; by a Unix socket descriptors come in",
    ),
    (
        annotation::STDIO_SOCKETS,
        annotation::STDIO_INTERNET,
        "no standard stream but files, pipes, terminals, connections and sockets of IP, and of Unix sockets only bytes",
        "any is passed on, and reaches what it reaches outside; by a Unix socket descriptors come in",
    ),
    (
        annotation::STDIO_SOCKETS,
        annotation::STDIO_ANY,
        "no standard stream but files, pipes, terminals and sockets",
        "any other is passed on, and reaches what it reaches outside",
    ),
    (
        annotation::STDIO_SOCKETS,
        annotation::STDIO_NONE,
        "no standard stream but files, pipes and terminals",
        "a socket is passed on, and whoever has its other end can send descriptors of his own by it",
    ),
    (
        annotation::RESOLVE,
        "nofollow",
        "no symbolic link is crossed when mounts are resolved",
        "a path that becomes a link after the bundle was made redirects the mount, and with it the protection",
    ),
];

fn annotations(spec: &Spec) -> Vec<Loss> {
    let set = |key: &str| spec.annotations().as_ref()?.get(key);
    ANNOTATIONS
        .iter()
        .filter(|(key, value, ..)| set(key).is_some_and(|v| v == value))
        .map(|(key, _, clause, consequence)| loss(annotated(key), *clause, *consequence))
        .collect()
}

fn annotated(key: &str) -> String {
    format!("annotations[\"{key}\"]")
}

/// Fields that a runtime is too old to know: (JSON pointer, clause, consequence, who).
type Field = (&'static str, &'static str, &'static str, &'static [Other]);

const FIELDS: &[Field] = &[
    ("/domainname", "NIS domain name", "keeps the host's", &[Other::Runc]),
    ("/linux/personality", "execution domain", "keeps the caller's", &[Other::Runc]),
    ("/linux/timeOffsets", "clocks of its own", "refused before runc 1.2", &[Other::Runc]),
    ("/linux/netDevices", "network devices to move in", "ignored", &[Other::Runc, Other::Crun]),
    ("/process/ioPriority", "I/O priority", "keeps the caller's", &[Other::Runc, Other::Crun]),
    ("/process/scheduler", "scheduling policy", "keeps the caller's", &[Other::Runc, Other::Crun]),
    ("/process/execCPUAffinity", "CPU affinity of the process", "ignored", &[Other::Runc, Other::Crun]),
];

fn fields(spec: &Value, other: Other) -> Vec<Loss> {
    FIELDS
        .iter()
        .filter(|(pointer, _, _, who)| who.contains(&other) && spec.pointer(pointer).is_some_and(|v| !v.is_null()))
        .map(|(pointer, clause, consequence, _)| loss(pointer[1..].replace('/', "."), *clause, *consequence))
        .collect()
}

/// A missing path that must stay missing: other runtimes make the mount point on the host; only a hook takes it away.
fn placeholders_by_hand(spec: &Spec) -> Option<Loss> {
    let paths = spec.annotations().as_ref()?.get(annotation::PLACEHOLDERS)?;
    let swept = spec.hooks().as_ref().and_then(|h| h.poststop().as_ref()).is_some_and(|hooks| !hooks.is_empty());
    let consequence = match swept {
        _ if paths.trim() == "[]" => return None,
        true => {
            "the runtime makes them on the host and the `poststop` hook removes them: they stay when the runtime is \
             killed, and a sandbox that ends takes those of another one on the same directory"
        }
        false => "the runtime makes them on the host, and they stay there",
    };
    let clause = "placeholders for missing paths, held while the container lives";
    Some(loss(annotated(annotation::PLACEHOLDERS), clause, consequence))
}

fn wall_time(spec: &Spec) -> Option<Loss> {
    spec.annotations().as_ref()?.get(annotation::WALL_TIME)?;
    Some(loss(annotated(annotation::WALL_TIME), "an end after some time", "the container goes on"))
}

/// What the filter of config.json says where nobody answers for it.
fn unix_sockets(spec: &Spec) -> Option<Loss> {
    spec.annotations().as_ref()?.get(annotation::UNIX_SOCKETS)?;
    let clause = "Unix sockets of its own, and those granted";
    Some(loss(annotated(annotation::UNIX_SOCKETS), clause, "the filter refuses all of them"))
}

fn landlock(spec: &Spec) -> Option<Loss> {
    spec.annotations().as_ref()?.get(annotation::LANDLOCK)?;
    let consequence = "none are in force: the mounts, namespaces and the filter are all that confines";
    Some(loss(annotated(annotation::LANDLOCK), "Landlock's rules", consequence))
}

/// A bundle without namespaces: whoever does not know the annotation would confine it by its filter alone.
fn alone(spec: &Spec) -> Option<Loss> {
    spec.annotations().as_ref()?.get(annotation::ISOLATION)?;
    let consequence = match root_of(spec) {
        Some(path) if path == Path::new(bundle::NO_ROOT) => "refused, before anything is mounted: `root.path` names no directory",
        _ => "run with the caller's files and nothing but the filter, if it is not refused",
    };
    Some(loss(annotated(annotation::ISOLATION), "isolation by Landlock alone", consequence))
}

fn root_of(spec: &Spec) -> Option<&Path> {
    spec.root().as_ref().map(|root| root.path().as_path())
}

/// What the policy's author accepted, under codexrun too.
fn given_up(spec: &Spec) -> Option<Loss> {
    let list = spec.annotations().as_ref()?.get(annotation::LOST)?;
    let names: Vec<String> = serde_json::from_str(list).ok()?;
    Some(loss(annotated(annotation::LOST), names.join(", "), "given up, as the policy accepts (`accept_loss`)"))
}

/// Both make them where they are themselves.
fn mounts_outside(spec: &Spec) -> Option<Loss> {
    let consequence = "the mounts are made on the host, and stay there";
    let any = spec.linux().is_some() && spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty());
    (any && plan::stays_in_mount_namespace(spec))
        .then(|| loss("linux.namespaces", "mounts without a mount namespace", consequence))
}

/// As root runc confines devices by a cgroup, also for a container that asks for none.
fn device(spec: &Value, other: Other) -> Option<Loss> {
    let is_bound = |mount: &Value| {
        let at = mount["destination"].as_str().unwrap_or_default();
        mount["source"] == mount["destination"] && at.starts_with("/dev/") && at != "/dev/shm"
    };
    let at = spec.get("mounts")?.as_array()?.iter().position(is_bound)?;
    let allowed = spec.pointer("/linux/resources/devices").is_some_and(|rules| rules.as_array().is_some_and(|r| !r.is_empty()));
    let (clause, consequence) = ("a device of the host", "runc of root refuses to open it: EPERM");
    (other == Other::Runc && !allowed).then(|| loss(format!("mounts[{at}]"), clause, consequence))
}

/// A mount covers what is there; no runtime, codexrun included, can cover what is not there yet by its name alone.
fn snapshot(spec: &Spec) -> Option<Loss> {
    spec.annotations().as_ref()?.get(annotation::DENY_GLOBS)?;
    let consequence =
        "expanded when the bundle was made: a file that is made outside of the sandbox later and matches can be read";
    Some(loss(annotated(annotation::DENY_GLOBS), "denied patterns", consequence))
}

/// crun 1.8.1: "unknown version specified".
fn version(spec: &Spec, other: Other) -> Option<Loss> {
    let mut parts = spec.version().split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let newer = (parts.next()?, parts.next()?) >= (1, 2);
    (other == Other::Crun && newer).then(|| loss("ociVersion", "version 1.2.0 or later", "refused by crun 1.8: unknown version"))
}

/// runc: "rootless container requires user namespaces" with a mapping of id 0.
fn no_root_id(spec: &Spec, other: Other) -> Option<Loss> {
    let mappings = spec.linux().as_ref()?.uid_mappings().as_ref()?;
    let mapped = mappings.is_empty() || mappings.iter().any(|m| m.container_id() == 0);
    (other == Other::Runc && !mapped).then(|| {
        let consequence = "refused when runc is started by an ordinary user; `--identity root` maps it";
        loss("linux.uidMappings", "a user namespace without id 0", consequence)
    })
}

fn root_itself(spec: &Spec, other: Other) -> Option<Loss> {
    let stays = plan::stays_in_mount_namespace(spec)
        || spec.annotations().as_ref().is_some_and(|all| all.contains_key(annotation::ISOLATION));
    let consequence = match (stays, other) {
        (false, _) => "pivot_root fails: EBUSY",
        (true, Other::Crun) => "refused where there are no `mounts`; with them the command runs among the caller's files",
        (true, Other::Runc | Other::Any) => {
            "runc of root mounts `/` over itself on the host, where nobody can make a user namespace from then on, and the command runs among \
             the host's files"
        }
    };
    (root_of(spec)? == Path::new("/")).then(|| loss("root.path", "the host's `/`", consequence))
}

fn root_on_root(spec: &Value, other: Other) -> Option<Loss> {
    let mounts = spec.get("mounts")?.as_array()?;
    let at = mounts.iter().position(|m| m["destination"] == "/" && m["source"] == "/")?;
    let clause = "the host's `/` bound over the root";
    (other == Other::Crun).then(|| loss(format!("mounts[{at}]"), clause, "refused"))
}

/// What the spec uses and a runtime does not list, when asked for its features (features.md, features-linux.md). A list that is absent
/// says nothing.
pub fn unlisted(spec: &Spec, features: &Value) -> Vec<Loss> {
    let json = serde_json::to_value(spec).unwrap_or_default();
    let mut losses = Vec::new();
    for (pointer, clause, used) in USES {
        let Some(listed) = features.pointer(pointer).and_then(Value::as_array) else { continue };
        let missing = used(&json).into_iter().filter(|(_, word)| !listed.iter().any(|known| known == word.as_str()));
        losses.extend(missing.map(|(place, word)| loss(place, format!("{clause} `{word}`"), "not among the runtime's features")));
    }
    losses
}

/// Where in the features a list stands, what its words are, and those that a spec uses, with their places.
type Use = (&'static str, &'static str, fn(&Value) -> Vec<(String, String)>);

const USES: &[Use] = &[
    ("/hooks", "hooks of the kind", |spec| {
        let kinds = spec.get("hooks").and_then(Value::as_object).into_iter().flatten();
        kinds.map(|(kind, _)| (format!("hooks.{kind}"), kind.clone())).collect()
    }),
    ("/mountOptions", "the mount option", |spec| {
        let known = crate::plan::options::names();
        let each = each(spec, "/mounts", |mount| words(mount, "/options"));
        each.into_iter()
            .map(|(n, word)| (format!("mounts[{n}].options"), word))
            .filter(|(_, word)| known.contains(word))
            .collect()
    }),
    ("/linux/namespaces", "a namespace of the kind", |spec| {
        let each = each(spec, "/linux/namespaces", |namespace| words(namespace, "/type"));
        each.into_iter().map(|(n, word)| (format!("linux.namespaces[{n}]"), word)).collect()
    }),
    ("/linux/capabilities", "the capability", |spec| {
        words(spec, "/process/capabilities/bounding")
            .into_iter()
            .map(|word| ("process.capabilities.bounding".into(), word))
            .collect()
    }),
    ("/linux/seccomp/actions", "the action", |spec| {
        let each = each(spec, "/linux/seccomp/syscalls", |rule| words(rule, "/action"));
        each.into_iter().map(|(n, word)| (format!("linux.seccomp.syscalls[{n}].action"), word)).collect()
    }),
    ("/linux/seccomp/archs", "the architecture", |spec| {
        words(spec, "/linux/seccomp/architectures").into_iter().map(|word| ("linux.seccomp.architectures".into(), word)).collect()
    }),
];

fn each(spec: &Value, list: &str, of: fn(&Value) -> Vec<String>) -> Vec<(usize, String)> {
    let all = spec.pointer(list).and_then(Value::as_array).into_iter().flatten().enumerate();
    all.flat_map(|(n, one)| of(one).into_iter().map(move |word| (n, word))).collect()
}

/// A word, or a list of words.
fn words(json: &Value, pointer: &str) -> Vec<String> {
    match json.pointer(pointer) {
        Some(Value::String(word)) => vec![word.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// What codexrun itself would not enforce of a bundle on this host: it refuses, so each reason is one, and so is what it warns of.
pub fn here(bundle: &Bundle, host: &Host, options: &plan::Options) -> Vec<Loss> {
    let file = bundle::file(options.bundle_dir.as_deref(), None).unwrap_or_else(|| CONFIG.into());
    let before = format!("{}: ", file.display());
    let place = |error: &Error| match &error.place {
        Some(place) => place.strip_prefix(&before).unwrap_or(place).to_owned(),
        None => CONFIG.to_owned(),
    };
    match Plan::new(bundle, host, options) {
        Ok(plan) => plan.warnings.into_iter().map(|what| loss(CONFIG, what, "has no effect here")).collect(),
        Err(errors) => errors.iter().map(|error| loss(place(error), error.what.clone(), "refused here")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lost(spec: Value, other: Other) -> Vec<String> {
        let spec: Spec = serde_json::from_value(spec).unwrap();
        losses(&spec, other).into_iter().map(|loss| loss.place).collect()
    }

    #[test]
    fn a_plain_spec_loses_nothing() {
        for other in [Other::Runc, Other::Crun] {
            let plain = crate::template::spec(crate::template::Runner::Root).unwrap();
            assert_eq!(losses(&plain, other), []);
            let annotations = json!({ annotation::POLICY_SHA256: "00", "x": "y" });
            assert_eq!(lost(json!({ "ociVersion": "1.0.0", "annotations": annotations }), other), [""; 0]);
        }
    }

    #[test]
    fn what_only_an_annotation_asks_is_lost_everywhere() {
        let annotations = json!({
            annotation::INIT: "reaper", annotation::DIE_WITH_PARENT: "true", annotation::RESOLVE: "nofollow",
            annotation::PLACEHOLDERS: "[\"/w/.git\"]",
        });
        for other in [Other::Runc, Other::Crun] {
            let places = lost(json!({ "ociVersion": "1.0.2", "annotations": annotations }), other);
            let keys = ["init", "die-with-parent", "resolve", "placeholders"];
            assert_eq!(places, keys.map(|key| format!("annotations[\"dev.codexrun.{key}\"]")));
        }
    }

    #[test]
    fn each_rule_about_standard_streams_is_lost() {
        for value in annotation::values(annotation::STDIO_SOCKETS) {
            let annotations = json!({ annotation::STDIO_SOCKETS: value });
            let places = lost(json!({ "ociVersion": "1.0.2", "annotations": annotations }), Other::Runc);
            assert_eq!(places, ["annotations[\"dev.codexrun.stdio-sockets\"]"], "{value}");
        }
    }

    #[test]
    fn the_sweep_hook_softens_the_loss_of_placeholders() {
        let with = |hooks: Value| {
            let annotations = json!({ annotation::PLACEHOLDERS: "[\"/w/.git\"]" });
            let spec = json!({ "ociVersion": "1.0.2", "annotations": annotations, "hooks": hooks });
            losses(&serde_json::from_value(spec).unwrap(), Other::Runc)[0].consequence.clone()
        };
        assert!(with(json!({})).ends_with("they stay there"));
        assert!(with(json!({ "poststop": [{ "path": "/x" }] })).contains("when the runtime is killed"));
    }

    #[test]
    fn a_denied_pattern_is_a_snapshot_under_every_runtime() {
        let annotations = json!({ annotation::DENY_GLOBS: "[\"/w/**/*.env\"]" });
        for other in [Other::Runc, Other::Crun] {
            let places = lost(json!({ "ociVersion": "1.0.2", "annotations": annotations }), other);
            assert_eq!(places, ["annotations[\"dev.codexrun.deny-globs\"]"]);
        }
    }

    #[test]
    fn a_device_is_lost_under_runc_and_a_time_limit_everywhere() {
        let spec = json!({
            "ociVersion": "1.0.2",
            "annotations": { annotation::WALL_TIME: "5" },
            "mounts": [{ "destination": "/dev/shm", "source": "/dev/shm" }, { "destination": "/dev/dri", "source": "/dev/dri" }],
        });
        let wall = "annotations[\"dev.codexrun.wall-time\"]";
        assert_eq!(lost(spec.clone(), Other::Runc), [wall, "mounts[1]"]);
        assert_eq!(lost(spec, Other::Crun), [wall]);
    }

    #[test]
    fn each_runtime_has_its_own_refusals() {
        let spec = json!({
            "ociVersion": "1.2.0",
            "domainname": "d",
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "ioPriority": { "class": "IOPRIO_CLASS_IDLE" } },
            "linux": { "namespaces": [{ "type": "mount" }], "uidMappings": [{ "containerID": 1000, "hostID": 1000, "size": 1 }] },
            "mounts": [{ "destination": "/", "source": "/", "options": ["rbind"] }],
        });
        assert_eq!(lost(spec.clone(), Other::Runc), ["domainname", "process.ioPriority", "linux.uidMappings"]);
        assert_eq!(lost(spec, Other::Crun), ["process.ioPriority", "ociVersion", "mounts[0]"]);
        assert_eq!(lost(json!({ "ociVersion": "x", "root": { "path": "/" } }), Other::Crun), ["root.path"]);
    }

    #[test]
    fn landlock_alone_is_refused_by_others_if_they_find_no_root() {
        let said = |root: &str, other: Other| {
            let annotations = json!({ annotation::ISOLATION: "landlock" });
            let spec = json!({ "ociVersion": "1.0.0", "root": { "path": root }, "linux": { "namespaces": [] }, "annotations": annotations });
            let said = losses(&serde_json::from_value(spec).unwrap(), other);
            said.into_iter().map(|loss| format!("{}: {}", loss.place, loss.consequence)).collect::<Vec<_>>()
        };
        for other in [Other::Runc, Other::Crun, Other::Any] {
            let refused = said(bundle::NO_ROOT, other);
            assert!(matches!(&refused[..], [one] if one.contains("isolation") && one.contains(": refused, ")), "{refused:?}");
            let [isolation, root] = &said("/", other)[..] else { panic!("isolation and root.path") };
            assert!(isolation.contains("nothing but the filter"), "{isolation}");
            assert!(root.starts_with("root.path: ") && !root.contains("pivot_root"), "{root}");
        }
        assert!(said("/", Other::Runc)[1].contains("over itself on the host"));
    }

    #[test]
    fn without_a_mount_namespace_the_others_mount_on_the_host() {
        let spec = json!({ "ociVersion": "1.0.2", "mounts": [{ "destination": "/proc" }], "linux": { "namespaces": [{ "type": "pid" }] } });
        for other in [Other::Runc, Other::Crun] {
            assert_eq!(lost(spec.clone(), other), ["linux.namespaces"]);
        }
    }

    #[test]
    fn what_a_runtime_does_not_list_is_lost_and_what_it_is_silent_about_is_not() {
        let spec = json!({
            "ociVersion": "1.0.2", "hooks": { "poststop": [{ "path": "/x" }] },
            "mounts": [{ "destination": "/a", "options": ["rbind", "rro", "size=4k"] }],
            "linux": { "namespaces": [{ "type": "time" }, { "type": "mount" }] },
        });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let old = json!({ "hooks": ["prestart"], "mountOptions": ["rbind"], "linux": { "namespaces": ["mount"] } });
        let places: Vec<_> = unlisted(&spec, &old).into_iter().map(|loss| loss.place).collect();
        assert_eq!(places, ["hooks.poststop", "mounts[0].options", "linux.namespaces[0]"]);
        assert_eq!(unlisted(&spec, &json!({})), []);
        assert_eq!(unlisted(&spec, &crate::features::features()), []);
    }

    #[test]
    fn this_host_refuses_by_name_what_it_cannot_do() {
        let spec = json!({ "ociVersion": "1.0.2", "root": { "path": "/r" }, "process": { "cwd": "/", "args": ["x"], "user": { "uid": 0, "gid": 0 } },
            "linux": { "namespaces": [{ "type": "mount" }], "intelRdt": { "closID": "x" } } });
        let bundle = Bundle {
            spec: serde_json::from_value(spec).unwrap(),
            rootfs: crate::bundle::Rootfs::Dir("/r".into()),
            unknown: vec!["linux.misspelt".into()],
        };
        let said = here(&bundle, &Host::recorded(0, 0), &plan::Options::default());
        assert!(
            said.iter().any(|loss| loss.place.starts_with("linux.intelRdt") && loss.consequence == "refused here"),
            "{said:?}"
        );
    }
}
