//! A seccomp profile (alone, or in a config.json) → program → interpreter, against the profile taken at its word.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::bpf::{Data, Meaning, Native, compile, interpret};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;

/// Calls that are asked about per input; which ones depends on its length.
const CALLS: usize = 48;
/// Values of arguments that are tried on each.
const VALUES: usize = 12;

fuzz_target!(|text: &[u8]| {
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return };
    let profile = json.pointer("/linux/seccomp").unwrap_or(&json);
    let Ok(seccomp) = serde_json::from_value::<LinuxSeccomp>(profile.clone()) else { return };
    for native in [Native::X86_64, Native::Aarch64] {
        let Ok(program) = compile(&seccomp, native) else { continue };
        let meaning = Meaning::new(&seccomp, native).expect("what compiles has a meaning");
        for data in calls(&meaning, text.len()) {
            let (answer, meant) = (interpret(&program.insns, &data), meaning.answer(&data));
            assert_eq!(answer, meant, "{native:?} {data:x?}");
        }
    }
});

fn calls(meaning: &Meaning, salt: usize) -> Vec<Data> {
    let spoken = meaning.calls();
    let neighbours = spoken.iter().map(|(arch, nr)| (*arch, nr.wrapping_add(1)));
    let foreign = [(0xc000_003e, -1), (0xc000_003e, 0x4000_0000), (0x4000_0003, 102), (0x4000_0003, 117), (0x4000_0028, 4), (0, 0)];
    let numbers: Vec<(u32, i32)> = spoken.iter().copied().chain(neighbours).chain(foreign).collect();
    let values = meaning.values();
    let near = values.iter().flat_map(|v| [*v, v.wrapping_add(1), v.wrapping_sub(1), v ^ 1 << 32, !v]).chain(0..4);
    let values: Vec<u64> = near.collect();
    let mut all = Vec::new();
    for (arch, nr) in sample(&numbers, CALLS, salt) {
        for (n, value) in sample(&values, VALUES, salt).enumerate() {
            let mut args = [value; 6];
            // One argument is of its own mind.
            args[n % 6] = values[(n + salt) % values.len()];
            all.push(Data { nr, arch, instruction_pointer: 0, args });
        }
    }
    all
}

/// At most so many of them, spread evenly.
fn sample<T: Copy>(all: &[T], most: usize, salt: usize) -> impl Iterator<Item = T> {
    let step = all.len().div_ceil(most).max(1);
    all.iter().copied().skip(salt % step).step_by(step)
}
