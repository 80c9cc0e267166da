//! Accepts connections, and closes those that do not show the job's token soon.
//!
//! ```text
//!             request with the token
//!   Visitor ─────────────────────────► Admitted: stays until its end
//!      │
//!      │ 10 s, 16 refused requests, or too many younger visitors
//!      ▼
//!   Closed
//! ```
//!
//! **Strangers never keep the members of a job out**: when there are too many visitors, the oldest
//! is closed, and a member is a visitor for milliseconds.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::tls::Member;
use crate::descriptors;

/// Longest time from the start of a connection to its first request with the job's token.
const VISIT_MAX: Duration = Duration::from_secs(10);
/// Refused requests after which a connection is closed. A member's first request is accepted.
const REFUSALS_MAX: u32 = 16;
/// Most visitors at a time.
const VISITORS_MAX: usize = 1024;
/// Descriptors that the process may open for each visitor: visitors take a quarter at most.
const DESCRIPTORS_PER_VISITOR: u64 = 4;
/// Pause after the system refused a connection. Without one, a process out of descriptors would
/// spin, since the connection stays ready.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Returns the connections that a listener accepts, without end.
pub(super) fn connections(
    listener: TcpListener,
    member: Option<Member>,
) -> impl Stream<Item = Result<Connection, io::Error>> {
    let descriptors = descriptors::limit() / DESCRIPTORS_PER_VISITOR;
    let visitors = Arc::new(Visitors {
        max: usize::try_from(descriptors).map_or(VISITORS_MAX, |max| max.clamp(1, VISITORS_MAX)),
        waiting: Mutex::default(),
    });
    let accepting = (listener, visitors, member);
    futures::stream::unfold(accepting, async |(listener, visitors, member)| {
        let stream = accept(&listener).await;
        let transport = match &member {
            Some(member) => Transport::Handshake(Box::new(member.acceptor.accept(stream))),
            None => Transport::Open(Either::Left(stream)),
        };
        let connection = Connection::new(transport, &visitors);
        Some((Ok(connection), (listener, visitors, member)))
    })
}

/// Accepts a connection, however long the system refuses one.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Fails only for a connection that is broken already.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !is_failing {
                    tracing::warn!("no connection can be accepted: {error}");
                }
                is_failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The visitors of a listener.
#[derive(Debug)]
struct Visitors {
    max: usize,
    /// Locked for single changes only.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// From the oldest to the youngest. Dropping a sender closes the connection.
    admissions: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Visitors {
    fn enter(&self, admission: oneshot::Sender<()>) -> u64 {
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.admissions.insert(number, admission);
        if waiting.admissions.len() > self.max {
            waiting.admissions.pop_first();
        }
        number
    }

    fn leave(&self, number: u64) -> Option<oneshot::Sender<()>> {
        self.waiting.lock().admissions.remove(&number)
    }
}

/// A connection as its requests see it.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    visitors: Arc<Visitors>,
    number: u64,
    refusals: Arc<AtomicU32>,
}

impl Visitor {
    /// Lets the connection stay.
    pub(super) fn admit(&self) {
        if let Some(admission) = self.visitors.leave(self.number) {
            // Fails only for a connection that is closed already.
            let _ = admission.send(());
        }
    }

    /// Counts a refused request. Too many of them close a connection that was never admitted.
    pub(super) fn count_refusal(&self) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) + 1 >= REFUSALS_MAX {
            drop(self.visitors.leave(self.number));
        }
    }
}

/// Resolves to whether the connection may stay.
type Decision = Pin<Box<dyn Future<Output = bool> + Send>>;

enum Phase {
    Visitor(Decision),
    Admitted,
    Closed,
}

/// How bytes travel. Reading and writing wait for the end of the handshake.
enum Transport {
    Handshake(Box<Accept<TcpStream>>),
    Open(Either<TcpStream, Box<TlsStream<TcpStream>>>),
    Failed,
}

type Opened<'a> = Pin<&'a mut Either<TcpStream, Box<TlsStream<TcpStream>>>>;

impl Transport {
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Opened<'_>>> {
        if let Self::Handshake(handshake) = self {
            *self = match ready!(Pin::new(handshake).poll(context)) {
                Ok(stream) => Self::Open(Either::Right(Box::new(stream))),
                Err(error) => {
                    tracing::debug!("a connection was refused: {error}");
                    Self::Failed
                }
            };
        }
        Poll::Ready(match self {
            Self::Open(stream) => Ok(Pin::new(stream)),
            Self::Handshake(_) | Self::Failed => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

/// An accepted connection. Reading from one that may not stay fails.
pub(super) struct Connection {
    transport: Transport,
    phase: Phase,
    visitor: Visitor,
}

impl Connection {
    fn new(transport: Transport, visitors: &Arc<Visitors>) -> Self {
        let (admission, admitted) = oneshot::channel();
        let number = visitors.enter(admission);
        let decision = async move {
            let decided = tokio::time::timeout(VISIT_MAX, admitted).await;
            matches!(decided, Ok(Ok(())))
        };
        Self {
            transport,
            phase: Phase::Visitor(Box::pin(decision)),
            visitor: Visitor {
                visitors: Arc::clone(visitors),
                number,
                refusals: Arc::default(),
            },
        }
    }

    /// Fails if the connection may not stay. Wakes the task when that is decided.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Phase::Visitor(decision) = &mut self.phase
            && let Poll::Ready(may_stay) = decision.as_mut().poll(context)
        {
            self.phase = if may_stay {
                Phase::Admitted
            } else {
                Phase::Closed
            };
        }
        match self.phase {
            Phase::Visitor(_) | Phase::Admitted => Ok(()),
            Phase::Closed => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.visitor.visitors.leave(self.visitor.number));
    }
}

impl Connected for Connection {
    type ConnectInfo = Visitor;

    fn connect_info(&self) -> Visitor {
        self.visitor.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        ready!(self.transport.poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.transport.poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.transport.poll_open(context))?.poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Open(stream) => stream.is_write_vectored(),
            Transport::Handshake(_) | Transport::Failed => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport.poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport.poll_open(context))?.poll_shutdown(context)
    }
}
