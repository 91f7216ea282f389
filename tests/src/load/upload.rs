//! Uploads: chunked bodies at a slow pace, whose digest the application answers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use sha2::{Digest, Sha256};

use super::Visit;
use super::client::{Body, Client};
use super::ledger::Kind;
use super::plain::version;

const PIECES: usize = 60;
const PIECE_BYTES: usize = 50_000;
const PAUSE: Duration = Duration::from_millis(50);

/// One upload after the other.
pub(super) async fn run(visit: Visit) {
    let mut client = Client::new(visit.target.clone());
    let mut count = 0;
    while !visit.stop.is_cancelled() {
        count += 1;
        let (entry, number) = (visit.ledger.begin(Kind::Upload), format!("{}.{count}", visit.client));
        let seed = count as u8;
        let expected = format!("{number} {} {}", PIECES * PIECE_BYTES, digest(seed));
        let head = Request::put(format!("/upload?n={number}"));
        match client.send(head, body(seed)).await.and_then(|reply| version(&reply, &expected)) {
            Ok(version) => entry.answered(&version),
            Err(detail) => {
                entry.lost(detail);
                visit.pause().await;
            }
        }
    }
}

fn piece(seed: u8, number: usize) -> Bytes {
    Bytes::from(vec![seed.wrapping_add(number as u8); PIECE_BYTES])
}

fn digest(seed: u8) -> String {
    let mut digest = Sha256::new();
    (0..PIECES).for_each(|number| digest.update(piece(seed, number)));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn body(seed: u8) -> Body {
    let pieces = stream::unfold(0, move |number| async move {
        if number == PIECES {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
        Some((Ok::<_, Infallible>(Frame::data(piece(seed, number))), number + 1))
    });
    StreamBody::new(pieces).boxed_unsync()
}
