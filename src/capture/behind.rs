//! A file that is written behind its writer's back: a disk that stands still for some seconds, as it does when others
//! write much, keeps nobody from compressing what comes meanwhile. What waits is compressed, and bounded.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Bytes that wait for the disk, at most.
const WAITING_MAX: usize = 4 << 20;

/// Bytes of a piece: what is written at once is handed over in as many as it takes.
const PIECE_MAX: usize = 512 << 10;

/// Wraps what is slow. Errors come with a later write, or with the flush, which waits for all that was written before.
#[derive(Debug)]
pub struct Behind {
    orders: Option<Sender<Order>>,
    waiting: Arc<Waiting>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Waiting {
    state: Mutex<State>,
    less: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// The first error: nothing is written any more.
    error: Option<(io::ErrorKind, String)>,
}

impl Waiting {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> io::Result<()> {
        match &self.locked().error {
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            None => Ok(()),
        }
    }

    /// Waits until there is room for so many bytes, and takes it.
    fn take(&self, bytes: usize) {
        let is_full = |state: &mut State| state.bytes + bytes > WAITING_MAX;
        let mut state = self.less.wait_while(self.locked(), is_full).unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes;
    }

    fn done(&self, bytes: usize, result: io::Result<()>) {
        let mut state = self.locked();
        state.bytes -= bytes;
        if let Err(error) = result {
            state.error.get_or_insert((error.kind(), error.to_string()));
        }
        self.less.notify_all();
    }
}

impl Behind {
    /// Writes to `file` on a thread of its own.
    pub fn new(file: impl Write + Send + 'static) -> io::Result<Behind> {
        let (orders, receiver) = channel();
        let waiting = Arc::new(Waiting::default());
        let shared = waiting.clone();
        let thread = std::thread::Builder::new().name("torana-disk".to_owned());
        let thread = thread.spawn(move || write(file, &receiver, &shared))?;
        Ok(Behind { orders: Some(orders), waiting, thread: Some(thread) })
    }

    fn send(&self, order: Order) -> io::Result<()> {
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::other("the thread that writes has ended")),
        }
    }
}

fn write(mut file: impl Write, orders: &Receiver<Order>, waiting: &Waiting) {
    for order in orders {
        match order {
            Order::Write(bytes) => {
                let written = match waiting.error() {
                    Ok(()) => file.write_all(&bytes),
                    Err(_) => Ok(()),
                };
                waiting.done(bytes.len(), written);
            }
            Order::Flush(done) => {
                let flushed = file.flush();
                waiting.done(0, flushed);
                let _ = done.send(());
            }
        }
    }
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(PIECE_MAX)];
        self.waiting.error()?;
        self.waiting.take(bytes.len());
        self.send(Order::Write(bytes.to_vec()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (done, is_done) = sync_channel(1);
        self.send(Order::Flush(done))?;
        let _ = is_done.recv();
        self.waiting.error()
    }
}

impl Drop for Behind {
    /// Waits for what was written.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// A disk that stands still until it is opened, and has room for so many bytes.
    #[derive(Clone)]
    struct Slow {
        open: Arc<(Mutex<bool>, Condvar)>,
        written: Arc<Mutex<Vec<u8>>>,
        room: usize,
    }

    impl Slow {
        fn of(room: usize, is_open: bool) -> Slow {
            Slow { open: Arc::new((Mutex::new(is_open), Condvar::new())), written: Arc::default(), room }
        }

        fn go_on(&self) {
            *self.open.0.lock().unwrap() = true;
            self.open.1.notify_all();
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.open.1.wait_while(self.open.0.lock().unwrap(), |open| !*open).unwrap());
            let mut written = self.written.lock().unwrap();
            if written.len() + bytes.len() > self.room {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_stands_still_keeps_nobody_from_writing_while_there_is_room() {
        let slow = Slow::of(usize::MAX, false);
        let mut behind = Behind::new(slow.clone()).unwrap();
        let piece = vec![7; WAITING_MAX / 4];
        let began = Instant::now();
        (0..4).for_each(|_| behind.write_all(&piece).unwrap());
        assert!(began.elapsed() < Duration::from_secs(5) && slow.written.lock().unwrap().is_empty());
        let opener = slow.clone();
        let opening = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            opener.go_on();
        });
        // There is no more room: it waits.
        behind.write_all(&piece).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200));
        behind.flush().unwrap();
        assert_eq!(slow.written.lock().unwrap().len(), 5 * piece.len());
        opening.join().unwrap();
    }

    #[test]
    fn what_is_larger_than_all_room_goes_in_pieces_and_all_is_written_in_the_end() {
        let slow = Slow::of(usize::MAX, true);
        let mut behind = Behind::new(slow.clone()).unwrap();
        behind.write_all(b"first").unwrap();
        behind.write_all(&vec![1; 2 * WAITING_MAX]).unwrap();
        behind.write_all(b"last").unwrap();
        drop(behind);
        let written = slow.written.lock().unwrap();
        assert_eq!(written.len(), 9 + 2 * WAITING_MAX);
        assert!(written.starts_with(b"first") && written.ends_with(b"last"));
    }

    #[test]
    fn an_error_comes_with_a_later_write_or_with_the_flush_and_nothing_is_written_behind_it() {
        let slow = Slow::of(10, true);
        let mut behind = Behind::new(slow.clone()).unwrap();
        behind.write_all(b"12345").unwrap();
        behind.write_all(b"678901").unwrap();
        let error = behind.flush().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::StorageFull, "no space left"));
        assert_eq!(behind.write_all(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        drop(behind);
        assert_eq!(*slow.written.lock().unwrap(), b"12345");
    }
}
