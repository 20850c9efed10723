//! Which pieces need not be hashed: the rules that the head of the parent module gives.

use super::Resume;
use super::World;
use super::files::StateFiles;
use super::journal::{self, FileState};
use crate::base::bitfield::Bitfield;
use crate::base::escape::escape;
use crate::base::ids::Piece;
use crate::base::rng::Rng;
use crate::disk::files::{Files, Stamp};
use crate::wire::metainfo::FileKind;

impl Resume {
    /// The files were looked at: says which pieces need not be hashed, and forgets the others. With `recheck`
    /// that is all of them.
    pub(in crate::disk) fn handle_survey<F: Files, S: StateFiles>(
        &mut self,
        world: &mut World<'_, F, S>,
        recheck: bool,
    ) -> Bitfield {
        let mut changed = Vec::new();
        let mut sound = vec![true; self.meta.files.len()];
        // What lay apart of a file that was not wanted is as it was: only it is wanted now.
        let mut moved = vec![false; self.meta.files.len()];
        for (index, entry) in (0..).zip(&self.meta.files) {
            if entry.kind != FileKind::Regular || entry.length == 0 {
                continue;
            }
            let file = self.file(index);
            let found = world.files.stamp(file);
            let state = &mut self.journal.files[index as usize];
            let is_sound = !recheck && state.is_sound(found, self.same_epoch, self.journal.beat);
            sound[index as usize] = is_sound;
            if is_sound {
                continue;
            }
            if *state != FileState::default() && !recheck {
                let apart = world.files.stamp_apart(file);
                // Where its bytes lay others were written to since, and by us.
                let was_apart = world.files.is_gathered(file)
                    || state.is_sound(apart, self.same_epoch, self.journal.beat);
                moved[index as usize] = was_apart;
                changed.extend((!was_apart).then_some(index));
            }
            *state = FileState {
                stamp: found,
                dirty_since: None,
            };
            // Whatever is found in it by the check is found in the file as it is now.
            journal::put_clean(
                &mut self.records,
                found.map(|stamp| (index, stamp)).into_iter(),
            );
        }
        let lengths: Vec<u64> = (0..self.meta.files.len() as u32)
            .map(|index| world.files.stamp(self.file(index)).map_or(0, |s| s.size))
            .collect();
        let (mut bad, mut suspects) = (Vec::new(), 0);
        for piece in self.journal.written.iter() {
            let geometry = self.meta.geometry;
            let (at, len) = (self.offset(piece), u64::from(geometry.piece_len(piece)));
            let spans = self.meta.table.spans(at, len);
            let unsure = spans.filter(|span| {
                let file = span.file as usize;
                let is_sure = sound[file] && span.offset + span.len <= lengths[file];
                self.meta.files[file].kind == FileKind::Regular && !is_sure
            });
            let unsure: Vec<usize> = unsure.map(|span| span.file as usize).collect();
            if !unsure.is_empty() {
                bad.push(piece);
                suspects += usize::from(unsure.iter().any(|file| !moved[*file]));
            }
        }
        if suspects > 0 && !recheck {
            world.warn("disk.changed", self.changed(&changed, suspects));
        }
        bad.into_iter().for_each(|piece| self.lose(piece));
        self.journal.written.clone()
    }

    /// A piece that seemed sure was not what it should be: nothing is sure.
    pub(in crate::disk) fn handle_bad_sample<F: Files, S: StateFiles>(
        &mut self,
        world: &mut World<'_, F, S>,
        piece: Piece,
    ) {
        let message = format!("piece {piece} is not what it was; everything is hashed again");
        world.warn("disk.changed", message);
        self.handle_survey(world, true);
    }

    /// A few of the pieces that need not be hashed, by chance, few enough not to be felt.
    pub(in crate::disk) fn samples<S: StateFiles>(&self, state: &mut S) -> Vec<Piece> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&state.wall().to_le_bytes());
        let mut rng = Rng::new(seed);
        let written = &self.journal.written;
        let mut samples = Vec::new();
        let mut left = SAMPLE_BYTES;
        if written.is_empty() {
            return samples;
        }
        for _ in 0..SAMPLES {
            let number = rng.below(written.count() as usize);
            let Some(piece) = written.iter().nth(number) else {
                break;
            };
            let Some(rest) = left.checked_sub(self.meta.geometry.piece_len(piece)) else {
                break;
            };
            left = rest;
            samples.push(piece);
        }
        samples
    }

    fn changed(&self, files: &[u32], pieces: usize) -> String {
        let name = files.first().map_or(String::new(), |file| {
            let path = &self.meta.files[*file as usize].path;
            let others = match files.len() - 1 {
                0 => String::new(),
                1 => String::from(" and 1 other file"),
                others => format!(" and {others} other files"),
            };
            format!(
                "{}{others} changed since the last run: ",
                escape(path.as_bytes(), 200)
            )
        });
        let pieces = match pieces {
            1 => String::from("1 piece is"),
            pieces => format!("{pieces} pieces are"),
        };
        format!("{name}{pieces} hashed again")
    }
}

impl FileState {
    /// Whether a file that looks like `found` holds what was noted of it.
    fn is_sound(&self, found: Option<Stamp>, same_epoch: bool, beat: i64) -> bool {
        let Some(found) = found else {
            return false;
        };
        if self.stamp == Some(found) {
            return true;
        }
        let Some(since) = self.dirty_since else {
            return false;
        };
        let (first, slack) = match same_epoch {
            true => (since.saturating_sub(COARSE), BEAT_SLACK),
            false => (i64::MIN, CUT_SLACK),
        };
        (first..=beat.saturating_add(slack)).contains(&found.modified)
    }
}

/// How long after the last note of it a write may have come, in nanoseconds. A third of it after the last note another
/// is made before anything is written; the rest is for a write that waits. Whatever somebody else does to a file within
/// this time after a kill is taken for ours.
pub(super) const BEAT_SLACK: i64 = 4_000_000_000;
/// The same after a power cut, which may take the last notes with it: the kernel keeps them to itself for half a
/// minute.
pub(super) const CUT_SLACK: i64 = 120_000_000_000;
/// How coarse the times of the coarsest file system are (FAT), in nanoseconds.
const COARSE: i64 = 2_000_000_000;
/// Pieces hashed at each start.
pub(super) const SAMPLES: usize = 3;
/// Bytes of all of them: some hundredths of a second on a small machine.
const SAMPLE_BYTES: u32 = 8 << 20;
