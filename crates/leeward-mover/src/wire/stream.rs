//! A TCP connection with TLS on it, whose bytes are counted: those inside the encryption.

use crate::tls;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

/// Bytes that are taken from a connection at once. rustls by itself asks for 4 KiB at a time: four calls of the kernel for each record.
const TAKEN: usize = 256 << 10;
/// Encrypted bytes that wait to be given to a connection; by rustls's own default, 64 KiB.
pub(crate) const GIVEN: usize = 256 << 10;

/// A connection as TLS gets it.
pub(crate) type Socket = BufReader<TcpStream>;

/// A connection as TLS gets it.
///
/// # Errors
/// It has ended already.
pub(crate) fn socket(stream: TcpStream) -> io::Result<Socket> {
    stream.set_nodelay(true)?;
    Ok(BufReader::with_capacity(TAKEN, stream))
}

/// What went over a connection.
#[derive(Debug, Default)]
pub struct Meter {
    received: AtomicU64,
    sent: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

/// Why a connection broke, as its first error says. gRPC does not hand that on.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What TLS has against it, if it is that.
    pub tls: Option<rustls::Error>,
    /// In words.
    pub text: String,
}

impl Meter {
    /// Bytes in both directions.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed) + self.sent.load(Ordering::Relaxed)
    }

    /// Bytes that came.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes that went.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Why it broke, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = polled {
            let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert_with(|| Fault { tls: tls::of_io(error).cloned(), text: error.to_string() });
        }
    }
}

/// The connection. `P` is what is known of the other side.
///
/// Who refuses a certificate says why and closes. If something is being sent just then, all that is met is that it has closed;
/// why, and whatever else it said before, is still to be read. So what is sent to a peer that has gone is taken and lost, as it
/// would be a moment earlier, and the reading tells the end. That comes for sure: a connection that cannot be written to any more
/// has ended in both directions.
#[derive(Debug)]
pub struct Metered<S, P> {
    stream: S,
    meter: Arc<Meter>,
    peer: P,
    /// What sending came to.
    gone: Option<io::Error>,
}

impl<S, P> Metered<S, P> {
    /// Counts into `meter`.
    pub fn new(stream: S, meter: Arc<Meter>, peer: P) -> Self {
        Self { stream, meter, peer, gone: None }
    }
}

impl<S, P: Clone + Send + Sync + 'static> Connected for Metered<S, P> {
    type ConnectInfo = P;

    fn connect_info(&self) -> P {
        self.peer.clone()
    }
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Metered<S, P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.meter.received.fetch_add(read as u64, Ordering::Relaxed);
        self.meter.note(&polled);
        if matches!(polled, Poll::Ready(Ok(()))) && read == 0 && buffer.remaining() > 0 {
            // The end, and nobody said why.
            if let Some(error) = self.gone.take() {
                let ended = Poll::Ready(Err(error));
                self.meter.note(&ended);
                return ended;
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> Metered<S, P> {
    /// Sends by `write`; `all` if the peer is gone.
    fn sent<T>(
        &mut self,
        all: T,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
        count: impl FnOnce(&Meter, &T),
    ) -> Poll<io::Result<T>> {
        if self.gone.is_some() {
            return Poll::Ready(Ok(all));
        }
        match write(Pin::new(&mut self.stream)) {
            Poll::Ready(Err(error)) => {
                self.gone = Some(error);
                Poll::Ready(Ok(all))
            }
            Poll::Ready(Ok(sent)) => {
                count(&self.meter, &sent);
                Poll::Ready(Ok(sent))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

fn count(meter: &Meter, sent: &usize) {
    meter.sent.fetch_add(*sent as u64, Ordering::Relaxed);
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Metered<S, P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent(bytes.len(), |stream| stream.poll_write(cx, bytes), count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bytes.iter().map(|bytes| bytes.len()).sum();
        self.sent(all, |stream| stream.poll_write_vectored(cx, bytes), count)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sent((), |stream| stream.poll_flush(cx), |_, ()| {})
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sent((), |stream| stream.poll_shutdown(cx), |_, ()| {})
    }
}
