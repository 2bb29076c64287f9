//! What the bundles ask for so that it shows in the payload, what is asked of the kernel from there, and what a payload must have said: an
//! undisturbed launch that is compared with must be one with everything.

use super::course::Course;
use super::outlet;
use crate::oci::bundle;
use crate::report::Verdict;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The broker's part: a connection that it makes, and one that it refuses.
const OF_BROKER: [&str; 2] = ["granted\tok\t", "shut\tEPERM\t"];

/// Calls for the probe: what the filter of a bundle refuses and permits, with the arguments that it compares; what a policy's refuses.
const CALLS: &[(&str, i64, &[i64])] = &[
    ("ptrace", libc::SYS_ptrace, &[]),
    ("compared", libc::SYS_getpriority, &[libc::PRIO_USER as i64, 0]),
    ("permitted", libc::SYS_getpriority, &[libc::PRIO_PROCESS as i64, 0]),
    ("io-priority", libc::SYS_ioprio_get, &[1, 0]),
    ("io-uring", libc::SYS_io_uring_setup, &[0, 0]),
    ("user-namespace", libc::SYS_unshare, &[libc::CLONE_NEWUSER as i64]),
];

/// And what takes memory of its own.
const FACTS: &str = "keyring\tsession-keyring\nmemory-policy\tmemory-policy\n";

/// A list for the probe, one line for each question.
pub fn questions() -> String {
    let line = |(name, nr, args): &(&str, i64, &[i64])| {
        let args: String = args.iter().map(|arg| format!("\t{arg}")).collect();
        format!("{name}\tcall\t{nr}{args}\n")
    };
    CALLS.iter().map(line).collect::<String>() + FACTS
}

/// What the payload of a bundle asks them with.
pub const ASKS: &str = "ASKS=/bin/probe /etc/asks";

/// Where the host has its cgroups, and what is there of version 2 alone.
const CGROUPS: (&str, &str) = ("/sys/fs/cgroup", "cgroup.controllers");

/// Where the hooks that come before a payload leave their names: below the directory of marks, which is `/trace` inside.
pub const HOOKS: &str = "hooks";

/// The hooks that come after a payload has begun, and where each leaves its name.
pub const LATE: [&str; 2] = ["poststart", "poststop"];

fn hook(script: &str) -> Value {
    json!([{"path": bundle::BUSYBOX, "args": ["busybox", "sh", "-c", script]}])
}

/// The same of a container without a mount namespace, whose root has no path.
pub fn here(config: &mut Value, hooks: &Path) {
    config["hooks"]["createContainer"] = hook(&format!("echo createContainer >>{}", hooks.display()));
}

/// What else a bundle asks for. `tried` is what its payload tries to read and write, `hooks` is [`HOOKS`] as the host has it.
pub fn add(config: &mut Value, tried: &str, hooks: &Path, is_root: bool) {
    let inside = Path::new("/trace").join(HOOKS);
    for (kind, file) in [("createRuntime", hooks), ("startContainer", &inside)] {
        config["hooks"][kind] = hook(&format!("echo {kind} >>{}", file.display()));
    }
    // Not there is who begins elsewhere than in the root, or finds it elsewhere than at its own path.
    let script = format!("case $(pwd) in */rootfs) echo createContainer >>{} ;; esac", hooks.display());
    config["hooks"]["createContainer"] = hook(&script);
    let process = &mut config["process"];
    process["cwd"] = json!("/work");
    if is_root {
        // Somebody else than the caller, with power that only what is ambient gives him; an ordinary user is who he is.
        process["user"]["uid"] = json!(7);
        process["user"]["gid"] = json!(8);
        process["user"]["additionalGids"] = json!([9]);
        let kept = json!(["CAP_DAC_OVERRIDE", "CAP_KILL"]);
        let bounding = json!(["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_NET_RAW"]);
        process["capabilities"] =
            json!({"bounding": bounding, "permitted": kept, "effective": kept, "inheritable": kept, "ambient": kept});
    } else {
        // More than he has from the beginning.
        bundle::push(&mut process["capabilities"]["bounding"], json!("CAP_NET_RAW"));
    }
    process["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 3});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    bundle::push(&mut process["env"], json!(ASKS));
    config["domainname"] = json!("within");
    let linux = &mut config["linux"];
    linux["personality"] = json!({"domain": "LINUX32"});
    linux["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    linux["sysctl"] = json!({"net.ipv4.ip_default_ttl": "99"});
    let compared = json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXFULL,
        "args": [{"index": 0, "value": libc::PRIO_USER, "op": "SCMP_CMP_EQ"}]});
    bundle::push(&mut linux["seccomp"]["syscalls"], compared);
    let group = linux["cgroupsPath"].as_str().unwrap_or_default().to_string();
    let env = &mut config["process"]["env"];
    bundle::push(env, json!(format!("TRIED={tried}")));
    // Of version 2 its own is the root of what it mounts; of version 1 it would have to mount each hierarchy.
    let (groups, mount) = if Path::new(CGROUPS.0).join(CGROUPS.1).exists() {
        ("/cgroup".into(), json!({"destination": "/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}))
    } else if is_root {
        let options = ["rbind", "ro"];
        (format!("/cgroup/*{group}"), json!({"destination": "/cgroup", "type": "bind", "source": CGROUPS.0, "options": options}))
    } else {
        return;
    };
    bundle::push(env, json!(format!("GROUPS={groups}")));
    bundle::push(&mut config["mounts"], mount);
}

/// What has to lie in a bundle's root file system for that. Mount points that are missing stay behind (`mounts.rs` of the suite): they are there.
pub fn furnish(rootfs: &Path, probe: &Path) -> Verdict {
    fs::create_dir(rootfs.join("cgroup"))?;
    fs::hard_link(probe, rootfs.join("bin/probe"))?;
    fs::write(rootfs.join("etc/asks"), questions())?;
    Ok(())
}

/// What the payload of a bundle has to say, whoever has launched it; the rest is compared.
const OF_A_BUNDLE: &[&str] = &[
    "status NoNewPrivs:\t1",
    "status Seccomp:\t2",
    "status Umask:\t0027",
    "hostname inside",
    "domainname within",
    "ttl 9",
    "oom_score_adj 500",
    "limit Max open files 123 123 files",
    "personality 00000008",
    "scheduling: priority 23, nice 3, real time 0, policy 3",
    "hook createRuntime",
    "hook createContainer",
    "hook startContainer",
    "directory /work",
    "writes not /etc/fixed",
    "writes not /tmp/in/ro/file",
    "reads not /proc/interrupts",
    "reads not /proc/irq/default_smp_affinity",
    "writes not /proc/sys/kernel/domainname",
    "ptrace\tEPERM\t",
    "compared\tEXFULL\t",
    "io-priority\tok\t16390",
    "namespace cgroup: its own",
    "namespace ipc: its own",
    "namespace mnt: its own",
    "namespace net: its own",
    "namespace pid: its own",
    "namespace uts: its own",
];

/// The same without a mount namespace, where no file is read-only.
const HERE: &[&str] = &["hostname inside", "reads not /proc/interrupts", "writes not /proc/sys/kernel/domainname"];

/// What the payload of a policy has to say.
const OF_A_POLICY: &[&str] =
    &["reads not secret", "writes not ../trace/file", "writes not .git/config", "writes not /etc/passwd", "ptrace\tEPERM\t"];

/// The first line that a payload of an undisturbed launch has to say, and has not.
pub fn missing(course: Course, said: &[String]) -> Option<&'static str> {
    let lines: &[&[&'static str]] = match course {
        Course::Sandbox | Course::Auto => &[OF_A_POLICY, &OF_BROKER],
        Course::Outlet => &[OF_A_POLICY, &outlet::ANSWERS],
        Course::Alone => &[&["writes not ../trace/file", "writes not /etc/passwd", "ptrace\tEPERM\t"]],
        Course::Run | Course::RunTerminal | Course::Create | Course::CreateTerminal | Course::Start => &[OF_A_BUNDLE],
        Course::Exec | Course::ExecTerminal | Course::ExecDetached => &[OF_A_BUNDLE],
        Course::RunHere => &[HERE],
        Course::PolicyRun | Course::PolicyDetached | Course::PolicyCreate => &[OF_A_POLICY, &OF_BROKER],
        Course::PolicyExec => &[OF_A_POLICY],
        Course::Delete | Course::PolicyDelete => &[],
    };
    lines.iter().copied().flatten().copied().find(|line| !said.iter().any(|said| said == line))
}
