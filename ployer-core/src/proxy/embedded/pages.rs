//! Pages: what the proxy says itself, in a sentence for people and with a status for programs.
//!
//! A browser gets a small page, everybody else plain text. No page names an upstream, an address or a path of the
//! server: whoever reads it may be anybody.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::AnswerBody;

/// What `Retry-After` says where nothing better is known, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Why the proxy answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The request breaks HTTP; the sentence says how.
    Malformed(&'static str),
    /// The method is not for a proxy of this kind.
    Method,
    /// Only `GET` and `HEAD` are understood for files.
    ReadOnly,
    /// No route has this host.
    NoRoute,
    /// The files have nothing under this path.
    NoFile,
    /// The route has no upstream.
    NoUpstream,
    /// No upstream accepts a connection.
    Unreachable,
    /// The upstream broke off or does not speak HTTP.
    Broken,
    /// The upstream did not answer in time.
    TooSlow,
    /// The client did not send its body in time.
    Stalled,
    /// The hold ended before the application was back, or too much is held already.
    Held,
    /// The route says why nothing serves.
    Unavailable(Box<str>),
}

/// Who reads a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Browser,
    Program,
}

impl Reader {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(http::header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
        if accept.windows(9).any(|part| part == b"text/html") { Self::Browser } else { Self::Program }
    }
}

impl Problem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute | Self::NoFile => StatusCode::NOT_FOUND,
            Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::NoUpstream | Self::Held | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn sentence(&self) -> &str {
        match self {
            Self::Malformed(reason) => reason,
            Self::Method => "This method is not supported here.",
            Self::ReadOnly => "Files can only be read: use GET or HEAD.",
            Self::NoRoute => "No application is served under this name. Check the address, or deploy one.",
            Self::NoFile => "There is no such page.",
            Self::NoUpstream => "The application does not run at the moment.",
            Self::Unreachable => "The application does not accept connections at the moment.",
            Self::Broken => "The application broke off before it answered.",
            Self::TooSlow => "The application did not answer in time.",
            Self::Stalled => "The rest of the request did not come in time.",
            Self::Held => "The application is being updated. Try again in a moment.",
            Self::Unavailable(reason) => reason,
        }
    }

    /// Whether the client sent something that cannot be trusted to end where it seems to.
    fn breaks_connection(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Method | Self::Stalled)
    }

    /// The answer for `reader`.
    pub(super) fn answer(&self, reader: Reader) -> Response<AnswerBody> {
        let status = self.status();
        let (kind, text) = match reader {
            Reader::Browser => ("text/html; charset=utf-8", html(status, self.sentence())),
            Reader::Program => ("text/plain; charset=utf-8", format!("{}\n", self.sentence())),
        };
        let mut answer = Response::new(AnswerBody::bytes(Bytes::from(text)));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if *self == Self::ReadOnly {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if self.breaks_connection() {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

fn html(status: StatusCode, sentence: &str) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    let sentence = escape(sentence);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:20vh auto;padding:0 1em}}</style>\n\
         <h1>{code}</h1>\n<p>{sentence}</p>\n</html>\n",
        code = status.as_u16(),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_cannot_bring_markup_into_the_page() {
        let page = html(StatusCode::SERVICE_UNAVAILABLE, "<script>alert(\"&\")</script>");

        assert!(page.contains("&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;"));
    }

    #[test]
    fn a_page_that_asks_to_come_back_says_when() {
        for problem in [Problem::Held, Problem::NoUpstream, Problem::Unavailable("It stopped.".into())] {
            assert_eq!(problem.answer(Reader::Program).headers()[RETRY_AFTER], "5");
        }
    }

    #[test]
    fn only_a_reader_that_accepts_html_is_a_browser() {
        let mut headers = HeaderMap::new();
        assert_eq!(Reader::of(&headers), Reader::Program);

        headers.insert(http::header::ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml"));
        assert_eq!(Reader::of(&headers), Reader::Browser);
    }
}
