//! Memory that will be read soon is fetched while something else is done.
//!
//! With many rooms nothing of the next one is in a cache, and one miss costs as much as a tenth of a write to a socket.
//! A read would wait for it; before a call into the kernel that is all of it, for no core looks ahead beyond that.

/// Bytes that are fetched together.
const LINE: usize = 64;
/// Lines of a frame that are fetched: what is longer is read forwards, which the processor sees.
const LINES: usize = 4;

/// Has the line in which `value` begins fetched, and does not wait. Elsewhere than on `x86_64` nothing happens.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(value);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Has the first bytes fetched.
#[inline]
pub fn prefetch_bytes(bytes: &[u8]) {
    bytes.chunks(LINE).take(LINES).filter_map(<[u8]>::first).for_each(prefetch);
}
