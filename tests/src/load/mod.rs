//! The load: clients of five kinds that run until they are told to stop, and account for every request.
//!
//! A client behaves like an honest one in the field: it keeps its connection, opens a new one where the answer says
//! `Connection: close`, and never repeats a request. So whatever goes wrong is seen, and is in the [`Report`].

mod client;
mod ledger;
mod plain;
mod streaming;
mod upload;
mod web_socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::client::{Reply, get};
pub use self::ledger::{Ended, Kind, Ledger, Lost, Report, Tally};

/// A request without an answer for so long is lost.
const ANSWER: Duration = Duration::from_secs(90);

/// How long a short WebSocket lives.
const SHORT: Duration = Duration::from_secs(3);

/// Whom the clients ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where they connect.
    pub address: SocketAddr,
    /// The host they name.
    pub host: String,
}

/// How many clients of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Small requests back to back on a kept connection.
    pub keep_alive: u32,
    /// Requests whose answer takes five seconds.
    pub slow: u32,
    /// Chunked bodies of three megabytes, sent within three seconds.
    pub upload: u32,
    /// Answers that come in pieces for three seconds.
    pub streaming: u32,
    /// WebSockets that stay until the other side ends them.
    pub web_socket: u32,
    /// WebSockets that the client ends after three seconds.
    pub short_web_socket: u32,
}

impl Mix {
    /// All kinds at once.
    pub const ALL: Self = Self { keep_alive: 4, slow: 4, upload: 2, streaming: 3, web_socket: 2, short_web_socket: 2 };

    /// Small requests alone: what runs beside a story that is about something else.
    pub const LIGHT: Self =
        Self { keep_alive: 2, slow: 0, upload: 0, streaming: 0, web_socket: 0, short_web_socket: 0 };

    /// How many of each kind, how long one request takes, and what they do. Over that time the clients of a kind begin
    /// one after the other: at each instant some are at the beginning of a request and some at its end.
    fn clients(&self) -> [(u32, u64, Begin); 6] {
        [
            (self.keep_alive, 0, |visit| plain::keep_alive(visit).boxed()),
            (self.slow, 5, |visit| plain::slow(visit).boxed()),
            (self.upload, 3, |visit| upload::run(visit).boxed()),
            (self.streaming, 3, |visit| streaming::run(visit).boxed()),
            (self.web_socket, 0, |visit| web_socket::run(visit, None).boxed()),
            (self.short_web_socket, 3, |visit| web_socket::run(visit, Some(SHORT)).boxed()),
        ]
    }
}

/// What a client does from its beginning to its end.
type Begin = fn(Visit) -> BoxFuture<'static, ()>;

/// Clients at work. Dropping it ends them without a report.
#[derive(Debug)]
#[must_use = "the report is what it is for"]
pub struct Load {
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

/// What each client has.
#[derive(Clone, Debug)]
struct Visit {
    target: Target,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    /// Tells this client's requests from those of others.
    client: usize,
}

impl Load {
    /// Starts the clients.
    pub fn start(target: &Target, mix: Mix) -> Self {
        let (ledger, stop) = (Arc::new(Ledger::default()), CancellationToken::new());
        let mut clients = JoinSet::new();
        let mut visit = Visit { target: target.clone(), ledger: ledger.clone(), stop: stop.clone(), client: 0 };
        for (count, seconds, begin) in mix.clients() {
            for number in 0..count {
                visit.client += 1;
                let (client, first) = (begin(visit.clone()), Duration::from_secs(seconds) * number / count);
                clients.spawn(async move {
                    tokio::time::sleep(first).await;
                    client.await;
                });
            }
        }
        Self { ledger, stop, clients }
    }

    /// The account as it stands.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Lets each client finish what it has under way, and answers the account.
    ///
    /// # Panics
    ///
    /// If a client panicked.
    pub async fn stop(mut self) -> Report {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client panicked");
        }
        self.ledger.report()
    }
}

impl Visit {
    /// After a lost request: long enough not to lose thousands at once, short enough to see the next.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
