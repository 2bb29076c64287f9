//! What criu's log says of a failure.

use crate::Error;
use std::path::Path;

/// How many of its last sentences are told; the first of them mostly is the reason, the others what followed from it.
const TOLD: usize = 3;

/// criu has failed: why, and where the whole story stands. `said` is what it wrote to standard error, before it had a log.
pub(super) fn failure(what: &str, log: &Path, said: &str) -> Error {
    let text = std::fs::read(log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let errors = match errors(&text) {
        none if none.is_empty() => errors(said),
        found => found,
    };
    let error = Error::new(what).hint(format!("criu's log is `{}`", log.display()));
    if errors.is_empty() { error.cause("criu failed without a word") } else { error.cause(errors.join("; ")) }
}

/// `(00.012345)      7: Error (criu/cr-dump.c:1781): Dumping FAILED.` → `Dumping FAILED.`
pub(crate) fn errors(text: &str) -> Vec<&str> {
    let sentence = |line: &'_ str| -> Option<usize> {
        let error = line.find("Error (")?;
        Some(error + line.get(error..)?.find("): ")? + 3)
    };
    let all: Vec<&str> = text.lines().filter_map(|line| line.get(sentence(line)?..)).map(str::trim).collect();
    all[all.len().saturating_sub(TOLD)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
(00.000001) Warn  (criu/kerndat.c:1): nothing
(00.000002) Error (criu/util.c:642): exited, status=1
(00.698127)    156: Error (criu/tty.c:1843): tty: Found dangling tty
(00.698128) Unfreezing tasks into 1
(00.698129) Error (criu/cr-dump.c:1710): Dump mappings (pid: 7) failed with -1
(00.698130) Error (criu/cr-dump.c:2111): Dumping FAILED.
";

    #[test]
    fn the_last_errors_of_the_log_are_the_cause_and_the_log_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("dump.log");
        std::fs::write(&log, LOG).unwrap();
        let said = failure("cannot x", &log, "").to_string();
        let why = "cannot x: tty: Found dangling tty; Dump mappings (pid: 7) failed with -1; Dumping FAILED.";
        assert_eq!(said, format!("{why} (hint: criu's log is `{}`)", log.display()));
    }

    #[test]
    fn without_a_log_standard_error_tells() {
        let said = |text| failure("cannot x", Path::new("/no/such/log"), text).cause.unwrap();
        assert_eq!(said("Error (criu/config.c:1059): invalid argument for -t: -D\n"), "invalid argument for -t: -D");
        assert_eq!(said("?"), "criu failed without a word");
    }
}
