//! Finds the latest checkpoint without reading the whole journal.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::record::{Kind, Record};
use crate::segment::{self, Frames, Start, Step};

/// The latest checkpoint of the journal in a directory, `None` where there is none. `behind` is called with
/// every readable record of the segments that were read: those from the segment of that checkpoint on, in
/// order within a segment, the newest segment first.
///
/// Neither chain nor signature is checked. A writer may run at the same time.
///
/// # Errors
/// The error of the disk.
pub fn latest_checkpoint(
    directory: &Path,
    mut behind: impl FnMut(&Record<'_>),
) -> io::Result<Option<Checkpoint>> {
    for number in segment::list(directory)?.into_iter().rev() {
        let file = match File::open(segment::path(directory, number)) {
            // removed meanwhile
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let Start::Whole(header) = segment::start(&file)? else { continue };
        let mut frames = Frames::new(file, header.before.journal);
        let mut latest = None;

        // At the end, or at bytes that are no record, the segment is done.
        while let Step::Record(record) = frames.step()? {
            if record.kind == Kind::Checkpoint {
                latest = Checkpoint::parse(record.payload).or(latest);
            }
            behind(&record);
        }
        if latest.is_some() {
            return Ok(latest);
        }
    }
    Ok(None)
}
