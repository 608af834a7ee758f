//! Prefetching: loads memory into the cache before it is needed.
//!
//! With many rooms, no data of the next room is in a cache, and a read would wait for each miss. A processor does not
//! execute ahead across a system call, so without prefetching it waits in full for data used after a write to a socket.

/// Bytes of a cache line.
const LINE: usize = 64;
/// Most cache lines of a frame that are prefetched; the rest is read sequentially, which the processor predicts.
const LINES: usize = 4;

/// Prefetches the cache line in which `value` begins, without waiting for it. Does nothing except on `x86_64`.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(value);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Prefetches the first bytes of a slice, at most four cache lines.
#[inline]
pub fn prefetch_bytes(bytes: &[u8]) {
    bytes.chunks(LINE).take(LINES).filter_map(<[u8]>::first).for_each(prefetch);
}
