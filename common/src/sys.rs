//! The only module with `unsafe`: calls that neither std nor nix offers.

/// Fills `out` from the kernel's random generator. False if it can't (very old kernels).
pub fn getrandom(out: &mut [u8]) -> bool {
    // SAFETY: the pointer and the length describe `out`, which outlives the call.
    let n = unsafe { libc::syscall(libc::SYS_getrandom, out.as_mut_ptr(), out.len(), 0) };
    n == out.len() as libc::c_long
}

/// The user of the process at the other end of a connection, or of the one that listened there, when
/// it was made.
///
/// # Errors
/// The kernel's.
pub fn peer_user(peer: &std::os::unix::net::UnixStream) -> std::io::Result<u32> {
    use std::os::fd::AsRawFd;
    let mut who = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = std::mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `peer` is borrowed, and the kernel writes at most `length`
    // bytes into `who`, which is that long and outlives the call.
    let rc = unsafe {
        libc::getsockopt(
            peer.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            std::ptr::from_mut(&mut who).cast(),
            &mut length,
        )
    };
    match rc {
        0 => Ok(who.uid),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// When the file at `path` was created, in nanoseconds since the epoch, where the kernel and the file
/// system know. Does not follow a final symbolic link.
pub fn birth_nanos(path: &std::path::Path) -> Option<i64> {
    use std::os::unix::ffi::OsStrExt;
    const STATX_BTIME: u32 = 0x800;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // struct statx is 256 bytes on every architecture: stx_mask at 0, stx_btime at 80
    // (seconds as i64, nanoseconds as u32).
    let mut raw = [0u8; 256];
    // SAFETY: `path` is NUL-terminated and outlives the call, and the kernel writes at most the 256
    // bytes of its struct statx into `raw`.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_statx,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            STATX_BTIME,
            raw.as_mut_ptr(),
        )
    };
    let mask = u32::from_ne_bytes(raw[0..4].try_into().ok()?);
    if rc != 0 || mask & STATX_BTIME == 0 {
        return None;
    }
    let secs = i64::from_ne_bytes(raw[80..88].try_into().ok()?);
    let nanos = u32::from_ne_bytes(raw[88..92].try_into().ok()?);
    secs.checked_mul(1_000_000_000)?
        .checked_add(i64::from(nanos))
}

/// The process in which [`fork`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The calling process; the child's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// Splits the process in two. Only for a process that has no threads yet.
///
/// # Errors
/// The process has more than one thread, or the kernel refuses (process limit, memory).
pub fn fork() -> std::io::Result<Forked> {
    // Where /proc is not mounted the caller's word is all there is.
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(std::io::Error::other("fork in a process with threads"));
    }
    // SAFETY: with a single thread no lock (of the allocator, of stdio) can be held by a thread that
    // does not exist in the child, so the child may go on running ordinary code.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}

/// Gives the pages of the program's own file back that are not needed at rest, some MB: the kernel maps 16 of them around
/// each that is used. They stay in the page cache, and those that are used again are mapped again at no I/O. Only what is
/// never written counts: code, and the constants before it.
pub fn release_program_pages() {
    static PAGES: std::sync::OnceLock<Vec<(usize, usize)>> = std::sync::OnceLock::new();
    for (begin, length) in PAGES.get_or_init(program_pages) {
        // SAFETY: the range is one private mapping of the program's file, as the kernel has told, and nothing else is
        // ever mapped there. It is code, or the segment at the file's beginning, which the loader maps without the right
        // to write and relocates nothing in: what is dropped is read from the file again, byte for byte.
        unsafe {
            libc::madvise(*begin as *mut libc::c_void, *length, libc::MADV_DONTNEED);
        }
    }
}

/// Where code and constants of the program are mapped, and how long these mappings are.
fn program_pages() -> Vec<(usize, usize)> {
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let of_line = |line: &str| {
        // Address range, permissions, offset in the file, device, inode, path
        let mut words = line.split_ascii_whitespace();
        let (range, access, offset) = (words.next()?, words.next()?, words.next()?);
        let is_ours = words.nth(2).map(std::path::Path::new) == Some(program.as_path());
        let is_constant = access == "r--p" && offset.bytes().all(|digit| digit == b'0');
        let address = |hex| usize::from_str_radix(hex, 16).ok();
        let (begin, end) = range.split_once('-')?;
        let (begin, end) = (address(begin)?, address(end)?);
        (is_ours && (access == "r-xp" || is_constant)).then_some((begin, end - begin))
    };
    maps.lines().filter_map(of_line).collect()
}

/// Has all threads of glibc's allocator share one arena. With an arena for each thread, memory that
/// one thread frees serves no other: 12 MB with 10,000 logs, whose positions are read by the main
/// thread. No thread allocates for a line, so they do not wait for each other. Other allocators have
/// no arenas.
pub fn share_one_arena() {
    // SAFETY: the call takes two integers, and what it sets counts from then on, for any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
