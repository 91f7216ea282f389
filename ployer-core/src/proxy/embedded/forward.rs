//! Forwarding: the way of one request, from its head to whoever answers it.
//!
//! The route is looked up again after every wait and every failed attempt, so that a request never follows a table
//! that is no longer in force. A request that is held has not been read beyond its head.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;

use super::balance::Peer;
use super::body::AnswerBody;
use super::call::{About, Call};
use super::client::Client;
use super::hold::{self, Place};
use super::pages::Problem;
use super::route::{Destination, Entry};
use super::send::send;
use super::static_files;
use super::traffic::Outcome;
use super::view::{Chosen, NotChosen, Opened};
use super::worker::{BUFFER_BYTES, Worker};
use crate::model::AnsweredBy;

/// Answers a client's request.
pub(super) async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    client.begins();
    let answer = match Call::new(&worker, &client, request) {
        Ok(call) => follow(&worker, &client, call).await,
        Err((problem, reader)) => problem.answer(reader),
    };
    Ok(answer.map(|body| body.with_client(client)))
}

/// Follows the routes until somebody has answered.
async fn follow(worker: &Worker, client: &Client, mut call: Call) -> Response<AnswerBody> {
    let mut tried = Tried::default();
    let mut place = None;
    loop {
        let Some(route) = worker.find(&call.about.host) else { return call.about.refuse(&Problem::NoRoute) };
        tried.under(route.generation);
        let chosen = match next(worker, &route, &call, &tried) {
            Next::Send(chosen) => chosen,
            Next::Again => continue,
            Next::Answer(answer) => return answer,
            Next::Refuse(problem) => return refuse(worker, &route.entry, &call.about, &problem),
            Next::Files => return Box::pin(static_files::serve(worker, &route.entry, call)).await,
            Next::Wait(until) => match Box::pin(held(worker, &route, &call, &mut place, until)).await {
                Ok(()) => continue,
                Err(problem) => return refuse(worker, &route.entry, &call.about, &problem),
            },
        };
        let peer = Arc::clone(chosen.pool.peer());
        let asked = call.about.asked.is_some();
        match send(worker, client, chosen, call).await {
            Ok(answer) => {
                worker.count(&route.entry, asked, Outcome::Served);
                return answer;
            }
            Err(missed) => match missed.again {
                Some((head, body)) => {
                    tried.add(peer, missed.problem);
                    call = Call { head, body, about: missed.about };
                }
                None => return refuse(worker, &route.entry, &missed.about, &missed.problem),
            },
        }
    }
}

/// What to do with a request next.
enum Next {
    Send(Chosen),
    /// The table has changed meanwhile.
    Again,
    Answer(Response<AnswerBody>),
    Refuse(Problem),
    Files,
    Wait(Timestamp),
}

fn next(worker: &Worker, route: &Opened, call: &Call, tried: &Tried) -> Next {
    let wanted = call.about.asked.as_ref().and_then(|asked| asked.wanted.as_ref());
    match &route.entry.destination {
        Destination::Upstreams(_) => {
            let open = |peer: &Arc<Peer>| wanted.is_none_or(|w| w == peer.upstream()) && !tried.contains(peer);
            match worker.choose(route, open) {
                Ok(chosen) => Next::Send(chosen),
                Err(NotChosen::Stale) => Next::Again,
                Err(NotChosen::Nobody) => Next::Refuse(tried.problem()),
            }
        }
        Destination::Hold { until } => match (&call.about.asked, wanted) {
            (Some(_), Some(wanted)) if tried.is_empty() => Next::Send(worker.choose_unrouted(wanted)),
            (Some(_), _) => Next::Refuse(tried.problem()),
            (None, _) => Next::Wait(*until),
        },
        Destination::Static { .. } if wanted.is_none() => Next::Files,
        Destination::Static { .. } => Next::Refuse(Problem::NoUpstream),
        Destination::Redirect { to } => Next::Answer(redirect(&call.about, to, &call.head.uri)),
        Destination::Unavailable { reason } => Next::Refuse(Problem::Unavailable(reason.clone())),
    }
}

/// The upstreams that one request has tried in vain under one table.
#[derive(Debug, Default)]
struct Tried {
    generation: u64,
    peers: Vec<(Arc<Peer>, Problem)>,
}

impl Tried {
    /// A later table opens every upstream again.
    fn under(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.peers.clear();
        }
    }

    fn add(&mut self, peer: Arc<Peer>, problem: Problem) {
        self.peers.push((peer, problem));
    }

    fn contains(&self, peer: &Arc<Peer>) -> bool {
        self.peers.iter().any(|(tried, _)| Arc::ptr_eq(tried, peer))
    }

    fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Why nobody answers.
    fn problem(&self) -> Problem {
        self.peers.last().map_or(Problem::NoUpstream, |(_, problem)| problem.clone())
    }
}

/// Waits for the next table; `place` is taken at the first hold and kept through those that follow it.
async fn held(
    worker: &Worker,
    route: &Opened,
    call: &Call,
    place: &mut Option<Place>,
    until: Timestamp,
) -> Result<(), Problem> {
    let shared = &worker.shared;
    if place.is_none() {
        worker.count(&route.entry, false, Outcome::Held);
        let unread = call.body.size_hint().upper().unwrap_or(u64::MAX);
        let bytes = usize::try_from(unread).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        *place = Place::take(&route.entry.waiting, bytes, &shared.settings);
    }
    if place.is_none() {
        return Err(Problem::Held);
    }
    let has_changed = hold::wait(&shared.live, route.generation, shared.clock.now(), until).await;
    if has_changed { Ok(()) } else { Err(Problem::Held) }
}

fn refuse(worker: &Worker, entry: &Entry, about: &About, problem: &Problem) -> Response<AnswerBody> {
    worker.count(entry, about.asked.is_some(), Outcome::Failed);
    about.refuse(problem)
}

fn redirect(about: &About, to: &str, uri: &Uri) -> Response<AnswerBody> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let Ok(location) = HeaderValue::try_from(format!("{to}{target}")) else { return about.refuse(&Problem::NoRoute) };
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(LOCATION, location);
    about.sign(&mut answer, &AnsweredBy::Proxy);
    answer
}
