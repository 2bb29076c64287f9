//! What a payload says of the surroundings that it finds, from inside; compared as a whole with what it says undisturbed.

use std::path::Path;

/// In every payload's script, and in nobody else's.
pub const BEGIN: &str = "echo testimony";

/// A payload's script, for any shell of POSIX: builtins, one `stat` and the probe, since it is run tens of thousands of times.
pub const SCRIPT: &str = r#"echo testimony
every() { while read -r line; do echo "$1 $line"; done <"$2"; }
while read -r line; do
  case $line in
    Uid*|Gid*|Groups*|Cap*|NoNewPrivs*|Seccomp*|NSpid*|SigBlk*|SigIgn*|Umask*|Specul*|*_allowed_list*) echo "status $line" ;;
  esac
done </proc/self/status
while read -r id parent device rest; do echo "mount $rest"; done </proc/self/mountinfo
for map in uid_map gid_map setgroups; do every $map /proc/self/$map; done
every cgroup /proc/self/cgroup
for group in $GROUPS; do
  [ -e "$group/cgroup.procs" ] && while read -r pid; do [ "$pid" = $$ ] && echo "in $group"; done <"$group/cgroup.procs"
  for file in pids.max memory.limit_in_bytes memory.max cpu.shares cpu.weight cpuset.cpus cpuset.mems devices.list; do
    [ -e "$group/$file" ] && every "$group/$file" "$group/$file"
  done
done
every hostname /proc/sys/kernel/hostname
every domainname /proc/sys/kernel/domainname
# A number there is read in one piece or not at all.
read -r ttl </proc/sys/net/ipv4/ip_default_ttl
[ -n "$ttl" ] && echo "ttl $ttl"
every oom_score_adj /proc/self/oom_score_adj
every limit /proc/self/limits
every personality /proc/self/personality
every clock /proc/self/timens_offsets
while read -r line; do case $line in *-*127.0.0.1) echo "loopback is up" ;; esac; done </proc/self/net/fib_trie
if read -r line </proc/self/stat; then
  set -- ${line##*) }
  echo "scheduling: priority ${16}, nice ${17}, real time ${38}, policy ${39}"
  [ "$4" = $$ ] && echo "session its own" || echo "session another's"
  [ "$5" = 0 ] && echo "no controlling terminal" || echo "a controlling terminal"
fi
{ true </proc/1/environ; } 2>/dev/null && echo "looks into the first process"
[ -e /trace/hooks ] && every hook /trace/hooks
export -p
printf 'directory '
pwd -P
echo "terminal $(tty 2>&1)"
for path in $TRIED; do
  { read -r word <"$path"; } 2>/dev/null && echo "reads $path $word" || echo "reads not $path"
  { true >>"$path"; } 2>/dev/null && echo "writes $path" || echo "writes not $path"
done
$ASKS
for file in /proc/self/fd/*; do [ "${file##*/}" -gt 2 ] && echo "descriptor ${file##*/}"; done
for path in /*; do echo "there $path"; done
for link in fd stdin stdout stderr ptmx; do [ -h /dev/$link ] && echo "link /dev/$link"; done
stat -L -c 'node %n %f %t:%T %u:%g %i' /tmp /tmp/in /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx /dev/console /proc/self/fd/0 \
  /proc/self/ns/* 2>/dev/null
echo end
"#;

/// Numbers that differ between two launches which mean the same: of peer groups, and of namespaces that are the launch's own.
fn plain(line: &str) -> Option<String> {
    if let Some((node, inode)) = line.strip_prefix("node ").and_then(|node| node.rsplit_once(' ')) {
        let Some(kind) = node.split(' ').next().and_then(|path| path.strip_prefix("/proc/self/ns/")) else {
            return Some(format!("node {node}"));
        };
        let host = std::fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap_or_default();
        let whose = if host.to_string_lossy().ends_with(&format!(":[{inode}]")) { "the host's" } else { "its own" };
        return Some(format!("namespace {kind}: {whose}"));
    }
    if let Some(set) = line.strip_prefix("status SigIgn:\t") {
        // The C library's own two, which posix_spawn(3) ignores if there are threads.
        return Some(format!("ignored {:x}", u64::from_str_radix(set, 16).ok()? & !(3 << 31)));
    }
    if let Some((proxy, _port)) = line.split_once("127.0.0.1:").filter(|_| line.starts_with("export ")) {
        return Some(format!("{proxy}127.0.0.1"));
    }
    if let Some(limit) = line.strip_prefix("limit ") {
        return Some(format!("limit {}", limit.split_whitespace().collect::<Vec<_>>().join(" ")));
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
    // The probe's own.
    (!line.starts_with("end\t")).then(|| words.collect::<Vec<_>>().join(" "))
}

/// A payload's testimony, made comparable, with what a terminal makes of the ends of its lines; none when it has not run.
pub fn of(output: &str) -> Option<Vec<String>> {
    output.contains("testimony").then(|| output.split_terminator('\n').filter_map(plain).collect())
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
        let one = of("testimony\nmount / / rw master:12 - tmpfs\nend\tok\t\nnode /proc/self/ns/mnt 8124 0:0 0:0 1\nend").unwrap();
        let two = of("testimony\nmount / / rw master:9 - tmpfs\nnode /proc/self/ns/mnt 8124 0:0 0:0 2\nend").unwrap();
        assert_eq!(difference(&one, &two), None);
        assert!(one.contains(&"namespace mnt: its own".to_string()));
        let process = |pids: &str| of(&format!("testimony\nstatus NSpid:\t{pids}\nend")).unwrap();
        assert!(process("4") == process("5") && process("1") != process("4") && process("4") != process("4\t4"));
    }

    #[test]
    fn a_node_and_a_limit_are_told_without_what_differs_between_launches() {
        let said = of("testimony\nnode /dev/null 21b6 1:3 0:0 77\nlimit Max open files     123     123  files\nend").unwrap();
        assert!(said.contains(&"node /dev/null 21b6 1:3 0:0".to_string()), "{said:?}");
        assert!(said.contains(&"limit Max open files 123 123 files".to_string()), "{said:?}");
    }

    #[test]
    fn what_is_missing_or_more_is_told() {
        let (all, some) = (vec!["a".to_string(), "b".into()], vec!["a".to_string()]);
        assert_eq!(difference(&all, &some).unwrap(), "lacks `b`");
        assert_eq!(difference(&some, &all).unwrap(), "has `b`");
        assert_eq!(of("nothing"), None);
    }
}
