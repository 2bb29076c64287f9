//! `linux.timeOffsets`: a time namespace whose clocks are ahead of the host's or behind (time_namespaces(7)).

use super::Draft;
use super::op::Op;
use super::order::Stage;
use super::place::c_string;
use oci_spec::runtime::Linux;

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
        if !CLOCKS.contains(&clock.as_str()) {
            draft.refuse(&place, "is not a clock of a time namespace; these are `monotonic` and `boottime`");
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
