//! What the machine boots: Debian's kernel, and a root file system in memory with busybox, the suite itself, the runtimes and what
//! they are linked with.

use super::cpio::Archive;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `scripts/packages vm` unpacks the kernel.
const CACHE: &str = "/var/cache/codexrun/vm";
const BUSYBOX: &str = "/bin/busybox";
const SYSTEMD: &str = "/lib/systemd/systemd";
const SYSTEMCTL: &str = "/usr/bin/systemctl";
const DBUS: &str = "/usr/bin/dbus-daemon";
const PARSER: &str = "sbin/apparmor_parser";
/// For a disk, in the order in which they need one another.
const MODULES: &[&str] = &["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"];
/// The tree lies in a directory of its own: pivot_root(2) refuses the file system that the kernel begins with, so that `/init` makes
/// this one its root before anything else.
pub const TREE: &str = "/tree";
const DIRS: &[&str] =
    &["bin", "dev", "etc", "lib", "lib64", "modules", "opt", "proc", "root", "run", "sbin", "sys", "tmp", "usr"];
const DEEP: &[&str] = &["usr/bin", "usr/sbin", "usr/lib", "var", "var/tmp"];
const LINKS: &[(&str, &str)] = &[("bin/sh", "busybox"), ("usr/bin/test", "../../bin/busybox")];
const FILES: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ncodexrun-test:x:1001:1001::/tmp:/bin/sh\n"),
    ("etc/group", "root:x:0:\ncodexrun-test:x:1001:\n"),
    ("etc/profile.apparmor", include_str!("profile.apparmor")),
    ("etc/start", include_str!("start.sh")),
];
/// systemd's, with nothing in it but what the cases need: the bus, the systemd of an ordinary user, and the suite.
const UNITS: &[(&str, &str)] = &[
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("etc/suite", include_str!("systemd.sh")),
    ("etc/dbus.conf", include_str!("dbus.conf")),
    ("etc/systemd/system/default.target", include_str!("default.target")),
    ("etc/systemd/system/dbus.socket", include_str!("dbus.socket")),
    ("etc/systemd/system/dbus.service", include_str!("dbus.service")),
    ("etc/systemd/system/user@.service", include_str!("user@.service")),
    ("etc/systemd/system/suite.service", include_str!("suite.service")),
    ("etc/systemd/user/default.target", "[Unit]\nDefaultDependencies=no\n"),
];
const INIT: &str = include_str!("init.sh");

/// What there is on this machine to boot from.
#[derive(Debug)]
pub struct Parts {
    /// Debian's kernel for clouds: everything about cgroups and AppArmor is built in.
    pub kernel: PathBuf,
    modules: Vec<PathBuf>,
    parser: Option<PathBuf>,
    /// systemd, systemctl(1) and dbus-daemon(1), when all are there.
    pub systemd: Option<[&'static str; 3]>,
}

impl Parts {
    /// Looks for them; the error is why the machine cannot be booted.
    pub fn find() -> Result<Parts, String> {
        let hint = "scripts/packages vm";
        let prefixes = [Path::new(CACHE), Path::new("/")];
        let (root, kernel) = prefixes
            .iter()
            .find_map(|p| Some((p, kernel(&p.join("boot"))?)))
            .ok_or(format!("neither {CACHE} nor /boot has a kernel of Debian's linux-image-cloud-amd64 ({hint})"))?;
        let version = kernel.file_name().unwrap_or_default().to_string_lossy().replace("vmlinuz-", "");
        let all = root.join("lib/modules").join(version).join("kernel/drivers");
        let modules: Vec<PathBuf> = MODULES.iter().filter_map(|name| module(&all, name)).collect();
        let parser = prefixes.iter().flat_map(|p| [p.join(PARSER), p.join("usr").join(PARSER)]).find(|p| p.is_file());
        let systemd = [SYSTEMD, SYSTEMCTL, DBUS];
        let systemd = systemd.iter().all(|path| Path::new(path).is_file()).then_some(systemd);
        Ok(Parts { kernel, modules, parser, systemd })
    }

    /// Writes the root file system: `programs` are put into `/opt` under their own names, the rows to be
    /// asked into `/etc/filter`.
    pub fn pack(&self, to: &Path, programs: &[PathBuf], filter: &str) -> io::Result<()> {
        let scratch = to.with_extension("stripped");
        let mut archive = Archive::new(BufWriter::new(fs::File::create(to)?));
        let tree = |path: &str| format!("{TREE}/{path}");
        archive.directory("/bin")?;
        archive.file(BUSYBOX, &fs::read(BUSYBOX)?)?;
        archive.file("/init", INIT.as_bytes())?;
        archive.directory(TREE)?;
        DIRS.iter().chain(DEEP).try_for_each(|dir| archive.directory(&tree(dir)))?;
        LINKS.iter().try_for_each(|(link, target)| archive.link(&tree(link), target))?;
        FILES.iter().try_for_each(|(path, text)| archive.file(&tree(path), text.as_bytes()))?;
        archive.file(&tree("etc/filter"), filter.as_bytes())?;
        archive.file(&tree("bin/busybox"), &fs::read(BUSYBOX)?)?;
        for (n, module) in self.modules.iter().enumerate() {
            archive.file(&tree(&format!("modules/{n}.ko")), &fs::read(module)?)?;
        }
        let mut made: BTreeSet<PathBuf> = DIRS.iter().chain(DEEP).map(|dir| Path::new("/").join(dir)).collect();
        for (program, place) in programs.iter().map(|p| (p, "opt")).chain(self.parser.iter().map(|p| (p, "sbin"))) {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&tree(&format!("{place}/{name}")), &stripped(program, &scratch)?)?;
            for library in libraries(program) {
                with_parents(&mut archive, &mut made, &library)?;
            }
        }
        if let Some(programs) = self.systemd {
            ["/etc/systemd", "/etc/systemd/system", "/etc/systemd/user"]
                .iter()
                .try_for_each(|dir| archive.directory(&tree(dir)))?;
            UNITS.iter().try_for_each(|(path, text)| archive.file(&tree(path), text.as_bytes()))?;
            for program in programs.map(Path::new) {
                with_parents(&mut archive, &mut made, program)?;
                libraries(program).iter().try_for_each(|library| with_parents(&mut archive, &mut made, library))?;
            }
        }
        archive.end()?.into_inner().map_err(|e| e.into_error())?.sync_data()
    }
}

fn kernel(boot: &Path) -> Option<PathBuf> {
    let all = fs::read_dir(boot).ok()?.flatten().map(|e| e.path());
    let is_cloud = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("vmlinuz-") && name.ends_with("-cloud-amd64")
    };
    all.filter(is_cloud).max()
}

/// A module somewhere below `drivers`: they are two levels deep at most.
fn module(drivers: &Path, name: &str) -> Option<PathBuf> {
    let places = ["virtio", "block"].map(|dir| drivers.join(dir).join(format!("{name}.ko")));
    places.into_iter().find(|p| p.is_file())
}

/// Without the symbols of a debug build, most of which is copied for nothing otherwise; whole where there is no strip(1).
fn stripped(program: &Path, scratch: &Path) -> io::Result<Vec<u8>> {
    match Command::new("strip").arg("-o").arg(scratch).arg(program).status() {
        Ok(status) if status.success() => fs::read(scratch),
        _ => fs::read(program),
    }
}

/// The absolute paths that ldd(1) names; none for a static program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let Ok(output) = Command::new("ldd").arg(program).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().flat_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

/// A library at its own path, once.
fn with_parents<W: io::Write>(archive: &mut Archive<W>, made: &mut BTreeSet<PathBuf>, library: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = library.ancestors().skip(1).filter(|dir| *dir != Path::new("/")).collect();
    above.reverse();
    for dir in above {
        if made.insert(dir.into()) {
            archive.directory(&format!("{TREE}{}", dir.display()))?;
        }
    }
    if made.insert(library.into()) {
        archive.file(&format!("{TREE}{}", library.display()), &fs::read(library)?)?;
    }
    Ok(())
}
