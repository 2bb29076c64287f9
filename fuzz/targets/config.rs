//! config.json → spec → plan → listing: whatever it says, it is planned or refused with reasons, each with its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::bundle::{self, Bundle, Rootfs};
use libruntime::host::Host;
use libruntime::plan::{Options, Plan, op::Op};

fuzz_target!(|text: &[u8]| {
    let Ok(json) = serde_json::from_slice(text) else { return };
    let Ok(spec) = bundle::spec(&json) else { return };
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/rootfs".into()), unknown: Vec::new() };
    for (uid, park) in [(0, true), (1000, false)] {
        let options = Options { id: Some("x".into()), bundle_dir: Some("/b".into()), park, record: park, ..Options::default() };
        match Plan::new(&bundle, &Host::recorded(uid, uid), &options) {
            Ok(plan) => {
                assert!(plan.child.is_sorted_by_key(|step| step.stage), "in the order of the stages");
                assert!(matches!(plan.child.last().map(|step| &step.op), Some(Op::Exec(_))), "the program comes last");
                assert!(!plan.to_string().is_empty());
            }
            Err(reasons) => {
                assert!(!reasons.is_empty(), "a refusal has a reason");
                assert!(reasons.iter().all(|reason| reason.place.is_some()), "{reasons:?}");
            }
        }
    }
});
