//! Where criu is.

use crate::sys::file;
use crate::{Error, Result};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// For callers that have none (engines), and for the programs that criu itself starts.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program that `--criu` names, else `criu`.
///
/// # Errors
/// It is not installed.
pub(super) fn find(asked: Option<&Path>) -> Result<PathBuf> {
    let name = asked.unwrap_or(Path::new("criu"));
    let found = match name.components().count() {
        1 => std::env::split_paths(&path()).map(|dir| dir.join(name)).find(|program| is_executable(program)),
        _ => Some(name.to_owned()).filter(|program| is_executable(program)),
    };
    found.ok_or_else(|| {
        Error::new(format!("`{}` is not installed, which checkpoints and restores containers", name.display()))
            .hint("Debian's package is `criu`; `--criu PROGRAM` names another place")
    })
}

/// What `criu --version` says: major and minor; (0, 0) when it says something else.
pub(super) fn version(program: &Path) -> Result<(u32, u32)> {
    let said = std::process::Command::new(program).arg("--version").stdin(std::process::Stdio::null()).output();
    let said = said.map_err(|e| Error::new(format!("cannot run `{}`", program.display())).cause(e))?;
    Ok(parse(&String::from_utf8_lossy(&said.stdout)).unwrap_or_default())
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().find_map(|line| line.strip_prefix("Version: "))?.split('.');
    Some((numbers.next()?.trim().parse().ok()?, numbers.next()?.trim().parse().ok()?))
}

/// The caller's, or one that every system has.
pub(super) fn path() -> OsString {
    std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| PATH.into())
}

fn is_executable(program: &Path) -> bool {
    let name = CString::new(program.as_os_str().as_bytes());
    program.is_file() && name.is_ok_and(|name| file::executable(&name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_major_and_minor() {
        let table = [("Version: 3.17.1\n", Some((3, 17))), ("Version: 4.1\nGitID: v4.1\n", Some((4, 1))), ("criu", None)];
        assert!(table.into_iter().all(|(text, version)| parse(text) == version));
    }

    #[test]
    fn a_program_is_looked_for_or_named_and_what_is_missing_is_said() {
        assert!(find(Some(Path::new("sh"))).unwrap().ends_with("sh"));
        assert_eq!(find(Some(Path::new("/bin/sh"))).unwrap(), Path::new("/bin/sh"));
        for missing in ["/bin", "/no/such/criu", "no-such-criu"] {
            let said = find(Some(Path::new(missing))).unwrap_err().to_string();
            assert!(said.starts_with(&format!("`{missing}` is not installed")), "{said}");
        }
    }
}
