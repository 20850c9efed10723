//! Slots with generations: a key that outlived its value finds nothing, never a stranger.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use slab::Slab;

/// A handle on a value in a [`Slots`] table. `T` is only a tag.
pub struct Key<T> {
    index: u32,
    generation: u32,
    tag: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// Makes a key from the two halves of [`Key::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
            tag: PhantomData,
        }
    }

    /// The slot and its generation in one number, for a token.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The slot's number, dense from 0: for tables beside the slots.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.to_bits().cmp(&other.to_bits())
    }
}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_bits().hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index, self.generation)
    }
}

/// A table of values under keys that are never reused.
pub struct Slots<T, Tag = T> {
    slab: Slab<(u32, T)>,
    next_generation: u32,
    tag: PhantomData<fn() -> Tag>,
}

impl<T, Tag> Default for Slots<T, Tag> {
    fn default() -> Self {
        Self {
            slab: Slab::new(),
            next_generation: 0,
            tag: PhantomData,
        }
    }
}

impl<T, Tag> Slots<T, Tag> {
    /// Puts a value in the lowest free slot and gives its key.
    pub fn insert(&mut self, value: T) -> Key<Tag> {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let index = self.slab.insert((generation, value)) as u32;
        Key {
            index,
            generation,
            tag: PhantomData,
        }
    }

    /// The value under `key`, unless it is gone.
    pub fn get(&self, key: Key<Tag>) -> Option<&T> {
        let (generation, value) = self.slab.get(key.index())?;
        (*generation == key.generation).then_some(value)
    }

    /// The value under `key`, to change it.
    pub fn get_mut(&mut self, key: Key<Tag>) -> Option<&mut T> {
        let (generation, value) = self.slab.get_mut(key.index())?;
        (*generation == key.generation).then_some(value)
    }

    /// Takes the value out; its key finds nothing from now on.
    pub fn remove(&mut self, key: Key<Tag>) -> Option<T> {
        self.get(key)?;
        Some(self.slab.remove(key.index()).1)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All keys and values, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Key<Tag>, &T)> {
        self.slab
            .iter()
            .map(|(index, (generation, value))| (key(index, *generation), value))
    }

    /// All keys and values, by slot, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key<Tag>, &mut T)> {
        self.slab
            .iter_mut()
            .map(|(index, (generation, value))| (key(index, *generation), value))
    }

    /// The key of the first value whose slot is `index` or a later one: a cursor that survives
    /// insertions and removals, `slot = key.index() + 1` for the next call.
    pub fn key_from(&self, index: usize) -> Option<Key<Tag>> {
        (index..self.slab.capacity()).find_map(|index| {
            self.slab
                .get(index)
                .map(|(generation, _)| key(index, *generation))
        })
    }
}

fn key<Tag>(index: usize, generation: u32) -> Key<Tag> {
    Key {
        index: index as u32,
        generation,
        tag: PhantomData,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_value_and_finds_nothing() {
        let mut slots: Slots<&str> = Slots::default();
        let old = slots.insert("old");
        assert_eq!(slots.remove(old), Some("old"));
        let new = slots.insert("new");
        assert_eq!(old.index(), new.index());
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(Key::from_bits(new.to_bits())), Some(&"new"));
        assert_eq!(slots.key_from(0), Some(new));
        assert_eq!(slots.key_from(new.index() + 1), None);
    }
}
