//! What people ask for beyond Codex's forms: the object `codexrun` beside them, and switches of the same names. All of it is off unless it
//! is asked for, and becomes standard fields of config.json where OCI has them.

use super::domain::Domains;
use super::isolation::{CLAUSES, Clause, ISOLATION, Isolation};
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// The key of the object in JSON and of the table in TOML.
pub const KEY: &str = "codexrun";

/// See [`FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choices {
    /// `/tmp` is new and empty, the sandbox's own, and gone with it.
    pub private_tmp: bool,
    /// Devices of the host: names of [`DEVICES`], or paths below /dev, of which the last component may end in `*`.
    pub devices: Vec<String>,
    /// What of a repository may be written.
    pub git: Git,
    /// Caches of toolchains that may be written: names of [`CACHES`].
    pub caches: Vec<String>,
    /// What [`SECRETS`] lists is denied.
    pub deny_secrets: bool,
    /// The `.git` of every repository below a writable root is protected, not only that at its top.
    pub nested_git: bool,
    /// Unix sockets of the host that may be connected to, and directories of them: absolute paths.
    pub unix_sockets: Vec<String>,
    /// Unix datagrams, of the sandbox's own and to what is granted. Every sendmsg(2) then asks whoever makes the connections.
    pub unix_datagrams: bool,
    /// Which sockets may be a standard stream.
    pub stdio_sockets: StdioSockets,
    /// System calls that the filter does not refuse: names of [`SYSCALLS`].
    pub allow_syscalls: Vec<String>,
    /// What the sandbox may use up.
    pub limits: Limits,
    /// What a proxy of codexrun's lets through, where the network is one of proxies.
    pub proxy: Option<Domains>,
    /// Ports that are reached by name, through the proxy, by programs that know of none.
    pub dns: Vec<u16>,
    /// Landlock's rules behind the mounts.
    pub landlock: bool,
    /// The only TCP ports that are connected to besides the bridge's; `None`: all, as the network is the sandbox's own.
    pub tcp_ports: Option<Vec<u16>>,
    /// By what the policy is enforced.
    pub isolation: Isolation,
    /// What may be given up without namespaces: names of [`CLAUSES`].
    pub accept_loss: Vec<String>,
}

/// What of the repository of a writable root may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Git {
    /// Nothing.
    #[default]
    Protect,
    /// In a linked worktree what a commit needs: index, HEAD, objects, refs, logs; not configuration and hooks.
    Commit,
}

/// Which sockets may be a standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StdioSockets {
    /// A connection, and where the network is on one of IP without a peer.
    #[default]
    Connected,
    /// Every one.
    Any,
    /// None.
    None,
}

/// Limits; absent ones are the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpus: Option<u64>,
    /// Open files of one process.
    pub files: Option<u64>,
    /// Seconds from the start to the end.
    pub wall: Option<u64>,
}

/// The keys of the object.
pub const FIELDS: &[&str] = &[
    "private_tmp",
    "devices",
    "git",
    "caches",
    "deny_secrets",
    "nested_git",
    "unix_sockets",
    "unix_datagrams",
    "stdio_sockets",
    "allow_syscalls",
    "limits",
    "proxy",
    "dns",
    "landlock",
    "tcp_ports",
    "isolation",
    "accept_loss",
];
/// The directory below which every Unix socket of the host lies that has a path.
pub const EVERY_SOCKET: &str = "/";
/// The keys of `limits`.
pub const LIMITS: &[&str] = &["pids", "memory", "cpus", "files", "wall"];
/// Values of `stdio_sockets`.
pub const STDIO_SOCKETS: &[(&str, StdioSockets)] = &[("any", StdioSockets::Any), ("none", StdioSockets::None)];
/// Values of `git`.
pub const GIT: &[(&str, Git)] = &[("protect", Git::Protect), ("commit", Git::Commit)];

/// Devices by name.
pub const DEVICES: &[(&str, &str)] = &[
    ("dri", "/dev/dri"),        // GPUs: Intel, AMD, and others of the kernel's own drivers
    ("nvidia", "/dev/nvidia*"), // GPUs of NVIDIA's driver
    ("kfd", "/dev/kfd"),        // AMD's compute interface
    ("dxg", "/dev/dxg"),        // the GPU of WSL
    ("kvm", "/dev/kvm"),        // virtual machines
    ("fuse", "/dev/fuse"),      // needs mount(2) too, which the sandbox refuses: for fusermount(1) outside
    ("tun", "/dev/net/tun"),    // network interfaces of a program
];

/// Groups of system calls; `policy::compile::lifts` has the calls of each, and why they are refused.
pub const SYSCALLS: &[&str] = &["bpf", "interfaces", "keys", "mounts", "namespaces", "perf", "tracing", "userfaultfd"];

/// Below the home directory; only what is there is granted.
pub const CACHES: &[(&str, &[&str])] = &[
    // Not `bin`, `config.toml`, `credentials.toml`.
    (
        "cargo",
        &[".cargo/registry", ".cargo/git", ".cargo/.package-cache", ".cargo/.package-cache-mutate", ".cargo/.global-cache"],
    ),
    ("npm", &[".npm"]),
    ("pnpm", &[".cache/pnpm", ".local/share/pnpm/store"]),
    ("yarn", &[".cache/yarn", ".yarn/berry/cache"]),
    ("go", &[".cache/go-build", "go/pkg/mod", "go/pkg/sumdb"]),
    ("pip", &[".cache/pip"]),
    ("uv", &[".cache/uv"]),
    // Not `init.d` and `gradle.properties`, which every build obeys, nor the wrapper's programs.
    ("gradle", &[".gradle/caches", ".gradle/daemon", ".gradle/native", ".gradle/notifications"]),
];

/// Below the home directory: keys, tokens, passwords.
pub const SECRETS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".kube",
    ".docker/config.json",
    ".config/containers/auth.json",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh",
    ".config/glab-cli",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".cargo/credentials",
    ".gem/credentials",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".terraform.d/credentials.tfrc.json",
    ".vault-token",
    ".password-store",
    ".config/op",
    ".local/share/keyrings",
    ".config/rclone",
    ".pgpass",
    ".my.cnf",
    ".codex/auth.json",
    ".claude/.credentials.json",
];

impl Choices {
    /// Whether anything is asked of the file system, which must then be a restricted one.
    pub fn of_files(&self) -> Option<&'static str> {
        let asked = [
            (self.private_tmp, "private_tmp"),
            (!self.devices.is_empty(), "devices"),
            (self.git != Git::Protect, "git"),
            (!self.caches.is_empty(), "caches"),
            (self.deny_secrets, "deny_secrets"),
            (self.nested_git, "nested_git"),
        ];
        asked.into_iter().find(|(on, _)| *on).map(|(_, name)| name)
    }

    /// Adds a device, if there may be such a one.
    pub fn device(&mut self, name: &str) -> Result<()> {
        let below = name.strip_prefix("/dev/").is_some_and(|rest| !rest.is_empty() && !rest.split('/').any(|part| part == ".."));
        if !below && !DEVICES.iter().any(|(known, _)| *known == name) {
            return Err(unknown("device", name, DEVICES.iter().map(|(name, _)| *name)).hint("or a path below /dev"));
        }
        self.devices.push(name.into());
        Ok(())
    }

    /// Adds a cache.
    pub fn cache(&mut self, name: &str) -> Result<()> {
        if !CACHES.iter().any(|(known, _)| *known == name) {
            return Err(unknown("cache", name, CACHES.iter().map(|(name, _)| *name)));
        }
        self.caches.push(name.into());
        Ok(())
    }

    /// Adds a Unix socket of the host, or a directory of them.
    pub fn unix_socket(&mut self, path: &str) -> Result<()> {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains('\0') {
            return Err(Error::new(format!("no socket `{path}`: expected an absolute path without `..`")));
        }
        self.unix_sockets.push(path.into());
        Ok(())
    }

    /// Adds a port that is reached by name.
    pub fn dns_port(&mut self, number: u64) -> Result<()> {
        port(&number.to_string()).map(|port| self.dns.push(port))
    }

    /// Adds a TCP port that is connected to.
    pub fn tcp_port(&mut self, number: u64) -> Result<()> {
        port(&number.to_string()).map(|port| self.tcp_ports.get_or_insert_default().push(port))
    }

    /// Adds a clause that may be given up.
    pub fn accept(&mut self, name: &str) -> Result<()> {
        if !CLAUSES.iter().any(|(known, ..)| *known == name) {
            return Err(unknown("clause", name, CLAUSES.iter().map(|(name, ..)| *name)));
        }
        self.accept_loss.push(name.into());
        Ok(())
    }

    /// Adds a group of system calls.
    pub fn allow(&mut self, name: &str) -> Result<()> {
        if !SYSCALLS.contains(&name) {
            return Err(unknown("group of system calls", name, SYSCALLS.iter().copied()));
        }
        self.allow_syscalls.push(name.into());
        Ok(())
    }

    /// These, and those of a policy.
    pub fn over(mut self, below: &Choices) -> Choices {
        all(&mut self.devices, &below.devices);
        all(&mut self.caches, &below.caches);
        all(&mut self.unix_sockets, &below.unix_sockets);
        all(&mut self.dns, &below.dns);
        if let Some(below) = &below.tcp_ports {
            all(self.tcp_ports.get_or_insert_default(), below);
        }
        self.proxy = self.proxy.or_else(|| below.proxy.clone());
        all(&mut self.accept_loss, &below.accept_loss);
        self.landlock |= below.landlock;
        self.isolation = if self.isolation == Isolation::default() { below.isolation } else { self.isolation };
        all(&mut self.allow_syscalls, &below.allow_syscalls);
        self.private_tmp |= below.private_tmp;
        self.deny_secrets |= below.deny_secrets;
        self.nested_git |= below.nested_git;
        self.unix_datagrams |= below.unix_datagrams;
        self.git = if self.git == Git::Protect { below.git } else { self.git };
        let stdio = self.stdio_sockets;
        self.stdio_sockets = if stdio == StdioSockets::default() { below.stdio_sockets } else { stdio };
        for (own, below) in self.limits.all_mut().into_iter().zip(below.limits.all()) {
            *own = own.or(below);
        }
        self
    }

    /// Whether a clause may be given up.
    pub fn accepts(&self, clause: Clause) -> bool {
        self.accept_loss.contains(&clause.to_string())
    }

    /// What differs from the default, keys in alphabetical order.
    pub fn canonical_json(&self) -> Option<Value> {
        let mut fields = Map::new();
        let mut put = |key: &str, on: bool, value: Value| on.then(|| fields.insert(key.into(), value));
        put("accept_loss", !self.accept_loss.is_empty(), json!(self.accept_loss));
        put("allow_syscalls", !self.allow_syscalls.is_empty(), json!(self.allow_syscalls));
        put("caches", !self.caches.is_empty(), json!(self.caches));
        put("deny_secrets", self.deny_secrets, json!(true));
        put("devices", !self.devices.is_empty(), json!(self.devices));
        put("dns", !self.dns.is_empty(), json!(self.dns));
        put("git", self.git != Git::Protect, json!(GIT.iter().find(|(_, git)| *git == self.git).map(|(word, _)| *word)));
        let isolation = ISOLATION.iter().find(|(_, isolation)| *isolation == self.isolation).map(|(word, _)| *word);
        put("isolation", self.isolation != Isolation::default(), json!(isolation));
        put("landlock", self.landlock, json!(true));
        let limits: Map<String, Value> =
            self.limits.written().into_iter().map(|(name, text)| (name.into(), json!(text))).collect();
        put("limits", !limits.is_empty(), Value::Object(limits));
        put("nested_git", self.nested_git, json!(true));
        put("private_tmp", self.private_tmp, json!(true));
        let proxy = self.proxy.as_ref().map(Domains::canonical_json);
        put("proxy", proxy.is_some(), json!(proxy));
        let stdio = match self.stdio_sockets {
            StdioSockets::Connected => Value::Null,
            StdioSockets::Any => json!(true),
            StdioSockets::None => json!("none"),
        };
        put("stdio_sockets", !stdio.is_null(), stdio);
        put("tcp_ports", self.tcp_ports.is_some(), json!(self.tcp_ports));
        put("unix_datagrams", self.unix_datagrams, json!(true));
        put("unix_sockets", !self.unix_sockets.is_empty(), json!(self.unix_sockets));
        (!fields.is_empty()).then_some(Value::Object(fields))
    }
}

/// Adds what is not there.
fn all<T: PartialEq + Clone>(own: &mut Vec<T>, below: &[T]) {
    let new: Vec<T> = below.iter().filter(|one| !own.contains(one)).cloned().collect();
    own.extend(new);
}

/// As a word of the command line.
///
/// # Errors
/// It is no port from 1 to 65535.
pub fn port(text: &str) -> Result<u16> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| Error::new(format!("`{text}` is no port from 1 to 65535")))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    Error::new(format!("no {what} `{name}`; known are {}", known.join(", ")))
}

impl Limits {
    /// In the order of [`LIMITS`].
    fn all(&self) -> [Option<u64>; 5] {
        [self.pids, self.memory, self.cpus, self.files, self.wall]
    }

    fn all_mut(&mut self) -> [&mut Option<u64>; 5] {
        [&mut self.pids, &mut self.memory, &mut self.cpus, &mut self.files, &mut self.wall]
    }

    /// Whether anything is limited for which there may be a cgroup.
    pub fn of_cgroup(&self) -> bool {
        self.pids.is_some() || self.memory.is_some() || self.cpus.is_some()
    }

    /// Sets one by its name: a natural number; of `memory` also with `k`, `m`, `g` (to base 1024), of `cpus` also a decimal fraction.
    pub fn set(&mut self, name: &str, text: &str) -> Result<()> {
        let at = LIMITS.iter().position(|known| *known == name).ok_or_else(|| unknown("limit", name, LIMITS.iter().copied()))?;
        let value = match name {
            "memory" => bytes(text),
            "cpus" => thousandths(text),
            _ => text.parse().ok(),
        };
        let value = value.filter(|value| *value > 0 && *value <= i64::MAX as u64);
        let value = value.ok_or_else(|| Error::new(format!("`{text}` is no limit of `{name}`; {}", FORMS[at])))?;
        *self.all_mut()[at] = Some(value);
        Ok(())
    }

    /// Each as [`Limits::set`] reads it, names in alphabetical order.
    fn written(&self) -> Vec<(&'static str, String)> {
        let text = |name: &str, value: u64| match name {
            "cpus" => format!("{}.{:03}", value / 1000, value % 1000),
            _ => value.to_string(),
        };
        let mut all: Vec<_> =
            LIMITS.iter().zip(self.all()).filter_map(|(name, value)| Some((*name, text(name, value?)))).collect();
        all.sort_unstable();
        all
    }
}

/// What is expected, in the order of [`LIMITS`].
const FORMS: [&str; 5] = [
    "a number of processes, from 1",
    "a number of bytes, or such as `512m` or `2g`",
    "a number of processors, such as `2` or `0.5`",
    "a number of files, from 1",
    "a number of seconds, from 1",
];

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << (10 * power))
}

fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = format!("{part:0<3}").parse::<u64>().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(pairs: &[(&str, &str)]) -> Result<Limits> {
        let mut limits = Limits::default();
        pairs.iter().try_for_each(|(name, text)| limits.set(name, text)).map(|()| limits)
    }

    #[test]
    fn a_limit_is_a_number_and_its_unit() {
        let all = limits(&[("memory", "2g"), ("cpus", "1.5"), ("pids", "64"), ("files", "256"), ("wall", "60")]).unwrap();
        assert_eq!(all.all(), [Some(64), Some(2 << 30), Some(1500), Some(256), Some(60)]);
        let written = all.written();
        assert_eq!(limits(&written.iter().map(|(n, t)| (*n, t.as_str())).collect::<Vec<_>>()).unwrap(), all);
        for (name, text) in [
            ("pids", "0"),
            ("pids", "-1"),
            ("pids", "2k"),
            ("memory", "2x"),
            ("memory", "9999999999999g"),
            ("cpus", "1.2345"),
            ("cpus", ".5x"),
            ("wall", "1s"),
            ("disk", "1"),
        ] {
            assert!(limits(&[(name, text)]).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn names_are_known_or_refused() {
        let mut choices = Choices::default();
        for device in ["dri", "/dev/nvidia*", "/dev/bus/usb"] {
            choices.device(device).unwrap();
        }
        for device in ["gpu", "/etc/passwd", "/dev/", "/dev/../etc"] {
            assert!(choices.device(device).is_err(), "{device}");
        }
        assert!(choices.unix_socket("/run/x.sock").is_ok());
        for path in ["", "x", "~/x", "/run/../etc", "/a\0b"] {
            assert!(choices.unix_socket(path).is_err(), "{path}");
        }
        assert!(choices.cache("cargo").is_ok() && choices.cache("bazel").is_err());
        assert!(choices.allow("keys").is_ok() && choices.allow("io_uring").is_err());
    }

    #[test]
    fn switches_go_over_the_policy() {
        let of = |pids: &str, cache: &str| {
            let mut choices = Choices { limits: limits(&[("pids", pids)]).unwrap(), ..Choices::default() };
            choices.cache(cache).unwrap();
            choices
        };
        let below = Choices { private_tmp: true, git: Git::Commit, ..of("7", "npm") };
        let over = of("9", "go").over(&below);
        assert_eq!(
            over,
            Choices { private_tmp: true, git: Git::Commit, caches: vec!["go".into(), "npm".into()], ..of("9", "go") }
        );
        let stdio = |stdio_sockets| Choices { stdio_sockets, ..Choices::default() };
        let [given, any, none] = [StdioSockets::Connected, StdioSockets::Any, StdioSockets::None].map(stdio);
        assert_eq!([given.clone().over(&none), none.clone().over(&any), any.clone().over(&none)], [none.clone(), none, any]);
    }
}
