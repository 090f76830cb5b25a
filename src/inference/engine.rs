//! One engine: a thread, the model it owns, and a bounded queue of jobs.

use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

/// How urgent a job is; later variants run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody waits: warm-up, clips made ahead.
    Background,
    /// Later chunks of a reply, partial words.
    Later,
    /// The person waits: final words, first chunk of a reply.
    Now,
    /// Every frame waits: voice activity, end of turn.
    Frame,
}

/// The engine's queue is full; the work was refused and nothing was kept of it.
#[derive(Debug, thiserror::Error)]
#[error("the {0} engine has too much to do; try again in a moment")]
pub struct Overloaded(pub &'static str);

type Work<M> = Box<dyn FnOnce(&mut M) + Send>;

struct Job<M> {
    urgency: Urgency,
    /// Among jobs as urgent, the earliest runs first.
    due: Instant,
    /// Order of arrival, for jobs due at once.
    arrival: u64,
    work: Work<M>,
}

impl<M> PartialEq for Job<M> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<M> Eq for Job<M> {}
impl<M> PartialOrd for Job<M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<M> Ord for Job<M> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let urgent = self.urgency.cmp(&other.urgency);
        urgent.then((other.due, other.arrival).cmp(&(self.due, self.arrival)))
    }
}

struct Queue<M> {
    jobs: BinaryHeap<Job<M>>,
    arrivals: u64,
    closed: bool,
}

struct Shared<M> {
    name: &'static str,
    capacity: usize,
    queue: Mutex<Queue<M>>,
    wake: Condvar,
}

/// What is asked of an engine whatever its model is.
trait Queued: Send + Sync {
    fn name(&self) -> &'static str;
    fn waiting(&self) -> usize;
}

impl<M> Queued for Shared<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }
}

/// All engines of the process.
static ENGINES: Mutex<Vec<Weak<dyn Queued>>> = Mutex::new(Vec::new());

/// How many jobs wait for the process's engines, by name; those of one name count together.
pub fn waiting() -> Vec<(&'static str, usize)> {
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    engines.retain(|engine| engine.strong_count() > 0);
    let mut all: Vec<(&'static str, usize)> = Vec::new();
    for engine in engines.iter().filter_map(Weak::upgrade) {
        match all.iter_mut().find(|(name, _)| *name == engine.name()) {
            Some((_, waiting)) => *waiting += engine.waiting(),
            None => all.push((engine.name(), engine.waiting())),
        }
    }
    all
}

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        // The queue is consistent at every point where a holder could panic.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A handle to one engine's thread. Clones share the engine; the thread ends with the last one.
pub struct Engine<M> {
    inner: Arc<Handle<M>>,
}

struct Handle<M> {
    shared: Arc<Shared<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M: 'static> Engine<M> {
    /// Starts the thread and builds the model on it; returns once the model stands.
    ///
    /// `capacity` bounds the jobs that wait; what comes beyond is refused with [`Overloaded`].
    /// `nice` (0-19) lowers the thread's priority below the media path's.
    pub fn start<E: Send + 'static>(
        name: &'static str,
        capacity: usize,
        nice: i32,
        build: impl FnOnce() -> Result<M, E> + Send + 'static,
    ) -> Result<Self, E> {
        let shared = Arc::new(Shared {
            name,
            capacity,
            queue: Mutex::new(Queue { jobs: BinaryHeap::new(), arrivals: 0, closed: false }),
            wake: Condvar::new(),
        });
        let (built, outcome) = std::sync::mpsc::sync_channel(1);
        let on_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("eva-{name}"))
            .spawn(move || {
                lower_priority(nice);
                match build() {
                    Ok(model) => {
                        let _ = built.send(Ok(()));
                        run(&on_thread, model);
                    }
                    Err(error) => {
                        let _ = built.send(Err(error));
                    }
                }
            })
            .expect("the system refuses to start a thread");
        let queued: Arc<dyn Queued> = shared.clone();
        ENGINES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&queued));
        let handle = Handle { shared, thread: Some(thread) };
        outcome.recv().expect("an engine's thread ended while it built its model")?;
        Ok(Self { inner: Arc::new(handle) })
    }

    /// Queues a job. It runs once, on the engine's thread: behind what is more urgent, and what of
    /// the same urgency came before.
    pub fn submit(
        &self,
        urgency: Urgency,
        work: impl FnOnce(&mut M) + Send + 'static,
    ) -> Result<(), Overloaded> {
        self.submit_by(urgency, Instant::now(), work)
    }

    /// As [`Self::submit`]; among jobs as urgent, the one `due` first runs first.
    pub fn submit_by(
        &self,
        urgency: Urgency,
        due: Instant,
        work: impl FnOnce(&mut M) + Send + 'static,
    ) -> Result<(), Overloaded> {
        push(&self.inner.shared, urgency, due, Box::new(work))
    }

    /// A handle for a job to queue its own next step with. It does not keep the engine alive.
    pub fn resubmitter(&self) -> Resubmitter<M> {
        Resubmitter { shared: Arc::downgrade(&self.inner.shared) }
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.inner.shared.lock().jobs.len()
    }
}

/// Queues further steps of a job from inside the engine; see [`Engine::resubmitter`].
pub struct Resubmitter<M> {
    shared: std::sync::Weak<Shared<M>>,
}

impl<M> Clone for Resubmitter<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<M: 'static> Resubmitter<M> {
    /// Queues the next step; see [`Engine::submit`].
    pub fn submit(
        &self,
        urgency: Urgency,
        work: impl FnOnce(&mut M) + Send + 'static,
    ) -> Result<(), Overloaded> {
        self.submit_by(urgency, Instant::now(), work)
    }

    /// Queues the next step; see [`Engine::submit_by`].
    pub fn submit_by(
        &self,
        urgency: Urgency,
        due: Instant,
        work: impl FnOnce(&mut M) + Send + 'static,
    ) -> Result<(), Overloaded> {
        match self.shared.upgrade() {
            Some(shared) => push(&shared, urgency, due, Box::new(work)),
            None => Err(Overloaded("ended")),
        }
    }
}

fn push<M>(
    shared: &Shared<M>,
    urgency: Urgency,
    due: Instant,
    work: Work<M>,
) -> Result<(), Overloaded> {
    let mut queue = shared.lock();
    if queue.closed || queue.jobs.len() >= shared.capacity {
        return Err(Overloaded(shared.name));
    }
    queue.arrivals += 1;
    let arrival = queue.arrivals;
    queue.jobs.push(Job { urgency, due, arrival, work });
    shared.wake.notify_one();
    Ok(())
}

fn run<M>(shared: &Shared<M>, mut model: M) {
    loop {
        let job = {
            let mut queue = shared.lock();
            loop {
                if queue.closed {
                    return;
                }
                if let Some(job) = queue.jobs.pop() {
                    break job;
                }
                queue = shared.wake.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        };
        // A job that panics drops its channel: whoever waits is told, and the engine goes on.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (job.work)(&mut model)));
        if outcome.is_err() {
            tracing::error!(engine = shared.name, "a job broke; the engine goes on");
        }
    }
}

impl<M> Drop for Handle<M> {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.closed = true;
            queue.jobs.clear();
        }
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Lowers the calling thread's scheduling priority (Linux: `nice` is per thread).
fn lower_priority(nice: i32) {
    if nice > 0 {
        // SAFETY: plain system call on the calling thread; failure only leaves the priority as is.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::{Engine, Urgency};

    /// An engine whose thread is busy until the sender is told.
    fn held() -> (Engine<Vec<u64>>, mpsc::Sender<()>) {
        let engine = Engine::start("test", 16, 0, || Ok::<_, ()>(Vec::new())).unwrap();
        let (hold, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        engine
            .submit(Urgency::Frame, move |_| {
                started.send(()).unwrap();
                held.recv().unwrap();
            })
            .unwrap();
        running.recv().unwrap();
        (engine, hold)
    }

    #[test]
    fn urgent_jobs_run_first_and_equals_in_order() {
        let (engine, hold) = held();
        for (urgency, mark) in
            [(Urgency::Later, 3), (Urgency::Frame, 1), (Urgency::Later, 4), (Urgency::Now, 2)]
        {
            engine.submit(urgency, move |seen| seen.push(mark)).unwrap();
        }
        let (done, order) = mpsc::channel();
        engine.submit(Urgency::Background, move |seen| done.send(seen.clone()).unwrap()).unwrap();
        hold.send(()).unwrap();
        assert_eq!(order.recv().unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn among_jobs_as_urgent_the_one_due_first_runs_first() {
        let (engine, hold) = held();
        let now = Instant::now();
        for after in [3, 1, 2] {
            let due = now + Duration::from_secs(after);
            engine.submit_by(Urgency::Now, due, move |seen| seen.push(after)).unwrap();
        }
        let (done, order) = mpsc::channel();
        engine.submit(Urgency::Later, move |seen| done.send(seen.clone()).unwrap()).unwrap();
        hold.send(()).unwrap();
        assert_eq!(order.recv().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_full_queue_refuses_and_a_broken_job_ends_alone() {
        let engine = Engine::start("test", 1, 0, || Ok::<_, ()>(0u32)).unwrap();
        let (hold, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        engine
            .submit(Urgency::Now, move |_| {
                started.send(()).unwrap();
                held.recv().unwrap();
                panic!("broken on purpose");
            })
            .unwrap();
        running.recv().unwrap();
        let (done, after) = mpsc::channel();
        engine.submit(Urgency::Now, move |_| done.send(()).unwrap()).unwrap();
        assert!(engine.submit(Urgency::Now, |_| ()).is_err());
        hold.send(()).unwrap();
        after.recv().unwrap();
    }
}
