//! Asks: one request through the proxy's own listener, to find out who answers.
//!
//! An ask is an ordinary request with a header that holds a secret of this proxy and the upstream that must answer. It
//! takes the same way as everybody's; only the answer also says who gave it. The header is taken out before anything
//! else looks at the request, and a wrong secret is no different from no secret: whoever guesses learns nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::model::{Answer, AnsweredBy, Ask, Upstream};

const ASK: HeaderName = HeaderName::from_static("x-ployer-ask");
const ANSWERED_BY: HeaderName = HeaderName::from_static("x-ployer-answered-by");

/// What an ask wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The upstream that must answer; `None`: whichever the route names.
    pub(super) wanted: Option<Upstream>,
}

/// The secret that marks an ask as the proxy's own.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(clock: &dyn Clock) -> Result<Self> {
        let mut bytes = [0; 32];
        clock.random(&mut bytes)?;
        Ok(Self(bytes.iter().map(|b| format!("{b:02x}")).collect()))
    }

    /// Takes the mark out of a request and tells what it asks for, if it is ours.
    pub(super) fn recognise(&self, headers: &mut HeaderMap) -> Option<Asked> {
        let mark = headers.remove(ASK)?;
        let (secret, wanted) = mark.as_bytes().split_at_checked(self.0.len())?;
        if !bool::from(secret.ct_eq(self.0.as_bytes())) {
            return None;
        }
        Some(Asked { wanted: serde_json::from_slice(wanted).ok()? })
    }

    fn mark(&self, wanted: Option<&Upstream>) -> Result<HeaderValue> {
        let wanted = serde_json::to_string(&wanted).map_err(|e| Error::internal("an ask cannot be written", e))?;
        HeaderValue::from_str(&format!("{}{wanted}", self.0))
            .map_err(|e| Error::internal("an ask cannot be written as a header", e))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Lets the answer of an ask say who gave it.
pub(super) fn sign<B>(answer: &mut Response<B>, by: &AnsweredBy) {
    let text = match by {
        AnsweredBy::Replica(name) => format!("replica {name}"),
        AnsweredBy::Static(release) => format!("static {release}"),
        AnsweredBy::Proxy => "proxy".to_owned(),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        answer.headers_mut().insert(ANSWERED_BY, value);
    }
}

/// Takes away what only the proxy may say.
pub(super) fn unsign(headers: &mut HeaderMap) {
    headers.remove(ANSWERED_BY);
}

fn signature(headers: &HeaderMap) -> Option<AnsweredBy> {
    let text = headers.get(ANSWERED_BY)?.to_str().ok()?;
    match text.split_once(' ') {
        Some(("replica", name)) => name.parse().ok().map(AnsweredBy::Replica),
        Some(("static", release)) => release.parse().ok().map(AnsweredBy::Static),
        _ => (text == "proxy").then_some(AnsweredBy::Proxy),
    }
}

/// Sends the request to the listener at `listener`.
pub(super) async fn send(ask: &Ask, listener: SocketAddr, secret: &Secret, within: Duration) -> Result<Answer> {
    let request = request(ask, secret)?;
    let answer = match timeout(within, exchange(reachable(listener), request)).await {
        Ok(answer) => answer.map_err(|e| Error::unavailable("the proxy").with_source(e))?,
        Err(_) => return Err(Error::new(ErrorKind::Timeout, "the proxy did not answer an ask in time")),
    };
    let by = signature(answer.headers()).ok_or_else(|| {
        Error::new(ErrorKind::Internal, "something else than this proxy answers on the proxy's listener")
    })?;
    Ok(Answer { status: answer.status().as_u16(), by })
}

fn request(ask: &Ask, secret: &Secret) -> Result<Request<Empty<Bytes>>> {
    let plain = ask.path.starts_with('/') && ask.path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let request = Request::get(&ask.path)
        .header(HOST, ask.host.as_str())
        .header(ASK, secret.mark(ask.wanted.as_ref())?)
        .body(Empty::new());
    match request {
        Ok(request) if plain => Ok(request),
        Ok(_) | Err(_) => Err(Error::invalid("path", "it must begin with `/` and hold no white space")),
    }
}

async fn exchange(listener: SocketAddr, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, BoxError> {
    let stream = TcpStream::connect(listener).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => Ok(answer?),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?)
        }
    }
}

/// A listener on all addresses is reached on the loopback one.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}
