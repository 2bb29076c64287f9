//! A bundle directory → [`Bundle`]. Judges the form of config.json only; what it asks for is judged by the plan.

use super::locate::{self, Grown, Source};
use super::object::Objects;
use super::{Bundle, CONFIG, OF_ANOTHER_PLATFORM, PLATFORMS, Rootfs, capability};
use crate::annotation::ISOLATION;
use crate::text::LIMIT;
use crate::{Error, Result};
use oci_spec::runtime::Spec;
use std::borrow::Cow;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl Bundle {
    /// Reads `DIR/config.json` and finds the root file system that it names.
    pub fn read(dir: &Path) -> Result<Bundle> {
        Bundle::read_as(dir, Path::new(CONFIG))
    }

    /// [`Bundle::read`] of a bundle whose config.json is another file; a relative path of that is below `dir`.
    pub fn read_as(dir: &Path, config: &Path) -> Result<Bundle> {
        let dir = std::path::absolute(dir).map_err(|e| unreadable(dir, &e))?;
        let file = dir.join(config);
        // Of a caller who names a pipe somebody writes to it.
        let text = if config == Path::new(CONFIG) { text(&file) } else { given(&file) }?;
        let (spec, unknown) = parse(&Source::whole(&file), &text, &mut |e| e.warn())?;
        let rootfs = rootfs(&dir, &file, &spec)?;
        Ok(Bundle { spec, rootfs: Rootfs::Dir(rootfs), unknown })
    }

    /// The bundle that a container was made of, from the copy of its config.json that is kept with the container's record.
    pub fn recorded(file: &Path, rootfs: PathBuf) -> Result<Bundle> {
        let (spec, unknown) = parse(&Source::whole(file), &text(file)?, &mut |e| e.warn())?;
        Ok(Bundle { spec, rootfs: Rootfs::Dir(rootfs), unknown })
    }
}

pub(super) fn text(file: &Path) -> Result<Vec<u8>> {
    let text = crate::text::read(file, LIMIT + 1).map_err(|e| unreadable(file, &e))?;
    if text.len() as u64 > LIMIT {
        return Err(Error::new("larger than 16 MiB").at(file.display().to_string()));
    }
    Ok(text)
}

fn given(file: &Path) -> Result<Vec<u8>> {
    std::fs::File::open(file).and_then(crate::text::bounded).map_err(|e| unreadable(file, &e))
}

fn unreadable(file: &Path, e: &std::io::Error) -> Error {
    let error = Error::new("cannot be read").at(file.display().to_string()).cause(cause(e));
    match e.kind() {
        ErrorKind::NotFound => error.hint("a bundle is a directory that holds a `config.json`; `codexrun spec` writes one"),
        _ => error,
    }
}

/// `no such file or directory` instead of `No such file or directory (os error 2)`: engines look for the words.
fn cause(e: &std::io::Error) -> String {
    match e.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
        None => e.to_string(),
    }
}

/// The spec, and the fields that it does not know. `warn` hears of capabilities that nobody knows.
pub(crate) fn parse(source: &Source, text: &[u8], warn: &mut dyn FnMut(Error)) -> Result<(Spec, Vec<String>)> {
    let (text, grown) = &respelt(text);
    let (spec, unknown) = known(text)
        .or_else(|e| without_unknown_capabilities(source, text, warn).ok_or_else(|| malformed(source, &e, text, grown).0))?;
    match super::required::missing(source, text, &spec).into_iter().next() {
        Some(fault) => Err(fault.error),
        None => Ok((spec, unknown)),
    }
}

fn known(text: &[u8]) -> serde_json::Result<(Spec, Vec<String>)> {
    let mut unknown = Vec::new();
    let spec = deserialize(text, |path| unknown.push(written(&path)))?;
    Ok((spec, unknown))
}

/// As people write it: `mounts[0].colour`.
fn written(path: &serde_ignored::Path) -> String {
    use serde_ignored::Path::{Map, NewtypeStruct, NewtypeVariant, Root, Seq, Some};
    match path {
        Root => String::new(),
        Map { parent: Root, key } => key.clone(),
        Map { parent, key } => format!("{}.{key}", written(parent)),
        Seq { parent, index } => format!("{}[{index}]", written(parent)),
        Some { parent } | NewtypeStruct { parent } | NewtypeVariant { parent } => written(parent),
    }
}

/// `None` where it is not they that keep the text from being read, or not they alone.
fn without_unknown_capabilities(source: &Source, text: &[u8], warn: &mut dyn FnMut(Error)) -> Option<(Spec, Vec<String>)> {
    let mut json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let process = json.get_mut("process")?;
    let left_out = capability::leave_out_unknown(process);
    // In place: of a member that stands twice a `Value` has only the last.
    let mut text = text.to_vec();
    for (set, _) in &left_out {
        let span = super::mend::span(&text, &locate::way(&["process", "capabilities", set]))?;
        text.splice(span, process["capabilities"][set].to_string().into_bytes());
    }
    let read = known(&text).ok()?;
    for (set, name) in left_out {
        warn(capability::unknown(&name).at(source.place(&format!("process.capabilities.{set}"))));
    }
    Some(read)
}

/// A text in which no member stands twice.
pub(super) fn deserialize(text: &[u8], mut unknown: impl FnMut(serde_ignored::Path)) -> serde_json::Result<Spec> {
    let spec = of_text(text, &mut unknown)?;
    super::twice::member(text).map_or(Ok(spec), Err)
}

/// The one place where a spec is read: each other kind of deserializer would be another copy of every type's code in memory.
fn of_text(text: &[u8], unknown: &mut dyn FnMut(serde_ignored::Path)) -> serde_json::Result<Spec> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let spec = serde_ignored::deserialize(Objects(&mut json), unknown)?;
    json.end().map(|()| spec)
}

/// A spec that was put together as JSON.
pub fn spec(json: &serde_json::Value) -> serde_json::Result<Spec> {
    of_text(&respelt(json.to_string().as_bytes()).0, &mut |_| {})
}

/// What `oci_spec` spells otherwise than the specification, and what it knows as omitted only: a list that is empty (config.md,
/// `execCPUAffinity`), a limit that is null, as other runtimes read it. A sign that it may be there, its place, the words of either.
const MISSPELT: &[(&str, &[&str], &str, &str)] = &[
    ("\"SCHED_FLAG_", &["process", "scheduler", "flags"], "\"SCHED_FLAG_RESET_ON_FORK\"", "\"SCHED_RESET_ON_FORK\""),
    ("\"SCHED_FLAG_", &["process", "scheduler", "flags"], "\"SCHED_FLAG_DL_OVERRUN\"", "\"SCHED_FLAG_D_L_OVERRUN\""),
    ("\"execCPUAffinity\"", &["process", "execCPUAffinity", "initial"], "\"\"", "null"),
    ("\"execCPUAffinity\"", &["process", "execCPUAffinity", "final"], "\"\"", "null"),
    ("null", &["linux", "resources", "pids", "limit"], "null", "0"),
    ("\"enableCMT\"", &["linux", "intelRdt", "enableCMT"], "\"enableCMT\"", "\"enableCmt\""),
    ("\"enableMBM\"", &["linux", "intelRdt", "enableMBM"], "\"enableMBM\"", "\"enableMbm\""),
];

/// The text as `oci_spec` reads it.
pub(crate) fn respelt(text: &[u8]) -> (Cow<'_, [u8]>, Grown) {
    let mut grown = Grown::default();
    let Ok(json) = std::str::from_utf8(text) else { return (text.into(), grown) };
    let mut signs = MISSPELT.iter().filter(|(sign, ..)| json.contains(sign)).peekable();
    if signs.peek().is_none() || serde_json::from_str::<serde::de::IgnoredAny>(json).is_err() {
        return (text.into(), grown);
    }
    let mut json = json.to_owned();
    for (_, place, right, theirs) in signs {
        for span in spelt(&json, place, right) {
            grown.at(span.clone(), theirs.len().max(span.len()));
            json.replace_range(span, &format!("{theirs:0$}", right.len()));
        }
    }
    (json.into_bytes().into(), grown)
}

/// Where it is so: the value at a place, or one of its items, or the name of it. Last ones first.
fn spelt(json: &str, place: &[&str], right: &str) -> Vec<Range<usize>> {
    let Some(value) = super::mend::span(json.as_bytes(), &locate::way(place)) else { return Vec::new() };
    let of = |(at, word): (usize, &str)| at..at + word.len();
    match &json[value.clone()] {
        _ if place.last().is_some_and(|name| right.trim_matches('"') == *name) => {
            json[..value.start].rmatch_indices(right).take(1).map(of).collect()
        }
        list if list.starts_with('[') => list.rmatch_indices(right).map(|(at, word)| of((value.start + at, word))).collect(),
        text if text == right => vec![value],
        _ => Vec::new(),
    }
}

/// The reason, and the way to the value that it is about.
pub(super) fn malformed(source: &Source, e: &serde_json::Error, text: &[u8], grown: &Grown) -> (Error, Vec<locate::Step>) {
    let (line, column) = (e.line(), e.column());
    let more = grown.before(text, line, column);
    let said = e.to_string();
    let what = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    let what = &*too_great(what).or_else(|| no_object(what)).unwrap_or_else(|| what.to_owned());
    // A value of the wrong kind may be such a fault to `serde_json` too.
    let broken = (e.is_syntax() || e.is_eof()) && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err();
    let named = if broken { format!("not JSON: {what}") } else { what.to_owned() };
    let place = format!("{}:{}:{}", source.file.display(), source.line(line), column.saturating_sub(more));
    // What is no JSON is said of the character that should not be there; it closes nothing. An array in the wrong place is not entered: the
    // column is that of its bracket, or still the one before.
    let entered = locate::next(text, line, column) != Some(b'[');
    let outside = e.is_syntax() || what.starts_with("invalid type: sequence") && entered;
    let mut steps = locate::steps(text, line, if outside { column.saturating_sub(1) } else { column });
    let foreign = !broken && matches!(steps.first(), Some(locate::Step::Key(name)) if PLATFORMS.contains(&name.as_str()));
    if foreign {
        steps.truncate(1);
    }
    let named = if foreign { OF_ANOTHER_PLATFORM.to_owned() } else { named };
    match source.path(&locate::written(&steps)) {
        "" => (Error::new(named).at(place), steps),
        path => (Error::new(named).at(format!("{place}: {path}")), steps),
    }
}

/// `oci_spec` has a sign for limits that the specification has without: what is above is a number all the same.
fn too_great(what: &str) -> Option<String> {
    let number: u64 = what.strip_prefix("invalid value: integer `")?.strip_suffix("`, expected i64")?.parse().ok()?;
    Some(format!("{number} is above {}, the most that codexrun takes there", i64::MAX))
}

/// The specification has objects; what a structure is called is `oci_spec`'s own affair.
fn no_object(what: &str) -> Option<String> {
    let (found, wanted) = what.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    (wanted == "a map" || wanted.starts_with("struct ")).then(|| format!("invalid type: {found}, expected an object"))
}

pub(super) fn rootfs(dir: &Path, file: &Path, spec: &Spec) -> Result<PathBuf> {
    let wrong = |place: &str, what: String| Error::new(what).at(format!("{}: {place}", file.display()));
    let root = spec.root().as_ref().ok_or_else(|| wrong("root", "missing: a bundle needs a root file system".into()))?;
    if root.path().as_os_str().is_empty() {
        return Err(wrong("root.path", "empty".into()));
    }
    // The plan says which words may stand there; nobody looks for what they name.
    if spec.annotations().as_ref().is_some_and(|all| all.contains_key(ISOLATION)) {
        return Ok("/".into());
    }
    let path = dir.join(root.path());
    let shown = path.display();
    match std::fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Ok(path),
        Ok(_) => Err(wrong("root.path", format!("`{shown}` is not a directory"))),
        Err(e) => Err(wrong("root.path", format!("`{shown}` cannot be used")).cause(cause(&e))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn refusal(config: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), config).unwrap();
        let error = Bundle::read(dir.path()).unwrap_err().to_string();
        error.replace(&dir.path().display().to_string(), "DIR")
    }

    #[test]
    fn nobody_looks_for_the_root_of_a_bundle_without_mounts() {
        let dir = tempfile::tempdir().unwrap();
        for root in [crate::bundle::NO_ROOT, "/"] {
            let annotations = format!(r#"{{"{ISOLATION}": "landlock"}}"#);
            let config = format!(r#"{{"ociVersion": "1.0.0", "root": {{"path": "{root}"}}, "annotations": {annotations}}}"#);
            fs::write(dir.path().join(CONFIG), config).unwrap();
            assert_eq!(Bundle::read(dir.path()).unwrap().rootfs, Rootfs::Dir("/".into()));
        }
    }

    #[test]
    fn a_wrong_type_is_named_by_line_column_and_path() {
        let config = "{\n  \"ociVersion\": \"1.0.2\",\n  \"mounts\": [\n    {\"destination\": 7}\n  ]\n}";
        let said = refusal(config);
        assert!(said.starts_with("DIR/config.json:4:"), "{said}");
        assert!(said.contains(": mounts[0].destination: invalid type"), "{said}");
        assert!(!said.contains("at line"), "{said}");
    }

    #[test]
    fn broken_json_is_named_by_line_and_column() {
        assert!(refusal("{\n \"a\": }").starts_with("DIR/config.json:2:7: a: not JSON: expected value"));
        assert!(refusal("").starts_with("DIR/config.json:1:0: not JSON: EOF"));
        assert!(refusal("{} {}").contains("trailing characters"));
    }

    #[test]
    fn a_repeated_field_is_refused() {
        let said = refusal("{\"root\": {\"path\": \"a\"}, \"root\": {\"path\": \"b\"}}");
        assert!(said.contains("duplicate field `root`"), "{said}");
        let process = |more: &str| format!(r#""process":{{"user":{{"uid":0,"gid":0}},"cwd":"/"{more}}}"#);
        for twice in [
            format!("{},{}", process(""), process("")),
            process(r#","noNewPrivileges":true,"noNewPrivileges":false"#),
            process(r#","capabilities":{"bounding":["CAP_X"],"bounding":["CAP_KILL"]}"#),
            process(r#","capabilities":{"bounding":["CAP_X"]},"capabilities":{}"#),
            format!(r#"{},"mounts":[],"mounts":[]"#, process(r#","capabilities":{"bounding":["CAP_X"]}"#)),
        ] {
            let said = refusal(&format!(r#"{{"ociVersion":"1.3.0",{twice}}}"#));
            assert!(!said.contains("root: missing"), "{twice}: {said}");
        }
    }

    #[test]
    fn of_two_members_of_one_name_in_a_map_neither_is_lost_in_silence() {
        let linux = |what: &str| format!(r#""linux":{{{what}}}"#);
        let resources = |what: &str| linux(&format!(r#""resources":{{{what}}}"#));
        for (place, name, what) in [
            ("annotations", "a", r#""annotations":{"a":"1","b":"2","\u0061":"3"}"#.to_owned()),
            ("linux.sysctl", "kernel.msgmax", linux(r#""sysctl":{"kernel.msgmax":"1","kernel.msgmax":"1"}"#)),
            ("linux.netDevices", "eth0", linux(r#""netDevices":{"eth0":{},"eth0":{"name":"e"}}"#)),
            ("linux.timeOffsets", "boottime", linux(r#""timeOffsets":{"boottime":{"secs":1},"boottime":{}}"#)),
            ("linux.resources.unified", "cpu.max", resources(r#""unified":{"cpu.max":"max","cpu.max":"1 1000"}"#)),
            ("linux.resources.rdma", "mlx", resources(r#""rdma":{"mlx":{"hcaHandles":1},"mlx":{}}"#)),
        ] {
            let said = refusal(&format!("{{\"ociVersion\":\"1.3.0\",\n{what}}}"));
            let wanted = format!(": {place}: duplicate field `{name}`");
            assert!(said.starts_with("DIR/config.json:2:") && said.ends_with(&wanted), "{said}");
        }
        let apart = refusal(
            r#"{"ociVersion":"1.3.0","annotations":{"a":"b","b":"a"},"mounts":[{"destination":"/a"},{"destination":"/a"}]}"#,
        );
        assert!(apart.contains("root: missing"), "{apart}");
    }

    /// `serde_json` reads it by the order of the members that `oci_spec` has: `"user":[5,6]` was 5:6.
    #[test]
    fn an_array_where_an_object_belongs_is_refused_by_line_column_and_path() {
        let process = |user: &str| format!(r#""process":{{"cwd":"/","user":{user}}}"#);
        let user = process(r#"{"uid":5,"gid":6}"#);
        for (place, what, array) in [
            ("process.user", process("[5,6]"), "[5,6]"),
            ("process", r#""process":[false,null,{"uid":5,"gid":6},["sh"],null,null,"/"]"#.into(), "[false"),
            ("root", r#""root":["rootfs",true]"#.into(), "[\"rootfs"),
            ("hooks", r#""hooks":[]"#.into(), "[]"),
            ("mounts[1]", r#""mounts":[{"destination":"/a"}, ["/proc"]]"#.into(), "[\"/proc"),
            ("linux.resources", r#""linux":{"resources":[]}"#.into(), "[]"),
            ("linux.seccomp", r#""linux":{"seccomp": ["SCMP_ACT_ERRNO"]}"#.into(), "[\"SCMP"),
            (
                "linux.seccomp.syscalls[0].args[0]",
                r#""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_LOG","args":[[1,7,3,"SCMP_CMP_EQ"]]}]}}"#
                    .into(),
                "[1,7",
            ),
            ("linux.resources.rdma.mlx", r#""linux":{"resources":{"rdma":{"mlx":[1,2]}}}"#.into(), "[1,2]"),
            ("linux.timeOffsets.boottime", r#""linux":{"timeOffsets":{"boottime":[1,2]}}"#.into(), "[1,2]"),
            ("annotations", r#""annotations":[]"#.into(), "[]"),
        ] {
            let said = refusal(&format!("{{\"ociVersion\":\"1.3.0\",\n{what}}}"));
            let wanted = format!("DIR/config.json:2:{}: {place}: invalid type: sequence, expected an object", what.find(array).unwrap());
            assert_eq!(said, wanted);
        }
        assert_eq!(refusal(r#" ["1.3.0"]"#), "DIR/config.json:1:1: invalid type: sequence, expected an object");
        assert!(refusal(&format!(r#"{{"ociVersion":"1.3.0",{user},"x":[[]],"linux":{{"y":[7]}}}}"#)).contains("root: missing"));
        assert!(
            refusal(r#"{"ociVersion":"1.3.0","linux":{"resources":{"pids":7}}}"#).ends_with("integer `7`, expected an object")
        );
    }

    /// Found by reading for `fuzz/targets/config.rs`: the look for them ended there.
    #[test]
    fn what_nobody_knows_hides_no_member_that_stands_twice() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (unknown, what) in [
            ("1e999", "number out of range"),
            (&deep, "recursion limit exceeded"),
            (r#""\ud800""#, "unexpected end of hex escape"),
        ] {
            let said = refusal(&format!(r#"{{"ociVersion":"1.3.0","x":{unknown},"annotations":{{"a":"1","a":"2"}}}}"#));
            assert!(said.starts_with("DIR/config.json:1:") && said.contains(": x") && said.ends_with(what), "{said}");
        }
    }

    #[test]
    fn a_class_may_be_called_like_a_member_and_a_list_of_cpus_like_a_quote() {
        let spec = spec(&serde_json::json!({"ociVersion":"1.3.0","linux":{"intelRdt":{"closID":"enableCMT","enableCMT":true}}}));
        let rdt = spec.unwrap().linux().clone().unwrap().intel_rdt().clone().unwrap();
        assert_eq!((rdt.clos_id().as_deref(), *rdt.enable_cmt()), (Some("enableCMT"), Some(true)));
        let process = r#"{"user":{"uid":0,"gid":0},"cwd":"/","execCPUAffinity":{"initial":"\""}}"#;
        let said = refusal(&format!(r#"{{"ociVersion":"1.3.0","process":{process}}}"#));
        assert!(said.contains("process.execCPUAffinity: Invalid execCPUAffinity"), "{said}");
    }

    #[test]
    fn words_of_a_process_are_what_they_are() {
        let process = r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["SCHED_FLAG_RESET_ON_FORK","enableCMT"],
            "scheduler":{"policy":"SCHED_BATCH","flags":["SCHED_FLAG_RESET_ON_FORK"]}}"#;
        let text = format!(
            r#"{{"ociVersion":"1.3.0","process":{process},"linux":{{"intelRdt":{{"closID":"enableCMT","enableCMT" :true}}}}}}"#
        );
        let spec = deserialize(&respelt(text.as_bytes()).0, |path| panic!("{path}")).unwrap();
        let process = spec.process().clone().unwrap();
        assert_eq!(process.args().clone().unwrap(), ["SCHED_FLAG_RESET_ON_FORK", "enableCMT"]);
        assert!(process.scheduler().is_some());
        let rdt = spec.linux().as_ref().and_then(|linux| linux.intel_rdt().clone()).unwrap();
        assert_eq!(rdt.clos_id().as_deref(), Some("enableCMT"));
    }

    /// Each of them is otherwise as long for `oci_spec`.
    #[test]
    fn what_is_read_otherwise_moves_no_column() {
        let process = r#"{"scheduler":{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_DL_OVERRUN"]},"execCPUAffinity":{"initial":"","final":""},"cwd":7,"#;
        let text = format!(
            r#"{{"ociVersion":"1.3.0","linux":{{"resources":{{"pids":{{"limit":null}}}}}},"process":{process}"terminal":1}}}}"#
        );
        let at = |value: &str| format!("config.json:1:{}: process.", text.find(value).unwrap() + value.len());
        assert!(refusal(&text).contains(&at("\"cwd\":7")), "{}", refusal(&text));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), &text).unwrap();
        let mended = Bundle::mend(dir.path(), CONFIG.as_ref()).unwrap();
        let said: Vec<String> = mended.faults.iter().map(|fault| fault.error.to_string()).collect();
        assert!([at("\"cwd\":7"), at("\"terminal\":1")].iter().all(|at| said.iter().any(|line| line.contains(at))), "{said:#?}");
    }

    #[test]
    fn a_limit_of_processes_that_is_null_is_none() {
        let text = br#"{"ociVersion":"1.0.2","linux":{"resources":{"pids":{"limit": null}}}}"#;
        let (spec, unknown) = known(&respelt(text).0).unwrap();
        let pids = spec.linux().as_ref().and_then(|linux| *linux.resources().as_ref()?.pids());
        assert_eq!((pids.map(|pids| pids.limit()), unknown), (Some(0), vec![]));
    }

    #[test]
    fn a_missing_root_is_refused() {
        assert!(refusal("{\"ociVersion\": \"1.0.2\"}").contains("config.json: root: missing"));
        assert!(refusal("{\"root\": {\"path\": \"\"}}").contains("root.path: empty"));
        let said = refusal("{\"root\": {\"path\": \"nowhere\"}}");
        assert!(said.contains("root.path: `DIR/nowhere` cannot be used: no such file or directory"), "{said}");
        assert!(refusal("{\"root\": {\"path\": \"config.json\"}}").contains("is not a directory"));
    }

    #[test]
    fn a_directory_without_config_json_is_not_a_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let said = Bundle::read(dir.path()).unwrap_err().to_string();
        assert!(said.contains("config.json: cannot be read: no such file or directory"), "{said}");
    }

    #[test]
    fn a_device_without_a_number_is_refused_and_a_pipe_is_not() {
        let with =
            |device: &str| refusal(&format!(r#"{{"ociVersion":"1.3.0","linux":{{"devices":[{{"path":"/dev/x",{device}}}]}}}}"#));
        for (device, place) in
            [(r#""type":"c""#, "major"), (r#""type":"b","major":8"#, "minor"), (r#""type":"u","minor":8"#, "major")]
        {
            let said = with(device);
            assert!(said.starts_with(&format!("DIR/config.json: linux.devices[0].{place}: missing")), "{said}");
        }
        for numbered in [r#""type":"p""#, r#""type":"c","major":8,"minor":0"#] {
            assert!(with(numbered).contains("root: missing"), "{numbered}");
        }
    }

    #[test]
    fn what_is_required_and_left_out_is_refused_by_its_place() {
        let linux = |what: &str| format!(r#""linux":{{{what}}}"#);
        let resources = |what: &str| linux(&format!(r#""resources":{{{what}}}"#));
        let process = |what: &str| format!(r#""process":{{"user":{{"uid":0,"gid":0}},"cwd":"/",{what}}}"#);
        for (place, what) in [
            ("process.consoleSize.width", process(r#""consoleSize":{"height":3}"#)),
            ("process.ioPriority.class", process(r#""ioPriority":{"priority":1}"#)),
            ("process.rlimits[0].hard", process(r#""rlimits":[{"type":"RLIMIT_CORE","soft":0}]"#)),
            ("linux.uidMappings[0].hostID", linux(r#""uidMappings":[{"containerID":0,"size":1}]"#)),
            ("linux.resources.devices[1].allow", resources(r#""devices":[{"allow":false},{"access":"rwm"}]"#)),
            ("linux.resources.hugepageLimits[0].limit", resources(r#""hugepageLimits":[{"pageSize":"2MB"}]"#)),
            (
                "linux.resources.blockIO.throttleReadBpsDevice[0].rate",
                resources(r#""blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0}]}"#),
            ),
        ] {
            let said = refusal(&format!(r#"{{"ociVersion":"1.3.0",{what}}}"#));
            assert!(said.starts_with(&format!("DIR/config.json: {place}: missing")), "{said}");
        }
        let elsewhere =
            format!(r#"{},{}"#, process(r#""args":["\"allow\"","\"allow\":"]"#), resources(r#""devices":[{"access":"rwm"}]"#));
        assert!(refusal(&format!(r#"{{"ociVersion":"1.3.0",{elsewhere}}}"#)).contains("devices[0].allow: missing"));
        for (place, what) in [
            ("linux.resources.devices[0].allow", resources(r#""devices":[{"access":"rwm"}]"#)),
            ("linux.gidMappings[0].size", linux(r#""gidMappings":[{"containerID":0,"hostID":1}]"#)),
        ] {
            let said = refusal(&format!(r#"{{"ociVersion":"1.3.0",{what},"annotations":{{"allow":"x","size":"1"}}}}"#));
            assert!(said.contains(&format!("{place}: missing")), "{said}");
        }
        let whole = resources(r#""devices":[{"allow":false}],"hugepageLimits":[{"pageSize":"2MB","limit":0}]"#);
        assert!(refusal(&format!(r#"{{"ociVersion":"1.3.0",{whole}}}"#)).contains("root: missing"));
    }

    #[test]
    fn a_number_without_a_sign_that_is_too_great_is_called_that() {
        let limit = r#""resources":{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}]}"#;
        let said = refusal(&format!(r#"{{"ociVersion":"1.3.0","linux":{{{limit}}}}}"#));
        let why = "linux.resources.hugepageLimits[0].limit: 18446744073709551615 is above 9223372036854775807, the most that codexrun takes";
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn what_nobody_knows_is_named_by_its_place() {
        let text = r#"{"ociVersion":"1.3.0","new":1,"mounts":[{"destination":"/a"},{"destination":"/b","colour":7}],
            "linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","taste":{}},"resources":{"pidz":{}}}}"#;
        assert_eq!(known(text.as_bytes()).unwrap().1, ["new", "mounts[1].colour", "linux.seccomp.taste", "linux.resources.pidz"]);
    }

    #[test]
    fn an_empty_list_of_cpus_is_none() {
        let affinity = |list: &str| {
            let json = format!(
                r#"{{"ociVersion":"1.3.0","process":{{"user":{{"uid":0,"gid":0}},"cwd":"/","execCPUAffinity":{list}}}}}"#
            );
            let spec = deserialize(&respelt(json.as_bytes()).0, |_| {})?;
            let affinity = spec.process().as_ref().and_then(|p| p.exec_cpu_affinity().clone()).unwrap();
            Ok::<_, serde_json::Error>((affinity.initial().clone(), affinity.cpu_affinity_final().clone()))
        };
        assert_eq!(affinity(r#"{"initial" : "", "final":""}"#).unwrap(), (None, None));
        assert_eq!(affinity(r#"{"initial": "0-1", "final":""}"#).unwrap(), (Some("0-1".into()), None));
        assert!(affinity(r#"{"initial": "x"}"#).is_err());
    }

    #[test]
    fn a_config_that_a_caller_names_may_be_a_pipe_that_is_written_to_later() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("r")).unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let writer = std::thread::spawn({
            let fifo = fifo.clone();
            move || {
                let mut pipe = fs::File::options().write(true).open(fifo).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(100));
                std::io::Write::write_all(&mut pipe, br#"{"root":{"path":"r"}}"#).unwrap();
            }
        });
        assert_eq!(Bundle::read_as(dir.path(), &fifo).unwrap().rootfs, Rootfs::Dir(dir.path().join("r")));
        writer.join().unwrap();
    }

    #[test]
    fn an_endless_config_json_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join(CONFIG)).unwrap();
        assert!(Bundle::read(dir.path()).unwrap_err().to_string().contains("larger than 16 MiB"));
    }

    #[test]
    fn root_path_is_relative_to_the_bundle_or_absolute() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("r")).unwrap();
        for (path, found) in [("r", dir.path().join("r")), ("/tmp", PathBuf::from("/tmp"))] {
            fs::write(dir.path().join(CONFIG), format!("{{\"root\": {{\"path\": \"{path}\"}}}}")).unwrap();
            assert_eq!(Bundle::read(dir.path()).unwrap().rootfs, Rootfs::Dir(found));
        }
    }
}
