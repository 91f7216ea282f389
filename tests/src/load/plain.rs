//! Plain requests: small ones back to back, and slow ones.

use super::Visit;
use super::client::{Client, Reply};
use super::ledger::Kind;

/// Small requests back to back on one kept connection.
pub(super) async fn keep_alive(visit: Visit) {
    requests(visit, Kind::KeepAlive, |number| format!("/?n={number}")).await;
}

/// Requests whose answer takes five seconds.
pub(super) async fn slow(visit: Visit) {
    requests(visit, Kind::Slow, |number| format!("/slow?s=5&n={number}")).await;
}

async fn requests(visit: Visit, kind: Kind, path: impl Fn(&str) -> String) {
    let mut client = Client::new(visit.target.clone());
    let mut count = 0;
    while !visit.stop.is_cancelled() {
        count += 1;
        let (entry, number) = (visit.ledger.begin(kind), format!("{}.{count}", visit.client));
        match client.ask(&path(&number)).await.and_then(|reply| version(&reply, &number)) {
            Ok(version) => entry.answered(&version),
            Err(detail) => {
                entry.lost(detail);
                visit.pause().await;
            }
        }
    }
}

/// The version of an answer that is what the application says to request `rest`.
pub(super) fn version(reply: &Reply, rest: &str) -> Result<String, String> {
    let version = reply.version();
    match reply.status.is_success() && reply.text == format!("{version} {rest}") {
        true => Ok(version.to_owned()),
        false => Err(format!("wrong answer: {} {:?}", reply.status, reply.text)),
    }
}
