//! Reading from a socket with no more work than the read itself takes: what both sides of an exchange do for every message.
//!
//! tokio's own `poll_read` asks whether the socket is ready in the way that also registers the task to be woken, before each
//! read that succeeds as well. Here a read is tried first, which costs a load if nothing is there, and only a task that has
//! to wait is registered. Like tokio's, and unlike `try_read`, a read that does not fill its space marks the socket as read
//! empty, so that the next one makes no system call to find that out. Knows nothing of clients and servers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;

/// Whether a read would be tried: something has come, or the peer has closed its side.
#[inline]
pub fn is_readable(stream: &TcpStream) -> bool {
    stream.try_io(Interest::READABLE, || Ok(())).is_ok()
}

/// That the task which serves a socket is woken when there is something to read, across several waits of that task: it is
/// registered once, and not again before something has come.
#[derive(Debug, Default)]
pub struct Watch {
    /// It has been registered, and nothing was read since.
    is_set: bool,
}

impl Watch {
    /// Ready when there is something to read, or the peer has closed its side. Always called from the same task.
    #[inline]
    pub fn poll_readable(&mut self, stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if is_readable(stream) {
            return Poll::Ready(Ok(()));
        }
        if self.is_set {
            return Poll::Pending;
        }
        // A task without budget is woken to have its turn again, and is not registered.
        let may_register = has_budget_remaining();
        let readable = stream.poll_read_ready(cx);
        self.is_set = may_register && readable.is_pending();
        readable
    }

    /// To be called before each read.
    #[inline]
    pub fn forget(&mut self) {
        self.is_set = false;
    }
}

/// Reads into `space`, or has the task woken when there is something to read; 0 bytes read mean that the peer has closed
/// its side. A read that succeeds takes nothing of the task's budget, so this is for the first part of a message: see
/// [`poll_read_more`]. Cancel safe.
#[inline]
pub fn poll_read(stream: &TcpStream, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        match read_now(stream, space) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
        match stream.poll_read_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// As [`poll_read`], within the task's budget: for what may go on and on, so that others on the thread have their turn.
pub fn poll_read_more(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    space: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut space = ReadBuf::new(space);
    Pin::new(stream).poll_read(cx, &mut space).map_ok(|()| space.filled().len())
}

/// Reads into `space` what is there.
fn read_now(stream: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    let mut last = None;
    let read = stream.try_io(Interest::READABLE, || {
        let length = space.len();
        let (n, _) = recv(stream, &mut *space, RecvFlags::empty())?;
        if 0 < n && n < length {
            last = Some(n);
            // Makes tokio forget that the socket was readable. What comes from now on is an event of its own.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(n)
    });
    match last {
        Some(n) => Ok(n),
        None => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (stream, listener.accept().await.unwrap().0)
    }

    async fn read(stream: &TcpStream, length: usize) -> Vec<u8> {
        let mut space = vec![0; length];
        let n = poll_fn(|cx| poll_read(stream, cx, &mut space)).await.unwrap();
        space.truncate(n);
        space
    }

    #[tokio::test]
    async fn what_comes_is_read_and_then_the_end() {
        let (stream, mut peer) = pair().await;
        for text in ["first", "second"] {
            peer.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(read(&stream, 100).await, text.as_bytes());
            assert!(!is_readable(&stream), "it was read empty");
        }
        drop(peer);
        assert!(read(&stream, 100).await.is_empty());
        assert!(read(&stream, 100).await.is_empty(), "the end stays");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_read_next_without_another_event() {
        let (stream, mut peer) = pair().await;
        peer.write_all(b"abcdef").await.unwrap();
        assert_eq!(read(&stream, 4).await, b"abcd");
        assert!(is_readable(&stream));
        assert_eq!(read(&stream, 4).await, b"ef");
    }

    #[tokio::test]
    async fn a_task_that_waits_is_woken() {
        let (stream, mut peer) = pair().await;
        let reading = tokio::spawn(async move { read(&stream, 100).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.write_all(b"late").await.unwrap();
        assert_eq!(reading.await.unwrap(), b"late");
    }

    #[tokio::test]
    async fn a_watch_is_kept_until_something_comes() {
        let (stream, mut peer) = pair().await;
        let mut watch = Watch::default();
        for text in ["first", "second"] {
            let pending = poll_fn(|cx| Poll::Ready(watch.poll_readable(&stream, cx).is_pending())).await;
            assert!(pending);
            assert!(watch.is_set);
            peer.write_all(text.as_bytes()).await.unwrap();
            poll_fn(|cx| watch.poll_readable(&stream, cx)).await.unwrap();
            watch.forget();
            assert_eq!(read(&stream, 100).await, text.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_task_that_waits_without_budget_is_woken_all_the_same() {
        let (stream, mut peer) = pair().await;
        let watching = tokio::spawn(async move {
            let mut watch = Watch::default();
            poll_fn(|cx| {
                while has_budget_remaining() {
                    let used = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx);
                    assert!(used.is_ready());
                }
                let readable = watch.poll_readable(&stream, cx);
                assert!(!watch.is_set);
                readable
            })
            .await
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.write_all(b"late").await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), watching).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_goes_on_and_on_lets_others_have_their_turn() {
        let (mut stream, mut peer) = pair().await;
        let writing = tokio::spawn(async move { peer.write_all(&[7; 1000]).await.map(|()| peer) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut in_one_turn = 0;
        poll_fn(|cx| {
            while poll_read_more(&mut stream, cx, &mut [0; 1]).is_ready() {
                in_one_turn += 1;
            }
            Poll::Ready(())
        })
        .await;
        assert!((1..1000).contains(&in_one_turn), "{in_one_turn} reads");
        drop(writing.await.unwrap().unwrap());
    }
}
