//! `linux.namespaces`: which are the container's own, and which it joins. As with runc, an empty path is none.

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use std::path::Path;

/// All of them.
pub(crate) fn all(spec: &Spec) -> impl Iterator<Item = &LinuxNamespace> {
    spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten())
}

/// What the container joins instead of a new one.
pub(crate) fn path(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Whether the container gets a namespace of this type that nobody else has.
pub fn is_new(spec: &Spec, typ: LinuxNamespaceType) -> bool {
    all(spec).any(|namespace| namespace.typ() == typ && path(namespace).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_namespace_with_an_empty_path_is_a_new_one() {
        let is_new = |namespaces: Value| {
            let spec = json!({"ociVersion": "1.0.2", "linux": {"namespaces": namespaces}});
            is_new(&serde_json::from_value(spec).unwrap(), LinuxNamespaceType::Pid)
        };
        assert!(is_new(json!([{"type": "pid", "path": ""}])) && is_new(json!([{"type": "pid"}])));
        assert!(!is_new(json!([{"type": "pid", "path": "/p"}])) && !is_new(json!([{"type": "ipc"}])));
    }
}
