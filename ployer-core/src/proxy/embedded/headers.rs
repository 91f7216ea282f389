//! Headers: which of them go on, and which end here.
//!
//! What concerns one connection only never goes on: framing is made anew on each side, so that no request can be
//! seen as two by an upstream. What a client says about where it comes from is replaced by what is known.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::pages::Problem;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const HTTP: HeaderValue = HeaderValue::from_static("http");

/// What concerns one connection only, besides `Connection` itself and what it names.
const HOP_BY_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    UPGRADE,
];

/// Checks what the parser lets pass, and answers the host that is asked for: in lower case and without a port, empty
/// where an old client names none.
pub(super) fn check(head: &Parts) -> Result<Box<str>, Problem> {
    if head.method == Method::CONNECT {
        return Err(Problem::Method);
    }
    if !is_plainly_framed(&head.headers) {
        return Err(Problem::Malformed("The transfer encoding is not understood."));
    }
    let mut named = head.headers.get_all(HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Err(Problem::Malformed("There is more than one Host."));
    }
    let host = match (head.uri.authority(), host) {
        (Some(authority), _) if head.uri.scheme().is_some() => authority.as_str(),
        (Some(_), _) => return Err(Problem::Malformed("The address is not understood.")),
        (None, Some(host)) => host.to_str().map_err(|_| Problem::Malformed("The Host is not a host name."))?,
        (None, None) if head.version == Version::HTTP_10 => "",
        (None, None) => return Err(Problem::Malformed("There is no Host.")),
    };
    normal(host).ok_or(Problem::Malformed("The Host is not a host name."))
}

/// Whether a message has at most the one encoding that is understood.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = encodings.next().is_none_or(|e| e.as_bytes().eq_ignore_ascii_case(b"chunked"));
    is_chunked && encodings.next().is_none()
}

fn normal(host: &str) -> Option<Box<str>> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(ip, port)| (ip, port.strip_prefix(':').unwrap_or(port)))?,
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if !name.bytes().all(fits) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut name = Box::from(name.strip_suffix('.').unwrap_or(name));
    str::make_ascii_lowercase(&mut name);
    Some(name)
}

/// Whether the client asks for another protocol on this connection, and may have it.
///
/// HTTP/2 without TLS is not among them: through such a tunnel requests would reach the upstream unseen.
pub(super) fn wants_upgrade(head: &Parts) -> bool {
    let Some(protocol) = head.headers.get(UPGRADE) else { return false };
    let is_plain_http2 = tokens(protocol).any(|token| token.eq_ignore_ascii_case("h2c"));
    let asks = head.headers.get_all(CONNECTION).iter().flat_map(tokens).any(|t| t.eq_ignore_ascii_case("upgrade"));
    head.version == Version::HTTP_11 && asks && !is_plain_http2
}

/// Makes the head of a request ready for an upstream.
pub(super) fn prepare(head: &mut Parts, upgrade: bool, client: &HeaderValue) {
    let protocol = if upgrade { head.headers.get(UPGRADE).cloned() } else { None };
    let trailers = head.headers.remove(TE).is_some_and(|te| tokens(&te).any(|t| t.eq_ignore_ascii_case("trailers")));
    let chunked = head.headers.remove(TRANSFER_ENCODING).is_some();
    drop_hop_by_hop(&mut head.headers);
    head.headers.remove(EXPECT);
    if chunked {
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if trailers {
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = protocol {
        switch(&mut head.headers, protocol);
    }
    to_origin_form(head);
    forward(&mut head.headers, client);
    head.version = Version::HTTP_11;
}

/// Makes the head of an answer ready for a client; `Err` where its framing cannot be trusted.
pub(super) fn clean(headers: &mut HeaderMap, protocol: Option<HeaderValue>) -> Result<(), Problem> {
    if !is_plainly_framed(headers) {
        return Err(Problem::Broken);
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    } else if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(length) = headers.get(CONTENT_LENGTH).cloned()
    {
        // They are equal, or the parser would have refused the answer.
        headers.insert(CONTENT_LENGTH, length);
    }
    drop_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        switch(headers, protocol);
    }
    Ok(())
}

fn switch(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    while let Some(named) = headers.remove(CONNECTION) {
        for token in tokens(&named) {
            // What a message cannot do without is not one connection's concern, whatever its sender says.
            if !token.eq_ignore_ascii_case("host") && !token.eq_ignore_ascii_case("content-length") {
                headers.remove(token);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// Upstreams are asked as servers, not as proxies: the authority of an absolute address becomes the `Host`.
fn to_origin_form(head: &mut Parts) {
    let Some(authority) = head.uri.authority().map(Authority::as_str) else { return };
    if let Ok(host) = HeaderValue::from_str(authority) {
        head.headers.insert(HOST, host);
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    if let Ok(uri) = target.parse() {
        head.uri = uri;
    }
}

fn forward(headers: &mut HeaderMap, client: &HeaderValue) {
    if headers.keys().any(is_claim) {
        let claims: Vec<_> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
        for name in claims {
            headers.remove(name);
        }
    }
    headers.insert(FORWARDED_FOR, client.clone());
    headers.insert(FORWARDED_PROTO, HTTP);
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Whether a header says where a request comes from.
fn is_claim(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == FORWARDED || *name == REAL_IP
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::get("/a?b");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_host_is_known_in_any_case_and_with_any_port() {
        for (host, known) in [
            ("shop.localhost", "shop.localhost"),
            ("Shop.LOCALHOST:8080", "shop.localhost"),
            ("shop.localhost.", "shop.localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "::1"),
        ] {
            assert_eq!(check(&head(&[("host", host)])).as_deref(), Ok(known), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_none_or_two_is_refused() {
        for headers in [
            &[("host", "a b")][..],
            &[("host", "a/b")],
            &[("host", "user@a")],
            &[("host", "a:b")],
            &[("host", "a"), ("host", "b")],
            &[],
        ] {
            assert!(matches!(check(&head(headers)), Err(Problem::Malformed(_))), "{headers:?}");
        }
    }

    #[test]
    fn what_a_client_claims_is_replaced_by_what_is_known() {
        let mut head = head(&[
            ("host", "shop.localhost"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-port", "443"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
        ]);

        prepare(&mut head, false, &HeaderValue::from_static("127.0.0.1"));

        let mut left: Vec<_> = head.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("host", "shop.localhost"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "shop.localhost"),
                ("x-forwarded-proto", "http"),
            ]
        );
    }

    #[test]
    fn what_concerns_one_connection_does_not_go_on() {
        let mut head = head(&[
            ("host", "a"),
            ("connection", "close, x-private, host"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("te", "trailers, deflate"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
        ]);

        prepare(&mut head, false, &HeaderValue::from_static("::1"));

        let mut left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "te", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
        assert_eq!(head.headers[TE], "trailers");
    }

    #[test]
    fn only_protocols_that_stay_one_stream_are_switched_to() {
        let asks = |protocol, connection| {
            wants_upgrade(&head(&[("host", "a"), ("upgrade", protocol), ("connection", connection)]))
        };

        assert!(asks("websocket", "keep-alive, Upgrade"));
        assert!(!asks("websocket", "keep-alive"));
        assert!(!asks("h2c", "Upgrade, HTTP2-Settings"));
    }

    #[test]
    fn an_answer_with_an_unknown_encoding_is_not_trusted() {
        for (encoding, trusted) in [("chunked", true), ("gzip, chunked", false), ("gzip", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static(encoding));

            assert_eq!(clean(&mut headers, None).is_ok(), trusted, "{encoding}");
        }
    }
}
