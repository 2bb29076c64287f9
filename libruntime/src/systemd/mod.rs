//! systemd, as far as a runtime needs it: units that are started, changed and stopped (org.freedesktop.systemd1(5)).

pub(crate) mod bus;
pub mod text;
pub mod value;
pub(crate) mod wire;

use crate::{Error, Result};
use bus::{Bus, Failure};
use std::path::PathBuf;
use value::{Property, Value};
use wire::{Message, Method, Writer};

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: Method = Method {
    destination: Some(NAME),
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    name: "",
};
const BUS: Method = Method {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    name: "",
};
const JOBS: &str =
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const ABSENT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// What replaces a job that waits for the same unit: whatever it is.
const MODE: &str = "replace";

/// The systemd of the system, or of a user.
#[derive(Debug)]
pub struct Manager(Bus);

impl Manager {
    /// Connects.
    pub fn connect(user: bool) -> Result<Manager> {
        let mut manager = Manager(Bus::connect(user)?);
        if !manager.0.direct {
            manager.call(&Method { name: "Hello", ..BUS }, "", Writer::default()).map_err(|e| failed("join the bus", e))?;
        }
        Ok(manager)
    }

    /// The cgroup below which all its units are, from the root of the hierarchy.
    pub fn root(&mut self) -> Result<PathBuf> {
        let get = Method { interface: "org.freedesktop.DBus.Properties", name: "Get", ..MANAGER };
        let mut body = Writer::default();
        [MANAGER.interface, "ControlGroup"].iter().for_each(|word| body.text(word));
        let answer = self.call(&get, "ss", body).map_err(|e| failed("ask systemd for its cgroup", e))?;
        let mut value = answer.body();
        let path = value.signature().filter(|typ| *typ == "s").and_then(|_| value.text());
        path.map(PathBuf::from)
            .ok_or_else(|| failed("ask systemd for its cgroup", Failure::Refused("garbled".into(), String::new())))
    }

    /// Starts a transient unit, and returns when it is there. `false`: it was there before.
    pub fn start(&mut self, unit: &str, properties: &[Property]) -> Result<bool> {
        let what = format!("start the unit `{unit}`");
        self.listen().map_err(|e| failed(&what, e))?;
        let mut started = self.transient(unit, properties);
        if is(&started, EXISTS) {
            // One that has failed stays there until somebody has looked at it.
            self.forget(unit).map_err(|e| failed(&what, e))?;
            started = self.transient(unit, properties);
        }
        match started {
            Err(Failure::Refused(name, _)) if name == EXISTS => Ok(false),
            started => self.done(&what, started).map(|()| true),
        }
    }

    fn transient(&mut self, unit: &str, properties: &[Property]) -> Result<Message, Failure> {
        let mut body = Writer::default();
        body.text(unit);
        body.text(MODE);
        write_all(&mut body, properties);
        body.array(8, &[(); 0], |_, ()| {});
        self.call(&Method { name: "StartTransientUnit", ..MANAGER }, "ssa(sv)a(sa(sv))", body)
    }

    /// Changes properties of a unit until it is gone.
    pub fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.value(&Value::Bool(true));
        write_all(&mut body, properties);
        let set = self.call(&Method { name: "SetUnitProperties", ..MANAGER }, "sba(sv)", body);
        set.map(drop).map_err(|e| failed(&format!("change the unit `{unit}`"), e))
    }

    /// Moves a process into a unit that is there. The user's systemd asks the system's where it may not itself.
    pub fn attach(&mut self, unit: &str, pid: u32) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("");
        body.value(&Value::Array("u".into(), vec![Value::U32(pid)]));
        let attached = self.call(&Method { name: "AttachProcessesToUnit", ..MANAGER }, "ssau", body);
        attached.map(drop).map_err(|e| failed(&format!("move process {pid} into the unit `{unit}`"), e))
    }

    /// Stops a unit, and returns when it is gone; content if it was gone before.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let what = format!("stop the unit `{unit}`");
        self.listen().map_err(|e| failed(&what, e))?;
        let mut body = Writer::default();
        body.text(unit);
        body.text(MODE);
        let stopped = self.call(&Method { name: "StopUnit", ..MANAGER }, "ss", body);
        if !is(&stopped, ABSENT) {
            self.done(&what, stopped)?;
        }
        self.forget(unit).map_err(|e| failed(&what, e))
    }

    /// A unit that has failed (a process of it was killed for want of memory) would keep its name.
    fn forget(&mut self, unit: &str) -> Result<(), Failure> {
        let mut body = Writer::default();
        body.text(unit);
        match self.call(&Method { name: "ResetFailedUnit", ..MANAGER }, "s", body) {
            Err(Failure::Refused(name, _)) if name == ABSENT => Ok(()),
            done => done.map(drop),
        }
    }

    /// To hear of the ends of jobs. Before the first: it may have ended when we learn its name.
    fn listen(&mut self) -> Result<(), Failure> {
        if self.0.direct {
            return Ok(());
        }
        let mut body = Writer::default();
        body.text(JOBS);
        self.call(&Method { name: "AddMatch", ..BUS }, "s", body)?;
        self.call(&Method { name: "Subscribe", ..MANAGER }, "", Writer::default()).map(drop)
    }

    /// Waits until the job is done whose name is the answer.
    fn done(&mut self, what: &str, answer: Result<Message, Failure>) -> Result<()> {
        let answer = answer.map_err(|e| failed(what, e))?;
        let job = answer.body().text().unwrap_or_default().to_owned();
        self.0.be_patient();
        loop {
            let message = self.0.signal().map_err(|e| failed(what, Failure::Broken(e)))?;
            let mut body = message.body();
            let (_, ended, _, result) = (body.u32(), body.text(), body.text(), body.text());
            match result.filter(|_| message.member.as_deref() == Some("JobRemoved") && ended == Some(&job)) {
                None => {}
                Some("done") => return Ok(()),
                Some(result) => return Err(Error::new(format!("cannot {what}")).cause(format!("the job is `{result}`"))),
            }
        }
    }

    fn call(&mut self, method: &Method, signature: &str, body: Writer) -> Result<Message, Failure> {
        self.0.call(method, signature, body)
    }
}

fn write_all(body: &mut Writer, properties: &[Property]) {
    body.array(8, properties, |body, (name, value)| {
        body.tuple(|body| {
            body.text(name);
            body.variant(value);
        });
    });
}

fn is(answer: &Result<Message, Failure>, error: &str) -> bool {
    matches!(answer, Err(Failure::Refused(name, _)) if name == error)
}

fn failed(what: &str, failure: Failure) -> Error {
    let error = Error::new(format!("cannot {what}"));
    match failure {
        Failure::Broken(e) => error.cause(e),
        Failure::Refused(name, said) if name.ends_with(".AccessDenied") || name.ends_with("AuthorizationRequired") => {
            error.cause(said).hint("only root may; for others there is the systemd of the user, in a session of theirs")
        }
        Failure::Refused(name, said) if said.is_empty() => error.cause(name),
        Failure::Refused(_, said) => error.cause(said),
    }
}

#[cfg(test)]
mod tests {
    use super::wire::peer::{answer, signal};
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    fn text(words: &[&str]) -> Writer {
        let mut body = Writer::default();
        words.iter().for_each(|word| body.text(word));
        body
    }

    fn removed(job: &str, result: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.value(&Value::U32(7));
        [job, "a.scope", result].iter().for_each(|word| body.text(word));
        signal("JobRemoved", body)
    }

    /// The name of the method that is called.
    fn called(socket: &mut UnixStream) -> Option<String> {
        let mut head = [0; 16];
        socket.read_exact(&mut head).ok()?;
        let mut rest = vec![0; wire::rest(&head)?];
        socket.read_exact(&mut rest).ok()?;
        Message::read(&head, &rest)?.member
    }

    /// A systemd that expects these calls and sends these bytes after each; what the client makes of it.
    fn played<T>(script: Vec<(&'static str, Vec<Vec<u8>>)>, client: impl FnOnce(&mut Manager) -> Result<T>) -> Result<T, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let mut socket = listener.accept().unwrap().0;
            let mut said = [0; 29];
            socket.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            socket.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
            for (name, answers) in script {
                assert_eq!(called(&mut socket).as_deref(), Some(name));
                answers.iter().for_each(|bytes| socket.write_all(bytes).unwrap());
            }
            assert_eq!(called(&mut socket), None);
        });
        let mut manager = Manager(Bus::direct(&path).unwrap());
        let made = client(&mut manager).map_err(|e| e.to_string());
        drop(manager);
        server.join().unwrap();
        made
    }

    const GONE: &str = "org.freedesktop.systemd1.NoSuchUnit";

    #[test]
    fn a_job_that_ends_before_its_name_is_known_has_ended() {
        let answers = vec![removed("/job/6", "failed"), removed("/job/7", "done"), answer(1, None, text(&["/job/7"]))];
        assert_eq!(played(vec![("StartTransientUnit", answers)], |manager| manager.start("a.scope", &[])), Ok(true));
        let answers = vec![answer(1, None, text(&["/job/7"])), removed("/job/7", "timeout")];
        let said = played(vec![("StartTransientUnit", answers)], |manager| manager.start("a.scope", &[]));
        assert_eq!(said.unwrap_err(), "cannot start the unit `a.scope`: the job is `timeout`");
    }

    #[test]
    fn a_unit_that_has_failed_makes_room_and_one_that_runs_does_not() {
        let exists = |to| vec![answer(to, Some(EXISTS), text(&["there"]))];
        let reset = || ("ResetFailedUnit", vec![answer(2, None, text(&[""]))]);
        let done = vec![answer(3, None, text(&["/job/1"])), removed("/job/1", "done")];
        let script = vec![("StartTransientUnit", exists(1)), reset(), ("StartTransientUnit", done)];
        assert_eq!(played(script, |manager| manager.start("a.scope", &[])), Ok(true));
        let script = vec![("StartTransientUnit", exists(1)), reset(), ("StartTransientUnit", exists(3))];
        assert_eq!(played(script, |manager| manager.start("a.scope", &[])), Ok(false));
    }

    #[test]
    fn a_unit_that_is_gone_is_stopped_and_a_refusal_is_said() {
        let gone = |to| vec![answer(to, Some(GONE), text(&["not loaded"]))];
        assert_eq!(played(vec![("StopUnit", gone(1)), ("ResetFailedUnit", gone(2))], |manager| manager.stop("a.scope")), Ok(()));
        let no = vec![answer(1, Some("org.freedesktop.DBus.Error.InvalidArgs"), text(&["no such property"]))];
        let said = played(vec![("SetUnitProperties", no)], |manager| manager.set("a.scope", &[]));
        assert_eq!(said.unwrap_err(), "cannot change the unit `a.scope`: no such property");
    }

    #[test]
    fn an_answer_that_is_no_message_is_an_error() {
        for garbage in [b"l\x02\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0".to_vec(), vec![0; 16]] {
            let said = played(vec![("Get", vec![garbage])], Manager::root).unwrap_err();
            assert_eq!(said, "cannot ask systemd for its cgroup: this is no D-Bus message");
        }
    }
}
