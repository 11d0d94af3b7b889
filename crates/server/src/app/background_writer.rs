//! Writes to standard output or error in a thread of its own, so that a reader that stops, a closed pipe or a
//! full disk delays no task.
//!
//! Our own: `tracing-appender` bounds the number of waiting lines but not their bytes, loses what the file
//! refuses without counting it, and reports no loss.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::metric::{Page, float};
use rustix::event::{PollFd, PollFlags, poll};

/// The most bytes that wait to be written.
const CAPACITY: usize = 1024 * 1024;
/// How long the end of the process waits for the last lines.
pub(crate) const LAST_LINES: Duration = Duration::from_secs(1);

/// Accepts lines without blocking. Clones write to the same file.
#[derive(Clone)]
pub struct BackgroundWriter(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// The thread is writing bytes that it has taken.
    is_writing: bool,
    /// Lines dropped since the last report.
    unreported: u64,
}

impl BackgroundWriter {
    /// Starts the thread that writes to `file`. `report` is called in it with the number of lines that were
    /// dropped, once there is room again.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(
        name: &str,
        file: impl Write + AsFd + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let thread = Thread { shared: Arc::clone(&shared), file, is_within_line: false };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || thread.run(&report))?;
        Ok(Self(shared))
    }

    /// How many lines were dropped so far, because too many waited or the file refused them.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most `within`. Returns whether it is.
    pub fn finish(&self, within: Duration) -> bool {
        let waiting = self.0.lock();
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.bytes.is_empty();
        let waited = self.0.changed.wait_timeout_while(waiting, within, is_busy);
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    /// Writes the number of dropped lines to the metrics page.
    pub fn collect(&self, page: &mut Page) {
        page.family(
            "log_lines_dropped_total",
            "counter",
            "Log lines that were dropped because standard error was not read or could not be written.",
        );
        page.sample("log_lines_dropped_total", &[], float(self.dropped()));
    }
}

/// Accepts whole lines: what is given in one call is written or dropped as a whole.
impl Write for BackgroundWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.bytes.len().saturating_add(lines.len()) > CAPACITY {
            let count = count_lines(lines);
            waiting.unreported += count;
            self.0.dropped.fetch_add(count, Ordering::Relaxed);
        } else {
            waiting.bytes.extend_from_slice(lines);
            self.0.changed.notify_all();
        }
        Ok(lines.len())
    }

    /// Does nothing: [`BackgroundWriter::finish`] waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BackgroundWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundWriter").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread<W> {
    shared: Arc<Shared>,
    file: W,
    /// The last write ended inside a line.
    is_within_line: bool,
}

impl<W: Write + AsFd> Thread<W> {
    fn run(mut self, report: &impl Fn(u64)) {
        let mut taken = Vec::new();
        loop {
            self.take(&mut taken);
            let lost = self.write(&taken);
            taken.clear();

            let mut waiting = self.shared.lock();
            waiting.is_writing = false;
            waiting.unreported += lost;
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            let has_room = lost == 0 && waiting.bytes.len() < CAPACITY / 2;
            let to_report = if has_room { std::mem::take(&mut waiting.unreported) } else { 0 };
            drop(waiting);

            if to_report > 0 {
                report(to_report);
            }
            self.shared.changed.notify_all();
        }
    }

    /// Waits for bytes and takes all of them.
    fn take(&self, into: &mut Vec<u8>) {
        let waiting = self.shared.lock();
        let waited = self.shared.changed.wait_while(waiting, |waiting| waiting.bytes.is_empty());
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.bytes, into);
        waiting.is_writing = true;
    }

    /// Writes the lines; returns how many the file did not accept as a whole.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.is_within_line && self.write_all(b"\n").is_err() {
            return count_lines(lines);
        }
        self.is_within_line = false;

        let Err(written) = self.write_all(lines) else { return 0 };
        let (before, after) = lines.split_at_checked(written).unwrap_or((lines, &[]));
        self.is_within_line = before.last().is_some_and(|last| *last != b'\n');
        count_lines(after)
    }

    /// Writes all bytes, or returns how many were written before the file refused the rest.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(written),
                Ok(count) => written += count,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => self.wait().map_err(|_| written)?,
                Err(_) => return Err(written),
            }
        }
        self.file.flush().map_err(|_| written)
    }

    /// Waits until a file that does not block accepts bytes again.
    fn wait(&self) -> io::Result<()> {
        poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)?;
        Ok(())
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count().saturating_sub(1) as u64
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};
    use std::sync::mpsc;

    use super::*;

    const LINE: &[u8] = b"a line of the log\n";
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_pipe_that_is_not_read_delays_no_line_and_the_loss_is_reported_when_it_is_read() {
        let (mut reader, file) = pipe().unwrap();
        let (report, reported) = mpsc::channel();
        let mut writer =
            BackgroundWriter::start("log", file, move |lost| report.send(lost).unwrap()).unwrap();

        let lines = 2 * CAPACITY / LINE.len();
        for _ in 0..lines {
            writer.write_all(LINE).unwrap();
        }
        let dropped = writer.dropped();
        assert!(dropped > 0);
        assert!(!writer.finish(Duration::ZERO));

        let kept = lines - usize::try_from(dropped).unwrap();
        let mut read = vec![0; kept * LINE.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(LINE.len()).all(|line| line == LINE));
        assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), dropped);
        assert!(writer.finish(PATIENCE));
        assert_eq!(writer.dropped(), dropped);
    }

    /// A file whose writes are told, and wait to be allowed.
    struct Gate {
        begun: mpsc::Sender<()>,
        allowed: mpsc::Receiver<()>,
        file: std::fs::File,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).unwrap();
            self.allowed.recv().unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for Gate {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    #[test]
    fn dropped_lines_are_reported_only_when_there_is_room_for_the_report() {
        // given a line that is being written, a full queue behind it, and a line that did not fit
        let ((begun, begins), (allow, allowed)) = (mpsc::channel(), mpsc::channel());
        let (report, reported) = mpsc::channel();
        let file = std::fs::File::open("/dev/null").unwrap();
        let gate = Gate { begun, allowed, file };
        let mut writer =
            BackgroundWriter::start("log", gate, move |lost| report.send(lost).unwrap()).unwrap();
        writer.write_all(LINE).unwrap();
        begins.recv_timeout(PATIENCE).unwrap();
        for _ in 0..=CAPACITY / LINE.len() {
            writer.write_all(LINE).unwrap();
        }
        assert_eq!(writer.dropped(), 1);

        // when the first line is written, then there is no room yet, and the report would be dropped too
        allow.send(()).unwrap();
        begins.recv_timeout(PATIENCE).unwrap();
        assert!(reported.try_recv().is_err());

        // when the queue is written, then the loss is reported, once
        allow.send(()).unwrap();
        assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), 1);
        assert!(writer.finish(PATIENCE));
        assert!(reported.try_recv().is_err());
    }

    #[test]
    fn a_pipe_that_does_not_block_receives_every_line_that_fits() {
        let (mut reader, file) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&file, true).unwrap();
        let mut writer = BackgroundWriter::start("log", file, |_| ()).unwrap();
        let lines = CAPACITY / LINE.len();
        for _ in 0..lines {
            writer.write_all(LINE).unwrap();
        }
        let mut read = vec![0; lines * LINE.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(writer.finish(PATIENCE));
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn lines_that_the_file_refuses_are_counted() {
        let (reader, file) = pipe().unwrap();
        drop(reader);
        let mut writer = BackgroundWriter::start("log", file, |_| ()).unwrap();
        writer.write_all(&[LINE, LINE].concat()).unwrap();
        assert!(writer.finish(PATIENCE));
        assert_eq!(writer.dropped(), 2);

        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut writer = BackgroundWriter::start("log", full, |_| ()).unwrap();
        writer.write_all(LINE).unwrap();
        assert!(writer.finish(PATIENCE));
        assert_eq!(writer.dropped(), 1);
    }
}
