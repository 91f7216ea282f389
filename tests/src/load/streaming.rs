//! Streaming: answers that come in pieces for three seconds, and must be whole.

use super::Visit;
use super::client::{Client, Reply};
use super::ledger::Kind;

const PIECES: usize = 30;

/// One streamed answer after the other.
pub(super) async fn run(visit: Visit) {
    let mut client = Client::new(visit.target.clone());
    let mut count = 0;
    while !visit.stop.is_cancelled() {
        count += 1;
        let (entry, number) = (visit.ledger.begin(Kind::Streaming), format!("{}.{count}", visit.client));
        let path = format!("/stream?n={number}&pieces={PIECES}&pause=0.1");
        match client.ask(&path).await.and_then(|reply| whole(&reply, &number)) {
            Ok(version) => entry.answered(&version),
            Err(detail) => {
                entry.lost(detail);
                visit.pause().await;
            }
        }
    }
}

/// The version of an answer that has every piece, all of the same version.
fn whole(reply: &Reply, number: &str) -> Result<String, String> {
    let version = reply.version();
    let expected: String = (0..PIECES).map(|piece| format!("{version} {number} {piece}\n")).collect();
    match reply.status.is_success() && reply.text == expected {
        true => Ok(version.to_owned()),
        false => Err(format!("wrong answer: {} {:?}", reply.status, reply.text)),
    }
}
