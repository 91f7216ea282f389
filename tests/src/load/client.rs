//! A client: one kept connection, opened again when an answer says that it ends.

use std::convert::Infallible;
use std::error::Error as StdError;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ANSWER, Target};

/// What a client sends.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub text: String,
}

impl Reply {
    /// The version that gave it: its first word.
    pub fn version(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }
}

/// Sends one request on a connection of its own.
///
/// # Errors
///
/// What went wrong, in words.
pub async fn get(target: &Target, path: &str) -> Result<Reply, String> {
    Client::new(target.clone()).ask(path).await
}

/// One kept connection.
#[derive(Debug)]
pub(super) struct Client {
    target: Target,
    kept: Option<SendRequest<Body>>,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        Self { target, kept: None }
    }

    /// Asks for `path` and reads the whole answer.
    pub(super) async fn ask(&mut self, path: &str) -> Result<Reply, String> {
        self.send(Request::get(path), Empty::new().boxed_unsync()).await
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, head: http::request::Builder, body: Body) -> Result<Reply, String> {
        let whole = timeout(ANSWER, async {
            let answer = self.begin(head, body).await?;
            let status = answer.status();
            let bytes = answer.into_body().collect().await.map_err(|error| chain("the answer broke off", &error))?;
            Ok(Reply { status, text: String::from_utf8_lossy(&bytes.to_bytes()).into_owned() })
        });
        let answer = whole.await.unwrap_or_else(|_| Err(format!("no answer within {ANSWER:?}")));
        if answer.is_err() {
            self.kept = None;
        }
        answer
    }

    async fn begin(&mut self, head: http::request::Builder, body: Body) -> Result<Response<Incoming>, String> {
        let request = head.header(HOST, &self.target.host).body(body).map_err(|error| chain("not sent", &error))?;
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => connect(&self.target).await?,
        };
        let answer = connection.send_request(request).await.map_err(|error| chain("no answer", &error))?;
        if answer.headers().get(CONNECTION).is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"close")) {
            self.kept = Some(connection);
        }
        Ok(answer)
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Body>, String> {
    let stream = TcpStream::connect(target.address).await.map_err(|error| chain("not connected", &error))?;
    stream.set_nodelay(true).map_err(|error| chain("not connected", &error))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain("not connected", &error))?;
    // It ends with its sender; what goes wrong is told to the request under way.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// An error with its sources in one line.
pub(super) fn chain(what: &str, error: &dyn StdError) -> String {
    let mut line = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    line
}
