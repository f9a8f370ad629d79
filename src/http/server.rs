//! The listeners' loop: accepts up to a bound, gives handshakes and headers a time limit, and on shutdown finishes what was accepted.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tower::ServiceExt as _;

use super::{
    meta::Peer,
    socket::{Socket, SocketError},
    stall::Impatient,
    tls::Tls,
};

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take for a handshake, to send a request's headers, and to take an answer.
    pub header_timeout: Duration,
    /// How long requests under way may take to finish once a shutdown began.
    pub shutdown_timeout: Duration,
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    limits: Limits,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, Tls),
    Socket(Socket),
}

impl Server {
    /// Binds `address`; with `tls` nothing else is spoken there.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, tls: Option<Tls>, limits: Limits) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let listener = if let Some(tls) = tls { Listener::Tls(listener, tls) } else { Listener::Tcp(listener) };
        Ok(Self { listener, limits })
    }

    /// Binds a Unix socket for callers on this host: of this user, and root.
    ///
    /// # Errors
    /// When there is something else at `path`, or another server that lives.
    pub async fn bind_socket(path: &std::path::Path, limits: Limits) -> Result<Self, SocketError> {
        Ok(Self { listener: Listener::Socket(Socket::bind(path).await?), limits })
    }

    /// The address bound, its port chosen by the system where 0 was asked for.
    ///
    /// # Errors
    /// When there is none: a Unix socket has a path.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) | Listener::Tls(listener, _) => listener.local_addr(),
            Listener::Socket(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Serves `router` until `shutdown` turns true, then takes no more connections, lets each finish the request it has, and returns.
    pub async fn serve(self, router: Router, mut shutdown: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        loop {
            let (stream, place) = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                accepted = self.accept(&places) => accepted,
            };
            let conversation =
                Conversation { router: router.clone(), limits: self.limits, watcher: graceful.watcher(), stop: shutdown.clone() };
            tokio::spawn(async move {
                conversation.hold(stream).await;
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(self.limits.shutdown_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections did not finish in time: they are cut");
        }
    }

    /// The next connection, once there is a place for it.
    async fn accept(&self, places: &Arc<Semaphore>) -> (Stream, Option<OwnedSemaphorePermit>) {
        let place = Arc::clone(places).acquire_owned().await.ok();
        loop {
            let accepted = match &self.listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, address)| Some(Stream::Tcp(stream, address))),
                Listener::Tls(listener, tls) => {
                    listener.accept().await.map(|(stream, address)| Some(Stream::Tls(stream, address, tls.clone())))
                }
                Listener::Socket(socket) => socket.accept().await.map(|caller| caller.map(|(stream, uid)| Stream::Socket(stream, uid))),
            };
            match accepted {
                Ok(Some(stream)) => return (stream, place),
                // Somebody whom the socket is not for.
                Ok(None) => {}
                Err(error) => {
                    // Most often too many open files: pause rather than spin.
                    tracing::error!(%error, "a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// An accepted connection, before anything was said.
enum Stream {
    Tcp(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr, Tls),
    Socket(UnixStream, u32),
}

/// What is needed to serve one connection.
struct Conversation {
    router: Router,
    limits: Limits,
    watcher: Watcher,
    stop: watch::Receiver<bool>,
}

impl Conversation {
    async fn hold(mut self, stream: Stream) {
        match stream {
            Stream::Tcp(stream, address) => {
                prompt(&stream);
                let peer = Peer::Network { address, tls: false, certificate: None };
                let stream = Impatient::new(stream, self.limits.header_timeout);
                self.speak(stream, peer).await;
            }
            Stream::Tls(stream, address, tls) => {
                prompt(&stream);
                let handshake = tls.accept(Impatient::new(stream, self.limits.header_timeout));
                let done = tokio::select! {
                    // Nothing was asked yet: there is nothing to finish.
                    _ = self.stop.wait_for(|stop| *stop) => return,
                    done = tokio::time::timeout(self.limits.header_timeout, handshake) => done,
                };
                match done {
                    Ok(Ok((stream, certificate))) => self.speak(stream, Peer::Network { address, tls: true, certificate }).await,
                    Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake with {address} failed: {error}"),
                    Err(_) => tracing::debug!(%address, "a TLS handshake with {address} took too long"),
                }
            }
            Stream::Socket(stream, uid) => {
                let stream = Impatient::new(stream, self.limits.header_timeout);
                self.speak(stream, Peer::Local { uid }).await;
            }
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, peer: Peer) {
        let service = self.router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(32 * 1024)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        // A client that breaks off or sends nonsense is not our fault, nor worth a line.
        let _ = self.watcher.watch(connection).await;
    }
}

/// Answers are small and whole: waiting to fill a segment only costs the client a round trip.
fn prompt(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}
