//! The few fixed shapes a device meets, so that it plans and loads for each of them only once.
//!
//! In: how many sentences, ids or frames there are. Out: the next larger size that is run; the
//! rest is masked. Knows nothing of arrays.

/// Sentences run as one batch, in the sizes that are run.
pub const SLOTS: [usize; 4] = [1, 2, 4, 8];
/// Ids of a sentence, in the sizes that are run; longer ones are rounded up to [`LENGTH_STEP`].
pub const LENGTHS: [usize; 7] = [32, 64, 96, 128, 192, 256, 384];
const LENGTH_STEP: usize = 256;
/// Frames of a sentence in the flow; longer ones are rounded up to [`FRAMES_STEP`].
pub const FRAMES: [usize; 7] = [64, 128, 192, 256, 384, 512, 768];
const FRAMES_STEP: usize = 512;
/// Frames the decoder makes sound of at a time, its context not counted.
pub const CHUNKS: [usize; 3] = [8, 24, 48];

/// The most sentences of one batch.
pub const MOST_SLOTS: usize = SLOTS[SLOTS.len() - 1];
/// The most frames of one chunk.
pub const LARGEST_CHUNK: usize = CHUNKS[CHUNKS.len() - 1];

/// Slots for `count` sentences (at most [`MOST_SLOTS`]).
pub fn slots(count: usize) -> usize {
    round_up(count, &SLOTS, MOST_SLOTS)
}

/// Places for `count` ids.
pub fn length(count: usize) -> usize {
    round_up(count, &LENGTHS, LENGTH_STEP)
}

/// Places for `count` frames in the flow.
pub fn frames(count: usize) -> usize {
    round_up(count, &FRAMES, FRAMES_STEP)
}

/// Places for `count` frames in the decoder (at most [`LARGEST_CHUNK`]).
pub fn chunk(count: usize) -> usize {
    round_up(count, &CHUNKS, LARGEST_CHUNK)
}

fn round_up(count: usize, sizes: &[usize], step: usize) -> usize {
    let size = sizes.iter().copied().find(|&size| size >= count);
    size.unwrap_or_else(|| count.next_multiple_of(step))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_rounded_up_to_few() {
        assert_eq!([1, 2, 3, 5, 8].map(super::slots), [1, 2, 4, 8, 8]);
        assert_eq!([1, 32, 33, 384, 385, 513].map(super::length), [32, 32, 64, 384, 512, 768]);
        assert_eq!([1, 700, 769, 1025].map(super::frames), [64, 768, 1024, 1536]);
        assert_eq!([1, 9, 48].map(super::chunk), [8, 24, 48]);
    }
}
