//! `linux.resources.devices`: rules for the devices controller of version 1, or a program for version 2.

mod controller;

use super::{Change, Devices, Group};
use crate::Error;
use crate::bpf::device::{Kind, MKNOD, READ, Rule, WRITE, program};
use crate::host::cgroup::Version;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};

const ALL: u32 = READ | WRITE | MKNOD;

const fn node(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Some(Kind::Char), major: Some(major), minor, access: ALL }
}

const fn any(kind: Kind) -> Rule {
    Rule { allow: true, kind: Some(kind), major: None, minor: None, access: MKNOD }
}

/// What every container may use (config-linux.md, "Default Devices"): null, zero, full, random, urandom, tty, ptmx, and terminals, of
/// which its console is one (5:1 would be the host's). As with runc and crun any node may be made, which is not to say opened.
const DEFAULT: &[Rule] = &[
    any(Kind::Char),
    any(Kind::Block),
    node(1, Some(3)),
    node(1, Some(5)),
    node(1, Some(7)),
    node(1, Some(8)),
    node(1, Some(9)),
    node(5, Some(0)),
    node(5, Some(2)),
    node(136, None),
];

const NOTHING: Rule = Rule { allow: false, kind: None, major: None, minor: None, access: ALL };

/// Whether it speaks of every device and every access.
fn is_everything(rule: &Rule) -> bool {
    (Rule { allow: false, ..*rule }) == NOTHING
}

const FIELD: &str = "linux.resources.devices";

/// The rules as they were given, each with its place, and what is wrong with the others: judged whether or not anybody enforces them.
pub(super) fn judge(resources: Option<&LinuxResources>, errors: &mut Vec<Error>) -> Vec<(Rule, String)> {
    let asked = resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
    let mut one = |(i, device)| {
        let place = format!("{FIELD}[{i}]");
        rule(device).map_err(|e| errors.push(e.at(&place))).ok().map(|rule| (rule, place.clone()))
    };
    asked.iter().enumerate().filter_map(&mut one).collect()
}

/// Those that say more than what engines write for every container and with every change, that everything is denied: where they are not
/// enforced nothing comes of that one which is not so anyway.
pub(super) fn beyond_the_usual(resources: Option<&LinuxResources>) -> Option<&LinuxResources> {
    let usual = |device: &LinuxDeviceCgroup| rule(device).is_ok_and(|rule| rule == NOTHING);
    resources.filter(|r| r.devices().iter().flatten().any(|device| !usual(device)))
}

/// What is said of rules that nobody enforces.
pub(super) fn unenforced(resources: Option<&LinuxResources>, why: &str) -> Option<String> {
    let asked = resources.and_then(|r| r.devices().as_deref()).is_some_and(|asked| !asked.is_empty());
    asked.then(|| format!("config.json: {FIELD}: has no effect: {why}"))
}

/// Where the controller of version 1 would need one exception more.
const MAKING: &str = "mknod(2) of what is denied stays permitted, which is not to say its use: cgroup version 1 knows no exception from an exception";

/// The program; on version 1, writes instead.
pub(super) fn plan(
    asked: Vec<(Rule, String)>,
    groups: &[Group],
    Change { writes, warnings }: &mut Change,
    errors: &mut Vec<Error>,
) -> Option<Devices> {
    let v1 = groups.iter().position(|g| g.controllers.iter().any(|name| name == "devices"));
    let v2 = groups.iter().position(|g| g.version == Version::V2);
    match (v1, v2) {
        (Some(group), _) => {
            // Before the limits: of all writes these confine the most.
            let lines = controller::lines(&rules(&asked, false)).or_else(|_| {
                let lines = controller::lines(&rules(&asked, true))?;
                warnings.push(format!("config.json: {FIELD}: {MAKING}"));
                Ok(lines)
            });
            match lines {
                Ok(lines) => drop(writes.splice(0..0, lines.into_iter().map(|line| line.write(group)))),
                Err(e) => errors.push(e),
            }
            None
        }
        (None, Some(group)) => {
            let rules: Vec<Rule> = rules(&asked, false).into_iter().map(|(rule, _)| rule).collect();
            Some(Devices { group, program: program(&rules) })
        }
        (None, None) if asked.is_empty() => None,
        (None, None) => {
            errors.push(Error::new("this host has no cgroup controller `devices`").at(FIELD));
            None
        }
    }
}

/// Everything denied, then the user's rules in their order, then the defaults. A rule that denies some devices, or some access, is meant of
/// the defaults too: then these come before it, behind the last rule that denies everything. What stays is that their nodes may be
/// made, as the container's own /dev has them; with `making` those of all devices.
fn rules(asked: &[(Rule, String)], making: bool) -> Vec<(Rule, String)> {
    let mut rules = vec![(NOTHING, FIELD.to_owned())];
    for rule in asked {
        if rule.0 == NOTHING {
            rules.clear();
        }
        rules.push(rule.clone());
    }
    let default = |rule: Rule| (rule, "default devices".to_owned());
    if rules[1..].iter().any(|(rule, _)| !rule.allow) {
        rules.splice(1..1, DEFAULT.iter().map(|rule| default(*rule)));
        let nodes = DEFAULT.iter().filter(|rule| making || rule.minor.is_some());
        rules.extend(nodes.map(|rule| default(Rule { access: MKNOD, ..*rule })));
    } else {
        rules.extend(DEFAULT.iter().map(|rule| default(*rule)));
    }
    rules
}

fn rule(device: &LinuxDeviceCgroup) -> Result<Rule, Error> {
    let kind = match device.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Kind::Char),
        Some(LinuxDeviceType::P) => return Err(Error::new("`p` is a pipe, which is no device")),
    };
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        // The largest is version 1's own word for any (security/device_cgroup.c).
        Some(value) => match u32::try_from(value) {
            Ok(number) if number < u32::MAX => Ok(Some(number)),
            _ => Err(Error::new(format!("{value} is no device number"))),
        },
    };
    let access = access(device.access().as_deref().unwrap_or("rwm"))?;
    Ok(Rule { allow: device.allow(), kind, major: number(device.major())?, minor: number(device.minor())?, access })
}

fn access(text: &str) -> Result<u32, Error> {
    let bit = |c| match c {
        'r' => Ok(READ),
        'w' => Ok(WRITE),
        'm' => Ok(MKNOD),
        c => Err(Error::new(format!("access `{}` is none of r, w, m", c.escape_debug()))),
    };
    if text.is_empty() {
        return Err(Error::new("access is empty, and so a rule about nothing").hint("leave it out for `rwm`"));
    }
    text.chars().try_fold(0, |bits, c| Ok(bits | bit(c)?))
}
