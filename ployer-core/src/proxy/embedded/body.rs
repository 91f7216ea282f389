//! Bodies: what goes to an upstream, and what goes to a client. Both are streamed; nothing reads ahead of the other
//! side, so a slow reader slows the writer down.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::balance::UnderWay;
use super::client::Client;
use super::pool::{Connection, Pool};
use super::static_files::FileBody;
use crate::error::BoxError;

/// The body of a request on its way to an upstream.
#[derive(Debug)]
pub(super) enum CallBody {
    Empty,
    Streaming(Incoming, Rc<Upload>),
}

/// How far the body of a request has come.
#[derive(Debug)]
pub(super) struct Upload {
    asked_at: Cell<Instant>,
    ended: Cell<bool>,
    broken: Cell<bool>,
}

impl CallBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let upload = Upload { asked_at: Cell::new(Instant::now()), ended: Cell::default(), broken: Cell::default() };
        Self::Streaming(incoming, Rc::new(upload))
    }

    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        match self {
            Self::Empty => None,
            Self::Streaming(_, upload) => Some(Rc::clone(upload)),
        }
    }
}

impl Upload {
    /// When the upstream last wanted more of the body: while it does, it is not late with its answer.
    pub(super) fn asked_at(&self) -> Instant {
        self.asked_at.get()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the client sent something that is no body, or left in the middle of it.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(incoming, upload) => {
                upload.asked_at.set(Instant::now());
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                upload.broken.set(matches!(frame, Some(Err(_))));
                upload.ended.set(frame.is_none() || incoming.is_end_stream());
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(incoming, _) => incoming.size_hint(),
        }
    }
}

/// The body of an answer; the client's connection is at rest when it is dropped.
#[derive(Debug)]
pub(super) struct AnswerBody {
    kind: Kind,
    client: Option<Rc<Client>>,
}

#[derive(Debug)]
enum Kind {
    Bytes(Bytes),
    File(FileBody),
    Upstream(Relay),
}

impl AnswerBody {
    pub(super) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self { kind: Kind::Bytes(bytes), client: None }
    }

    pub(super) fn file(file: FileBody) -> Self {
        Self { kind: Kind::File(file), client: None }
    }

    pub(super) fn upstream(relay: Relay) -> Self {
        Self { kind: Kind::Upstream(relay), client: None }
    }

    /// The body that tells `client` when it has been handed over.
    pub(super) fn with_client(mut self, client: Rc<Client>) -> Self {
        self.client = Some(client);
        self
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.rests();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::File(file) => file.poll_chunk(cx).map(|chunk| chunk.map(|c| c.map(Frame::data).map_err(Into::into))),
            Kind::Upstream(relay) => relay.poll_frame(cx).map(|frame| frame.map(|f| f.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Bytes(bytes) => bytes.is_empty(),
            Kind::File(file) => file.left() == 0,
            Kind::Upstream(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::File(file) => SizeHint::with_exact(file.left()),
            Kind::Upstream(relay) => relay.incoming.size_hint(),
        }
    }
}

/// An upstream's answer on its way to a client. Its connection is kept if it has come to its end, else closed.
#[derive(Debug)]
pub(super) struct Relay {
    incoming: Incoming,
    ended: bool,
    connection: Option<Connection>,
    upload: Option<Rc<Upload>>,
    pool: Rc<Pool>,
    _under_way: UnderWay,
}

impl Relay {
    pub(super) fn new(
        incoming: Incoming,
        connection: Connection,
        upload: Option<Rc<Upload>>,
        pool: Rc<Pool>,
        under_way: UnderWay,
    ) -> Self {
        Self { incoming, ended: false, connection: Some(connection), upload, pool, _under_way: under_way }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.ended = frame.is_none();
        Poll::Ready(frame)
    }

    /// Whether both messages have come to their end.
    fn is_whole(&self) -> bool {
        let sent = self.upload.as_ref().is_none_or(|upload| upload.is_ended());
        sent && (self.ended || self.incoming.is_end_stream())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.is_whole()
            && let Some(connection) = self.connection.take()
        {
            self.pool.keep(connection);
        }
    }
}
