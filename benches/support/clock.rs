//! The clock of the benches: the CPU time of the thread. On a shared machine, wall-clock time would include the load
//! of others.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time of this thread, user and system. Reading it is a system call, too slow to time short work.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Returns the CPU time that `work` takes.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let began = cpu_time();
    work();
    cpu_time() - began
}

/// A measurement of CPU time for criterion, formatted like its own wall-clock time.
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
