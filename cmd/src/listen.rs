//! Sockets that systemd, or an engine in its place, has opened for the container: `$LISTEN_FDS` of them from descriptor 3 on
//! (sd_listen_fds(3)).

use libruntime::annotation::POLICY_SHA256;
use libruntime::plan::annotation_of;
use libruntime::run::Options;
use libruntime::{Error, Result};
use oci_spec::runtime::Spec;

/// The variables that speak of them.
pub const VARIABLES: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// How many there are, and what the container's process is told of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listen {
    fds: u32,
    env: Vec<String>,
}

impl Listen {
    /// For the process of `spec`. What a policy says is all that a sandbox gets.
    ///
    /// # Errors
    /// `LISTEN_FDS` is no number, or one of the descriptors is not open or a directory.
    pub fn inherited(spec: &Spec) -> Result<Listen> {
        let own = std::process::id();
        match annotation_of(spec, POLICY_SHA256) {
            Some(_) => Ok(Listen::default()),
            None => {
                let listen = read(|name| std::env::var(name).ok(), own)?;
                (3..3 + listen.fds).try_for_each(is_fit)?;
                Ok(listen)
            }
        }
    }

    /// Before the descriptors of `--preserve-fds`, as with runc and crun.
    pub fn before(self, options: Options) -> Options {
        Options { preserve_fds: options.preserve_fds.saturating_add(self.fds), listen: self.env, ..options }
    }
}

/// Through a directory every path below it is reached past all mounts (CVE-2024-21626).
fn is_fit(fd: u32) -> Result<()> {
    let wrong = |what: &str| Error::new(format!("descriptor {fd}, which LISTEN_FDS counts, {what}"));
    match std::fs::metadata(format!("/proc/self/fd/{fd}")) {
        Ok(file) if file.is_dir() => Err(wrong("is a directory, which would lead out of the container past every mount")),
        Ok(_) => Ok(()),
        Err(e) => Err(wrong("cannot be looked at").cause(e)),
    }
}

/// Meant for another process they are not ours to pass on. Who says for nobody means us, as with crun.
fn read(variable: impl Fn(&str) -> Option<String>, own: u32) -> Result<Listen> {
    let [count, pid, names] = VARIABLES.map(variable);
    let Some(count) = count.filter(|_| pid.is_none_or(|pid| pid == own.to_string())) else { return Ok(Listen::default()) };
    let wrong = || Error::new(format!("the variable LISTEN_FDS is `{count}`, and no number of descriptors"));
    let fds = count.parse().ok().filter(|fds| *fds <= i32::MAX as u32 - 3).ok_or_else(wrong)?;
    if fds == 0 {
        return Ok(Listen::default());
    }
    // The first process of the container.
    let env =
        [Some(format!("LISTEN_FDS={fds}")), Some("LISTEN_PID=1".into()), names.map(|names| format!("LISTEN_FDNAMES={names}"))];
    Ok(Listen { fds, env: env.into_iter().flatten().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(given: &[(&str, &str)]) -> std::result::Result<String, String> {
        let variable = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        let text = |listen: Listen| format!("{} {}", listen.fds, listen.env.join(" "));
        read(variable, 70).map(text).map_err(|e| e.to_string())
    }

    #[test]
    fn only_what_is_meant_for_this_process_is_passed_on() {
        let fds = ("LISTEN_FDS", "2");
        assert_eq!(said(&[fds, ("LISTEN_PID", "70")]).unwrap(), "2 LISTEN_FDS=2 LISTEN_PID=1");
        assert_eq!(said(&[fds, ("LISTEN_FDNAMES", "a:b")]).unwrap(), "2 LISTEN_FDS=2 LISTEN_PID=1 LISTEN_FDNAMES=a:b");
        for none in [&[][..], &[("LISTEN_PID", "70")], &[fds, ("LISTEN_PID", "71")], &[("LISTEN_FDS", "0")]] {
            assert_eq!(said(none).unwrap(), "0 ", "{none:?}");
        }
        for wrong in ["", "x", "-1", "4294967295"] {
            assert!(said(&[("LISTEN_FDS", wrong)]).unwrap_err().contains("no number"), "{wrong}");
        }
    }
}
