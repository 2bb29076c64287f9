//! podman's pods: an infra container whose namespaces the others join by path.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::equal;
use crate::engine::image;
use crate::report::{No, Verdict};

pub const GROUP: Group = Group { name: "pods", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("two containers of a pod share net, ipc and uts", On::Podmans, shared),
    check("a pod with --share=pid", On::Podmans, pid),
    check("a pod stops and starts with its containers", On::Podmans, stopped),
    check("rm -f of a running pod leaves nothing", On::Podmans, removed),
];

/// A pod, removed at the end.
struct Pod<'a, 'b>(&'a Play<'b>, String);

impl Drop for Pod<'_, '_> {
    fn drop(&mut self) {
        drop(self.0.cli.run(&["pod", "rm", "-f", "-i", "-t", "0", &self.1]));
    }
}

fn pod<'a, 'b>(p: &'a Play<'b>, options: &[&str]) -> Result<Pod<'a, 'b>, No> {
    let pod = Pod(p, p.number("pod"));
    p.cli.said(&[&["pod", "create", "--network=none", "--name", &pod.1], options].concat())?;
    Ok(pod)
}

impl Pod<'_, '_> {
    fn member(&self) -> Result<String, No> {
        let name = self.0.number("member");
        self.0.cli.said(&["run", "-d", "--pod", &self.1, "--name", &name, image::NAME, "sh", "-c", super::IDLE])?;
        Ok(name)
    }

    fn same(&self, namespaces: &[&str]) -> Verdict {
        let (a, b) = (self.member()?, self.member()?);
        for namespace in namespaces {
            let link = |name: &str| Ok::<_, No>(self.0.exec(&[], name, &format!("readlink /proc/self/ns/{namespace}"))?.out);
            equal(&format!("{namespace} of both"), link(&a)?, link(&b)?)?;
        }
        Ok(())
    }
}

fn shared(p: &Play) -> Verdict {
    pod(p, &[])?.same(&["net", "ipc", "uts"])
}

fn pid(p: &Play) -> Verdict {
    pod(p, &["--share=pid,ipc"])?.same(&["pid", "ipc"])
}

fn stopped(p: &Play) -> Verdict {
    let pod = pod(p, &[])?;
    let member = pod.member()?;
    p.cli.run(&["pod", "stop", "-t", "5", &pod.1])?.code_is(0)?;
    equal("status", p.inspect(&member, ".State.Status")?, "exited")?;
    p.cli.run(&["pod", "start", &pod.1])?.code_is(0)?;
    equal("status", p.inspect(&member, ".State.Status")?, "running")
}

fn removed(p: &Play) -> Verdict {
    let before = crate::engine::left::Look::now(p.site);
    let pod = pod(p, &[])?;
    pod.member()?;
    p.cli.run(&["pod", "rm", "-f", "-t", "0", &pod.1])?.code_is(0)?;
    before.compare(p.site)
}
