//! Security modules of the kernel.

use super::{Result, check};

/// lsm_list_modules(2), Linux 6.8: the number of each (LSM_ID_*), and zeros; there is room for more than a kernel has. ENOSYS: an older one.
pub fn modules() -> Result<[u64; 32]> {
    let mut ids = [0; 32];
    let mut size = size_of_val(&ids) as u32;
    // SAFETY: `ids` is live and writable, as long as `size` says, which is live and writable too.
    check(unsafe { libc::syscall(LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0) })?;
    Ok(ids)
}

/// On every architecture; not in `libc` of every one.
const LIST_MODULES: libc::c_long = 461;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;

    #[test]
    fn capabilities_are_a_module_of_every_kernel() {
        const CAPABILITY: u64 = 100;
        let listed = modules();
        assert!(listed.as_ref().map_or_else(|e| *e == Errno::ENOSYS, |ids| ids.contains(&CAPABILITY)), "{listed:?}");
    }
}
