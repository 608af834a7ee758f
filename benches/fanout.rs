//! Measures the fan-out of one message, and of a batch, to all members of a room with sockets that cost nothing.

use criterion::Criterion;

use crate::support::clock::CpuTime;
use crate::support::crowd::{Hall, Layout};
use crate::support::{is_check, message, per_part};

pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    let frame = message(100);
    let mut group = criterion.benchmark_group("fanout, of one member and batch");
    let million = if is_check() { 20_000 } else { 1_000_000 };
    for (members, messages, layout, name) in [
        (1, 1, Layout::Swept, "1 member"),
        (100, 1, Layout::Swept, "100 members"),
        (10_000, 1, Layout::Swept, "10,000 members"),
        (10_000, 32, Layout::Swept, "10,000 members, 32 messages"),
        (10_000, 1, Layout::Shuffled, "10,000 members, shuffled"),
        (million, 1, Layout::Swept, "1,000,000 members"),
        (million, 1, Layout::Shuffled, "1,000,000 members, shuffled"),
    ] {
        let mut hall = None;
        per_part(&mut group, name, members, |times| {
            let hall = hall.get_or_insert_with(|| Hall::new(members, layout));
            hall.fan_out(times, &frame, messages)
        });
    }
    group.finish();
}
