//! The clock of the benches: the CPU time of the thread. On a machine that is shared, time on the wall measures the
//! neighbours.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread, user and system. Reading it is a system call: not for anything short.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// How long `work` keeps this thread's core.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let began = cpu_time();
    work();
    cpu_time() - began
}

/// Measures CPU time, and writes it as criterion writes time.
pub(crate) struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }
    fn end(&self, began: Duration) -> Duration {
        cpu_time() - began
    }
    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
