//! One case's turn in one column: its directory, its bundles, its calls of the runtime. A turn leaves nothing; what the
//! runtime leaves is found at its end.

use super::bundle;
use super::container::Container;
use crate::launch::{Launch, Ran};
use crate::report::{No, Verdict, fail};
use crate::runtime::{Column, Kind};
use serde_json::Value;
use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What a case plays with.
pub struct Turn<'a> {
    /// The runtime and its caller.
    pub column: &'a Column,
    /// A directory of the caller's own, on the host.
    pub dir: PathBuf,
    /// A word that no other turn on this machine has; ids and cgroups begin with it.
    pub tag: String,
    /// The runtime's `--root`.
    pub state: PathBuf,
    /// Options before the verb of every call.
    pub globals: Cell<&'static [&'static str]>,
    busybox: PathBuf,
    next: Cell<u32>,
}

impl<'a> Turn<'a> {
    /// A turn in `dir`, which must belong to the caller.
    pub fn new(column: &'a Column, dir: PathBuf, tag: String, busybox: &Path) -> Result<Turn<'a>, No> {
        for name in ["state", "run", "trace"] {
            fs::create_dir_all(dir.join(name))?;
        }
        column.actor.own(&dir)?;
        Ok(Turn {
            column,
            state: dir.join("state"),
            dir,
            tag,
            globals: Cell::new(&[]),
            busybox: busybox.into(),
            next: Cell::new(0),
        })
    }

    /// Where payloads and hooks of [`Self::traced`] leave their marks, as seen by the host.
    pub fn trace(&self, name: &str) -> PathBuf {
        self.dir.join("trace").join(name)
    }

    /// The text of a mark; empty when it is not there.
    pub fn mark(&self, name: &str) -> String {
        fs::read_to_string(self.trace(name)).unwrap_or_default()
    }

    /// An id that is used once.
    pub fn fresh(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("{}-{}", self.tag, self.next.get())
    }

    /// The configuration to start from.
    pub fn config(&self, args: &[&str]) -> Value {
        bundle::config(&self.column.actor, &self.fresh(), args)
    }

    /// A shell script as the payload.
    pub fn sh(&self, script: &str) -> Value {
        self.config(&["/bin/sh", "-c", script])
    }

    /// The same with the directory of marks bound to `/trace`.
    pub fn traced(&self, script: &str) -> Value {
        let mut config = self.sh(script);
        bundle::push(&mut config["mounts"], bundle::bind(&self.dir.join("trace"), "/trace"));
        config
    }

    /// A payload that lives until it is killed.
    pub fn sleeper(&self) -> Value {
        self.config(&["/bin/sleep", "1000"])
    }

    /// Writes a bundle and gives it to the caller.
    pub fn bundle(&self, config: &Value) -> Result<PathBuf, No> {
        let dir = self.dir.join(format!("bundle-{}", self.fresh()));
        bundle::rootfs(&dir, &self.busybox)?;
        fs::write(dir.join("config.json"), config.to_string())?;
        self.column.actor.own(&dir)?;
        Ok(dir)
    }

    /// The command line of a call, not yet started. `words` may begin with global options.
    pub fn launch(&self, words: &[&str]) -> Launch {
        let mut argv = vec![self.column.runtime.path.display().to_string(), "--root".into(), self.state.display().to_string()];
        if self.column.runtime.kind == Kind::Crun && !self.column.actor.is_root() {
            argv.push("--cgroup-manager=disabled".into());
        }
        argv.extend(self.globals.get().iter().chain(words).map(|w| w.to_string()));
        let (argv, keeps_root) = self.column.in_its_view(argv);
        let env = vec![("XDG_RUNTIME_DIR".into(), self.dir.join("run").display().to_string())];
        Launch { argv, env, dir: self.dir.clone(), stdin: String::new(), keeps_root }
    }

    /// A call, to its end; what it has started lives on.
    pub fn call(&self, words: &[&str]) -> Result<Ran, No> {
        self.call_with_output(words).map(|(ran, _)| ran)
    }

    /// The same, and the file that its stdout is; again when a referee has failed by a known fault of its own.
    pub fn call_with_output(&self, words: &[&str]) -> Result<(Ran, File), No> {
        let once = || -> Result<(Ran, File), No> {
            let running = self.launch(words).start(&self.column.actor)?;
            let out = running.output()?;
            Ok((running.finish_beside_others()?, out))
        };
        let (ran, out) = once()?;
        if self.column.own_fault(&ran) { once() } else { Ok((ran, out)) }
    }

    /// A call that must fail, and not by its time limit.
    pub fn fails(&self, words: &[&str]) -> Result<Ran, No> {
        let ran = self.call(words)?;
        ran.must("an error", ran.code != 0)?;
        Ok(ran)
    }

    /// A call that must succeed.
    pub fn succeeds(&self, words: &[&str]) -> Result<Ran, No> {
        let ran = self.call(words)?;
        ran.must("exit 0", ran.code == 0)?;
        Ok(ran)
    }

    /// `run`, to its end, as what another program executes: that comes first, and has made the runtime's world another one.
    pub fn run_by(&self, program: &[&str], config: &Value) -> Result<Ran, No> {
        let bundle = self.bundle(config)?.display().to_string();
        let mut launch = self.launch(&["run", "--bundle", &bundle, &self.fresh()]);
        launch.argv.splice(0..0, program.iter().map(|word| (*word).to_owned()));
        Ok(launch.start(&self.column.actor)?.finish_beside_others()?)
    }

    /// `create`, whatever comes of it.
    pub fn create(&self, config: &Value) -> Result<Container<'_>, No> {
        self.create_with(config, &[])
    }

    /// The same with options.
    pub fn create_with(&self, config: &Value, options: &[&str]) -> Result<Container<'_>, No> {
        let bundle = self.bundle(config)?;
        Container::create(self, bundle, options)
    }

    /// A container that is `created`.
    pub fn created(&self, config: &Value) -> Result<Container<'_>, No> {
        let container = self.create(config)?;
        container.made.must("create exits 0", container.made.code == 0)?;
        Ok(container)
    }

    /// A container that is `running`.
    pub fn started(&self, config: &Value) -> Result<Container<'_>, No> {
        let container = self.created(config)?;
        container.start()?;
        Ok(container)
    }

    /// What a payload printed until its end, on stdout.
    pub fn output(&self, config: &Value) -> Result<String, No> {
        let container = self.started(config)?;
        container.ended()?;
        Ok(container.text())
    }

    /// The payload prints exactly this.
    pub fn prints(&self, config: &Value, expected: &str) -> Verdict {
        let text = self.output(config)?;
        if text == expected { Ok(()) } else { fail(self.what(config), format!("{expected:?}"), format!("{text:?}")) }
    }

    /// `create` fails, and afterwards nobody knows the id.
    pub fn refused(&self, config: &Value) -> Verdict {
        let container = self.create(config)?;
        container.made.must("create fails", container.made.code != 0)?;
        self.unknown(&container.id)
    }

    /// `state` of the id fails.
    pub fn unknown(&self, id: &str) -> Verdict {
        self.fails(&["state", id]).map(drop)
    }

    fn what(&self, config: &Value) -> String {
        format!("create, start of {}", config["process"]["args"])
    }
}
