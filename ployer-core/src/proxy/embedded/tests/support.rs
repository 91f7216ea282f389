//! Support: a proxy with its table, upstreams that a test plays by hand, and clients that send bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::clock::SystemClock;
use crate::config::ProxySettings;
use crate::model::{ApplicationId, InFlight, Revision, Route, RouteTable, Target, Traffic, Upstream};
use crate::proxy::Proxy as _;
use crate::proxy::embedded::{EmbeddedConfig, EmbeddedProxy};

/// No step of a test takes longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

pub(super) const HOST: &str = "shop.localhost";

/// A proxy and the table that a test gives it.
pub(super) struct Stage {
    pub(super) proxy: Arc<EmbeddedProxy>,
    pub(super) application: ApplicationId,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(ProxySettings::default())
    }

    pub(super) fn with(settings: ProxySettings) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = EmbeddedConfig { settings, ..EmbeddedConfig::new(vec![listener]) };
        let proxy = Arc::new(EmbeddedProxy::start(config).unwrap());
        Self { proxy, application: ApplicationId::new(&SystemClock) }
    }

    /// Sends the requests of [`HOST`] to `target` from now on.
    pub(super) async fn route(&self, target: Target) {
        let present = self.proxy.routes().await.unwrap().revision;
        let revision = Revision { epoch: 1, number: present.number + 1 };
        let hosts = [HOST.parse().unwrap()].into();
        let routes = [(self.application, Route { hosts, target })].into();
        self.proxy.apply(&RouteTable { revision, routes, fallback: None }, present).await.unwrap();
    }

    /// A proxy that routes to one upstream, which is played by the test.
    pub(super) async fn with_upstream() -> (Self, Listening) {
        Self::with_upstream_and(ProxySettings::default()).await
    }

    pub(super) async fn with_upstream_and(settings: ProxySettings) -> (Self, Listening) {
        let stage = Self::with(settings);
        let upstream = Listening::new("shop-web-1").await;
        stage.route(upstreams([&upstream])).await;
        (stage, upstream)
    }

    pub(super) async fn in_flight(&self, listening: &Listening) -> InFlight {
        self.proxy.in_flight(&listening.upstream).await.unwrap()
    }

    pub(super) async fn traffic(&self) -> Traffic {
        self.proxy.traffic(self.application).await.unwrap().unwrap_or_default()
    }

    /// Sends `bytes` on a connection of its own and reads all that comes back.
    pub(super) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    pub(super) async fn connect(&self) -> Wire {
        Wire(TcpStream::connect(self.proxy.local_addr()).await.unwrap())
    }
}

pub(super) fn upstreams<'a>(listening: impl IntoIterator<Item = &'a Listening>) -> Target {
    Target::Upstreams(listening.into_iter().map(|l| l.upstream.clone()).collect::<BTreeSet<_>>())
}

/// An upstream whose connections the test answers by hand.
pub(super) struct Listening {
    listener: TcpListener,
    pub(super) upstream: Upstream,
}

impl Listening {
    pub(super) async fn new(replica: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, upstream: Upstream { replica: replica.parse().unwrap(), address } }
    }

    /// The next connection that comes.
    pub(super) async fn accept(&self) -> Wire {
        Wire(in_time(self.listener.accept()).await.unwrap().0)
    }

    /// Whether no connection comes for a while.
    pub(super) async fn is_left_alone(&self) -> bool {
        timeout(Duration::from_millis(150), self.listener.accept()).await.is_err()
    }

    /// Accepts a connection and answers the first request on it; answers the connection and the request's head.
    pub(super) async fn serve(&self, body: &str) -> (Wire, String) {
        let mut wire = self.accept().await;
        let head = wire.head().await;
        wire.answer(body).await;
        (wire, head)
    }
}

/// A connection, on which each read has a deadline.
pub(super) struct Wire(pub(super) TcpStream);

impl Wire {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        in_time(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads until what has come ends with `end`.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            let byte = in_time(self.0.read_u8()).await;
            match byte {
                Ok(byte) => seen.push(byte),
                Err(e) => panic!("{e} after {:?}", String::from_utf8_lossy(&seen)),
            }
        }
        String::from_utf8(seen).unwrap()
    }

    /// Reads a head.
    pub(super) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads a head and as much body as it announces with `Content-Length`.
    pub(super) async fn message(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        in_time(self.0.read_exact(&mut body)).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads to the end of the stream.
    pub(super) async fn rest(&mut self) -> String {
        let mut seen = Vec::new();
        if let Err(error) = in_time(self.0.read_to_end(&mut seen)).await {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        String::from_utf8(seen).unwrap()
    }

    /// Whether nothing comes for a while.
    pub(super) async fn is_silent(&self) -> bool {
        timeout(Duration::from_millis(150), self.0.peek(&mut [0])).await.is_err()
    }

    /// Answers one request with `body`.
    pub(super) async fn answer(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    }
}

pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing happened in time")
}

/// A plain request for `path` of [`HOST`].
pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")
}

pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let matches = |line: &&str| line.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
    head.lines().find(matches).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
}

/// The name and an address on which nothing listens.
pub(super) fn nobody(replica: &str) -> Upstream {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Upstream { replica: replica.parse().unwrap(), address }
}

/// Waits until `holds`.
pub(super) async fn until(holds: impl AsyncFn() -> bool) {
    in_time(async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
