//! Byte stream of a connection, which a knob can silence in both directions.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Switch that silences a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<AtomicBool>);

impl Switch {
    /// Makes the connection half-open: it stays established, but no bytes pass.
    pub fn off(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_off(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Switches of the open connections.
#[derive(Debug, Default)]
pub(crate) struct Switches(Mutex<Vec<Weak<AtomicBool>>>);

impl Switches {
    /// Creates the switch of a new connection.
    pub fn add(&self) -> Switch {
        let switch = Switch::default();
        let mut switches = self.0.lock();
        switches.retain(|other| other.strong_count() > 0);
        switches.push(Arc::downgrade(&switch.0));
        switch
    }

    /// Makes all current connections half-open.
    pub fn all_off(&self) {
        for switch in self.0.lock().iter().filter_map(Weak::upgrade) {
            Switch(switch).off();
        }
    }
}

/// A byte stream controlled by a [`Switch`].
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    switch: Switch,
}

impl<S> Wire<S> {
    pub fn new(stream: S, switch: Switch) -> Wire<S> {
        Wire { stream, switch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.switch.is_off() {
            let mut swallowed = [0; 4096];
            let mut swallowed = ReadBuf::new(&mut swallowed);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut swallowed))?;
            if swallowed.filled().is_empty() {
                // The client has closed its side: so does the server.
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.switch.is_off() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.switch.is_off() {
            return Poll::Ready(Ok(slices.iter().map(|s| s.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
