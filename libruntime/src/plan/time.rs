//! `linux.timeOffsets`: a time namespace whose clocks are ahead of the host's or behind (time_namespaces(7)).

use super::Draft;
use super::op::Op;
use super::order::Stage;
use super::place::c_string;
use oci_spec::runtime::Linux;

/// Half of what its clocks count to: as many seconds as the kernel lets one stand at (timens_offsets of proc(5)).
const LATEST: i64 = i64::MAX / 1_000_000_000 / 2;

/// The order of [`crate::host::Host::clocks`].
const CLOCKS: &[&str] = &["monotonic", "boottime"];

pub(super) fn plan(draft: &mut Draft, linux: &Linux) {
    let new = draft.spaces.new & libc::CLONE_NEWTIME as u64 != 0;
    let mut offsets: Vec<_> = linux.time_offsets().iter().flatten().collect();
    offsets.sort_by_key(|(clock, _)| *clock);
    if !offsets.is_empty() && !new {
        return draft.refuse("linux.timeOffsets", "needs a new time namespace");
    }
    let mut lines = String::new();
    for (clock, offset) in offsets {
        let place = format!("linux.timeOffsets.{clock}");
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        match CLOCKS.iter().position(|known| known == clock) {
            None => draft.refuse(&place, "is not a clock of a time namespace; these are `monotonic` and `boottime`"),
            Some(at) => judge(draft, &place, draft.host.clocks[at], offset.secs().unwrap_or(0)),
        }
        if nanoseconds > 999_999_999 {
            draft.refuse(&place, format!("{nanoseconds} ns are a second or more"));
        }
        lines += &format!("{clock} {} {nanoseconds}\n", offset.secs().unwrap_or(0));
    }
    if let (true, Ok(lines)) = (new, c_string(lines.as_bytes())) {
        draft.step(Stage::Time, Op::Time(lines), "linux.timeOffsets");
    }
}

/// A clock stands at zero or above; the host's goes on meanwhile, so what is in order now stays so.
fn judge(draft: &mut Draft, place: &str, now: i64, offset: i64) {
    match now.saturating_add(offset) {
        0..=LATEST => {}
        ..0 => draft.refuse(place, format!("{offset} s would set the clock, which stands at {now} s, below zero")),
        _ => draft.refuse(place, format!("{offset} s are more than the {LATEST} s that a clock can stand at")),
    }
}
