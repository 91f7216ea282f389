//! Sending: one request to one upstream, and its answer back.
//!
//! A kept connection may have been closed by the upstream just as the request went out. The request is sent again
//! where that changes nothing: it never left, or not one byte of an answer came and sending it twice does what sending
//! it once does. Any other request is not trusted to a connection that has been idle for long.

use std::future::Future;
use std::rc::Rc;

use http::header::UPGRADE;
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout_at};

use super::ask::unsign;
use super::balance::UnderWay;
use super::body::{AnswerBody, CallBody, Relay, Upload};
use super::call::{About, Call};
use super::client::Client;
use super::headers;
use super::pages::Problem;
use super::pool::{Connection, Pool};
use super::upgrade::Tunnel;
use super::view::Chosen;
use super::worker::Worker;
use crate::config::ProxySettings;
use crate::model::AnsweredBy;

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) problem: Problem,
    pub(super) about: About,
    /// The request itself, where another upstream may be tried.
    pub(super) again: Option<(Parts, CallBody)>,
}

impl Missed {
    fn for_good(problem: Problem, about: About) -> Box<Self> {
        Box::new(Self { problem, about, again: None })
    }
}

/// Sends a request to the chosen upstream.
pub(super) async fn send(
    worker: &Worker,
    client: &Client,
    chosen: Chosen,
    mut call: Call,
) -> Result<Response<AnswerBody>, Box<Missed>> {
    let settings = &worker.shared.settings;
    let Chosen { pool, under_way } = chosen;
    let idle_max = if call.about.repeatable { settings.upstream_idle } else { settings.reuse_unsafe };
    let mut kept = pool.take(idle_max);
    loop {
        let was_kept = kept.is_some();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match Connection::open(pool.peer(), &worker.upstream, settings.connect).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::debug!(upstream = %pool.peer().upstream().address, %error, "an upstream is not reached");
                    let Call { head, body, about } = call;
                    return Err(Box::new(Missed { problem: Problem::Unreachable, about, again: Some((head, body)) }));
                }
            },
        };
        let upload = call.body.upload();
        match exchange(&mut connection, call, settings).await {
            Ok((answer, about)) => return deliver(client, answer, about, Used { connection, upload, pool, under_way }),
            Err(missed) => match *missed {
                Missed { again: Some((head, body)), about, .. } if was_kept => call = Call { head, body, about },
                missed => return Err(Box::new(missed)),
            },
        }
    }
}

/// Sends a request on a connection and waits for the head of the answer.
async fn exchange(
    connection: &mut Connection,
    call: Call,
    settings: &ProxySettings,
) -> Result<(Response<Incoming>, About), Box<Missed>> {
    let copy = call.about.repeatable.then(|| call.head.clone());
    let upload = call.body.upload();
    let received = connection.received();
    let (request, about) = call.into_request();
    let sent = connection.sender.try_send_request(request);
    match in_time(sent, upload.as_deref(), settings).await {
        Err(problem) => Err(Missed::for_good(problem, about)),
        Ok(Ok(answer)) => Ok((answer, about)),
        Ok(Err(mut error)) => {
            if upload.is_some_and(|upload| upload.is_broken()) {
                let problem = Problem::Malformed("The body of the request is not understood.");
                return Err(Missed::for_good(problem, about));
            }
            tracing::debug!(error = %error.error(), "an upstream broke off");
            let unsent = error.take_message().map(Request::into_parts);
            let is_silent = connection.received() == received;
            let again = unsent.or_else(|| copy.filter(|_| is_silent).map(|head| (head, CallBody::Empty)));
            Err(Box::new(Missed { problem: Problem::Broken, about, again }))
        }
    }
}

type Sent = Result<Response<Incoming>, TrySendError<Request<CallBody>>>;

/// Waits for the head of an answer, at most so long after the last of the request went out; the client may not take
/// too long for its part.
async fn in_time(
    sent: impl Future<Output = Sent>,
    upload: Option<&Upload>,
    settings: &ProxySettings,
) -> Result<Sent, Problem> {
    let mut sent = std::pin::pin!(sent);
    let mut from = Instant::now();
    loop {
        let (limit, problem) = match upload {
            Some(upload) if !upload.is_ended() => (settings.client_stalled, Problem::Stalled),
            Some(_) | None => (settings.answer_head, Problem::TooSlow),
        };
        if let Ok(answer) = timeout_at(from + limit, &mut sent).await {
            return Ok(answer);
        }
        match upload.map(Upload::asked_at) {
            Some(asked_at) if asked_at > from => from = asked_at,
            Some(_) | None => return Err(problem),
        }
    }
}

/// What an answer came over.
struct Used {
    connection: Connection,
    upload: Option<Rc<Upload>>,
    pool: Rc<Pool>,
    under_way: UnderWay,
}

/// Makes an upstream's answer the client's.
fn deliver(
    client: &Client,
    answer: Response<Incoming>,
    about: About,
    used: Used,
) -> Result<Response<AnswerBody>, Box<Missed>> {
    let (mut head, incoming) = answer.into_parts();
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !about.upgrade {
        return Err(Missed::for_good(Problem::Broken, about));
    }
    let protocol = if switches { head.headers.get(UPGRADE).cloned() } else { None };
    if let Err(problem) = headers::clean(&mut head.headers, protocol) {
        return Err(Missed::for_good(problem, about));
    }
    unsign(&mut head.headers);
    // The version that the client is answered in is its own, not the upstream's.
    head.version = Version::HTTP_11;
    let by = about.asked.is_some().then(|| AnsweredBy::Replica(used.pool.peer().upstream().replica.clone()));
    let body = if switches {
        client.tunnel.replace(Some(Tunnel::new(used.connection, used.under_way.upgrade())));
        AnswerBody::empty()
    } else {
        AnswerBody::upstream(Relay::new(incoming, used.connection, used.upload, used.pool, used.under_way))
    };
    let mut answer = Response::from_parts(head, body);
    if let Some(by) = by {
        about.sign(&mut answer, &by);
    }
    Ok(answer)
}
