//! The bridge when it is short of descriptors.

use std::process::{Command, Stdio};

/// More clients than the bridge has descriptors for; then one more, who asks.
const MANY_ASK: &str = r"
import os, socket, struct, time
query = b'\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01'
ready, done = os.pipe()
child = os.fork()
held = [socket.create_connection(('127.0.0.1', 53)) for _ in range(25)]
if not child:
    os.write(done, b'x')
    time.sleep(60)
os.read(ready, 1)
one = socket.create_connection(('127.0.0.1', 53))
one.settimeout(5)
one.sendall(struct.pack('>H', len(query)) + query)
try:
    print(one.recv(100)[2:4] == query[:2])
finally:
    os.kill(child, 9)
";

#[test]
fn who_asks_for_names_makes_room() {
    let words =
        format!("ulimit -n 40; exec {} sandbox --managed-network '{{}}' --dns 443 -- /usr/bin/python3 -c \"$0\"", CODEXRUN);
    let mut command = Command::new("sh");
    command.args(["-c", &words, MANY_ASK]).env("HTTP_PROXY", "http://127.0.0.1:9").stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&output.stdout), "True\n", "{}", text(&output.stderr));
}

const CODEXRUN: &str = env!("CARGO_BIN_EXE_codexrun");
