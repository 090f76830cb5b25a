//! A stream of samples in several channels, of which only what is still needed is kept.
//!
//! Positions count samples from the start of the sentence. A layer that reads `reach` samples to
//! either side appends outputs as far as its input allows and leaves the rest for the next time:
//! nothing is computed twice, and the whole equals the sum of the parts exactly.

use super::conv::{View, ViewMut};

/// One stream.
pub struct Track {
    rows: usize,
    /// Zeros before position 0.
    before: usize,
    stride: usize,
    data: Vec<f32>,
    /// Position of column 0.
    base: isize,
    end: isize,
    keep: isize,
    closed: bool,
}

impl Track {
    /// Begins at position 0, with `before` zeros before it.
    pub fn new(rows: usize, before: usize) -> Self {
        let mut track = Self {
            rows,
            before,
            stride: 0,
            data: Vec::new(),
            base: 0,
            end: 0,
            keep: 0,
            closed: false,
        };
        track.restart();
        track
    }

    /// Begins anew, in the memory it has.
    pub fn restart(&mut self) {
        let start = -(self.before as isize);
        (self.base, self.end, self.keep, self.closed) = (start, start, start, false);
        self.zeros(self.before);
    }

    /// One past the last position held.
    pub fn end(&self) -> isize {
        self.end
    }

    /// What lies before `position` is not read any more.
    pub fn release(&mut self, position: isize) {
        self.keep = self.keep.max(position).min(self.end);
    }

    /// Makes room for `count` more samples: their place, to be followed by [`Self::advance`].
    pub fn room(&mut self, count: usize) -> ViewMut<'_> {
        let held = (self.end - self.base) as usize;
        if held + count > self.stride {
            let skip = (self.keep - self.base) as usize;
            let kept = held - skip;
            if kept + count > self.stride {
                // Never a multiple of a page: rows would compete for the same cache lines.
                let stride = (kept + count).next_multiple_of(64) + 16;
                let mut data = vec![0.0; self.rows * stride];
                for row in 0..self.rows {
                    let from = row * self.stride + skip;
                    data[row * stride..][..kept].copy_from_slice(&self.data[from..][..kept]);
                }
                self.data = data;
                self.stride = stride;
            } else {
                for row in 0..self.rows {
                    let start = row * self.stride;
                    self.data.copy_within(start + skip..start + held, start);
                }
            }
            self.base = self.keep;
        }
        let at = (self.end - self.base) as usize;
        ViewMut { data: &mut self.data[at..], stride: self.stride }
    }

    /// Counts `count` samples written to [`Self::room`].
    pub fn advance(&mut self, count: usize) {
        self.end += count as isize;
    }

    /// Appends zeros.
    fn zeros(&mut self, count: usize) {
        let rows = self.rows;
        let room = self.room(count);
        for row in 0..rows {
            room.data[row * room.stride..][..count].fill(0.0);
        }
        self.advance(count);
    }

    /// Appends `after` zeros once the stream has reached its `total` length.
    pub fn close(&mut self, total: usize, after: usize) {
        if !self.closed && self.end == total as isize {
            self.closed = true;
            self.zeros(after);
        }
    }

    /// To read from `position` on, from row `row` on.
    pub fn view(&self, row: usize, position: isize) -> View<'_> {
        assert!(position >= self.base, "samples that were released are read");
        let at = (position - self.base) as usize;
        View { data: &self.data[row * self.stride + at..], stride: self.stride }
    }

    /// `count` samples of one row from `position` on.
    pub fn row(&self, row: usize, position: isize, count: usize) -> &[f32] {
        &self.view(row, position).data[..count]
    }
}
