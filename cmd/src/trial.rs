//! What a runtime does not say of itself is tried: a bundle with a shell in it and one thing asked for, and a look from inside whether
//! it is so. Nothing of it stays.

use crate::report::warn;
use libruntime::losses::{Loss, lost};
use libruntime::policy::view::{Disk, View};
use libruntime::template::{self, Runner};
use libruntime::{Error, Result};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What could be found out of one clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was so.
    Held,
    /// It was not.
    Lost,
    /// The runtime did not run the bundle.
    Refused,
    /// Nothing on this host shows it.
    Untold,
}

impl Answer {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Answer::Held => "held",
            Answer::Lost => "has no effect",
            Answer::Refused => "refused",
            Answer::Untold => "this host cannot show it",
        }
    }
}

/// A clause of a bundle that a runtime may not know.
pub struct Doubt {
    /// Where in config.json.
    pub place: String,
    /// What is asked there.
    pub clause: &'static str,
    /// What the trial asks for: JSON pointer and value. A list is added to the one that is there.
    asks: Vec<(&'static str, Value)>,
    /// Run inside: 0 when it is so, 77 when nobody can tell.
    shows: String,
}

/// Exit codes that no runtime has for a reason of its own.
const HELD: i32 = 75;
const LOST: i32 = 76;
const UNTOLD: i32 = 77;
const ANSWER: &str = "case $? in 0) exit 75;; 77) exit 77;; *) exit 76;; esac";
/// A runtime that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read; `features` has some ten thousand.
const LONGEST: u64 = 1 << 20;

/// JSON pointer, clause, where features.md has the answer, what is asked for, the script.
type Row = (&'static str, &'static str, &'static str, fn() -> Vec<(&'static str, Value)>, &'static str);

const ROWS: &[Row] = &[
    (
        "/linux/seccomp",
        "a filter of system calls",
        "/linux/seccomp",
        || {
            let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1});
            vec![("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))]
        },
        "! mkdir /dev/made 2>/dev/null",
    ),
    (
        "/process/capabilities",
        "capabilities",
        "/linux/capabilities",
        || vec![("/process/capabilities", json!({}))],
        NO_CAPABILITY,
    ),
    ("/process/noNewPrivileges", "no_new_privs", "", Vec::new, "status NoNewPrivs: 1"),
    (
        "/process/rlimits",
        "resource limits",
        "",
        || vec![("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 321, "hard": 321}]))],
        "[ $(ulimit -Hn) = 321 ]",
    ),
    ("/root/readonly", "a read-only root", "", Vec::new, "! (: > /made) 2>/dev/null"),
    (
        "/linux/maskedPaths",
        "masked paths",
        "",
        || vec![("/linux/maskedPaths", json!(["/proc/cpuinfo"]))],
        "! read -r line 2>/dev/null </proc/cpuinfo",
    ),
    (
        "/linux/readonlyPaths",
        "read-only paths",
        "",
        || vec![("/linux/readonlyPaths", json!(["/proc/sys"]))],
        "flags /proc/sys ro",
    ),
    (
        "/domainname",
        "NIS domain name",
        "",
        || vec![("/domainname", json!("codexrun-trial"))],
        "read -r name </proc/sys/kernel/domainname; [ \"$name\" = codexrun-trial ]",
    ),
    (
        "/linux/personality",
        "execution domain",
        "",
        || vec![("/linux/personality", json!({"domain": "LINUX32"}))],
        "case $(uname -m) in i686) ;; x86_64) false;; *) exit 77;; esac",
    ),
    (
        "/process/scheduler",
        "scheduling policy",
        "",
        || vec![("/process/scheduler", json!({"policy": "SCHED_BATCH"}))],
        "set -- $(cat /proc/self/stat); shift 40; [ $1 = 3 ]",
    ),
];

const NO_CAPABILITY: &str = "status CapBnd: 0000000000000000 && status CapEff: 0000000000000000";

/// Every script begins so.
const WORDS: &str = r#"
status() { while read -r key value; do [ "$key" != $1 ] || { [ "$value" = $2 ]; return; }; done </proc/self/status; exit 77; }
flags() {
    seen=77
    while read -r a b c d at all rest; do
        case $at in $1) case ,$all, in *,$2,*) seen=0;; *) return 1;; esac;; esac
    done </proc/self/mountinfo
    [ $seen = 0 ] || exit 77
}
"#;

/// Of what `spec` asks, whatever neither the features nor what is known of the runtime answer.
pub fn doubts(spec: &Value, features: Option<&Value>, known: bool) -> Vec<Doubt> {
    let told = |pointer: &str| !pointer.is_empty() && features.is_some_and(|all| all.pointer(pointer).is_some());
    let asked = |pointer: &str| spec.pointer(pointer).is_some_and(|value| !value.is_null() && *value != json!(false));
    let newer = ["/domainname", "/linux/personality", "/process/scheduler"];
    let rows = ROWS.iter().filter(|(at, _, answer, ..)| {
        let sure = known && answer.is_empty() && !newer.contains(at);
        asked(at) && !told(answer) && !sure
    });
    let mut all: Vec<Doubt> = rows
        .map(|(at, clause, _, asks, shows)| Doubt {
            place: at[1..].replace('/', "."),
            clause,
            asks: asks(),
            shows: (*shows).into(),
        })
        .collect();
    if !told("/mountOptions") {
        all.extend(recursive(spec));
    }
    if !told("/linux/namespaces") {
        all.extend(namespaces(spec));
    }
    all
}

/// Submounts that stay writable are the silent hole: /dev of nearly every host has some.
fn recursive(spec: &Value) -> Option<Doubt> {
    let has = |mount: &Value| mount["options"].as_array().is_some_and(|all| all.iter().any(|word| word == "rro"));
    let at = spec["mounts"].as_array()?.iter().position(has)?;
    let mount = json!({"destination": "/tried", "type": "bind", "source": "/dev", "options": ["rbind", "rro"]});
    let asks = vec![("/mounts", json!([mount]))];
    Some(Doubt {
        place: format!("mounts[{at}].options"),
        clause: "the mount option `rro`",
        asks,
        shows: "flags '/tried/*' ro".into(),
    })
}

fn namespaces(spec: &Value) -> Vec<Doubt> {
    let all = spec.pointer("/linux/namespaces").and_then(Value::as_array).into_iter().flatten().enumerate();
    let new = all.filter(|(_, namespace)| namespace["path"].is_null());
    new.filter_map(|(n, namespace)| {
        let (word, file) = match namespace["type"].as_str()? {
            "network" => ("network", "net"),
            "mount" => return None, // or there would be no container
            word => (word, word),
        };
        let own = fs::read_link(format!("/proc/self/ns/{file}")).ok()?;
        let mut asks = vec![("/linux/namespaces", json!([{"type": word}]))];
        if word == "user" {
            let (uid, gid) = Disk::new().ids();
            let one = |id| json!([{"containerID": 0, "hostID": id, "size": 1}]);
            asks.extend([("/linux/uidMappings", one(uid)), ("/linux/gidMappings", one(gid))]);
        }
        Some(Doubt {
            place: format!("linux.namespaces[{n}]"),
            clause: "a namespace of its own",
            asks,
            shows: format!("[ \"$(readlink /proc/self/ns/{file})\" != '{}' ]", own.display()),
        })
    })
    .collect()
}

impl Doubt {
    /// Tries it with a runtime.
    pub fn settle(&self, runtime: &Path) -> Result<Answer> {
        let (code, _) = Trial::new(&self.asks, &format!("{WORDS}({})\n{ANSWER}", self.shows))?.run(runtime)?;
        Ok(match code {
            Some(HELD) => Answer::Held,
            Some(LOST) => Answer::Lost,
            Some(UNTOLD) => Answer::Untold,
            _ => Answer::Refused,
        })
    }

    /// Of a runtime that nobody knows nothing is promised.
    pub fn untried(&self) -> Loss {
        lost(&self.place, self.clause, "not told, and could not be tried")
    }

    /// What an answer means for the bundle.
    pub fn loss(&self, answer: Answer) -> Option<Loss> {
        let consequence = match answer {
            Answer::Held | Answer::Untold => return None,
            Answer::Lost => "tried: has no effect",
            Answer::Refused => "tried: refused",
        };
        Some(lost(&self.place, self.clause, consequence))
    }
}

/// Whether the runtime runs anything here; why not.
pub fn works(runtime: &Path) -> Result<Option<String>> {
    let (code, said) = Trial::new(&[], "exit 7")?.run(runtime)?;
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing is said");
    Ok((code != Some(7)).then(|| first.to_owned()))
}

/// A bundle in a directory that goes with it.
struct Trial(PathBuf);

impl Drop for Trial {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_else(|e| warn(&format!("cannot remove `{}`: {e}", self.0.display())));
    }
}

impl Trial {
    fn new(asks: &[(&str, Value)], script: &str) -> Result<Trial> {
        let made = |e: std::io::Error| Error::new("cannot make a bundle to try").cause(e);
        let dir = std::env::temp_dir().join(format!("codexrun-trial-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(made)?;
        let trial = Trial(dir);
        let mut config = shell(&trial.at("rootfs"), script).map_err(made)?;
        for (pointer, value) in asks {
            put(&mut config, pointer, value);
        }
        fs::write(trial.at("config.json"), config.to_string()).map_err(made)?;
        Ok(trial)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Exit code, and what was said.
    fn run(&self, runtime: &Path) -> Result<(Option<i32>, String)> {
        let id = format!("codexrun-trial-{}", std::process::id());
        let failed = |e| Error::new(format!("cannot run `{}`", runtime.display())).cause(e);
        let call = || {
            let mut command = Command::new(runtime);
            command.arg("--root").arg(self.at("state")).stdin(Stdio::null());
            command
        };
        let said = fs::File::create(self.at("said")).map_err(failed)?;
        let mut command = call();
        command.args(["run", "--bundle"]).arg(&self.0).arg(&id).stdout(Stdio::null()).stderr(said);
        let code = ended(&mut command).map_err(failed)?;
        // Most have removed it themselves, and say so.
        ended(call().args(["delete", "--force", &id]).stdout(Stdio::null()).stderr(Stdio::null())).map_err(failed)?;
        Ok((code, fs::read_to_string(self.at("said")).map_err(failed)?))
    }
}

/// What a runtime answers on stdout to one word, and its exit code; none when it was a signal, or when it hangs after its answer.
pub fn answer(runtime: &Path, word: &str) -> io::Result<(Option<i32>, String)> {
    answer_within(PATIENCE, Command::new(runtime).arg(word))
}

fn answer_within(patience: Duration, command: &mut Command) -> io::Result<(Option<i32>, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (begun, (tell, told)) = (Instant::now(), mpsc::channel());
    if let Some(out) = child.stdout.take() {
        // Not waited for: whoever the runtime has started may hold the pipe for ever.
        thread::spawn(move || {
            let mut said = Vec::new();
            out.take(LONGEST).read_to_end(&mut said).and_then(|_| tell.send(said).map_err(io::Error::other))
        });
    }
    let said = told.recv_timeout(patience).unwrap_or_default();
    let code = end(&mut child, patience.saturating_sub(begun.elapsed()))?;
    match code {
        None if said.is_empty() => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "it was killed, or had to be, and has answered nothing"))
        }
        _ => Ok((code, String::from_utf8_lossy(&said).into_owned())),
    }
}

fn ended(command: &mut Command) -> io::Result<Option<i32>> {
    end(&mut command.spawn()?, PATIENCE)
}

/// The exit code; none when it was a signal, or when it had to be one.
fn end(child: &mut Child, patience: Duration) -> io::Result<Option<i32>> {
    let begun = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status.code()),
            None if begun.elapsed() > patience => return child.kill().and_then(|()| child.wait()).map(|_| None),
            None => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The host's programs, and a script.
fn shell(rootfs: &Path, script: &str) -> std::io::Result<Value> {
    let (uid, gid) = Disk::new().ids();
    let runner = if uid == 0 { Runner::Root } else { Runner::Rootless { uid, gid } };
    let mut config = serde_json::to_value(template::spec(runner).map_err(std::io::Error::other)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    for name in ["proc", "dev", "sys", "tried"] {
        fs::create_dir_all(rootfs.join(name))?;
    }
    let mut mounts: Vec<Value> = config["mounts"].as_array().into_iter().flatten().take(2).cloned().collect();
    for name in ["usr", "bin", "sbin", "lib", "lib64"] {
        let (host, here) = (Path::new("/").join(name), rootfs.join(name));
        match fs::symlink_metadata(&host) {
            Ok(meta) if meta.is_symlink() => symlink(fs::read_link(&host)?, here)?,
            Ok(meta) if meta.is_dir() => {
                fs::create_dir(here)?;
                mounts.push(json!({"destination": host, "type": "bind", "source": host, "options": ["rbind", "ro"]}));
            }
            _ => {}
        }
    }
    config["mounts"] = json!(mounts);
    Ok(config)
}

fn put(config: &mut Value, pointer: &str, value: &Value) {
    if let (Some(Value::Array(list)), Value::Array(more)) = (config.pointer_mut(pointer), value) {
        let new = more.iter().filter(|one| !list.contains(one)).cloned().collect::<Vec<_>>();
        return list.extend(new);
    }
    if let Some((above, key)) = pointer.rsplit_once('/')
        && let Some(above) = config.pointer_mut(above)
    {
        above[key] = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_and_not_told_is_in_doubt() {
        let spec = json!({
            "root": {"readonly": true}, "process": {"noNewPrivileges": false, "scheduler": {"policy": "SCHED_BATCH"}},
            "mounts": [{"options": ["rbind"]}, {"options": ["rbind", "rro"]}],
            "linux": {"seccomp": {}, "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/x"}]},
        });
        let places = |features: Option<&Value>, known| {
            doubts(&spec, features, known).into_iter().map(|doubt| doubt.place).collect::<Vec<_>>()
        };
        let silent = ["linux.seccomp", "root.readonly", "process.scheduler", "mounts[1].options", "linux.namespaces[0]"];
        assert_eq!(places(None, false), silent);
        let told = json!({"mountOptions": [], "linux": {"namespaces": [], "seccomp": {}}});
        assert_eq!(places(Some(&told), true), ["process.scheduler"]);
    }

    #[test]
    fn a_runtime_that_never_answers_is_ended() {
        let ask =
            |millis, script: &str| answer_within(Duration::from_millis(millis), Command::new("/bin/sh").args(["-c", script]));
        assert_eq!(ask(20_000, "echo version 1; exit 3").unwrap(), (Some(3), "version 1\n".into()));
        assert_eq!(ask(20_000, "yes").unwrap().1.len() as u64, LONGEST);
        assert_eq!(ask(100, "exec sleep 600").unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(ask(2000, "sleep 5 & exit 2").unwrap(), (Some(2), String::new()), "somebody else holds the pipe");
    }

    #[test]
    fn a_list_grows_and_anything_else_is_replaced() {
        let mut config = json!({"linux": {"namespaces": [{"type": "pid"}]}, "process": {"rlimits": null}});
        put(&mut config, "/linux/namespaces", &json!([{"type": "pid"}, {"type": "uts"}]));
        put(&mut config, "/process/rlimits", &json!([1]));
        put(&mut config, "/domainname", &json!("d"));
        let want =
            json!({"linux": {"namespaces": [{"type": "pid"}, {"type": "uts"}]}, "process": {"rlimits": [1]}, "domainname": "d"});
        assert_eq!(config, want);
    }
}
