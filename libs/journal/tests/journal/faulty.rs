//! A disk whose faults a test controls.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use journal::disk::{Disk, FileSystem, Segment};

#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Bytes that still fit.
    pub(crate) space: Option<u64>,
    /// The most bytes that a write accepts.
    pub(crate) short: Option<usize>,
    pub(crate) write: Option<io::ErrorKind>,
    pub(crate) sync: Option<io::ErrorKind>,
    pub(crate) create: Option<io::ErrorKind>,
    pub(crate) cut: Option<io::ErrorKind>,
    pub(crate) remove: Option<io::ErrorKind>,
    /// Writes do not return.
    pub(crate) hang: bool,
    /// The number of writes that still return.
    pub(crate) pass: usize,
    /// Whether a write hangs now.
    hanging: bool,
    /// Calls of write.
    pub(crate) writes: usize,
    pub(crate) syncs: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Faulty {
    plan: Arc<(Mutex<Plan>, Condvar)>,
}

impl Faulty {
    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.0.lock().expect("nobody panicked")
    }

    /// Waits until a write hangs.
    pub(crate) fn until_hanging(&self) {
        drop(self.plan.1.wait_while(self.plan(), |plan| !plan.hanging).expect("nobody panicked"));
    }

    /// Lets this many writes continue.
    pub(crate) fn pass(&self, writes: usize) {
        self.plan().pass = writes;
        self.plan.1.notify_all();
    }

    /// Lets the hanging writes continue.
    pub(crate) fn release(&self) {
        self.plan().hang = false;
        self.plan.1.notify_all();
    }

    fn wrap(&self, segment: io::Result<Box<dyn Segment>>) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(FaultySegment { disk: self.clone(), segment: segment? }))
    }
}

fn refuse(kind: Option<io::ErrorKind>) -> io::Result<()> {
    kind.map_or(Ok(()), |kind| Err(kind.into()))
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        refuse(self.plan().create)?;
        self.wrap(FileSystem.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        self.wrap(FileSystem.open(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        refuse(self.plan().remove)?;
        FileSystem.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        FileSystem.sync_directory(path)
    }
}

#[derive(Debug)]
struct FaultySegment {
    disk: Faulty,
    segment: Box<dyn Segment>,
}

impl Segment for FaultySegment {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut plan = self.disk.plan();
        plan.writes += 1;
        while plan.hang && plan.pass == 0 {
            plan.hanging = true;
            self.disk.plan.1.notify_all();
            plan = self.disk.plan.1.wait(plan).expect("nobody panicked");
        }
        plan.hanging = false;
        plan.pass = plan.pass.saturating_sub(1);
        refuse(plan.write)?;
        let mut most = bytes.len().min(plan.short.unwrap_or(usize::MAX));
        // Overwriting existing bytes needs no space.
        let there = usize::try_from(self.segment.len()?.saturating_sub(offset)).expect("small");
        if let Some(space) = plan.space.as_mut().filter(|_| there < most) {
            if *space == 0 && there == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let new = (most - there).min(usize::try_from(*space).expect("small"));
            most = there + new;
            *space -= new as u64;
        }
        drop(plan);
        self.segment.write_at(&bytes[..most], offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        refuse(self.disk.plan().cut)?;
        self.segment.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.segment.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.segment.read_at(bytes, offset)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.segment.is_at(path)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.plan().syncs += 1;
        refuse(self.disk.plan().sync)?;
        self.segment.sync()
    }
}
