//! The only module with `unsafe`: calls that neither std nor nix offers.
#![allow(unsafe_code)]

/// Fills `out` from the kernel's random generator. False if it can't (very old kernels).
pub fn getrandom(out: &mut [u8]) -> bool {
    // SAFETY: the pointer and the length describe `out`, which outlives the call.
    let n = unsafe { libc::syscall(libc::SYS_getrandom, out.as_mut_ptr(), out.len(), 0) };
    n == out.len() as libc::c_long
}
