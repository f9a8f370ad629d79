//! A connection whose client asks, but does not take the answers, is given up: it holds a place that somebody else waits for.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream that gives a client a time limit for taking what is written. A few bytes now and then do not extend it.
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    limit: Duration,
    /// Runs while something waits to be written, from when the client last had taken all of it.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) const fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, clock: None }
    }

    /// What a write of `wanted` bytes came to.
    fn judge(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>, wanted: usize) -> Poll<io::Result<usize>> {
        if matches!(outcome, Poll::Ready(Ok(written)) if written == wanted) {
            self.clock = None;
            return outcome;
        }
        let limit = self.limit;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(limit)));
        if clock.as_mut().poll(cx).is_ready() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { outcome }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, outcome, buf.len())
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, outcome, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_in_time_ends_the_connection() {
        let (near, _far) = duplex(10);
        let mut near = Impatient::new(near, LIMIT);
        assert!(near.write_all(&[0; 10]).await.is_ok());
        assert_eq!(near.write_all(&[0; 1]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_not_enough() {
        let (near, mut far) = duplex(10);
        let reader = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                sleep(LIMIT / 5).await;
            }
        });
        assert_eq!(Impatient::new(near, LIMIT).write_all(&[0; 100]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        reader.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time() {
        let (near, mut far) = duplex(10);
        let reader = tokio::spawn(async move { far.read_to_end(&mut Vec::new()).await });
        let mut near = Impatient::new(near, LIMIT);
        for _ in 0..5 {
            near.write_all(&[0; 100]).await.unwrap();
            sleep(LIMIT * 2).await;
        }
        drop(near);
        assert_eq!(reader.await.unwrap().unwrap(), 500);
    }
}
