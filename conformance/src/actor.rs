//! Who runs a case: root, or an ordinary account that has no rights at all.

use nix::unistd::{Uid, User};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The account that is made when none is named.
pub const DEFAULT_ACCOUNT: &str = "codexrun-test";

/// A user to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `root` or `user`: the second half of a column's name.
    pub label: &'static str,
    /// The account's name.
    pub name: String,
    /// Its numbers.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: PathBuf,
}

impl Actor {
    /// Root and an ordinary user when we are root, otherwise only the one we are.
    pub fn all(account: Option<&str>) -> Result<Vec<Actor>, String> {
        let own = from(User::from_uid(Uid::effective()), "own account")?;
        if !own.is_root() {
            return Ok(vec![own]);
        }
        let account = account.unwrap_or(DEFAULT_ACCOUNT);
        make_account(account)?;
        let user = from(User::from_name(account), account)?;
        Ok(vec![own, user])
    }

    /// Whether this is the superuser.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Gives a tree to this user; links themselves, never what they point to.
    pub fn own(&self, path: &Path) -> std::io::Result<()> {
        lchown(path, Some(self.uid), Some(self.gid))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Whether this user may execute `program` through every directory on the way.
    pub fn may_execute(&self, program: &Path) -> bool {
        use std::os::unix::process::CommandExt;
        let mut test = Command::new("/usr/bin/test");
        test.arg("-x").arg(program).current_dir("/");
        if Uid::effective().is_root() {
            test.uid(self.uid).gid(self.gid);
        }
        test.status().is_ok_and(|s| s.success())
    }
}

fn from(user: nix::Result<Option<User>>, name: &str) -> Result<Actor, String> {
    let user = user.map_err(|e| format!("account `{name}`: {e}"))?.ok_or(format!("no account `{name}`"))?;
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let label = if uid == 0 { "root" } else { "user" };
    Ok(Actor { label, name: user.name, uid, gid, home: user.dir })
}

/// Makes the account when it is missing; it stays, as the accounts of packages do.
fn make_account(name: &str) -> Result<(), String> {
    if matches!(User::from_name(name), Ok(Some(_))) {
        return Ok(());
    }
    let status = Command::new("useradd").args(["--create-home", "--shell", "/bin/sh", name]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("useradd {name}: {status}")),
        Err(e) => Err(format!("useradd {name}: {e}")),
    }
}
