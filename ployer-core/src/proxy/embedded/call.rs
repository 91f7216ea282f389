//! Calls: a client's request once it has been checked and made ready, until an upstream has it.

use http::request::Parts;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};

use super::ask::{Asked, sign};
use super::body::{AnswerBody, CallBody};
use super::client::Client;
use super::headers;
use super::pages::{Problem, Reader};
use super::worker::Worker;
use crate::model::AnsweredBy;

/// A request that can be sent.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) head: Parts,
    pub(super) body: CallBody,
    pub(super) about: About,
}

/// What is known of a request besides what is sent.
#[derive(Debug)]
pub(super) struct About {
    /// In lower case and without a port.
    pub(super) host: Box<str>,
    pub(super) asked: Option<Asked>,
    pub(super) reader: Reader,
    /// Another protocol is asked for.
    pub(super) upgrade: bool,
    /// Sending it twice does what sending it once does.
    pub(super) repeatable: bool,
}

impl Call {
    /// Checks a request and makes it ready; `Err` says why it is refused, and whom to tell.
    pub(super) fn new(worker: &Worker, client: &Client, request: Request<Incoming>) -> Result<Self, (Problem, Reader)> {
        let (mut head, body) = request.into_parts();
        let asked = worker.shared.secret.recognise(&mut head.headers);
        let reader = Reader::of(&head.headers);
        let host = headers::check(&head).map_err(|problem| (problem, reader))?;
        let body = CallBody::new(body);
        let upgrade = body.is_end_stream() && headers::wants_upgrade(&head);
        headers::prepare(&mut head, upgrade, &client.forwarded_for);
        let repeatable = body.is_end_stream() && head.method.is_idempotent() && !upgrade;
        Ok(Self { head, body, about: About { host, asked, reader, upgrade, repeatable } })
    }

    /// The request as it is sent, and what is known of it.
    pub(super) fn into_request(self) -> (Request<CallBody>, About) {
        (Request::from_parts(self.head, self.body), self.about)
    }
}

impl About {
    /// The proxy's own answer.
    pub(super) fn refuse(&self, problem: &Problem) -> Response<AnswerBody> {
        let mut answer = problem.answer(self.reader);
        self.sign(&mut answer, &AnsweredBy::Proxy);
        answer
    }

    /// Says who answered, to whoever may know.
    pub(super) fn sign(&self, answer: &mut Response<AnswerBody>, by: &AnsweredBy) {
        if self.asked.is_some() {
            sign(answer, by);
        }
    }
}
