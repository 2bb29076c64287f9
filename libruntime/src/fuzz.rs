//! Doors for the fuzzer (`fuzz/`) to readers that nobody else calls from outside. Only its builds have them (`--cfg fuzzing`).

use crate::Error;
use crate::bundle::locate::Source;
use crate::plan::Plan;
use oci_spec::runtime::Spec;
use std::path::{Path, PathBuf};

/// A config.json that was read.
#[derive(Debug)]
pub struct Config {
    /// What it says.
    pub spec: Spec,
    /// Members that nobody knows.
    pub unknown: Vec<String>,
    /// Whether a capability that nobody knows was left out.
    pub warned: bool,
}

/// What sentences call the file.
pub const CONFIG: &str = "/b/config.json";

/// The text of a config.json, or why it is none.
pub fn config(text: &[u8]) -> Result<Config, Error> {
    let mut warned = false;
    let (spec, unknown) = crate::bundle::read::parse(&Source::whole(Path::new(CONFIG)), text, &mut |_| warned = true)?;
    Ok(Config { spec, unknown, warned })
}

/// Everything that is wrong with its form: the way, and the sentence. `None`: the first reason is all that can be said.
pub fn faults(text: &[u8]) -> Option<Vec<(String, Error)>> {
    use crate::bundle::{mend::mend, read::respelt};
    let (_, faults) = mend(&Source::whole(Path::new(CONFIG)), respelt(text))?;
    Some(faults.into_iter().map(|fault| (fault.path, fault.error)).collect())
}

/// Members that it lacks and that the specification requires.
pub fn missing(text: &[u8]) -> Vec<String> {
    let all = crate::bundle::required::all(&Source::whole(Path::new(CONFIG)), text);
    all.into_iter().map(|fault| fault.path).collect()
}

/// Everything that is wrong with a policy.
pub fn policy_faults(text: &str, format: crate::policy::parse::Format, base: &crate::policy::parse::Base) -> Vec<Error> {
    crate::policy::parse::faults::parse("policy", text, format, base).err().unwrap_or_default()
}

/// What is written to state.json for a record.
pub fn sealed(text: Vec<u8>) -> Vec<u8> {
    crate::state::store::sealed(text)
}

/// What the parent says of eight bytes in the pipe of faults.
pub fn fault(bytes: [u8; 8], plan: &Plan) -> Option<String> {
    match crate::run::fault::Heard::of(&bytes).ok()? {
        crate::run::fault::Heard::Fault(fault) => Some(fault.explain(plan).to_string()),
        _ => None,
    }
}

/// Between two processes of ours, or between one of ours and criu.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// A step that has failed, or hooks that have ended.
    Faults,
    /// A hook that cannot be executed.
    Hook,
    /// Who lives in the pid namespace that he has joined.
    Sibling,
    /// Whom the process in between has made.
    Between,
    /// criu that cannot be executed.
    Criu,
    /// What criu's script asks.
    Question,
    /// Whether there is a broker.
    Answer,
    /// `start`.
    Start,
}

/// What makes its receiver go on, as its sender writes it; `None`: an error.
pub fn understood(wire: Wire, bytes: &[u8]) -> Option<Vec<u8>> {
    use crate::plan::op::Sync;
    use crate::run::{container, criu, door, fault::Heard, hook, op};
    match wire {
        Wire::Faults => Heard::of(bytes).ok().map(Heard::bytes),
        Wire::Hook => hook::word(bytes).is_ok_and(|errno| errno.is_none()).then(Vec::new),
        Wire::Sibling => Some([&[Sync::Joined as u8][..], &container::sibling(bytes).ok()?.to_ne_bytes()].concat()),
        Wire::Between => Some([door::told(bytes.try_into().ok()?).ok()?.to_ne_bytes(), (-1_i32).to_ne_bytes()].concat()),
        Wire::Criu => criu::spawn::word(bytes).ok().map(|()| Vec::new()),
        Wire::Question => {
            criu::hooks::question(bytes).ok().map(|(moment, pid)| format!("{} {pid}\n", moment.word()).into_bytes())
        }
        Wire::Answer => op::agent::word(bytes).ok().map(|()| vec![0; 4]),
        Wire::Start => op::may_start(bytes).ok().map(|()| vec![Sync::Start as u8]),
    }
}

/// Whether a descriptor is taken that comes with these bytes, or with none: by whoever waits for one, and, as no filter is behind it, by the
/// broker.
pub fn given(bytes: &[u8], comes: bool) -> [Option<bool>; 2] {
    use crate::sys::file::{cwd, open_at, receive_fd, send_with_fds, socketpair, write_all};
    use std::os::fd::AsFd;
    let null = open_at(cwd(), c"/dev/null", libc::O_PATH).expect("/dev/null");
    let sent = || {
        let (hears, says) = socketpair().expect("a socket");
        let sent = match bytes {
            [] => Ok(()),
            bytes if comes => send_with_fds(says.as_fd(), [null.as_fd()], bytes),
            bytes => write_all(says.as_fd(), bytes),
        };
        sent.expect("room for a message");
        hears
    };
    let taken = receive_fd(sent().as_fd(), 0).ok().map(|fd| fd.is_some());
    [taken, Some(crate::broker::serve::seated(sent().as_fd()).is_some())]
}

/// What criu is told of a checkpoint's standard streams.
pub fn descriptors(text: &[u8]) -> Option<Vec<std::ffi::OsString>> {
    crate::run::criu::descriptors::taken_over(text).ok()
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
