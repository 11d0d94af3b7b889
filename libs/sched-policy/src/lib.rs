//! A thread's scheduling policy (`sched(7)`) and processor time: the system calls about threads that the
//! standard library lacks. On systems other than Linux every call returns
//! [`Unsupported`](io::ErrorKind::Unsupported), and the caller continues without.

use std::io;
use std::time::Duration;

/// The scheduling policy, from the least processor share to the ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `SCHED_IDLE`: only processor time that no other thread wants, almost none beside busy threads.
    Idle,
    /// `SCHED_BATCH`: a full share, without preempting a thread that wakes up.
    Batch,
    /// `SCHED_OTHER`: the default policy.
    Normal,
}

impl Class {
    /// The next higher policy.
    #[must_use]
    pub fn up(self) -> Self {
        match self {
            Self::Idle => Self::Batch,
            Self::Batch | Self::Normal => Self::Normal,
        }
    }

    /// The next lower policy.
    #[must_use]
    pub fn down(self) -> Self {
        match self {
            Self::Normal => Self::Batch,
            Self::Batch | Self::Idle => Self::Idle,
        }
    }
}

/// A thread of this process. After its end, calls return errors or, in theory, apply to a new thread with the
/// same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(i32);

impl Thread {
    /// The calling thread.
    pub fn current() -> Self {
        Self(system::current())
    }

    /// Sets the policy of the thread. Lowering is always allowed; raising from [`Class::Idle`] only with
    /// `CAP_SYS_NICE` or a limit on nice that allows it.
    ///
    /// # Errors
    /// The kernel's error: `PermissionDenied`, or `NotFound` if the thread has ended.
    pub fn set_class(self, class: Class) -> io::Result<()> {
        system::set_class(self.0, class)
    }

    /// The processor time of the thread.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn cpu_time(self) -> io::Result<Duration> {
        system::cpu_time(self.0)
    }
}

/// Whether a thread that was lowered to [`Class::Idle`] may be raised again: tested on a temporary thread.
pub fn may_raise() -> bool {
    let tried = std::thread::Builder::new().name("class probe".to_owned()).spawn(|| {
        let thread = Thread::current();
        thread.set_class(Class::Idle).is_ok() && thread.set_class(Class::Normal).is_ok()
    });
    tried.ok().and_then(|probe| probe.join().ok()).unwrap_or(false)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "system calls that std does not have")]
mod system {
    use std::io;
    use std::time::Duration;

    use super::Class;

    pub(super) fn current() -> i32 {
        // SAFETY: takes nothing, changes nothing, cannot fail.
        unsafe { libc::gettid() }
    }

    pub(super) fn set_class(thread: i32, class: Class) -> io::Result<()> {
        let policy = match class {
            Class::Idle => libc::SCHED_IDLE,
            Class::Batch => libc::SCHED_BATCH,
            Class::Normal => libc::SCHED_OTHER,
        };
        // SAFETY: all zeros is a value of this struct of integers, and what these classes want: priority 0.
        let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: `parameters` lives through the call, which only reads it.
        match unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    pub(super) fn cpu_time(thread: i32) -> io::Result<Duration> {
        // The clock of a thread's processor time, as `clock_getcpuclockid(3)` makes it: the thread's number
        // inverted, then the bits for "of a thread" and "scheduled time".
        let clock = (!thread << 3) | 0b110;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` lives through the call, which only writes it.
        if unsafe { libc::clock_gettime(clock, &raw mut time) } == -1 {
            return Err(io::Error::last_os_error());
        }
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Ok(Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0)))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::Duration;

    use super::Class;

    pub(super) fn current() -> i32 {
        0
    }

    pub(super) fn set_class(_: i32, _: Class) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn cpu_time(_: i32) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn a_lower_class_is_always_allowed_and_visible() {
        std::thread::spawn(|| {
            let thread = Thread::current();
            thread.set_class(Class::Batch).unwrap();
            assert_eq!(policy(thread), Some(3), "SCHED_BATCH");
            thread.set_class(Class::Idle).unwrap();
            assert_eq!(policy(thread), Some(5), "SCHED_IDLE");
            assert_eq!(may_raise(), thread.set_class(Class::Normal).is_ok());
        })
        .join()
        .unwrap();
    }

    /// The 41st field of `proc_pid_stat(5)`.
    fn policy(thread: Thread) -> Option<u32> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{}/stat", thread.0)).ok()?;
        let (_, rest) = text.rsplit_once(')')?;
        rest.split_whitespace().nth(38)?.parse().ok()
    }

    #[test]
    fn processor_time_of_another_thread_grows_while_it_works() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.send(Thread::current()).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    black_box((0..1000).fold(0_u64, |sum, number| sum.wrapping_mul(31) ^ number));
                }
            });
            let thread = receiver.recv().unwrap();
            let before = thread.cpu_time().unwrap();
            while thread.cpu_time().unwrap() == before {
                std::thread::yield_now();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        // One more than the greatest number that Linux gives.
        let nobody = Thread((1 << 22) + 1);
        assert!(nobody.cpu_time().is_err() && nobody.set_class(Class::Idle).is_err());
    }

    #[test]
    fn classes_go_up_and_down_by_one() {
        assert_eq!(Class::Idle.up().up().up(), Class::Normal);
        assert_eq!(Class::Normal.down().down().down(), Class::Idle);
    }
}
