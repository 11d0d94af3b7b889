//! Which keys Redis decides about, and which it does not at the moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The slots of a Cluster in one part.
const SLOTS: u16 = 256;
const PARTS: u16 = 64;
const CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);

/// Parts of the keys: one, or those of a Cluster by ranges of slots. A part is off from a call that fails
/// until a write succeeds.
pub(super) struct Circuits {
    parts: Box<[Circuit]>,
    /// Told when a part goes off.
    pub(super) tripped: Notify,
}

#[derive(Default)]
struct Circuit {
    is_off: AtomicBool,
    /// The key whose call failed. Keys with it in braces are in its slot.
    key: Mutex<String>,
}

/// The number of a part.
#[derive(Clone, Copy)]
pub(super) struct Part(usize);

/// The slot of a key without braces (Redis Cluster specification, key distribution model).
pub(super) fn slot(key: &str) -> u16 {
    CRC.checksum(key.as_bytes()) % (SLOTS * PARTS)
}

impl Circuits {
    pub(super) fn new(is_cluster: bool) -> Self {
        let parts = if is_cluster { PARTS } else { 1 };
        Self { parts: (0..parts).map(|_| Circuit::default()).collect(), tripped: Notify::new() }
    }

    /// The part of a key, unless it is off.
    pub(super) fn on(&self, key: &str) -> Option<Part> {
        let part = match self.parts.len() {
            1 => 0,
            _ => usize::from(slot(key) / SLOTS),
        };
        let circuit = self.parts.get(part)?;
        (!circuit.is_off.load(Ordering::Relaxed)).then_some(Part(part))
    }

    /// Turns a part off because of a key; whether it was on, and so was every other one.
    pub(super) fn trip(&self, part: Part, key: &str) -> bool {
        let was_whole = self.off().is_empty();
        if let Some(circuit) = self.parts.get(part.0) {
            key.clone_into(&mut circuit.key.lock().unwrap_or_else(PoisonError::into_inner));
            circuit.is_off.store(true, Ordering::Relaxed);
        }
        self.tripped.notify_one();
        was_whole
    }

    /// The parts that are off, each with a key of it.
    pub(super) fn off(&self) -> Vec<(Part, String)> {
        let off = self.parts.iter().enumerate().filter(|(_, circuit)| circuit.is_off.load(Ordering::Relaxed));
        off.map(|(part, circuit)| {
            (Part(part), circuit.key.lock().unwrap_or_else(PoisonError::into_inner).clone())
        })
        .collect()
    }

    pub(super) fn restore(&self, part: Part) {
        if let Some(circuit) = self.parts.get(part.0) {
            circuit.is_off.store(false, Ordering::Relaxed);
        }
    }
}
