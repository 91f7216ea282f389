//! Stats: what the processes of a replica use, from `/proc`.

use procfs::process::Process;

use super::kin::Kin;
use crate::model::Stats;

const NANOSECONDS: u64 = 1_000_000_000;

/// What these processes use together. Processor time has that of their ended children; memory leaves out what is
/// shared with files, which is the page cache's.
pub(super) fn of(processes: &[Kin]) -> Stats {
    let (ticks, pages) = processes.iter().filter_map(|kin| one(kin.pid)).fold((0, 0), add);
    let cpu_ns = ticks * (NANOSECONDS / procfs::ticks_per_second().max(1));
    Stats::new(cpu_ns, pages * procfs::page_size())
}

/// Ticks of processor time and pages of its own; `None` if it has just ended.
fn one(pid: i32) -> Option<(u64, u64)> {
    let process = Process::new(pid).ok()?;
    let (stat, memory) = (process.stat().ok()?, process.statm().ok()?);
    let children = u64::try_from(stat.cutime.saturating_add(stat.cstime)).unwrap_or_default();
    Some((stat.utime + stat.stime + children, memory.resident.saturating_sub(memory.shared)))
}

fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}
