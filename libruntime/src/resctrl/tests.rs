//! config.json → plan → a tree that poses as the resctrl file system (no machine of ours has one).

use super::Resctrl;
use crate::bundle::{Bundle, Rootfs};
use crate::host::{Host, resctrl};
use crate::plan::op::ParentOp;
use crate::plan::resctrl::Group;
use crate::plan::{Options, Plan};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A directory with a group `there`.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.path("there/mon_groups")).unwrap();
        fs::create_dir(tree.path("mon_groups")).unwrap();
        fs::write(tree.path("there/schemata"), "    MB:0=100;1= 70\n    L3:0=7f0;1=01f\n").unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn plan(&self, rdt: Value) -> Result<Plan, Vec<String>> {
        let monitored = ["llc_occupancy", "mbm_total_bytes"].map(str::to_owned).to_vec();
        plan(Some(resctrl::Resctrl { mount: self.0.path().to_owned(), monitored }), rdt)
    }

    fn group(&self, rdt: Value) -> Group {
        group(self.plan(rdt).unwrap())
    }

    /// Made, or why not.
    fn made(&self, rdt: Value) -> Result<Resctrl, String> {
        let group = self.group(rdt);
        let resctrl = Resctrl::foresee(&group).map_err(|e| e.to_string())?;
        resctrl.create(&group).map_err(|e| e.to_string()).map(|()| resctrl)
    }
}

fn plan(resctrl: Option<resctrl::Resctrl>, rdt: Value) -> Result<Plan, Vec<String>> {
    let spec = json!({
        "ociVersion": "1.3.0", "root": {"path": "r"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}], "intelRdt": rdt},
    });
    let bundle = Bundle { spec: crate::bundle::spec(&spec).unwrap(), rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
    let options = Options { id: Some("box".into()), no_cgroup: true, ..Options::default() };
    let host = Host { resctrl, ..Host::recorded(0, 0) };
    Plan::new(&bundle, &host, &options).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn group(plan: Plan) -> Group {
    let group = plan.parent.into_iter().find_map(|step| if let ParentOp::Resctrl(group) = step.op { Some(group) } else { None });
    group.unwrap()
}

#[test]
fn a_container_without_a_class_has_a_group_of_its_own_which_goes_with_it() {
    let tree = Tree::new();
    let made = tree.made(json!({"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20;1=70"})).unwrap();
    assert_eq!(tree.read("box/schemata"), "L3:0=f\nMB:0=20;1=70\n");
    made.enter(4711).unwrap();
    assert_eq!(tree.read("box/tasks"), "4711");
    // The kernel's files go with their directory.
    ["schemata", "tasks"].iter().for_each(|name| fs::remove_file(tree.path("box").join(name)).unwrap());
    made.remove().unwrap();
    assert!(!tree.path("box").exists());
    made.remove().unwrap();
    fs::create_dir(tree.path("box")).unwrap();
    assert!(tree.made(json!({})).unwrap_err().contains("linux.intelRdt.closID: is missing, and the resctrl group"));
}

#[test]
fn a_class_that_is_only_named_must_be_there_and_is_left_as_it_is() {
    let tree = Tree::new();
    let made = tree.made(json!({"closID": "there"})).unwrap();
    let before = tree.read("there/schemata");
    made.enter(12).unwrap();
    made.remove().unwrap();
    assert_eq!((tree.read("there/tasks"), tree.read("there/schemata")), ("12".into(), before));
    let said = tree.made(json!({"closID": "other"})).unwrap_err();
    assert!(said.contains("linux.intelRdt.closID: the resctrl group") && said.contains("does not exist"), "{said}");
}

#[test]
fn the_default_class_is_one_that_is_there() {
    let tree = Tree::new();
    fs::write(tree.path("schemata"), "L3:0=7ff\n").unwrap();
    let made = tree.made(json!({"closID": "/", "l3CacheSchema": "L3:0=7ff"})).unwrap();
    assert_eq!((made.groups, made.made), (vec![tree.0.path().to_path_buf()], vec![]));
    let said = tree.made(json!({"closID": "/", "l3CacheSchema": "L3:0=f"})).unwrap_err();
    assert!(said.contains("linux.intelRdt.l3CacheSchema: `L3:0=f` is not what the resctrl group"), "{said}");
}

#[test]
fn without_a_field_of_its_own_bandwidth_may_stand_with_the_cache() {
    let group = Tree::new().group(json!({"l3CacheSchema": "L3:0=f\nMB:0=10"}));
    assert_eq!(group.schema, ["L3:0=f", "MB:0=10"]);
}

#[test]
fn a_class_that_is_there_must_have_what_is_asked_and_one_that_is_not_gets_it() {
    let tree = Tree::new();
    for fits in [
        json!({"closID": "there", "l3CacheSchema": "L3:1=1f;0=7f0"}),
        json!({"closID": "there", "memBwSchema": "MB:1=70"}),
        json!({"closID": "there", "l3CacheSchema": "L3:0=07f0", "memBwSchema": "MB:0=100;1=70"}),
    ] {
        let before = tree.read("there/schemata");
        assert_eq!(tree.made(fits).unwrap().made, [""; 0].map(PathBuf::from));
        assert_eq!(tree.read("there/schemata"), before);
    }
    let said = tree.made(json!({"closID": "there", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=100"})).unwrap_err();
    assert!(said.contains("linux.intelRdt.l3CacheSchema: `L3:0=f` is not what the resctrl group"), "{said}");
    let said = tree.made(json!({"closID": "there", "memBwSchema": "MB:0=99"})).unwrap_err();
    assert!(said.contains("linux.intelRdt.memBwSchema: `MB:0=99` is not what"), "{said}");
    let made = tree.made(json!({"closID": "new", "schemata": ["L2:0=f", "L3:0=3"], "memBwSchema": "MB:0=9"})).unwrap();
    // `schemata` is the last word; the first write is in the group's own way of adding them up.
    assert_eq!((tree.read("new/schemata"), made.made), ("L2:0=f\nL3:0=3\n".into(), vec![tree.path("new")]));
    tree.made(json!({"closID": "there", "schemata": ["L3:0=1"]})).unwrap();
    assert_eq!(tree.read("there/schemata"), "L3:0=1\n");
}

#[test]
fn monitoring_is_in_a_group_of_the_containers_own_below_the_class() {
    let tree = Tree::new();
    for field in ["enableMonitoring", "enableCMT", "enableMBM"] {
        let made = tree.made(json!({"closID": "there", field: true})).unwrap();
        made.enter(7).unwrap();
        assert_eq!((tree.read("there/tasks"), tree.read("there/mon_groups/box/tasks")), ("7".into(), "7".into()));
        fs::remove_file(tree.path("there/mon_groups/box/tasks")).unwrap();
        made.remove().unwrap();
        assert!(!tree.path("there/mon_groups/box").exists() && tree.path("there").exists());
        assert_eq!(tree.group(json!({"closID": "there", field: false})).monitor, None);
    }
}

#[test]
fn what_cannot_be_had_leaves_nothing() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("info")).unwrap();
    fs::write(tree.path("info/last_cmd_status"), "mask f out of range\n").unwrap();
    fs::create_dir_all(tree.path("there/schemata.d")).unwrap();
    fs::rename(tree.path("there/schemata"), tree.path("there/schemata.old")).unwrap();
    fs::rename(tree.path("there/schemata.d"), tree.path("there/schemata")).unwrap();
    let said = tree.made(json!({"closID": "there", "schemata": ["L3:0=f"], "enableMonitoring": true})).unwrap_err();
    assert!(said.contains("linux.intelRdt.schemata: cannot write `L3:0=f`"), "{said}");
    assert!(said.contains("(hint: the kernel says: mask f out of range)"), "{said}");
    assert!(!tree.path("there/mon_groups/box").exists());
    fs::remove_dir(tree.path("there/mon_groups")).unwrap();
    let said = tree.made(json!({"closID": "there", "enableMonitoring": true})).unwrap_err();
    assert!(said.contains("linux.intelRdt.closID: cannot make the resctrl group"), "{said}");
}

#[test]
fn without_the_field_nothing_is_touched() {
    let text = Tree::new().plan(Value::Null).unwrap().to_string();
    assert!(!text.contains("resctrl"), "{text}");
}

#[test]
fn the_form_is_judged_before_anything_is_looked_at() {
    let bare = plan(
        Some(resctrl::Resctrl { mount: "/resctrl".into(), monitored: vec![] }),
        json!({
            "closID": "a/b", "memBwSchema": "L3:0=1", "schemata": ["L3:0=1", "L3:0=1\nMB:0=9"], "enableMBM": true, "enableMonitoring": true,
        }),
    );
    let expected = [
        "config.json: linux.intelRdt.closID: `a/b` is no name of a resctrl group",
        "config.json: linux.intelRdt.memBwSchema: is not one line that begins with `MB:`",
        "config.json: linux.intelRdt.schemata[1]: has more than one line",
        "config.json: linux.intelRdt.enableMBM: the processor, or its kernel, cannot monitor this",
        "config.json: linux.intelRdt.enableMonitoring: the processor, or its kernel, cannot monitor this",
    ];
    assert_eq!(bare.unwrap_err(), expected);
    let none = plan(None, json!({})).unwrap_err();
    assert!(none.len() == 1 && none[0].starts_with("config.json: linux.intelRdt: needs the resctrl file system"), "{none:?}");
}

#[test]
fn the_process_is_in_the_group_before_it_goes_on() {
    let text = Tree::new().plan(json!({"closID": "/"})).unwrap().to_string();
    let lines = ["have the resctrl group", "clone", "put the process into its resctrl group", "tell resctrl", "wait for resctrl"];
    let at: Vec<usize> = lines.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
    assert!(at.is_sorted(), "{text}");
}

#[test]
fn update_gives_the_group_another_share() {
    let tree = Tree::new();
    let resctrl = tree.made(json!({"l3CacheSchema": "L3:0=f"})).unwrap();
    resctrl.update(Some("L3:0=3"), None).unwrap();
    assert_eq!(tree.read("box/schemata"), "L3:0=3\n");
    resctrl.update(None, Some("MB:0=20")).unwrap();
    assert_eq!(tree.read("box/schemata"), "MB:0=20\n");
    for (l3_cache, bandwidth, field) in [(Some("MB:0=1"), None, "l3CacheSchema"), (None, Some("L3:0=1"), "memBwSchema")] {
        let said = resctrl.update(l3_cache, bandwidth).unwrap_err().to_string();
        assert!(said.contains(&format!("linux.intelRdt.{field}: ")) && said.contains("is no line of it"), "{said}");
    }
    assert_eq!(tree.read("box/schemata"), "MB:0=20\n");
}
