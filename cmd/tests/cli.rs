//! The command line from outside: what is printed where, and with which code it ends.

use libruntime::state::{Record, Store};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

fn codexrun() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
    command.stdin(Stdio::null());
    command
}

/// Runs in `dir`, and gives (code, stdout, stderr).
fn at(dir: &Path, args: &[&str]) -> (i32, String, String) {
    said(&codexrun().args(args).current_dir(dir).output().unwrap())
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn config(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap()
}

/// One line, beginning with the command's name, code 1, and nothing on stdout.
fn refused(result: &(i32, String, String), about: &str) {
    let (code, out, err) = result;
    assert_eq!((*code, out.as_str()), (1, ""), "{err}");
    assert!(err.starts_with("codexrun: error: ") && err.contains(about), "{err}");
    assert_eq!(err.matches('\n').count(), 1, "{err}");
}

mod spec {
    use super::*;

    #[test]
    fn the_same_policy_gives_the_same_bytes() {
        let (work, out) = (dir(), dir());
        let cwd = work.path().to_str().unwrap();
        for policy in ["read-only", ":workspace-write", "danger-full-access"] {
            let write = |name: &str| {
                let bundle = out.path().join(format!("{policy}{name}"));
                let flags = ["spec", "--from-policy", policy, "--cwd", cwd, "--bundle", bundle.to_str().unwrap()];
                let (code, out, err) = at(work.path(), &[&flags[..], &["--", "ls", "-l"]].concat());
                assert_eq!((code, out.as_str()), (0, ""), "{err}");
                assert_eq!(names(&bundle), ["config.json", "policy.json", "rootfs"]);
                assert_eq!(config(&bundle)["process"]["args"], json!(["ls", "-l"]));
                fs::read(bundle.join("config.json")).unwrap()
            };
            assert!(write("1") == write("2"), "{policy}");
        }
        assert!(names(work.path()).is_empty());
    }

    #[test]
    fn nothing_is_overwritten() {
        for policy in [&[][..], &["--from-policy", "read-only"]] {
            let dir = dir();
            let line = [&["spec"], policy].concat();
            assert_eq!(at(dir.path(), &line).0, 0);
            let before = fs::read(dir.path().join("config.json")).unwrap();
            refused(&at(dir.path(), &line), "File config.json exists. Remove it first");
            assert_eq!(fs::read(dir.path().join("config.json")).unwrap(), before);
        }
    }

    #[test]
    fn a_bad_policy_is_named_by_place_and_leaves_nothing() {
        let dir = dir();
        fs::write(dir.path().join("p.json"), "{\"type\": \"read-only\",\n \"netwrok\": 1}").unwrap();
        let line = ["spec", "--from-policy", "p.json", "--bundle", "b"];
        refused(&at(dir.path(), &line), "p.json:2:");
        assert_eq!(names(dir.path()), ["p.json"]);
        refused(&at(dir.path(), &["spec", "--from-policy", "nowhere.json"]), "nowhere.json");
    }

    #[test]
    fn a_policy_may_come_from_stdin() {
        let dir = dir();
        let mut child = codexrun()
            .args(["spec", "--from-policy", "-", "--bundle", "b"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"{\"type\": \"read-only\"}").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(names(dir.path()), ["b"]);
    }

    #[test]
    fn env_sets_copies_and_replaces() {
        let dir = dir();
        let flags = ["--env", "A=1", "--env", "FROM_CALLER", "--env", "LANG=tlh"];
        let line = [&["spec", "--from-policy", "read-only"], &flags[..]].concat();
        let output = codexrun().args(line).current_dir(dir.path()).env("FROM_CALLER", "x y").output().unwrap();
        assert_eq!(said(&output).0, 0);
        let env = config(dir.path())["process"]["env"].as_array().unwrap().clone();
        for pair in ["A=1", "FROM_CALLER=x y", "LANG=tlh"] {
            assert!(env.contains(&pair.into()), "{env:?}");
        }
        assert!(!env.contains(&"LANG=C.UTF-8".into()) && !env.iter().any(|e| e.as_str().unwrap().starts_with("TERM=")));
    }

    #[test]
    fn a_word_that_json_cannot_carry_is_refused() {
        let dir = dir();
        let bad = OsStr::from_bytes(b"\xff");
        let line = ["spec", "--from-policy", "read-only", "--", "ls"];
        let output = codexrun().args(line).arg(bad).current_dir(dir.path()).output().unwrap();
        refused(&said(&output), "word 2 of the command is not UTF-8");
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn what_another_runtime_would_lose_is_listed() {
        let dir = dir();
        let (code, out, err) = at(dir.path(), &["spec", "--portable-to", "runc", "--bundle", "plain"]);
        assert_eq!((code, out.as_str()), (0, "no losses\n"), "{err}");
        let line = ["spec", "--from-policy", "workspace-write", "--bundle", "b", "--portable-to", "crun"];
        let (code, out, err) = at(dir.path(), &line);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("annotations[\"dev.codexrun.init\"]: "), "{out}");
        let (code, out, err) = at(dir.path(), &["spec", "--portable-to", "./none", "--bundle", "unwritten"]);
        assert_eq!((code, out.as_str(), dir.path().join("unwritten").exists()), (1, "", false), "{err}");
    }

    /// The default spec is runc's, for an ordinary user less its cgroup.
    #[test]
    fn the_default_is_runcs() {
        for rootless in [&[][..], &["--rootless"]] {
            let (ours, theirs) = (dir(), dir());
            assert_eq!(at(ours.path(), &[&["spec"], rootless].concat()).0, 0);
            let runc = Command::new("runc").arg("spec").args(rootless).current_dir(theirs.path()).status();
            if !runc.is_ok_and(|status| status.success()) {
                return eprintln!("skipped: `runc spec` does not run here");
            }
            let (ours, mut theirs) = (config(ours.path()), config(theirs.path()));
            theirs["ociVersion"] = "1.0.2".into();
            theirs["hostname"] = "codexrun".into();
            // An ambient capability must be inheritable (capabilities(7)), and runc gives none: its request has no effect.
            theirs["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
            if !rootless.is_empty() {
                theirs["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "cgroup");
                theirs["linux"].as_object_mut().unwrap().remove("resources");
                // runc puts `rbind` first; the order of options says nothing.
                assert_eq!(sorted(&ours["mounts"][5]["options"]), sorted(&theirs["mounts"][5]["options"]));
                theirs["mounts"][5]["options"] = ours["mounts"][5]["options"].clone();
            }
            assert_eq!(ours, theirs);
        }
    }

    fn sorted(options: &Value) -> Vec<String> {
        let mut options: Vec<_> = options.as_array().unwrap().iter().map(Value::to_string).collect();
        options.sort();
        options
    }
}

mod usage {
    use super::*;

    #[test]
    fn a_mistake_is_one_line_and_code_1() {
        let dir = dir();
        let table: &[(&[&str], &str)] = &[
            (&[], "no command given"),
            (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
            (&["list", "--frob"], "unexpected argument '--frob'"),
            (&["run"], "required arguments"),
            (&["--rootless", "perhaps", "list"], "invalid value 'perhaps' for '--rootless <WHETHER>'"),
            (&["run", "a/b"], "a directory that holds a `config.json` is a bundle, anything else is an id"),
            (&["run", "mistyped"], "`mistyped` holds no `config.json` either, so it is an id"),
            (&["run", "--config", "c.json", "a/b"], "after `--config` it is always an id"),
            (&["sandbox"], "no command given"),
            (&["sandbox", "--tcp-ports", "--", "ls"], "'--tcp-ports <PORT,…|none>'"),
            (&["sandbox", "--tcp-ports", "80,0", "--", "ls"], "`0` is no port from 1 to 65535"),
            (&["sandbox", "--dns", "dns", "--", "ls"], "`dns` is no port from 1 to 65535"),
            (&["spec", "--cwd", "/"], "need `--from-policy`"),
            (&["kill", "x", "NOPE"], "unknown signal `NOPE`"),
        ];
        for (line, about) in table {
            refused(&at(dir.path(), line), about);
        }
    }

    #[test]
    fn more_descriptors_than_there_can_be_are_refused() {
        let dir = dir();
        for verb in ["create", "run", "exec"] {
            let (code, _, err) = at(dir.path(), &[verb, "--preserve-fds", "4294967295", "x"]);
            assert!(code != 0 && err.contains("4294967295 is not in 0..=2147483644"), "{verb}: {code} {err}");
        }
    }

    #[test]
    fn help_and_version_are_data() {
        let dir = dir();
        let (code, out, err) = at(dir.path(), &["--version"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.starts_with("codexrun version ") && out.contains("\ncommit: ") && out.contains("\nspec: "));
        let (code, out, _) = at(dir.path(), &["run", "--help"]);
        assert!(code == 0 && out.contains("a directory that holds a config.json is a bundle, anything else is an id"));
        assert!(!at(dir.path(), &["--help"]).1.contains("sweep"));
    }

    #[test]
    fn completions_and_manual_pages_know_every_verb() {
        let dir = dir();
        let help = at(dir.path(), &["--help"]).1;
        let verbs: Vec<&str> =
            help.lines().skip_while(|line| *line != "Commands:").skip(1).map_while(|l| l.split_whitespace().next()).collect();
        assert!(verbs.len() > 12, "{help}");
        for shell in ["bash", "zsh", "fish"] {
            let (code, script, err) = at(dir.path(), &["completion", shell]);
            assert_eq!((code, err.as_str()), (0, ""));
            assert!(verbs.iter().all(|verb| script.contains(verb)), "{shell}");
        }
        for verb in &verbs {
            let (code, page, err) = at(dir.path(), &["man", verb]);
            assert!(code == 0 && page.contains(&format!("codexrun\\-{verb}")), "{page}{err}");
        }
        assert!(at(dir.path(), &["man"]).1.contains("cgroup\\-manager"));
        refused(&at(dir.path(), &["man", "frob"]), "there is no verb `frob`");
    }

    #[test]
    fn features_are_one_object_and_the_version_is_the_newest_of_them() {
        let dir = dir();
        let (code, out, err) = at(dir.path(), &["features"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let features: Value = serde_json::from_str(&out).unwrap();
        assert!(at(dir.path(), &["-v"]).1.ends_with(&format!("\nspec: {}\n", features["ociVersionMax"].as_str().unwrap())));
        // Compared with runc's: what every runtime has is here too.
        for pointer in ["/linux/namespaces", "/linux/capabilities", "/linux/seccomp/operators"] {
            assert!(features.pointer(pointer).unwrap().as_array().unwrap().len() >= 7, "{pointer}");
        }
    }

    #[test]
    fn a_failure_is_one_record_appended_to_the_log() {
        let dir = dir();
        let line = ["--log-format=json", "--log", "log.json", "--root", "r", "state", "nobody"];
        for _ in 0..2 {
            refused(&at(dir.path(), &line), "container does not exist");
        }
        let log = fs::read_to_string(dir.path().join("log.json")).unwrap();
        let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 2);
        let said = |r: &Value| r["msg"].as_str().is_some_and(|msg| msg.starts_with("container does not exist"));
        assert!(records.iter().all(|r| r["level"] == "error" && said(r) && r["time"].is_string()));
    }

    #[test]
    fn a_mistake_is_logged_too_and_success_is_not() {
        let dir = dir();
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        let global = ["-log", "log", "-log-format=json", "-root", "r"];
        assert_eq!(at(dir.path(), &[&global[..], &["list", "-q"]].concat()), (0, String::new(), String::new()));
        assert_eq!(log(), "");
        refused(&at(dir.path(), &[&["list", "--frob"], &global[..]].concat()), "unexpected argument '--frob'");
        // podman reads the whole file as one object.
        let record: Value = serde_json::from_str(&log()).unwrap();
        assert!(record["level"] == "error" && record["msg"].as_str().unwrap().contains("--frob"), "{record}");
    }

    #[test]
    fn a_mistake_in_exec_cannot_be_taken_for_the_commands_own_code() {
        let dir = dir();
        for line in [&["exec", "--frob", "x"][..], &["exec"], &["--debug", "exec", "--root", "r", "-no-such-option", "x", "ls"]] {
            let (code, out, err) = at(dir.path(), line);
            assert_eq!((code, out.as_str(), err.matches('\n').count()), (255, "", 1), "{err}");
        }
        // What follows the id is the command's.
        let (code, _, err) = at(dir.path(), &["exec", "--root", "r", "x", "ls", "--root", "r", "--frob"]);
        assert!(code == 255 && err.contains("container does not exist"), "{err}");
    }

    #[test]
    fn the_old_spellings_of_runc_are_understood() {
        let dir = dir();
        for line in ["-root=r list -quiet", "list --root r -q", "--debug=true --systemd-cgroup list -root r --quiet=true"] {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(at(dir.path(), &words), (0, String::new(), String::new()), "{line}");
        }
    }

    /// Wrong types, unknown words, what this host lacks and what contradicts itself, in as many subjects.
    #[test]
    fn every_reason_is_said_at_once_each_with_its_place() {
        let dir = dir();
        std::fs::create_dir(dir.path().join("r")).unwrap();
        let config = json!({
            "ociVersion": "9.9.9",
            "root": {"path": "r", "readonly": "yes"},
            "hostname": "box",
            "process": {
                "user": {"uid": -1, "gid": 0}, "args": ["x"], "cwd": "relative",
                "rlimits": [{"type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 1}],
                "selinuxLabel": "u:r:t:s0",
                "scheduler": {"policy": "SCHED_RR", "priority": 1000},
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"type": "tmpfs"},
                {"destination": "/x", "type": "tmpfs", "options": ["no-such-option", "copy-symlink"]},
            ],
            "hooks": {"prestart": [{"path": "relative"}]},
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "pid"}],
                "timeOffsets": {"boottime": {"secs": 1}},
                "sysctl": {"kernel.core_pattern": "x"},
                "devices": [{"path": "relative", "type": "c", "major": 1, "minor": 1}],
                "intelRdt": {"closID": "a/b", "memBwSchema": "x"},
                "personality": {"domain": "LINUX", "flags": ["x"]},
                "rootfsPropagation": "sideways",
                "resources": {"pids": {"limit": "many"}},
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x",
                    "syscalls": [{"names": [], "action": "SCMP_ACT_KILL", "errnoRet": 1}, {"names": ["read"], "action": "SCMP_ACT_NO_SUCH"}],
                },
            },
            "no-such-field": 1,
        });
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let (code, out, said) = at(dir.path(), &["run", "--bundle", ".", "x"]);
        assert_eq!((code, out.as_str()), (1, ""), "{said}");
        for place in [
            "ociVersion",
            "root.readonly",
            "hostname",
            "process.user.uid",
            "process.cwd",
            "process.rlimits[0].type",
            "process.selinuxLabel",
            "process.scheduler.priority",
            "mounts[1]",
            "mounts[2].options",
            "hooks.prestart[0].path",
            "linux.timeOffsets",
            "linux.sysctl[kernel.core_pattern]",
            "linux.devices[0].path",
            "linux.intelRdt.closID",
            "linux.intelRdt.memBwSchema",
            "linux.personality.flags",
            "linux.rootfsPropagation",
            "linux.resources.pids.limit",
            "linux.seccomp.listenerMetadata",
            "linux.seccomp.syscalls[0].names",
            "linux.seccomp.syscalls[0].errnoRet",
            "linux.seccomp.syscalls[1].action",
        ] {
            let named = said.lines().filter(|line| line.contains(&format!(": {place}: "))).count();
            assert!(named >= 1, "{place} is not named:\n{said}");
        }
        assert!(
            !said.contains("mounts[1].destination") && !said.contains("no-such-field"),
            "what follows from another is not said:\n{said}"
        );
    }

    /// Half of the plan depends on the namespaces; what does not is said, and what might not be so is not.
    #[test]
    fn a_namespace_or_an_annotation_of_the_wrong_form_hides_no_reason_that_stands_without_it() {
        let dir = dir();
        std::fs::create_dir(dir.path().join("r")).unwrap();
        let mut config = json!({
            "ociVersion": "1.3.0", "root": {"path": "r"}, "hostname": "box", "annotations": {"a": 1},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "relative", "scheduler": {"policy": "SCHED_RR", "priority": 1000}},
            "mounts": [{"destination": "/x", "type": "tmpfs", "options": ["copy-symlink"]}],
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "pidd"}, {"type": "ipc", "path": "relative"}],
                "sysctl": {"kernel.core_pattern": "x", "net.ipv4.ip_forward": "1"}, "rootfsPropagation": "sideways",
            },
        });
        let mut said_of = |change: &dyn Fn(&mut Value)| {
            change(&mut config);
            std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
            at(dir.path(), &["run", "--bundle", ".", "x"]).2
        };
        let stand =
            ["annotations.a", "process.cwd", "process.scheduler.priority", "mounts[0].options", "linux.namespaces[1].type"];
        let stand =
            [&stand[..], &["linux.namespaces[2].path", "linux.sysctl[kernel.core_pattern]", "linux.rootfsPropagation"]].concat();
        let check = |said: &str, places: &[&str]| {
            places.iter().for_each(|place| assert!(said.contains(&format!(": {place}: ")), "{place} is not named:\n{said}"));
            // It may be the uts namespace, or that of the network, which has the wrong form.
            ["hostname", "ip_forward"].iter().for_each(|place| assert!(!said.contains(place), "{place}:\n{said}"));
        };
        check(&said_of(&|_| {}), &stand);
        check(&said_of(&|c| c["linux"]["namespaces"][1] = json!("uts")), &stand[..4]);
        check(
            &said_of(&|c| c["linux"]["namespaces"] = json!("all")),
            &["process.cwd", "mounts[0].options", "linux.rootfsPropagation"],
        );
        check(&said_of(&|c| c["linux"] = json!("all")), &["process.cwd", "mounts[0].options", "linux"]);
        let said = said_of(&|c| c["linux"] = json!({"namespaces": [{"type": "mount"}, {"type": "pid"}]}));
        assert!(said.contains(": hostname: ") && said.contains(": annotations.a: "), "{said}");
    }

    #[test]
    fn a_broken_bundle_is_named_by_line_column_and_path() {
        let dir = dir();
        let rest = r#""root": {"path": "."}, "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}"#;
        fs::write(dir.path().join("config.json"), format!("{{\n\t\"ociVersion\": 1,\n{rest}}}\n")).unwrap();
        for verb in ["run", "plan"] {
            refused(&at(dir.path(), &[verb, "."]), "config.json:2:16: ociVersion: invalid type");
        }
    }
}

mod lifecycle {
    use super::*;

    /// A container as `run --detach` would leave it.
    fn container(root: &Path, id: &str) -> Child {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let spec = libruntime::template::spec(libruntime::template::Runner::Root).unwrap();
        let (id, pid) = (id.parse().unwrap(), i32::try_from(child.id()).unwrap());
        let reserved = Store::at(root).reserve(&id).unwrap();
        reserved.save(&Record::new(id, Some(pid), Path::new("/b"), Path::new("/b/rootfs"), &spec).unwrap()).unwrap();
        child
    }

    fn status(dir: &Path) -> Value {
        let (code, out, err) = at(dir, &["--root", "r", "state", "box"]);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()["status"].clone()
    }

    #[test]
    fn a_container_is_shown_killed_and_deleted() {
        let dir = dir();
        let mut child = container(&dir.path().join("r"), "box");
        assert_eq!(status(dir.path()), "running");
        let (_, table, _) = at(dir.path(), &["--root", "r", "list"]);
        assert!(table.lines().nth(1).unwrap().starts_with(&format!("box         {} ", child.id())), "{table}");
        assert_eq!(at(dir.path(), &["--root=r", "list", "-q"]).1, "box\n");
        let refusal = "cannot delete container box that is not stopped: running";
        refused(&at(dir.path(), &["--root", "r", "delete", "box"]), refusal);
        assert_eq!(at(dir.path(), &["--root", "r", "kill", "box", "9"]), (0, String::new(), String::new()));
        child.wait().unwrap();
        assert_eq!(status(dir.path()), "stopped");
        refused(&at(dir.path(), &["--root", "r", "kill", "box", "KILL"]), "container not running");
        assert_eq!(at(dir.path(), &["--root", "r", "delete", "box"]), (0, String::new(), String::new()));
        refused(&at(dir.path(), &["--root", "r", "state", "box"]), "container does not exist");
        assert_eq!(at(dir.path(), &["--root", "r", "delete", "--force", "box"]), (0, String::new(), String::new()));
    }

    #[test]
    fn a_garbled_record_is_named_and_deleted_only_by_force() {
        let dir = dir();
        fs::create_dir_all(dir.path().join("r/box")).unwrap();
        fs::write(dir.path().join("r/box/state.json"), "{").unwrap();
        let (code, out, err) = at(dir.path(), &["--root", "r", "list", "--format", "json"]);
        assert_eq!((code, out.as_str()), (1, "null\n"));
        assert!(err.contains("r/box/state.json: garbled record"), "{err}");
        let (code, _, err) = at(dir.path(), &["--root", "r", "delete", "box"]);
        assert!(code == 1 && err.contains("garbled record"), "{err}");
        assert_eq!(at(dir.path(), &["--root", "r", "delete", "--force", "box"]).0, 0);
        assert!(names(&dir.path().join("r")).is_empty());
    }
}

/// These start real sandboxes.
/// Bundles whose root file system was made by somebody hostile.
mod image {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The default spec, as whoever runs the tests may run it, over a root that is nothing but what `make` puts into it.
    fn run(make: impl Fn(&Path), edit: impl Fn(&mut Value)) -> (i32, String, String) {
        let dir = dir();
        let root = fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap() == 0;
        let spec = if root { &["spec"][..] } else { &["spec", "--rootless"] };
        assert_eq!(at(dir.path(), spec).0, 0);
        let rootfs = dir.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        make(&rootfs);
        let mut spec = config(dir.path());
        spec["process"]["terminal"] = false.into();
        edit(&mut spec);
        fs::write(dir.path().join("config.json"), spec.to_string()).unwrap();
        at(dir.path(), &["run", "."])
    }

    /// Beside `/proc`, the masks would find nothing, and `/..` still leads to what is mounted over the root.
    #[test]
    fn a_link_carries_no_mount_and_no_mask_away() {
        for target in ["/", ".", "/tmp"] {
            let said = run(|root| symlink(target, root.join("proc")).unwrap(), |_| {});
            refused(&said, "ELOOP");
        }
        // This one leads to the root once the first half of its way has been made.
        let mount = json!({"destination": "/there", "type": "tmpfs", "source": "tmpfs"});
        let said = run(
            |root| symlink("missing/..", root.join("there")).unwrap(),
            |spec| spec["mounts"].as_array_mut().unwrap().push(mount.clone()),
        );
        refused(&said, "ELOOP");
        for list in ["maskedPaths", "readonlyPaths"] {
            let said = run(|root| symlink("/", root.join("here")).unwrap(), |spec| spec["linux"][list] = json!(["/here"]));
            refused(&said, "ELOOP");
        }
    }

    #[test]
    fn a_device_that_is_none_is_not_taken_for_one() {
        let make = |root: &Path| {
            fs::create_dir(root.join("dev")).unwrap();
            fs::write(root.join("dev/null"), "").unwrap();
        };
        let no_dev = |spec: &mut Value| {
            spec["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        };
        let (code, out, err) = run(make, no_dev);
        // In a user namespace the host's node is bound over it; without one it is refused.
        assert!(code != 0 && out.is_empty() && err.starts_with("codexrun: error: "), "{err}");
    }
}

mod sandbox {
    use super::*;

    fn run(dir: &Path, policy: &str, command: &[&str]) -> (i32, String, String) {
        at(dir, &[&["sandbox", "--policy", policy, "--"], command].concat())
    }

    #[test]
    fn the_code_is_the_commands_own() {
        let dir = dir();
        for policy in ["read-only", "workspace-write", "danger-full-access"] {
            assert_eq!(run(dir.path(), policy, &["true"]), (0, String::new(), String::new()), "{policy}");
            assert_eq!(run(dir.path(), policy, &["sh", "-c", "exit 7"]).0, 7, "{policy}");
            assert_eq!(run(dir.path(), policy, &["sh", "-c", "kill -9 $$"]).0, 137, "{policy}");
            assert_eq!(run(dir.path(), policy, &["no-such-command"]).0, 127, "{policy}");
            assert_eq!(run(dir.path(), policy, &["/etc/passwd"]).0, 126, "{policy}");
        }
    }

    #[test]
    fn a_directory_of_path_that_cannot_be_searched_holds_nothing() {
        let dir = dir();
        let closed = dir.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
        let path = format!("PATH={}:/usr/bin:/bin", closed.display());
        for (command, code) in [("no-such-command", 127), ("true", 0)] {
            assert_eq!(at(dir.path(), &["sandbox", "--env", &path, "--", command]).0, code, "{command}");
        }
    }

    /// CVE-2024-21626: what is below it would be reached past every mount.
    #[test]
    fn a_directory_as_a_standard_descriptor_is_refused() {
        let dir = dir();
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        command.current_dir(dir.path()).args(["sandbox", "--", "touch", "/proc/self/fd/0/x"]);
        let out = command.stdin(std::fs::File::open("/usr").unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.starts_with("codexrun: error: standard input is a directory"), "{said}");
        assert!(!Path::new("/usr/x").exists());
    }

    #[test]
    fn a_bundle_is_kept_only_on_demand_and_runs_again() {
        let (dir, keep) = (dir(), dir());
        let kept = keep.path().join("b");
        let line = ["sandbox", "--keep-bundle", kept.to_str().unwrap(), "--", "sh", "-c", "echo hi; exit 3"];
        let (code, out, err) = at(dir.path(), &line);
        assert_eq!((code, out.as_str()), (3, "hi\n"), "{err}");
        assert!(names(dir.path()).is_empty());
        let (code, out, err) = at(dir.path(), &["run", kept.to_str().unwrap()]);
        assert_eq!((code, out.as_str()), (3, "hi\n"), "{err}");
    }

    /// A bundle `b` of the policy `read-only`, changed by hand.
    fn edited(dir: &Path, command: &[&str], edit: impl Fn(&mut Value)) {
        let line = [&["spec", "--from-policy", "read-only", "--bundle", "b", "--"], command].concat();
        assert_eq!(at(dir, &line).0, 0);
        let mut spec = config(&dir.join("b"));
        edit(&mut spec);
        fs::write(dir.join("b/config.json"), spec.to_string()).unwrap();
    }

    #[test]
    fn hooks_after_the_start_and_after_the_end_run_in_the_foreground() {
        let dir = dir();
        edited(dir.path(), &["sleep", "0.3"], |spec| {
            let log = dir.path().join("log");
            let script = |word: &str| format!("cat >/dev/null; echo {word} >> '{}'", log.display());
            let hook = |word: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script(word)] }]);
            spec["hooks"] = json!({ "poststart": hook("started"), "poststop": hook("stopped") });
        });
        assert_eq!(at(dir.path(), &["run", "b"]), (0, String::new(), String::new()));
        assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "started\nstopped\n");
    }

    /// sd_listen_fds(3).
    #[test]
    fn sockets_that_systemd_opened_reach_a_container_and_no_sandbox() {
        let dir = dir();
        edited(dir.path(), &["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3"], |_| {});
        fs::write(dir.path().join("socket"), "passed\n").unwrap();
        let started = |variables: &str| {
            let line = format!("{variables} LISTEN_FDNAMES=a exec \"$0\" run b 3< socket");
            let words = ["-c", &line, env!("CARGO_BIN_EXE_codexrun")];
            let output = Command::new("sh").args(words).current_dir(dir.path()).output().unwrap();
            said(&output).1
        };
        let meant = "LISTEN_FDS=1 LISTEN_PID=$$";
        assert_eq!(started(meant), "\n", "of a policy");
        let mut spec = config(&dir.path().join("b"));
        spec["annotations"].as_object_mut().unwrap().remove("dev.codexrun.policy.sha256").unwrap();
        fs::write(dir.path().join("b/config.json"), spec.to_string()).unwrap();
        assert_eq!((started(meant), started("LISTEN_FDS=1")), ("1 1 a\npassed\n".into(), "1 1 a\npassed\n".into()));
        assert_eq!(started("LISTEN_FDS=1 LISTEN_PID=1"), "\n", "of another process");
        for (fds, about) in [
            ("exec 3< socket 4<&-; LISTEN_FDS=2", "descriptor 4, which LISTEN_FDS counts, cannot be"),
            ("exec 3< /; LISTEN_FDS=1", "is a directory"),
        ] {
            let line = format!("{fds} exec \"$0\" run b");
            let output = Command::new("sh").args(["-c", &line, env!("CARGO_BIN_EXE_codexrun")]).current_dir(dir.path()).output();
            let (code, out, err) = said(&output.unwrap());
            assert!(code == 1 && out.is_empty() && err.contains(about), "{err}");
        }

        let line = "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=a exec \"$0\" sandbox -- sh -c 'env; cat <&3' 3< socket";
        let output = Command::new("sh").args(["-c", line, env!("CARGO_BIN_EXE_codexrun")]).current_dir(dir.path()).output();
        let (_, out, _) = said(&output.unwrap());
        assert!(out.contains("PATH=") && !out.contains("LISTEN_") && !out.contains("passed"), "{out}");
    }

    #[test]
    fn a_command_that_cannot_start_has_no_poststart() {
        let dir = dir();
        edited(dir.path(), &["no-such-command"], |spec| {
            let log = dir.path().join("log");
            spec["hooks"] = json!({ "poststart": [{ "path": "/bin/sh",
                "args": ["sh", "-c", format!("echo started >> '{}'", log.display())] }] });
        });
        let (code, _, err) = at(dir.path(), &["run", "b"]);
        assert_eq!(code, 127, "{err}");
        assert!(err.contains("executable file not found"), "{err}");
        assert!(!dir.path().join("log").exists());
    }

    #[test]
    fn a_system_call_that_nobody_knows_is_mentioned() {
        let dir = dir();
        edited(dir.path(), &["true"], |spec| {
            let calls = spec["linux"]["seccomp"]["syscalls"].as_array_mut().unwrap();
            calls.insert(0, json!({ "names": ["no_such_call"], "action": "SCMP_ACT_ERRNO" }));
        });
        for verb in ["run", "plan"] {
            let (code, _, err) = at(dir.path(), &[verb, "b"]);
            assert_eq!(code, 0, "{verb}: {err}");
            assert!(err.starts_with("codexrun: warning: ") && err.contains("`no_such_call`"), "{verb}: {err}");
        }
    }

    #[test]
    fn another_platforms_fields_and_a_limit_given_twice_are_refused() {
        let dir = dir();
        edited(dir.path(), &["true"], |spec| spec["zos"] = json!({}));
        refused(&at(dir.path(), &["run", "b"]), "zos: belongs to another platform");
        // Not removed: an ordinary user may not look into a skeleton's closed directories.
        fs::rename(dir.path().join("b"), dir.path().join("first")).unwrap();
        edited(dir.path(), &["true"], |spec| {
            let limit = |n| json!({ "type": "RLIMIT_NOFILE", "soft": n, "hard": n });
            spec["process"]["rlimits"] = json!([limit(20), limit(10)]);
        });
        refused(&at(dir.path(), &["run", "b"]), "process.rlimits[1].type: `RLIMIT_NOFILE` stands in [0] already");
    }

    #[test]
    fn a_sandbox_in_a_sandbox_is_refused_with_the_reason() {
        let dir = dir();
        let (code, _, err) = run(dir.path(), "workspace-write", &[env!("CARGO_BIN_EXE_codexrun"), "sandbox", "--", "true"]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("under a seccomp filter") && err.contains("`allow_syscalls` namespaces and mounts"), "{err}");
    }

    #[test]
    fn a_closed_pipe_ends_the_command_as_it_would_outside() {
        let dir = dir();
        let (code, _, err) = run(dir.path(), "read-only", &["bash", "-c", "yes | head -1 >/dev/null; exit ${PIPESTATUS[0]}"]);
        assert_eq!(code, 141, "{err}");
    }

    /// `delete` would run the hooks that it writes there.
    #[test]
    fn a_sandbox_that_could_rewrite_its_own_record_is_refused() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (work, out) = (dir.path().join("work"), dir.path().join("out"));
        fs::create_dir(&work).unwrap();
        let line = ["spec", "--from-policy", "workspace-write", "--bundle", "../b", "--", "true"];
        assert_eq!(at(&work, &line).0, 0);
        for verb in [&["run"][..], &["create"], &["run", "--detach"]] {
            let line = |root| [&["--root", root], verb, &["--bundle", "../b", "box"]].concat();
            let inside = work.join("r").display().to_string();
            for root in ["r", &inside, "/tmp/codexrun-test-records"] {
                refused(&at(&work, &line(root)), "and the sandbox could reach that");
            }
        }
        fs::remove_dir("/tmp/codexrun-test-records").unwrap();
        let root = out.display().to_string();
        assert_eq!(at(&work, &["--root", &root, "run", "--bundle", "../b", "box"]), (0, String::new(), String::new()));
    }

    #[test]
    fn a_detached_container_is_found_killed_and_deleted() {
        let dir = dir();
        let line = ["spec", "--from-policy", "read-only", "--bundle", "b", "--", "sleep", "60"];
        assert_eq!(at(dir.path(), &line).0, 0);
        let verb = |args: &[&str]| at(dir.path(), &[&["--root", "r"], args].concat());
        // Nothing may hold our pipes: a detached container keeps the caller's stdout.
        let run = ["--root", "r", "run", "--detach", "--bundle", "b", "--pid-file", "pid", "box"];
        let mut run = codexrun().args(run).current_dir(dir.path()).stdout(Stdio::null()).spawn().unwrap();
        assert!(run.wait().unwrap().success());
        let state = || serde_json::from_str::<Value>(&verb(&["state", "box"]).1).unwrap();
        assert_eq!(state()["status"], "running");
        // Digits and nothing else: engines' parsers trip over a newline.
        assert_eq!(fs::read_to_string(dir.path().join("pid")).unwrap(), state()["pid"].to_string());
        refused(&verb(&["run", "--bundle", "b", "box"]), "container with given ID already exists");
        assert_eq!(verb(&["kill", "box", "KILL"]).0, 0);
        while state()["status"] != "stopped" {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(verb(&["delete", "box"]).0, 0);
        assert_eq!(verb(&["list", "-q"]), (0, String::new(), String::new()));
    }

    #[test]
    fn ps_shows_the_containers_processes_and_no_others() {
        let dir = dir();
        let line = ["spec", "--from-policy", "read-only", "--bundle", "b", "--", "sh", "-c", "sleep 60 & wait"];
        assert_eq!(at(dir.path(), &line).0, 0);
        let verb = |args: &[&str]| at(dir.path(), &[&["--root", "r"], args].concat());
        let run = ["--root", "r", "run", "--detach", "--bundle", "b", "box"];
        assert!(codexrun().args(run).current_dir(dir.path()).stdout(Stdio::null()).status().unwrap().success());
        let pids = || serde_json::from_str::<Vec<i32>>(&verb(&["ps", "--format", "json", "box"]).1).unwrap();
        // Init, sh, sleep.
        while pids().len() < 3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let table = |options: &[&str]| verb(&[&["ps", "box"], options].concat());
        let (code, out, err) = table(&[]);
        assert_eq!((code, out.lines().count()), (0, 4), "{out}{err}");
        assert!(out.starts_with("UID ") && out.contains("sleep 60"), "{out}");
        assert_eq!(table(&["-e", "-o", "pid,comm"]).1.lines().count(), 4);
        refused(&table(&["-e", "-o", "comm"]), "has no column `PID`");
        refused(&table(&["--no-such-option"]), "ps(1) refuses");
        assert_eq!(verb(&["kill", "box", "KILL"]).0, 0);
        while verb(&["state", "box"]).1.contains("running") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // As with runc and crun.
        assert_eq!((pids(), table(&[]).1.lines().count()), (Vec::new(), 1));
        assert_eq!(verb(&["delete", "box"]).0, 0);
        refused(&verb(&["ps", "box"]), "container does not exist");
    }

    #[test]
    fn a_foreground_container_is_recorded_while_it_lives() {
        let dir = dir();
        let line = ["spec", "--from-policy", "read-only", "--bundle", "b", "--", "cat"];
        assert_eq!(at(dir.path(), &line).0, 0);
        let run = ["--root", "r", "run", "--bundle", "b", "box"];
        let mut run = codexrun().args(run).current_dir(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
        let listed = || at(dir.path(), &["--root", "r", "list", "-q"]).1;
        while run.try_wait().unwrap().is_none() && listed() != "box\n" {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drop(run.stdin.take());
        assert_eq!(run.wait().unwrap().code(), Some(0));
        assert_eq!(listed(), "");
    }

    #[test]
    fn a_granted_socket_that_is_a_file_is_warned_of() {
        let dir = dir();
        let (code, _, err) = at(dir.path(), &["plan", "--policy", "read-only", "--unix-socket", "/etc/passwd", "--", "true"]);
        assert_eq!((code, err.trim()), (0, "codexrun: warning: `/etc/passwd` is a file and no socket: nobody can connect to it"));
    }

    #[test]
    fn the_plan_is_printed_without_being_done() {
        let dir = dir();
        let (code, out, err) = at(dir.path(), &["plan", "--policy", "workspace-write", "--", "touch", "made"]);
        assert_eq!(code, 0, "{err}");
        assert!(out.lines().count() > 10, "{out}");
        assert!(names(dir.path()).is_empty());
    }
}

mod account {
    use super::*;

    fn bundle(dir: &Path) -> String {
        fs::create_dir(dir.join(".git")).unwrap();
        let line = ["spec", "--from-policy", "workspace-write", "--bundle", "b", "--", "true"];
        assert_eq!(at(dir, &line).0, 0);
        dir.join("b").display().to_string()
    }

    #[test]
    fn a_bundle_names_the_entries_of_the_policy_that_lies_beside_it() {
        let dir = dir();
        let bundle = bundle(dir.path());
        let (code, out, err) = at(dir.path(), &["explain", &bundle, ".git", "new", "."]);
        assert_eq!(code, 0, "{err}");
        assert!(out.lines().any(|line| line.starts_with(&format!("{}: directory: ", dir.path().display()))), "{out}");
        assert!(out.contains(".git: directory: read, execute\n") && out.contains("= read\n"), "{out}");
        assert!(out.contains("new: missing: create\n") && out.contains(":workspace_roots = write\n"), "{out}");
        fs::write(dir.path().join("b/policy.json"), r#"{"type": "read-only"}"#).unwrap();
        let (code, out, err) = at(dir.path(), &["explain", "--json", &bundle, ".git"]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (code, &json["paths"][0]["entry"], &json["paths"][0]["write"]["allowed"]),
            (0, &Value::Null, &Value::Bool(false))
        );
        assert!(err.contains("is not the policy of this bundle"), "{err}");
    }

    #[test]
    fn the_whole_is_told_without_a_path_and_nothing_without_a_subject() {
        let dir = dir();
        let (code, out, err) = at(dir.path(), &["explain", "--policy", "read-only"]);
        assert_eq!(code, 0, "{err}");
        for line in [
            "network      its own, with nothing but loopback",
            "system calls all but ",
            "allow_syscalls keys would permit keyctl ",
            "/usr: directory: read, execute",
        ] {
            assert!(out.contains(line), "{line}: {out}");
        }
        refused(&at(dir.path(), &["explain"]), "nothing to explain");
    }

    #[test]
    fn diff_ends_as_diff_does() {
        let dir = dir();
        let (code, out, err) = at(dir.path(), &["diff", "read-only", "workspace-write"]);
        assert_eq!(code, 1, "{err}");
        assert!(out.starts_with("workspace-write permits, read-only does not:\n") && out.contains("path /tmp: write"), "{out}");
        assert_eq!(at(dir.path(), &["diff", "read-only", "read-only"]), (0, String::new(), String::new()));
        assert_eq!(at(dir.path(), &["diff", "read-only", "none"]).0, 2);
        assert_eq!(at(dir.path(), &["diff", "read-only"]).0, 2);
        let bundle = bundle(dir.path());
        let (code, out, _) = at(dir.path(), &["diff", "--json", &bundle, "danger-full-access"]);
        let json: Value = serde_json::from_str(&out).unwrap();
        let said = json["onlyB"].as_array().unwrap().iter().any(|one| one["kind"] == "system call" && one["name"] == "mount");
        assert!(code == 1 && said, "{out}");
    }

    #[test]
    fn losses_have_a_code_of_their_own() {
        let dir = dir();
        let bundle = bundle(dir.path());
        let (code, out, err) = at(dir.path(), &["losses", &bundle, "--runtime", "crun"]);
        assert_eq!(code, 3, "{err}");
        assert!(out.contains("annotations[\"dev.codexrun.placeholders\"]: "), "{out}");
        let own = env!("CARGO_BIN_EXE_codexrun");
        assert_eq!(at(dir.path(), &["losses", &bundle, "--runtime", own]), (0, "no losses\n".into(), String::new()));
        refused(&at(dir.path(), &["losses", &bundle, "--runtime", "/none"]), "cannot run `/none`");
        refused(&at(dir.path(), &["losses", &bundle]), "--runtime");
    }

    #[test]
    fn more_missing_names_are_held_than_the_caller_may_open_files() {
        let dir = dir();
        let special = |kind: &str, access: &str| json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access});
        let names = (0..100).map(|n| dir.path().canonicalize().unwrap().join(format!("{n}.env")));
        let deny = names.map(|path| json!({"path": {"type": "path", "path": path}, "access": "deny"}));
        let entries: Vec<Value> = [special("root", "read"), special("project_roots", "write")].into_iter().chain(deny).collect();
        fs::write(dir.path().join("p.json"), json!({"kind": "restricted", "entries": entries}).to_string()).unwrap();
        let script = format!(
            "ulimit -Sn 64 && exec {} sandbox --policy p.json -- /bin/sh -c 'ulimit -Sn'",
            env!("CARGO_BIN_EXE_codexrun")
        );
        let output = Command::new("/bin/sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "64\n", "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!dir.path().join("0.env").exists() && !dir.path().join(".git").exists());
    }

    /// codexrun without its features, and without two things more.
    const OLD: &str = r#"#!/bin/sh
case $1 in
--version) echo old 1; exit;;
features) exit 1;;
esac
[ "$3" != run ] || sed -i 's/"rro"/"ro"/; s/SCMP_ACT_ERRNO/SCMP_ACT_ALLOW/; s/"errnoRet":1,*//' "$5/config.json"
exec CODEXRUN "$@"
"#;

    #[test]
    fn what_a_runtime_does_not_tell_is_tried() {
        let dir = dir();
        let (bundle, old) = (bundle(dir.path()), dir.path().join("old"));
        fs::write(&old, OLD.replace("CODEXRUN", env!("CARGO_BIN_EXE_codexrun"))).unwrap();
        fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (code, out, err) = at(dir.path(), &["losses", &bundle, "--runtime", "./old"]);
        assert_eq!(code, 3, "{err}");
        let lines: Vec<&str> = out.lines().filter(|line| line.contains("tried: ")).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with("tried: has no effect")), "{out}{err}");
        assert!(lines[0].starts_with("linux.seccomp: ") && lines[1].contains("options: the mount option `rro`"), "{out}");
        for held in
            ["linux.maskedPaths: masked paths", "linux.readonlyPaths: read-only paths", "process.capabilities: capabilities"]
        {
            assert!(err.contains(&format!("codexrun: tried: {held}: held\n")), "{err}");
        }
        let line = ["spec", "--from-policy", "workspace-write", "--bundle", "again", "--portable-to", "./old"];
        assert_eq!(at(dir.path(), &line).1, out);
    }

    #[test]
    fn what_cannot_be_tried_with_an_unknown_runtime_is_a_loss() {
        let dir = dir();
        fs::create_dir(dir.path().join("rootfs")).unwrap();
        assert_eq!(at(dir.path(), &["spec"]).0, 0);
        let (code, out, err) = at(dir.path(), &["losses", "--runtime", "/bin/true"]);
        assert_eq!(code, 3, "{out}{err}");
        for place in ["process.capabilities: ", "process.noNewPrivileges: ", "linux.maskedPaths: ", "linux.namespaces[0]: "] {
            assert!(out.lines().any(|line| line.starts_with(place) && line.ends_with("could not be tried")), "{place}{out}");
        }
    }

    #[test]
    fn what_an_action_of_policy_would_pass_over_is_refused() {
        let dir = dir();
        fs::write(dir.path().join("policy.json"), r#"{"type": "read-only"}"#).unwrap();
        for (line, says) in [
            (&["schema", "read-only"][..], "takes no policy"),
            (&["validate", "--resolved", "read-only"], "belongs to `show`"),
            (&["show", "--from", "srt", "read-only"], "belongs to `import`"),
            (&["import", "policy.json"], "the settings of no sandbox"),
        ] {
            refused(&at(dir.path(), &[&["policy"], line].concat()), says);
        }
    }

    #[test]
    fn a_policy_is_checked_shown_and_imported() {
        let dir = dir();
        assert_eq!(at(dir.path(), &["policy", "validate", "workspace"]), (0, String::new(), String::new()));
        fs::write(dir.path().join("bad.json"), r#"{"type": "read-onyl"}"#).unwrap();
        refused(&at(dir.path(), &["policy", "validate", "bad.json"]), "bad.json:1:10");
        fs::write(dir.path().join("bad.json"), "{\"type\": \"workspace-write\",\n\"writable_roots\": [\"a\", \"/b\", \"c\"]}")
            .unwrap();
        let (code, out, err) = at(dir.path(), &["policy", "validate", "bad.json"]);
        let places: Vec<&str> = err.lines().filter_map(|line| line.split(": ").nth(3)).collect();
        assert_eq!((code, out.as_str(), places), (1, "", vec!["writable_roots[0]", "writable_roots[2]"]), "{err}");
        let (_, out, _) = at(dir.path(), &["policy", "show", "--resolved", "workspace"]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["resolved"][1]["target"], ":workspace_roots");
        let schema: Value = serde_json::from_str(&at(dir.path(), &["policy", "schema"]).1).unwrap();
        assert!(schema["$defs"]["legacy"].is_object());
        fs::write(
            dir.path().join("srt.json"),
            r#"{"filesystem": {"allowWrite": ["."]}, "network": {"allowedDomains": ["a.b"], "httpProxyPort": 1}}"#,
        )
        .unwrap();
        let (code, out, err) = at(dir.path(), &["policy", "import", "srt.json"]);
        assert!(code == 0 && out.contains("\"a.b\": \"allow\"") && err.contains("network.httpProxyPort: "), "{err}");
        fs::write(dir.path().join("policy.json"), out).unwrap();
        assert_eq!(at(dir.path(), &["policy", "validate", "policy.json"]).0, 0);
    }
}

#[test]
fn what_cannot_be_printed_is_a_failure_help_too() {
    for words in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, _, err) = said(&codexrun().args(words).stdout(full).output().unwrap());
        assert_eq!(code, 1, "{words:?}");
        assert!(err.starts_with("codexrun: error: cannot write to stdout: No space left on device"), "{words:?}: {err}");
    }
}

#[test]
fn a_working_directory_that_is_none_is_one_sentence() {
    let dir = dir();
    let name = dir.path().join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&name).unwrap();
    let within = |cwd: &Path| said(&codexrun().args(["sandbox", "--cwd"]).arg(cwd).args(["--", "true"]).output().unwrap());
    refused(&within(Path::new("/etc/passwd")), "working directory `/etc/passwd` is no directory");
    refused(&within(&name), "is not UTF-8, so config.json cannot name it");
}

#[test]
fn the_same_warning_is_told_once() {
    let dir = dir();
    fs::create_dir(dir.path().join("r")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("r/.git")).status().unwrap().success());
    let (code, _, err) = at(dir.path(), &["sandbox", "--nested-git", "--", "true"]);
    // Others may have left one below /tmp, which can be written too.
    let warning = format!("{}/r/.git` is no `gitdir: PATH` pointer", dir.path().display());
    assert_eq!((code, err.matches(&warning).count()), (0, 1), "{err}");
}

#[test]
fn want_of_memory_has_a_sentence_and_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("long.json");
    fs::write(&long, format!("[{}0]", "0,".repeat(1 << 20))).unwrap();
    let limited = |limit: &str| {
        let mut command = Command::new("prlimit");
        command.arg(limit).arg(env!("CARGO_BIN_EXE_codexrun")).args(["policy", "import"]).arg(&long);
        command.output().ok().map(|ended| (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
    };
    let Some(stack) = limited("--stack=65536") else { return eprintln!("skipped: there is no prlimit") };
    assert_eq!(stack, (Some(1), "codexrun: error: the stack may grow to less than 256 KiB (ulimit -s)\n".into()));
    let memory = limited("--data=8388608").unwrap();
    assert_eq!(memory, (Some(1), "codexrun: error: there is not enough memory: ENOMEM (Cannot allocate memory)\n".into()));
    assert!(limited("--data=1073741824").unwrap().1.contains("settings of no sandbox that is known"));
}

mod isolation {
    use super::*;

    const ALONE: &str = "landlock; given up: processes; no loopback, and no sockets but pairs";

    #[test]
    fn run_and_create_say_what_a_bundle_is_confined_by_and_refuse_to_have_it_otherwise() {
        let (work, out) = (dir(), dir());
        let path = |name: &str| out.path().join(name).display().to_string();
        let (alone, mounts) = (path("alone"), path("mounts"));
        for (bundle, options) in [(&alone, &["--isolation", "landlock", "--accept-loss", "processes"][..]), (&mounts, &[])] {
            let words = [&["spec", "--from-policy", "read-only", "--bundle", bundle], options, &["--", "sh", "-c", "exit 7"]];
            assert_eq!(at(work.path(), &words.concat()), (0, String::new(), String::new()));
        }
        let run = |options: &[&str], bundle: &str| at(work.path(), &[&["run"], options, &[bundle]].concat());
        let ran = |mode: &str| (7, String::new(), format!("codexrun: isolation: {mode}\n"));
        for options in [&[][..], &["--isolation", "landlock"], &["--isolation", "auto"]] {
            assert_eq!(run(options, &alone), ran(ALONE));
        }
        assert_eq!(run(&[], &mounts), (7, String::new(), String::new()));
        for isolation in ["auto", "namespaces"] {
            assert_eq!(run(&["--isolation", isolation], &mounts), ran("namespaces"));
        }
        refused(&run(&["--isolation", "namespaces"], &alone), "was made for Landlock alone");
        let refusal = run(&["--isolation", "landlock"], &mounts);
        refused(&refusal, "was made for namespaces and mounts");
        let (root, said) = (path("root"), out.path().join("said"));
        let create = |bundle: &str| {
            // What waits for `start` has them open.
            let words = ["--root", &root, "create", "--isolation", "landlock", "--bundle", bundle, "box"];
            let file = fs::File::create(&said).unwrap();
            let done = codexrun().args(words).stdout(Stdio::null()).stderr(file).status().unwrap();
            (done.code().unwrap(), String::new(), fs::read_to_string(&said).unwrap())
        };
        assert_eq!(create(&alone), (0, String::new(), ran(ALONE).2));
        assert_eq!(at(work.path(), &["--root", &root, "delete", "--force", "box"]).0, 0);
        assert_eq!(create(&mounts), refusal);
        // The way that it names is one.
        let (_, after) = refusal.2.split_once("`codexrun ").unwrap();
        let words = after.split_once('`').unwrap().0.replace("DIR -- CMD…", &format!("{} -- true", path("third")));
        let words: Vec<&str> = words.split(' ').collect();
        refused(&at(work.path(), &words), "--accept-loss processes");
        assert_eq!(at(work.path(), &[&words[..3], &["--accept-loss", "processes"], &words[3..]].concat()).0, 0);
        assert_eq!(run(&[], &path("third")), (0, String::new(), ran(ALONE).2));
    }
}
