//! Doors for the fuzzer (`fuzz/`) to readers that nobody else calls from outside. Only its builds have them (`--cfg fuzzing`).

use crate::plan::Plan;
use std::path::PathBuf;

/// What the parent says of eight bytes in the pipe of faults.
pub fn fault(bytes: [u8; 8], plan: &Plan) -> String {
    crate::run::fault::Fault::of(bytes).explain(plan).to_string()
}

/// The words of a D-Bus message's body, if the bytes are one.
pub fn bus_message(bytes: &[u8]) -> Option<Vec<String>> {
    use crate::systemd::wire::{Message, rest};
    let (head, after) = bytes.split_first_chunk()?;
    let message = Message::read(head, after.get(..rest(head)?)?)?;
    let mut body = message.body();
    Some(std::iter::from_fn(|| body.text()).map(str::to_owned).collect())
}

/// Whether it is an address of a bus.
pub fn bus_address(text: &str) -> bool {
    crate::systemd::bus::parse(text).is_some()
}

/// Whether a bridge's hook takes it for the OCI state.
pub fn oci_state(text: &str) -> bool {
    crate::bridge::door::State::read(text).is_ok()
}

/// The lines of a git configuration: section, name, key, value.
pub fn git_settings(text: &str) -> Vec<[String; 4]> {
    let all = crate::policy::compile::git::settings(text);
    all.into_iter().map(|s| [s.section, s.name, s.key, s.value]).collect()
}

/// The mount points of /proc/PID/mountinfo.
pub fn mount_points(text: &[u8]) -> Vec<PathBuf> {
    crate::mountinfo::parse(text).into_iter().map(|mount| mount.point).collect()
}

/// The start time in /proc/PID/stat.
pub fn start_time(text: &[u8]) -> Option<u64> {
    crate::state::process::Stat::parse(text).map(|stat| stat.start_time)
}

/// How many tables of a cgroup's statistics, and sentences of criu's log, have something in them.
pub fn tables(text: &str) -> usize {
    use crate::cgroup::stats::{numbers, v1_devices, v2_devices};
    let keys = [("rbytes", "Read"), ("wbytes", "Write")];
    numbers(text).len() + v1_devices(text).len() + v2_devices(text, &keys).len() + crate::run::criu::log::errors(text).len()
}

/// How many bytes the messages of a listing of the kernel's sockets have.
pub fn listed(bytes: &[u8]) -> usize {
    use crate::broker::whose::{messages, vfs};
    let length = |body: &[u8]| {
        vfs(body);
        body.len()
    };
    messages(bytes).map(|(_, body)| length(body)).sum()
}

/// A field of /proc/PID/status.
pub fn status_field(text: &str, name: &str) -> Option<String> {
    crate::proc_status::ProcStatus(text.to_owned()).field(name).map(str::to_owned)
}

/// The sentence for what the process in between says, where it has not made one.
pub fn not_cloned(bytes: [u8; 8]) -> Option<String> {
    use crate::run::door::{failed, told};
    told(bytes).err().map(|stuck| failed(stuck, (&[], &[]), 0, false).to_string())
}

/// Control messages, of words of so many bytes, as the broker sends them on, and the number of descriptors in them.
pub fn control(bytes: &[u8], word: usize) -> Option<(Vec<u8>, usize)> {
    let null = |_| crate::sys::file::open_at(crate::sys::file::cwd(), c"/dev/null", libc::O_PATH);
    crate::broker::message::rebuild(bytes, word, null).ok().map(|(control, fds)| (control, fds.len()))
}

/// What the resolver of a bridge answers.
pub fn resolved(message: &[u8]) -> Option<Vec<u8>> {
    crate::bridge::names::Names::default().reply(message)
}

/// How much of a proxy's answer to CONNECT a bridge keeps from the client, heard in these pieces, and whether it takes it for a yes.
/// `None`: it does not know yet.
pub fn welcomed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<(usize, bool)> {
    let (mut answer, mut kept) = (crate::bridge::greeting::Answer::default(), 0);
    for piece in pieces {
        let (head, whole) = answer.take(piece);
        kept += head;
        if whole != Ok(false) {
            return Some((kept, whole.is_ok()));
        }
    }
    None
}

/// How many bytes the attributes of rtnetlink's messages have.
pub fn devices(mut bytes: &[u8]) -> usize {
    use crate::run::netlink::{Address, attributes, message};
    let mut length = 0;
    while let Some((_, body, rest)) = message(bytes) {
        Address::of(body);
        length += attributes(body).map(|(_, data)| data.len()).sum::<usize>();
        bytes = rest;
    }
    length
}

/// Whether what is remembered of a search is nothing, or is read again as it is written.
pub fn is_remembered(bytes: &[u8]) -> bool {
    use crate::policy::view::cache::{parse, text};
    let Some(known) = parse(bytes, b"") else { return true };
    let seen: Vec<_> = known.iter().map(|(dir, (stamp, level))| (PathBuf::from(dir), *stamp, level.clone())).collect();
    parse(&text(b"", &seen), b"") == Some(known)
}

/// The home of a user, as a line of the image's /etc/passwd and as the same line of the host's has it.
pub fn homes(line: &[u8], uid: u32) -> [Option<Vec<u8>>; 2] {
    use std::os::unix::ffi::OsStringExt;
    let hosts = crate::passwd::by(line, 2, uid.to_string().as_bytes()).map(|entry| entry.home.into_vec());
    [crate::run::op::home::home(line, uid).map(<[u8]>::to_vec), hosts]
}

/// The interpreter that a script or an ELF file of these bytes names.
pub fn interpreter(program: &[u8]) -> Option<Vec<u8>> {
    use crate::run::op::exec::{elf_interpreter, interpreter};
    use crate::sys::file::{memory, write_all};
    use std::os::fd::AsFd;
    let file = memory(c"program").ok().filter(|file| write_all(file.as_fd(), program).is_ok())?;
    let mut path = [0; 256];
    elf_interpreter(file.as_fd(), &program[..program.len().min(1024)], &mut path);
    let elf = std::ffi::CStr::from_bytes_until_nul(&path).map_or(&path[..], |path| path.to_bytes());
    interpreter(&program[..program.len().min(255)]).or(Some(elf).filter(|elf| !elf.is_empty())).map(<[u8]>::to_vec)
}

/// The names that getdents64(2) gives.
pub fn entries(bytes: &[u8]) -> usize {
    let mut rest = Some(bytes);
    std::iter::from_fn(|| crate::run::op::copy::first(rest?).map(|(name, next)| (rest = Some(next), name).1)).count()
}
