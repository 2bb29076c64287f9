//! What another runtime would not enforce of a spec, or would refuse, as found with runc 1.1.5 and crun 1.8.1. Both bring
//! `lo` up and begin a new session, so neither of these is a loss.

use crate::annotation;
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::fmt;

/// Another OCI runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// runc 1.1.
    Runc,
    /// crun 1.8.
    Crun,
}

/// One thing that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Where in config.json.
    pub place: String,
    /// What is asked there.
    pub clause: &'static str,
    /// What happens instead.
    pub consequence: &'static str,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.clause, self.consequence)
    }
}

/// Everything that `other` would lose of `spec`; empty if it means the same there.
pub fn losses(spec: &Spec, other: Other) -> Vec<Loss> {
    let json = serde_json::to_value(spec).unwrap_or_default();
    let mut losses = annotations(spec);
    losses.extend(fields(&json, other));
    losses.extend(placeholders_by_hand(spec));
    losses.extend(snapshot(spec));
    losses.extend(version(spec, other));
    losses.extend(no_root_id(spec, other));
    losses.extend(root_itself(spec));
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
        .map(|(key, _, clause, consequence)| Loss { place: annotated(key), clause, consequence })
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
        .map(|(pointer, clause, consequence, _)| Loss { place: pointer[1..].replace('/', "."), clause, consequence })
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
    Some(Loss { place: annotated(annotation::PLACEHOLDERS), clause, consequence })
}

/// A mount covers what is there; no runtime, codexrun included, can cover what is not there yet by its name alone.
fn snapshot(spec: &Spec) -> Option<Loss> {
    spec.annotations().as_ref()?.get(annotation::DENY_GLOBS)?;
    Some(Loss {
        place: annotated(annotation::DENY_GLOBS),
        clause: "denied patterns",
        consequence: "expanded when the bundle was made: a file that is made outside of the sandbox later and matches can be read",
    })
}

/// crun 1.8.1: "unknown version specified".
fn version(spec: &Spec, other: Other) -> Option<Loss> {
    let mut parts = spec.version().split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let newer = (parts.next()?, parts.next()?) >= (1, 2);
    (other == Other::Crun && newer).then(|| Loss {
        place: "ociVersion".into(),
        clause: "version 1.2.0 or later",
        consequence: "refused by crun 1.8: unknown version",
    })
}

/// runc: "rootless container requires user namespaces" with a mapping of id 0.
fn no_root_id(spec: &Spec, other: Other) -> Option<Loss> {
    let mappings = spec.linux().as_ref()?.uid_mappings().as_ref()?;
    let mapped = mappings.is_empty() || mappings.iter().any(|m| m.container_id() == 0);
    (other == Other::Runc && !mapped).then(|| Loss {
        place: "linux.uidMappings".into(),
        clause: "a user namespace without id 0",
        consequence: "refused when runc is started by an ordinary user; `--identity root` maps it",
    })
}

fn root_itself(spec: &Spec) -> Option<Loss> {
    let root = spec.root().as_ref()?.path().as_os_str() == "/";
    root.then(|| Loss { place: "root.path".into(), clause: "the host's `/`", consequence: "pivot_root fails: EBUSY" })
}

fn root_on_root(spec: &Value, other: Other) -> Option<Loss> {
    let mounts = spec.get("mounts")?.as_array()?;
    let at = mounts.iter().position(|m| m["destination"] == "/" && m["source"] == "/")?;
    let clause = "the host's `/` bound over the root";
    (other == Other::Crun).then(|| Loss { place: format!("mounts[{at}]"), clause, consequence: "refused" })
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
    fn the_sweep_hook_softens_the_loss_of_placeholders() {
        let with = |hooks: Value| {
            let annotations = json!({ annotation::PLACEHOLDERS: "[\"/w/.git\"]" });
            let spec = json!({ "ociVersion": "1.0.2", "annotations": annotations, "hooks": hooks });
            losses(&serde_json::from_value(spec).unwrap(), Other::Runc)[0].consequence
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
    fn each_runtime_has_its_own_refusals() {
        let spec = json!({
            "ociVersion": "1.2.0",
            "domainname": "d",
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "ioPriority": { "class": "IOPRIO_CLASS_IDLE" } },
            "linux": { "uidMappings": [{ "containerID": 1000, "hostID": 1000, "size": 1 }] },
            "mounts": [{ "destination": "/", "source": "/", "options": ["rbind"] }],
        });
        assert_eq!(lost(spec.clone(), Other::Runc), ["domainname", "process.ioPriority", "linux.uidMappings"]);
        assert_eq!(lost(spec, Other::Crun), ["process.ioPriority", "ociVersion", "mounts[0]"]);
        assert_eq!(lost(json!({ "ociVersion": "x", "root": { "path": "/" } }), Other::Crun), ["root.path"]);
    }
}
