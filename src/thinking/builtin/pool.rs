//! The built-in brain's own threads.
//!
//! In: a piece of work in numbered parts. Out: all parts done. Owned by the brain alone, so that
//! nobody else's long job stands before its parts; the process-wide pool is never used.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A few threads that share the parts of one step.
pub(super) struct Pool {
    threads: rayon::ThreadPool,
    count: usize,
}

impl Pool {
    /// `count` threads (at least one) at the given niceness.
    pub(super) fn new(count: usize, nice: i32) -> Result<Self, rayon::ThreadPoolBuildError> {
        let count = count.max(1);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("eva-brain-{index}"))
            .start_handler(move |_| {
                // SAFETY: plain system call on the calling thread; failure leaves the priority.
                unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
            })
            .build()?;
        Ok(Self { threads, count })
    }

    /// How many threads there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Runs a whole step on one of the threads; `each` inside it then costs no hand-over.
    pub(super) fn enter<R: Send>(&self, step: impl FnOnce() -> R + Send) -> R {
        self.threads.install(step)
    }

    /// Runs `work` once for every part below `parts`, in no order, and returns when all are done.
    pub(super) fn each(&self, parts: usize, work: impl Fn(usize) + Sync) {
        if self.count == 1 || parts <= 1 {
            (0..parts).for_each(work);
            return;
        }
        let next = AtomicUsize::new(0);
        let take = || {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    return;
                }
                work(part);
            }
        };
        let helpers = self.count.min(parts);
        if self.threads.current_thread_index().is_some() {
            fan_out(helpers, &take);
        } else {
            self.threads.install(|| fan_out(helpers, &take));
        }
    }
}

/// Runs `take` up to `width` times side by side. A thread that comes late finds nothing left.
fn fan_out(width: usize, take: &(impl Fn() + Sync)) {
    if width <= 1 {
        take();
    } else {
        rayon::join(|| fan_out(width / 2, take), || fan_out(width - width / 2, take));
    }
}

/// A buffer that the parts of one step write to, each its own places.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(*mut T, usize);

// SAFETY: the pointer is only used through the unsafe methods below, whose callers promise that no
// two threads touch the same elements.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares a buffer among parts; it stays borrowed by the caller's promise, not by the compiler.
    pub(super) fn new(buffer: &mut [T]) -> Self {
        Self(buffer.as_mut_ptr(), buffer.len())
    }

    /// A pointer to element `from`, good for `len` elements.
    pub(super) fn pointer(&self, from: usize, len: usize) -> *mut T {
        assert!(from + len <= self.1, "a part lies outside of its buffer");
        // SAFETY: within the buffer.
        unsafe { self.0.add(from) }
    }

    /// Elements `from .. from + len`.
    ///
    /// # Safety
    /// The buffer outlives the result, and no other part touches these elements meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn part(&self, from: usize, len: usize) -> &mut [T] {
        // SAFETY: within the buffer; unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(from, len), len) }
    }
}
