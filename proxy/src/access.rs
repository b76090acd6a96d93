//! The access log: JSON lines to standard output or a file, written by a thread of its own. Requests never wait for it: what
//! does not fit is dropped and counted. A file that was moved away (logrotate) is opened anew. What stands in a line is
//! `observe`'s and `ficus_rules::access`'s.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ficus_rules::access::AccessLine;

use crate::Error;
use crate::config::{AccessLog, AccessLogTarget};
use crate::metrics::metrics;

/// Lines that wait to be written.
const QUEUED: usize = 8192;
/// For how long lines are gathered after some were written: a thread that waits for each line costs the workers more than
/// the lines do, who wake it every time.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is looked whether the file is still the one at its path.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The way of lines to the thread that writes them.
pub(crate) struct Lines {
    queue: SyncSender<Message>,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before it is written when this is answered.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Opens the log and starts its thread, which ends when this is dropped.
    pub(crate) fn open(config: &AccessLog) -> Result<Lines, Error> {
        let target = config.to.clone();
        let name = match &target {
            AccessLogTarget::Stdout => "standard output".to_owned(),
            AccessLogTarget::File(path) => path.display().to_string(),
        };
        let sink = Sink::open(target).map_err(|source| Error::AccessLog { name, source })?;
        Lines::start(sink).map_err(Error::Runtime)
    }

    fn start(sink: Sink) -> io::Result<Lines> {
        let (queue, lines) = sync_channel(QUEUED);
        std::thread::Builder::new().name("ficus-access".to_owned()).spawn(move || write(sink, &lines))?;
        Ok(Lines { queue })
    }

    /// Hands a line over. Never waits.
    pub(crate) fn put(&self, line: &AccessLine<'_>) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        if self.queue.try_send(Message::Line(text)).is_err() {
            dropped("queue_full");
        }
    }

    /// Waits until what was handed over is written; not for ever.
    pub(crate) fn flush(&self) {
        let (written, done) = sync_channel(1);
        if self.queue.send(Message::Flush(written)).is_ok() {
            let _ = done.recv_timeout(Duration::from_secs(2));
        }
    }
}

fn write(mut sink: Sink, lines: &Receiver<Message>) {
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        let mut written = sink.reopen_if_moved();
        let (mut next, mut waiting) = (Some(first), Vec::new());
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    if let Err(error) = sink.writer.write_all(&line) {
                        dropped("failed");
                        written = Err(error);
                    }
                }
                Message::Flush(answer) => waiting.push(answer),
            }
            next = lines.try_recv().ok();
        }
        written = written.and(sink.writer.flush());
        if let Some(error) = written.as_ref().err().filter(|_| !failing) {
            tracing::warn!(%error, "the access log cannot be written");
        }
        failing = written.is_err();
        for answer in waiting {
            let _ = answer.try_send(());
        }
        std::thread::sleep(GATHER);
    }
}

fn dropped(reason: &str) {
    metrics().access_lines_dropped.with_label_values(&[reason]).inc();
}

/// Where lines are written.
struct Sink {
    target: AccessLogTarget,
    writer: BufWriter<Box<dyn Write + Send>>,
    /// Device and inode of the file that is written.
    opened: Option<(u64, u64)>,
    looked: Instant,
}

impl Sink {
    fn open(target: AccessLogTarget) -> io::Result<Sink> {
        let (writer, opened) = open(&target)?;
        Ok(Sink { target, writer: BufWriter::with_capacity(1 << 16, writer), opened, looked: Instant::now() })
    }

    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let AccessLogTarget::File(path) = &self.target else { return Ok(()) };
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        let there = std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
        if there == self.opened {
            return Ok(());
        }
        let (writer, opened) = open(&self.target)?;
        self.writer = BufWriter::with_capacity(1 << 16, writer);
        self.opened = opened;
        Ok(())
    }
}

type Opened = (Box<dyn Write + Send>, Option<(u64, u64)>);

fn open(target: &AccessLogTarget) -> io::Result<Opened> {
    match target {
        AccessLogTarget::Stdout => Ok((Box::new(io::stdout()), None)),
        AccessLogTarget::File(path) => {
            let file = append(path)?;
            let data = file.metadata()?;
            Ok((Box::new(file), Some((data.dev(), data.ino()))))
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    /// A disk that stands still until it is let go.
    #[derive(Clone, Default)]
    struct Disk(Arc<Platter>);

    /// Whether it goes, and what was written; and who waits for that.
    type Platter = (Mutex<(bool, Vec<u8>)>, Condvar);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, moved) = &*self.0;
            let mut state = moved.wait_while(state.lock().unwrap(), |(goes, _)| !*goes).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_and_nobody_waits() {
        let disk = Disk::default();
        let writer: Box<dyn Write + Send> = Box::new(disk.clone());
        // No buffer: the first line already stands still.
        let sink =
            Sink { target: AccessLogTarget::Stdout, writer: BufWriter::with_capacity(0, writer), opened: None, looked: Instant::now() };
        let lines = Lines::start(sink).unwrap();
        let before = metrics().access_lines_dropped.with_label_values(&["queue_full"]).get();
        let line = AccessLine { path: "/a".into(), ..AccessLine::default() };
        let handed = QUEUED as u64 + 100;
        (0..handed).for_each(|_| lines.put(&line));
        let lost = metrics().access_lines_dropped.with_label_values(&["queue_full"]).get() - before;
        assert!((99..=100).contains(&lost), "{lost}");
        disk.0.0.lock().unwrap().0 = true;
        disk.0.1.notify_all();
        let written = || disk.0.0.lock().unwrap().1.iter().filter(|byte| **byte == b'\n').count() as u64;
        let deadline = Instant::now() + Duration::from_secs(30);
        while written() < handed - lost && Instant::now() < deadline {
            lines.flush();
        }
        assert_eq!(written(), handed - lost);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let lines = Lines::open(&AccessLog { to: AccessLogTarget::File(path.clone()), ..AccessLog::default() }).unwrap();
        let put = |path: &'static str| {
            lines.put(&AccessLine { path: path.into(), ..AccessLine::default() });
            lines.flush();
        };
        put("/first");
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !path.exists() && Instant::now() < deadline {
            put("/more");
        }
        put("/last");
        let (old, new) = (std::fs::read_to_string(&moved).unwrap(), std::fs::read_to_string(&path).unwrap());
        assert!(old.contains("/first") && !old.contains("/last") && new.contains("/last"), "{old}\n{new}");
        assert!(new.lines().all(|line| serde_json::from_str::<AccessLine<'_>>(line).is_ok()));
    }
}
