//! Capabilities that nobody knows. config.md, "Linux Process": what cannot be mapped to the kernel is logged as a warning, and no reason to
//! fail; whoever misspells one has less power than was meant, not more.

use crate::Error;
use oci_spec::runtime::Capability;
use serde_json::Value;

/// Takes them out of a `process`: the set and the name.
pub fn leave_out_unknown(process: &mut Value) -> Vec<(String, String)> {
    let mut left_out = Vec::new();
    for (set, names) in process.get_mut("capabilities").and_then(Value::as_object_mut).into_iter().flatten() {
        let Some(names) = names.as_array_mut() else { continue };
        names.retain(|name| {
            let known = !name.is_string() || serde_json::from_value::<Capability>(name.clone()).is_ok();
            if !known {
                left_out.push((set.clone(), name.as_str().unwrap_or_default().to_owned()));
            }
            known
        });
    }
    left_out
}

/// What is said of one.
pub fn unknown(name: &str) -> Error {
    Error::new(format!("`{name}` is no known capability, and has no effect"))
}

/// How `oci_spec` says that a name is none that it knows.
pub(super) fn is_unknown(said: &str) -> bool {
    said.starts_with("no variant for ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_the_name_of_no_capability_is_left_out() {
        let mut process =
            json!({ "capabilities": { "bounding": ["CAP_X", "CAP_KILL", 7, "kill"], "ambient": "CAP_X" }, "args": ["CAP_X"] });
        let left_out = leave_out_unknown(&mut process);
        assert!(left_out.contains(&("bounding".to_owned(), "CAP_X".to_owned())), "{left_out:?}");
        assert!(process["capabilities"]["bounding"].as_array().unwrap().contains(&json!(7)));
        assert_eq!((&process["capabilities"]["ambient"], &process["args"]), (&json!("CAP_X"), &json!(["CAP_X"])));
        assert!(leave_out_unknown(&mut json!(["capabilities"])).is_empty() && leave_out_unknown(&mut Value::Null).is_empty());
    }
}
