//! Counts that outlive the engine's process: how long the peers were silent between two heartbeats.
use super::{BootId, Error, RuntimeDir, create};
use crate::platform::words::Words;

/// The words in front: two of the boot id, one of the layout.
const HEADER: usize = 3;

/// Words in a mapped file; every thread may read them while one writes.
#[derive(Debug)]
pub struct Gaps {
    words: Words,
}

impl RuntimeDir {
    /// Opens the counts: so many words, whose meaning `layout` names. Those of another boot or of
    /// another layout are cleared.
    ///
    /// # Errors
    /// The file cannot be made or mapped.
    pub fn gaps(&self, layout: u64, words: usize) -> Result<Gaps, Error> {
        let path = self.path.join("gaps");
        create(&path)
            .and_then(|file| Words::map(&file, HEADER + words))
            .map(|mapped| Gaps::of(mapped, self.boot, layout, words))
            .map_err(|error| Error::new(&path, error, "make the runtime directory writable"))
    }
}

impl Gaps {
    fn of(mapped: Words, boot: BootId, layout: u64, words: usize) -> Gaps {
        let boot = u128::from_be_bytes(boot.0);
        let header = [boot as u64, (boot >> 64) as u64, layout];
        if (0..HEADER).any(|index| mapped.get(index) != header[index]) {
            // Cleared before the header vouches for them: a kill in between clears them again.
            (0..HEADER + words).for_each(|index| mapped.set(index, 0));
            (0..HEADER).rev().for_each(|index| mapped.set(index, header[index]));
        }
        Gaps { words: mapped }
    }

    /// The word at `index`; 0 past the end.
    pub fn get(&self, index: usize) -> u64 {
        self.words.get(HEADER + index)
    }

    /// Stores a word; past the end nothing happens.
    pub fn set(&self, index: usize, value: u64) {
        self.words.set(HEADER + index, value);
    }
}
