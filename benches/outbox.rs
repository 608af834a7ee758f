//! Measures one client's queue: pushing, flushing, and overflowing while the socket is full.

use std::hint::black_box;
use std::io;
use std::rc::Rc;

use criterion::Criterion;

use throng::testing::shard::batch::Batch;
use throng::testing::shard::outbox::{Kind, Outbox, WriteCounts};
use throng::testing::shard::sink::{ByteStream, Sink};

use crate::support::clock::CpuTime;
use crate::support::{Null, message, settings};

/// A socket that accepts no bytes.
struct Full;

impl ByteStream for Full {
    fn write(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("outbox");
    let frame = message(100);
    let sink = Sink::Stream(Rc::new(Null));
    let batch = Rc::new(Batch::of(&frame));
    let bounds = settings().bounds;

    let mut outbox = Outbox::default();
    let mut counts = WriteCounts::default();
    group.bench_function("push a batch and drain", |bencher| {
        bencher.iter(|| {
            assert!(outbox.overflow(batch.bytes.len(), 1, 1, &bounds).is_none());
            outbox.push_shared(&batch, 0, 1, 1);
            outbox.flush(&sink, &mut counts)
        });
    });
    group.bench_function("push 32 batches and drain in one write", |bencher| {
        bencher.iter(|| {
            for _ in 0..32 {
                outbox.push_shared(&batch, 0, 1, 1);
            }
            outbox.flush(&sink, &mut counts)
        });
    });
    group.bench_function("an own answer and drain", |bencher| {
        bencher.iter(|| {
            outbox.push(Kind::Reply, &frame, 1);
            outbox.flush(&sink, &mut counts)
        });
    });
    let full = Sink::Stream(Rc::new(Full));
    group.bench_function("fill a queue whose socket is full, then free it", |bencher| {
        bencher.iter(|| {
            while outbox.overflow(batch.bytes.len(), 1, 1, &bounds).is_none() {
                outbox.push_shared(&batch, 0, 1, 1);
            }
            black_box(outbox.flush(&full, &mut counts));
            outbox.finish_now(None, 1);
        });
    });
    black_box(counts);
    group.finish();
}
