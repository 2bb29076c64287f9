//! The environment that a command gets: a fixed one in a bundle, the caller's in `sandbox`, and `--env` on top.

use libruntime::policy::view::View;
use libruntime::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `NAME=VALUE` pairs in order, and what could not be taken over.
#[derive(Debug, Default)]
pub struct Environment {
    pub pairs: Vec<String>,
    pub warnings: Vec<String>,
}

impl Environment {
    /// For a bundle: nothing of the caller's but what the view says, so that the same view gives the same bytes.
    pub fn fixed(view: &dyn View, terminal: bool) -> Result<Environment> {
        let mut env = Environment { pairs: vec![PATH.into(), "LANG=C.UTF-8".into()], warnings: Vec::new() };
        env.set_path("HOME", view.home())?;
        env.set_path("TMPDIR", view.tmpdir())?;
        if terminal {
            env.pairs.push("TERM=xterm".into());
        }
        Ok(env)
    }

    /// The caller's own.
    pub fn inherited() -> Environment {
        let mut env = Environment::default();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => env.pairs.push(format!("{name}={value}")),
                (name, _) => env.warnings.push(not_passed_on(name)),
            }
        }
        env
    }

    /// `--env NAME=VALUE` sets, `--env NAME` copies from the caller.
    pub fn apply(&mut self, args: &[OsString]) -> Result<()> {
        args.iter().try_for_each(|arg| self.apply_one(arg))
    }

    fn apply_one(&mut self, arg: &OsString) -> Result<()> {
        let text = arg.to_str().ok_or_else(|| not_text(&format!("`--env {}`", arg.display())))?;
        match text.split_once('=') {
            _ if text.is_empty() || text.starts_with('=') => Err(Error::new(format!("`--env {text}` names no variable"))),
            Some((name, value)) => {
                self.set(name, value);
                Ok(())
            }
            None => self.copy(text),
        }
    }

    fn copy(&mut self, name: &str) -> Result<()> {
        match std::env::var(name) {
            Ok(value) => self.set(name, &value),
            Err(std::env::VarError::NotPresent) => {
                self.warnings.push(format!("`--env {name}`: the caller has no such variable"));
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(not_text(&format!("the value of `{name}`")));
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        match self.pairs.iter_mut().find(|p| p.split_once('=').is_some_and(|(n, _)| n == name)) {
            Some(old) => *old = pair,
            None => self.pairs.push(pair),
        }
    }

    fn set_path(&mut self, name: &str, path: Option<PathBuf>) -> Result<()> {
        let Some(path) = path.filter(|p| !p.as_os_str().is_empty()) else {
            return Ok(());
        };
        let value = path.to_str().ok_or_else(|| not_text(&format!("`{name}`")))?;
        self.set(name, value);
        Ok(())
    }
}

fn not_passed_on(name: std::result::Result<String, OsString>) -> String {
    let name = name.unwrap_or_else(|name| name.display().to_string());
    format!("the variable `{name}` is not passed on: it is not UTF-8, which config.json cannot carry")
}

/// OCI's config.json is JSON, and JSON has no other text.
pub fn not_text(what: &str) -> Error {
    Error::new(format!("{what} is not UTF-8, which config.json cannot carry"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn env_replaces_appends_and_copies() {
        let mut env = Environment { pairs: vec!["A=1".into(), "AB=2".into()], warnings: vec![] };
        env.apply(&["A=x=y".into(), "C=".into(), "PATH".into(), "NO_SUCH_VARIABLE_".into()]).unwrap();
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        assert_eq!(env.pairs, ["A=x=y", "AB=2", "C=", &path]);
        assert_eq!(env.warnings.len(), 1);
    }

    #[test]
    fn a_variable_needs_a_name_and_text() {
        let mut env = Environment::default();
        for bad in [OsString::from(""), "=x".into(), OsString::from_vec(b"A=\xff".to_vec())] {
            assert!(env.apply(&[bad]).is_err());
        }
    }
}
