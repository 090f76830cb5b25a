//! Connections in, requests out: the HTTP server and its patience.
//!
//! In: a listening socket, the routes, perhaps TLS. Owns the connections: how many there are, in all
//! and from one address, and how slow they may be. A connection that says nothing, that trickles its
//! headers, or that reads no answer is closed; so is one too many, at once.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::{Service, routes};
use crate::admission::network;

/// The longest headers of a request, bytes. Keys and browsers' headers have some 2 KiB.
const HEADER_BYTES: usize = 32 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 64;
/// What waits for a slow reader on one stream of HTTP/2, bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// As long as the preface of HTTP/2: with so many bytes the server knows which HTTP it is, and its
/// own time limits hold from there.
const OPENING_BYTES: usize = 24;

/// How many connections there may be, and how slow.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connections at once. Calls need none once they are set up.
    pub connections: usize,
    /// From one address, loopback excepted.
    pub connections_per_address: usize,
    /// For the headers of a request, from the connection or the request before.
    pub headers: Duration,
    /// For an answer that is not read to go on.
    pub unread: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Systems give 1024 files to a program that asks for no more.
            connections: 800,
            connections_per_address: 100,
            headers: Duration::from_secs(15),
            unread: Duration::from_secs(30),
        }
    }
}

/// Serves until the handle says stop.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    service: Service,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
    patience: Patience,
) -> io::Result<()> {
    let routes = routes(service).into_make_service_with_connect_info::<SocketAddr>();
    let doorkeeper = Doorkeeper { patience, connections: Arc::default() };
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        .max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.headers)
        .keep_alive_timeout(patience.headers)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADER_BYTES as u32);
    match tls {
        None => {
            let acceptor = Gate { doorkeeper, inner: DefaultAcceptor::new() };
            server.acceptor(acceptor).serve(routes).await
        }
        Some(tls) => {
            let inner = RustlsAcceptor::new(tls).handshake_timeout(patience.headers);
            server.acceptor(Gate { doorkeeper, inner }).serve(routes).await
        }
    }
}

/// Counts the connections.
#[derive(Clone)]
struct Doorkeeper {
    patience: Patience,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Doorkeeper {
    /// A place for a connection, unless there are too many.
    fn enter(&self, from: IpAddr) -> Option<Place> {
        let network = network(from);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = connections.values().sum();
        let here = connections.get(&network).copied().unwrap_or(0);
        let full = all >= self.patience.connections
            || here >= self.patience.connections_per_address && !network.is_loopback();
        if full {
            return None;
        }
        connections.insert(network, here + 1);
        drop(connections);
        Some(Place { network, connections: self.connections.clone() })
    }
}

/// One connection's place; given back when dropped.
struct Place {
    network: IpAddr,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = connections.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                connections.remove(&self.network);
            }
        }
    }
}

/// Lets connections in, over TLS or not.
#[derive(Clone)]
struct Gate<A> {
    doorkeeper: Doorkeeper,
    inner: A,
}

impl<A, S> Accept<TcpStream, S> for Gate<A>
where
    A: Accept<TcpStream, S> + Send,
    A::Future: Send + 'static,
{
    type Stream = Patient<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let full = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let place =
            stream.peer_addr().and_then(|peer| self.doorkeeper.enter(peer.ip()).ok_or_else(full));
        let patience = self.doorkeeper.patience;
        // A sentence's first token must not wait for the next one.
        let _ = stream.set_nodelay(true);
        let accepted = place.map(|place| (place, self.inner.accept(stream, service)));
        Box::pin(async move {
            let (place, accepted) = accepted?;
            let (stream, service) = accepted.await?;
            let opening = Some(Box::pin(sleep(patience.headers)));
            let stream =
                Patient { inner: stream, opening, read: 0, stuck: None, patience, _place: place };
            Ok((stream, service))
        })
    }
}

/// A connection that ends when its far side neither speaks first nor reads.
struct Patient<S> {
    inner: S,
    /// Until the first bytes are there.
    opening: Option<Pin<Box<Sleep>>>,
    read: usize,
    /// Since a write could not go on.
    stuck: Option<Pin<Box<Sleep>>>,
    patience: Patience,
    _place: Place,
}

impl<S> Patient<S> {
    /// What became of a write, or an error if it has been stuck for too long.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let unread = self.patience.unread;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(unread)));
        match stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if let Some(opening) = &mut this.opening {
            this.read += buffer.filled().len() - before;
            if this.read >= OPENING_BYTES {
                this.opening = None;
            } else if result.is_pending() && opening.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Whoever is answered has said something.
        this.opening = None;
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.judge(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.opening = None;
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, parts);
        this.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.judge(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_connections() {
        let patience =
            Patience { connections: 5, connections_per_address: 2, ..Patience::default() };
        let doorkeeper = Doorkeeper { patience, connections: Arc::default() };
        let far = |last| IpAddr::from([192, 0, 2, last]);
        let one: Vec<_> = (0..3).map_while(|_| doorkeeper.enter(far(1))).collect();
        assert_eq!(one.len(), 2);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let rest: Vec<_> = (0..9).map_while(|_| doorkeeper.enter(loopback)).collect();
        assert_eq!(rest.len(), 3);
        assert!(doorkeeper.enter(far(2)).is_none());
        drop((one, rest));
        assert!(doorkeeper.connections.lock().unwrap().is_empty());
    }
}
