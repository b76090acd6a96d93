//! Who runs on which processor, and for how long it ran: from `/proc`, so for Linux. Reads and pins, judges nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The two processors of a measurement.
pub(crate) struct Processors {
    /// Of what is measured, alone.
    measured: usize,
    /// Of the load and of the server behind.
    ours: usize,
}

impl Processors {
    /// The last two that this process may use; this thread goes to its own.
    ///
    /// # Errors
    /// There is only one.
    pub(crate) fn claim() -> Result<Processors> {
        let may = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| may.is_set(*cpu)).collect::<Vec<_>>().into_iter().rev();
        let (Some(measured), Some(ours)) = (usable.next(), usable.next()) else {
            anyhow::bail!("this needs two processors: one for what is measured, one for the load");
        };
        let processors = Processors { measured, ours };
        stay_on(processors.ours)?;
        Ok(processors)
    }

    /// Has whatever `start` starts run on the measured processor.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn over_there<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        stay_on(self.measured)?;
        let started = start();
        stay_on(self.ours)?;
        started
    }
}

fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).context("cannot choose a processor")
}

/// User and system time of all threads of all processes in a group, as the scheduler counts it.
///
/// # Errors
/// There is none, or the kernel does not count.
pub(crate) fn of_group(leader: u32) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for process in fs::read_dir("/proc")?.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
        // It may have ended meanwhile.
        if fs::read_to_string(process.path().join("stat")).is_ok_and(|stat| group(&stat) == Some(leader)) {
            all += of_threads(&process.path().join("task"));
        }
    }
    ensure!(!all.is_zero(), "the process {leader} is gone, or its time is not counted");
    Ok(all)
}

/// This process's.
pub(crate) fn of_this() -> Duration {
    of_threads(Path::new("/proc/self/task"))
}

/// What all processors were busy with, whoever it was for. In hundredths of a second.
///
/// # Errors
/// `/proc/stat` is not as it should be.
pub(crate) fn of_all() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let numbers: Vec<u64> = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    ensure!(numbers.len() >= 7, "/proc/stat is not understood");
    // user, nice, system; idle and iowait are none; irq, softirq.
    let busy: u64 = [0, 1, 2, 5, 6].iter().map(|at| numbers[*at]).sum();
    Ok(Duration::from_millis(busy * 10))
}

/// Processes that wait for a processor, on average of late: `/proc/loadavg`.
pub(crate) fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn of_threads(tasks: &Path) -> Duration {
    let ran = |task: fs::DirEntry| {
        let told = fs::read_to_string(task.path().join("schedstat")).ok()?;
        told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    fs::read_dir(tasks).into_iter().flatten().flatten().filter_map(ran).sum()
}

/// The process group in a `/proc/PID/stat`: the third word after the name, which may hold anything.
fn group(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}
