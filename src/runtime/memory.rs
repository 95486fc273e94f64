//! The core's memory on a file: two slots written in turn, so that one is always whole.
use super::BootId;
use crc::{CRC_32_ISO_HDLC, Crc};
use rustix::fd::OwnedFd;
use std::io;

/// Bytes that can be remembered at most.
pub const MEMORY_MAX: usize = 4096;

const MAGIC: [u8; 4] = *b"LTM1";
/// Magic, boot id, generation, length.
const HEADER: usize = 4 + 16 + 8 + 4;
const SLOT: usize = HEADER + MEMORY_MAX + 4;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What must survive the engine's death within one boot: grants, claims, ownership.
///
/// A write is one `pwrite` on an open descriptor: no allocation, no fsync. The page cache outlives
/// the process, and a power cut ends the boot, after which the content is void anyway.
#[derive(Debug)]
pub struct Memory {
    file: OwnedFd,
    boot: BootId,
    generation: u64,
    buffer: Box<[u8; SLOT]>,
}

impl Memory {
    pub(super) fn open(file: OwnedFd, boot: BootId) -> io::Result<(Memory, Option<Vec<u8>>)> {
        let mut buffer = Box::new([0u8; SLOT]);
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for slot in 0..2u64 {
            let read = read_at(&file, &mut buffer[..], slot * SLOT as u64)?;
            let Some((generation, content)) = decode(&buffer[..read], boot) else { continue };
            if newest.as_ref().is_none_or(|(known, _)| generation > *known) {
                newest = Some((generation, content.to_vec()));
            }
        }
        let generation = newest.as_ref().map_or(0, |(generation, _)| *generation);
        Ok((Memory { file, boot, generation, buffer }, newest.map(|(_, content)| content)))
    }

    /// Replaces what is remembered. On an error the former content is still there.
    ///
    /// # Errors
    /// More than [`MEMORY_MAX`] bytes; those of `pwrite(2)`.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        if content.len() > MEMORY_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let generation = self.generation + 1;
        let len = encode(&mut self.buffer, self.boot, generation, content);
        let mut at = (generation % 2) * SLOT as u64;
        let mut rest = &self.buffer[..len];
        while !rest.is_empty() {
            match rustix::io::pwrite(&self.file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = &rest[written..];
                    at += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Only a whole write counts: after a failed one the same slot is written again.
        self.generation = generation;
        Ok(())
    }
}

fn read_at(file: &OwnedFd, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(file, &mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

fn encode(slot: &mut [u8; SLOT], boot: BootId, generation: u64, content: &[u8]) -> usize {
    slot[..4].copy_from_slice(&MAGIC);
    slot[4..20].copy_from_slice(&boot.0);
    slot[20..28].copy_from_slice(&generation.to_le_bytes());
    slot[28..32].copy_from_slice(&(content.len() as u32).to_le_bytes());
    let end = HEADER + content.len();
    slot[HEADER..end].copy_from_slice(content);
    let crc = CRC.checksum(&slot[..end]);
    slot[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    end + 4
}

fn decode(slot: &[u8], boot: BootId) -> Option<(u64, &[u8])> {
    let magic = slot.get(..4)?;
    let written_in = slot.get(4..20)?;
    let generation = u64::from_le_bytes(slot.get(20..28)?.try_into().ok()?);
    let len = u32::from_le_bytes(slot.get(28..32)?.try_into().ok()?) as usize;
    let end = HEADER.checked_add(len).filter(|_| len <= MEMORY_MAX)?;
    let crc = u32::from_le_bytes(slot.get(end..end + 4)?.try_into().ok()?);
    let whole = magic == MAGIC && written_in == boot.0 && CRC.checksum(&slot[..end]) == crc;
    whole.then(|| (generation, &slot[HEADER..end]))
}
