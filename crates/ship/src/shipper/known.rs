//! What became of each file: 40 bytes for each that is still there, whatever its name.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits or is on its way.
    Waits,
    /// Its object is there.
    Done,
    /// Its object differs, or it was given up. The next start tries again.
    GivenUp,
}

/// Files by a fingerprint of their paths: two random hashes, so that nobody can choose names that collide.
#[derive(Default)]
pub(crate) struct Known {
    hashes: [RandomState; 2],
    states: HashMap<[u64; 2], (State, u32)>,
    generation: u32,
}

impl Known {
    fn fingerprint(&self, file: &Path) -> [u64; 2] {
        self.hashes.each_ref().map(|hash| hash.hash_one(file))
    }

    pub(crate) fn get(&self, file: &Path) -> Option<State> {
        self.states.get(&self.fingerprint(file)).map(|(state, _)| *state)
    }

    pub(crate) fn set(&mut self, file: &Path, state: State) {
        let generation = self.generation;
        self.states.insert(self.fingerprint(file), (state, generation));
    }

    /// A list of the directory begins.
    pub(crate) fn begin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The list has this file.
    pub(crate) fn see(&mut self, file: &Path) -> Option<State> {
        let (generation, print) = (self.generation, self.fingerprint(file));
        let (state, seen) = self.states.get_mut(&print)?;
        *seen = generation;
        Some(*state)
    }

    /// The list is complete: what it did not have is forgotten, unless it waits.
    pub(crate) fn end(&mut self) {
        let generation = self.generation;
        self.states.retain(|_, (state, seen)| *seen == generation || *state == State::Waits);
    }

    pub(crate) fn forget(&mut self, file: &Path) {
        self.states.remove(&self.fingerprint(file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_gone_are_forgotten_and_those_that_wait_are_not() {
        let mut known = Known::default();
        let [done, gone, waits] = ["a", "dt=1/b", "c"].map(Path::new);
        known.set(done, State::Done);
        known.set(gone, State::GivenUp);
        known.set(waits, State::Waits);
        known.begin();
        assert_eq!(known.see(done), Some(State::Done));
        assert_eq!(known.see("new".as_ref()), None);
        known.end();
        assert_eq!(
            [done, gone, waits].map(|file| known.get(file)),
            [Some(State::Done), None, Some(State::Waits)]
        );
    }
}
