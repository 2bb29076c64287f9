//! What a payload says of the surroundings that it finds, from inside; compared as a whole with what it says undisturbed.

use std::path::Path;

/// A payload's script, for any shell of POSIX: builtins and one `ls`, since it is run tens of thousands of times.
pub const SCRIPT: &str = r#"echo testimony
every() { while read -r line; do echo "$1 $line"; done <"$2"; }
while read -r line; do
  case $line in Uid*|Gid*|Groups*|Cap*|NoNewPrivs*|Seccomp:*|NSpid*|SigBlk*|Umask*) echo "status $line" ;; esac
done </proc/self/status
while read -r id parent device rest; do echo "mount $rest"; done </proc/self/mountinfo
every uid_map /proc/self/uid_map
every gid_map /proc/self/gid_map
every cgroup /proc/self/cgroup
every hostname /proc/sys/kernel/hostname
every oom_score_adj /proc/self/oom_score_adj
for kind in c d f n s t v; do echo "ulimit $kind $(ulimit -$kind 2>/dev/null)"; done
echo "directory $(pwd)"
echo "terminal $(tty 2>&1)"
for path in $TRIED; do
  { read -r word <"$path"; } 2>/dev/null && echo "reads $path $word" || echo "reads not $path"
  { true >>"$path"; } 2>/dev/null && echo "writes $path" || echo "writes not $path"
done
$ASKS
for file in /proc/self/fd/*; do [ "${file##*/}" -gt 2 ] && echo "descriptor ${file##*/}"; done
ls -l /proc/self/ns
echo end
"#;

/// Numbers that differ between two launches which mean the same: of peer groups, and of namespaces that are the launch's own.
fn plain(line: &str) -> Option<String> {
    if let Some((kind, inode)) = line.split_once("-> ").map(|(_, link)| link).and_then(|link| link.split_once(":[")) {
        let host = std::fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap_or_default();
        let whose = if host.as_os_str() == format!("{kind}:[{inode}").as_str() { "the host's" } else { "its own" };
        return Some(format!("namespace {kind}: {whose}"));
    }
    if let Some(pids) = line.strip_prefix("status NSpid:") {
        // How many processes came before is another matter: one that cannot be kept from its own file is made again.
        let whose = |pid| if pid == "1" { "the first" } else { "another" };
        return Some(format!("process: {}", pids.split_whitespace().map(whose).collect::<Vec<_>>().join(", ")));
    }
    let words = line.split(' ').map(|word| match word.split_once(':') {
        Some((tag @ ("shared" | "master" | "propagate_from"), _)) => tag,
        _ => word,
    });
    // Of `ls`, and of the probe.
    (!line.starts_with("total ") && !line.starts_with("end\t")).then(|| words.collect::<Vec<_>>().join(" "))
}

/// A payload's testimony, made comparable; none when it has not run.
pub fn of(output: &str) -> Option<Vec<String>> {
    output.contains("testimony").then(|| output.lines().filter_map(plain).collect())
}

/// The first line in which a testimony differs from the undisturbed one.
pub fn difference(undisturbed: &[String], said: &[String]) -> Option<String> {
    let missing = undisturbed.iter().find(|line| !said.contains(line)).map(|line| format!("lacks `{line}`"));
    missing.or_else(|| said.iter().find(|line| !undisturbed.contains(line)).map(|line| format!("has `{line}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_groups_and_own_namespaces_are_the_same_in_every_launch() {
        let one = of("testimony\nmount / / rw master:12 - tmpfs\ntotal 0\nlrwx 1 mnt -> mnt:[1]\nend").unwrap();
        let two = of("testimony\nmount / / rw master:9 - tmpfs\nlrwx 1 mnt -> mnt:[2]\nend").unwrap();
        assert_eq!(difference(&one, &two), None);
        assert!(one.contains(&"namespace mnt: its own".to_string()));
        let process = |pids: &str| of(&format!("testimony\nstatus NSpid:\t{pids}\nend")).unwrap();
        assert!(process("4") == process("5") && process("1") != process("4") && process("4") != process("4\t4"));
    }

    #[test]
    fn what_is_missing_or_more_is_told() {
        let (all, some) = (vec!["a".to_string(), "b".into()], vec!["a".to_string()]);
        assert_eq!(difference(&all, &some).unwrap(), "lacks `b`");
        assert_eq!(difference(&some, &all).unwrap(), "has `b`");
        assert_eq!(of("nothing"), None);
    }
}
