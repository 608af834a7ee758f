//! Measures how fast the load generator counts the deliveries in the bytes that it has read from a busy connection.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

use throng_bench::Deliveries;

use crate::support::clock::CpuTime;

/// Largest read of a connection, in bytes.
const READ: usize = 256 * 1024;

/// Returns the text frame of a delivery: `payload` bytes (126 to 65535) with one mark byte among them.
fn frame(payload: usize) -> Vec<u8> {
    let mut frame = vec![b'x'; 4 + payload];
    frame[..2].copy_from_slice(&[0x81, 126]);
    frame[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
    frame[64] = b'#';
    frame
}

/// Measures counting the deliveries in the bytes of one read; the throughput is in deliveries.
pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("count the deliveries of a read");
    for (what, lengths, read) in [
        ("frames of 220 bytes, 256 KiB", &[216][..], READ),
        ("frames of 220 bytes, 7 KiB", &[216], 7 * 1024),
        ("frames of 200 to 240 bytes, 256 KiB", &[216, 198, 232, 204, 226], READ),
    ] {
        let frames: Vec<_> = lengths.iter().map(|length| frame(*length)).collect();
        let mut data = Vec::new();
        let mut count = 0;
        for frame in frames.iter().cycle() {
            if data.len() + frame.len() > read {
                break;
            }
            data.extend_from_slice(frame);
            count += 1;
        }
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(what), |bencher| {
            let mut deliveries = Deliveries::new(b'#');
            bencher.iter(|| assert_eq!(deliveries.count(black_box(&data)), Some(count)));
        });
    }
    group.finish();
}
