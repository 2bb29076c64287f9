//! What is kept of a container (`state.json`) → record, which is written as it was read; and the options of its plan.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::plan::Options;
use libruntime::state::Record;

fuzz_target!(|text: &[u8]| {
    let Ok(record) = serde_json::from_slice::<Record>(text) else { return };
    assert!(!record.id.as_str().contains('/') && ![".", "..", ""].contains(&record.id.as_str()));
    let again = serde_json::to_vec(&record).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Record>(&again).expect("and read again"), record);
    if let Ok(options) = serde_json::from_value::<Options>(record.options.clone()) {
        let again = serde_json::to_value(&options).expect("options can be written");
        assert_eq!(serde_json::from_value::<Options>(again).expect("and read again"), options);
    }
});
