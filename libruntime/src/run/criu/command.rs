//! criu's command lines. Pure: what they speak of has been found before.

use super::{Checkpoint, Criu, Restore};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What `dump` and `restore` are told besides their options.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The container's root directory on the host.
    pub root: OsString,
    /// `mnt[…]:…`, `net[…]:…`, `file[…]`.
    pub external: Vec<OsString>,
    /// `fd[…]:…`.
    pub inherit: Vec<OsString>,
    /// `ipc:PATH`.
    pub join: Vec<OsString>,
    /// `memory:/path`; of version 2 only the path.
    pub cgroup_roots: Vec<OsString>,
    /// The directory whose freezer stops the container.
    pub freezer: Option<OsString>,
}

pub(super) const DUMP_LOG: &str = "dump.log";
pub(super) const RESTORE_LOG: &str = "restore.log";

/// `criu dump`, or `criu pre-dump`, of the process tree below `pid`.
pub(super) fn dump(options: &Checkpoint, found: &Found, pid: i32) -> Vec<OsString> {
    let verb = if options.pre_dump { "pre-dump" } else { "dump" };
    let mut line = common(verb, &options.criu, found, DUMP_LOG);
    line.value("--tree", pid.to_string());
    line.flag("--leave-running", options.leave_running);
    line.option("--freeze-cgroup", found.freezer.as_ref());
    line.option("--prev-images-dir", options.parent.as_ref());
    line.flag("--track-mem", options.parent.is_some() || options.pre_dump);
    if let Some((address, port)) = &options.page_server {
        line.flag("--page-server", true);
        line.value("--address", address);
        line.value("--port", port.to_string());
    }
    line.option("--status-fd", options.status_fd.map(|fd| fd.to_string()));
    line.0
}

/// `criu restore`; the new process is a child of criu's parent, and criu writes its number to `pid_file`, which must not be there.
pub(super) fn restore(options: &Restore, found: &Found, pid_file: &Path, script: Option<&OsStr>) -> Vec<OsString> {
    let mut line = common("restore", &options.criu, found, RESTORE_LOG);
    line.flag("--restore-detached", true);
    line.flag("--restore-sibling", true);
    line.value("--pidfile", pid_file);
    found.cgroup_roots.iter().for_each(|root| line.value("--cgroup-root", root));
    found.join.iter().for_each(|namespace| line.value("--join-ns", namespace));
    found.inherit.iter().for_each(|fd| line.value("--inherit-fd", fd));
    line.option("--lsm-profile", options.lsm_profile.as_ref());
    line.option("--lsm-mount-context", options.lsm_mount_context.as_ref());
    line.option("--action-script", script);
    line.0
}

fn common(verb: &str, criu: &Criu, found: &Found, log: &str) -> Line {
    let mut line = Line(vec![verb.into()]);
    line.value("--images-dir", &criu.images);
    line.option("--work-dir", criu.work.as_ref());
    line.value("--log-file", log);
    line.flag("-v4", true);
    line.value("--root", &found.root);
    line.flag(&format!("--manage-cgroups={}", criu.cgroups.word()), true);
    line.flag("--tcp-established", criu.tcp_established);
    line.flag("--ext-unix-sk", criu.ext_unix_sk);
    line.flag("--shell-job", criu.shell_job);
    line.flag("--file-locks", criu.file_locks);
    line.flag("--auto-dedup", criu.auto_dedup);
    line.flag("--lazy-pages", criu.lazy_pages);
    line.option("--empty-ns", criu.empty_network.then_some("net"));
    found.external.iter().for_each(|external| line.value("--external", external));
    line
}

struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, name: &str, wanted: bool) {
        self.0.extend(wanted.then(|| name.into()));
    }

    fn value(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.0.extend([name.into(), value.as_ref().to_owned()]);
    }

    fn option(&mut self, name: &str, value: Option<impl AsRef<OsStr>>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cgroups;
    use super::*;

    fn criu() -> Criu {
        Criu { images: "/i".into(), work: Some("/w".into()), ..Criu::default() }
    }

    fn found() -> Found {
        Found { root: "/b/rootfs".into(), external: vec!["mnt[/data]:/data".into()], ..Found::default() }
    }

    fn text(words: Vec<OsString>) -> String {
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    const DIRS: &str = "--images-dir /i --work-dir /w --log-file";

    #[test]
    fn a_dump_names_the_tree_and_what_is_not_the_containers() {
        let options = Checkpoint { criu: criu(), ..Checkpoint::default() };
        let found = Found { freezer: Some("/sys/fs/cgroup/x".into()), ..found() };
        let line = format!(
            "dump {DIRS} dump.log -v4 --root /b/rootfs --manage-cgroups=soft --external mnt[/data]:/data --tree 7 \
             --freeze-cgroup /sys/fs/cgroup/x"
        );
        assert_eq!(text(dump(&options, &found, 7)), line);
    }

    #[test]
    fn every_option_of_a_checkpoint_has_its_words() {
        type Change = fn(&mut Checkpoint);
        let table: &[(Change, &str)] = &[
            (|o| o.leave_running = true, "--leave-running"),
            (|o| o.parent = Some("../before".into()), "--prev-images-dir ../before --track-mem"),
            (|o| o.page_server = Some(("::1".into(), 77)), "--page-server --address ::1 --port 77"),
            (|o| o.status_fd = Some(3), "--status-fd 3"),
            (|o| o.criu.tcp_established = true, "--tcp-established"),
            (|o| o.criu.ext_unix_sk = true, "--ext-unix-sk"),
            (|o| o.criu.shell_job = true, "--shell-job"),
            (|o| o.criu.file_locks = true, "--file-locks"),
            (|o| o.criu.auto_dedup = true, "--auto-dedup"),
            (|o| o.criu.lazy_pages = true, "--lazy-pages"),
            (|o| o.criu.empty_network = true, "--empty-ns net"),
            (|o| o.criu.cgroups = Cgroups::Full, "--manage-cgroups=full"),
            (|o| o.criu.cgroups = Cgroups::Strict, "--manage-cgroups=strict"),
            (|o| o.criu.cgroups = Cgroups::Ignore, "--manage-cgroups=ignore"),
        ];
        let plain = Checkpoint { criu: criu(), ..Checkpoint::default() };
        for (change, words) in table {
            let mut options = plain.clone();
            change(&mut options);
            let line = text(dump(&options, &found(), 7));
            assert!(line.contains(words), "{words}: {line}");
            assert!(!text(dump(&plain, &found(), 7)).contains(words), "{words}");
        }
    }

    #[test]
    fn a_pre_dump_tracks_memory() {
        let options = Checkpoint { criu: criu(), pre_dump: true, ..Checkpoint::default() };
        let line = text(dump(&options, &Found::default(), 7));
        assert!(line.starts_with("pre-dump --images-dir /i ") && line.ends_with(" --tree 7 --track-mem"), "{line}");
    }

    #[test]
    fn a_restored_process_is_a_sibling_of_criu() {
        let words = |list: &[&str]| list.iter().map(OsString::from).collect();
        let options = Restore { criu: criu(), lsm_profile: Some("apparmor:x".into()), ..Restore::default() };
        let found = Found {
            inherit: words(&["fd[1]:pipe:[5]"]),
            join: words(&["ipc:/n"]),
            cgroup_roots: words(&["memory:/x", "/y"]),
            ..found()
        };
        let line = format!(
            "restore {DIRS} restore.log -v4 --root /b/rootfs --manage-cgroups=soft --external mnt[/data]:/data --restore-detached \
             --restore-sibling --pidfile /p --cgroup-root memory:/x --cgroup-root /y --join-ns ipc:/n --inherit-fd fd[1]:pipe:[5] \
             --lsm-profile apparmor:x --action-script /s"
        );
        assert_eq!(text(restore(&options, &found, Path::new("/p"), Some(OsStr::new("/s")))), line);
    }
}
