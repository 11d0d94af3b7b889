//! JSON Lines on standard output, or wherever else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Hash, JournalId};
use model::Now;
use serde_json::{Value, json};
use store::audit::{Place, Record, Shipment, Shipped};

use super::sink::{Sink, SinkError};

/// Writes a line a record, and remembers in a file how far it came. A crash between the two writes some lines twice;
/// journal and sequence tell.
#[derive(Debug)]
pub struct Lines<W> {
    to: Arc<Mutex<W>>,
    places: PathBuf,
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Lines into `to`; `places` is the file that remembers.
    pub fn new(to: W, places: PathBuf) -> Self {
        Self { to: Arc::new(Mutex::new(to)), places }
    }
}

impl<W: Write + Send + 'static> Sink for Lines<W> {
    async fn resume(&self, journal: [u8; 16]) -> Result<Option<Place>, SinkError> {
        let path = self.places.clone();
        let places = blocking(move || read(&path)).await?;
        Ok(places.get(&JournalId(journal).to_string()).copied())
    }

    async fn take(&self, shipment: Shipment) -> Result<Shipped, SinkError> {
        let (to, path) = (Arc::clone(&self.to), self.places.clone());
        blocking(move || {
            let mut text = String::new();
            for record in &shipment.records {
                text.push_str(&line(record).to_string());
                text.push('\n');
            }
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.write_all(text.as_bytes())?;
            to.flush()?;
            let mut places = read(&path)?;
            places.insert(JournalId(shipment.journal).to_string(), shipment.after);
            write(&path, &places)?;
            Ok(Shipped::Stored(shipment.records.len() as u64))
        })
        .await
    }

    /// What is written is somebody else's.
    async fn tidy(&self, _: Now, _: Now) -> Result<bool, SinkError> {
        Ok(false)
    }
}

fn line(record: &Record) -> Value {
    json!({
        "journal": JournalId(record.journal).to_string(),
        "sequence": record.sequence,
        "at": record.at,
        "kind": record.kind,
        "event": serde_json::from_slice::<Value>(&record.payload).unwrap_or_default(),
        "hash": Hash(record.hash).to_string(),
    })
}

type Places = BTreeMap<String, Place>;

/// One journal a line: `JOURNAL SEQUENCE HASH`.
fn read(path: &Path) -> io::Result<Places> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
    text.lines().map(|line| parse(line).ok_or_else(damaged)).collect()
}

fn parse(line: &str) -> Option<(String, Place)> {
    let mut words = line.split(' ');
    let (journal, sequence, hash) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hash.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some((journal.to_owned(), Place { sequence, hash: bytes }))
}

/// Another file takes the place of the old one, so that one of them is always whole.
fn write(path: &Path, places: &Places) -> io::Result<()> {
    let line =
        |(journal, place): (&String, &Place)| format!("{journal} {} {}\n", place.sequence, Hash(place.hash));
    let text: String = places.iter().map(line).collect();
    let next = path.with_extension("next");
    let mut file = fs::File::create(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SinkError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(SinkError::Io)
}
