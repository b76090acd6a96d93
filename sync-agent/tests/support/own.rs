//! What every server of a test's own needs: a number that no other in the process has, and a port that nobody has.

use std::sync::atomic::{AtomicU32, Ordering};

/// Servers that refuse to run as root have to be somebody else then.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("a process has its entry").uid() == 0
}

pub(crate) fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Below the range that outgoing connections take theirs from.
pub(crate) fn free_port() -> u16 {
    for _ in 0..2_000 {
        let number = std::process::id().wrapping_mul(89).wrapping_add(next() * 7);
        let port = 10_000 + u16::try_from(number % 20_000).expect("it is below 20000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10000 and 30000")
}
