//! A part of config.json in a file of its own: the process of `exec --process`, the limits of `update --resources`. It is read as a
//! config.json that has nothing else, and so with the same care.

use super::locate::{Grown, Source};
use super::mend::mend;
use super::read::{malformed, parse, respelt};
use crate::Error;
use oci_spec::runtime::{LinuxResources, Process, Spec, User};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::Path;

/// The `linux.resources` that a file holds; `warn` hears of members that nobody knows.
///
/// # Errors
/// Every fault of form, with its place.
pub fn resources(file: &Path, text: &[u8], warn: &mut dyn FnMut(Error)) -> Result<LinuxResources, Vec<Error>> {
    let spec = read(&Source { file, within: &["linux", "resources"] }, text, |_| String::new(), warn)?;
    Ok(spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default())
}

/// The `process` that a file holds, in the same way; `warn` hears of what there is a warning. One that does not say who it is, is this user,
/// as with crun.
///
/// # Errors
/// Every fault of form, with its place.
pub fn process(file: &Path, text: &[u8], user: Option<&User>, warn: &mut dyn FnMut(Error)) -> Result<Process, Vec<Error>> {
    let own = |names: &Names| match user.filter(|_| !names.is_empty() && !names.contains_key("user")) {
        Some(user) => format!("\"user\":{},", serde_json::json!(user)),
        None => String::new(),
    };
    let spec = read(&Source { file, within: &["process"] }, text, own, warn)?;
    spec.process().clone().ok_or_else(|| vec![Error::new("holds no process").at(file.display().to_string())])
}

/// Of the members of an object.
type Names = BTreeMap<String, IgnoredAny>;

fn read(
    source: &Source,
    text: &[u8],
    more: impl FnOnce(&Names) -> String,
    warn: &mut dyn FnMut(Error),
) -> Result<Spec, Vec<Error>> {
    // Otherwise the text could end what is put around it.
    let names =
        serde_json::from_slice(text).map_err(|e| vec![malformed(&Source::whole(source.file), &e, text, &Grown::default()).0])?;
    let text = around(source.within, &more(&names), text);
    match parse(source, &text, warn) {
        Ok((spec, unknown)) => {
            unknown.iter().for_each(|path| warn(super::unknown(source.path(path)).at(source.file.display().to_string())));
            Ok(spec)
        }
        Err(first) => {
            let faults = mend(source, respelt(&text)).map_or(Vec::new(), |(_, faults)| faults);
            Err(if faults.is_empty() { vec![first] } else { faults.into_iter().map(|fault| fault.error).collect() })
        }
    }
}

/// What is put before an object stands in a line of its own, and takes its bracket along: places in the text stay what they are.
fn around(within: &[&str], more: &str, text: &[u8]) -> Vec<u8> {
    let open: String = within.iter().map(|name| format!("\"{name}\":{{")).collect();
    let bracket = text.iter().position(|byte| *byte == b'{').unwrap_or_default();
    let mut whole = format!("{{\"ociVersion\":\"\",{open}{more}\n").into_bytes();
    whole.extend(text.iter().enumerate().map(|(at, byte)| if at == bracket { b' ' } else { *byte }));
    whole.extend(within.iter().map(|_| b'}'));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(errors: Vec<Error>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    fn limits(text: &str) -> Result<LinuxResources, Vec<String>> {
        resources("r.json".as_ref(), text.as_bytes(), &mut drop).map_err(told)
    }

    fn run(text: &str, user: Option<&User>) -> Result<Process, Vec<String>> {
        process("p.json".as_ref(), text.as_bytes(), user, &mut drop).map_err(told)
    }

    #[test]
    fn what_is_required_and_left_out_is_refused_by_file_and_place() {
        for (text, place) in [
            (r#"{"hugepageLimits":[{"pageSize":"2MB"}]}"#, "hugepageLimits[0].limit"),
            (r#"{"devices":[{"allow":false},{"access":"rwm"}]}"#, "devices[1].allow"),
            (r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0}]}}"#, "blockIO.throttleReadBpsDevice[0].rate"),
        ] {
            assert_eq!(limits(text).unwrap_err(), [format!("r.json: {place}: missing, and the specification requires it")]);
        }
        let process =
            r#"{"user":{"uid":0,"gid":0},"cwd":"/","rlimits":[{"type":"RLIMIT_CORE","soft":0}],"consoleSize":{"width":1}}"#;
        let said = run(process, None).unwrap_err();
        for place in ["consoleSize.height", "rlimits[0].hard"] {
            let wanted = format!("p.json: {place}: missing, and the specification requires it");
            assert!(said.contains(&wanted), "{said:?}");
        }
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn every_fault_of_form_has_the_files_own_line_column_and_path() {
        let said = limits("\n {\"memory\":\n{\"limit\": \"1G\"}, \"pids\": 7}").unwrap_err();
        assert!(said[0].starts_with("r.json:3:14: memory.limit: invalid type: string"), "{said:?}");
        assert!(said[1].starts_with("r.json:3:26: pids: invalid type") && said.len() == 2, "{said:?}");
        let said = run("{\"args\": [],\n\"terminal\": 1}", None).unwrap_err();
        for wanted in
            ["p.json:2:13: terminal: invalid type", "p.json:2:14: missing field `user`", "p.json:2:14: missing field `cwd`"]
        {
            assert!(said.iter().any(|line| line.starts_with(wanted)), "{wanted}: {said:#?}");
        }
    }

    #[test]
    fn what_is_no_object_or_more_than_one_is_refused() {
        for text in ["", "null", "[]", "7", "{} {}", r#"{}},"process":{"#, r#"{"memory":{}},"unified":{"a.b":"c"}"#] {
            let said = limits(text).unwrap_err();
            assert!(said.len() == 1 && said[0].starts_with("r.json:1:"), "{text}: {said:?}");
        }
        assert_eq!(limits(" {} ").unwrap(), LinuxResources::default());
        let bytes = [b"{\"unified\":{\"a.b\":\"".as_slice(), b"\xff", b"\"}}"].concat();
        assert!(resources("r.json".as_ref(), &bytes, &mut drop).is_err());
        assert!(limits(r#"{"pids":{"limit":1},"pids":{"limit":2}}"#).unwrap_err()[0].contains("duplicate field `pids`"));
    }

    #[test]
    fn an_array_where_an_object_belongs_is_refused_by_line_column_and_path() {
        let said = limits("{\"memory\":{},\n\"pids\":[5], \"devices\":[[false,null,null,null,\"rwm\"]]}").unwrap_err();
        assert_eq!(
            said,
            ["pids", "devices[0]"].map(|place| {
                let column = if place == "pids" { 7 } else { 23 };
                format!("r.json:2:{column}: {place}: invalid type: sequence, expected an object")
            })
        );
        let said = run(r#"{"cwd":"/","user":[5,6],"capabilities":[],"rlimits":[["RLIMIT_CORE",1,2]]}"#, None).unwrap_err();
        let places: Vec<&str> =
            said.iter().filter_map(|said| said.strip_suffix(": invalid type: sequence, expected an object")).collect();
        assert_eq!(places, ["p.json:1:18: user", "p.json:1:39: capabilities", "p.json:1:53: rlimits[0]"], "{said:?}");
        assert_eq!(said.len(), 3, "{said:?}");
    }

    #[test]
    fn a_process_that_does_not_say_who_it_is_is_who_the_container_is() {
        let user = |uid| serde_json::from_value::<User>(serde_json::json!({"uid": uid, "gid": 8})).unwrap();
        let seen = |text: &str| run(text, Some(&user(7))).map(|process| process.user().clone());
        assert_eq!(seen(r#"{"cwd": "/", "args": ["x"]}"#).unwrap(), user(7));
        assert_eq!(seen(r#"{"cwd": "/", "user": {"uid": 9, "gid": 8}}"#).unwrap(), user(9));
        assert_eq!(seen(r#"{"cwd": "/", "args": ["x"], "capabilities": {"bounding": ["CAP_X"]}}"#).unwrap(), user(7));
        assert!(run(r#"{"cwd": "/"}"#, None).unwrap_err()[0].contains("missing field `user`"));
        assert!(seen("{}").unwrap_err().iter().any(|said| said.contains("missing field `cwd`")));
        assert!(seen("[]").is_err() && seen(r#"{"cwd": "/", "user": null}"#).is_err());
    }

    #[test]
    fn what_oci_spec_spells_otherwise_is_read_as_in_config_json() {
        let text = r#"{"user":{"uid":0,"gid":0},"cwd":"/","execCPUAffinity":{"initial":"","final":"0-1"},
            "scheduler":{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_RESET_ON_FORK"]}}"#;
        let process = run(text, None).unwrap();
        let affinity = process.exec_cpu_affinity().clone().unwrap();
        assert_eq!((affinity.initial().as_deref(), affinity.cpu_affinity_final().as_deref()), (None, Some("0-1")));
        assert!(process.scheduler().is_some());
    }
}
