//! Following events: what happens in an installation, from its beginning and then as it happens.
//!
//! `cargo run -p examples --example follow_events -- DATA_DIR`, beside a server or `ployer up` on the same data.

use futures_util::StreamExt as _;
use ployer_core::model::EventSeq;
use ployer_core::{Ployer, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let data_dir = std::env::args().nth(1).unwrap_or_else(|| "./data".to_owned());
    // A handle without an engine reads and follows: whoever holds the lease does the work.
    let ployer = Ployer::builder().data_dir(data_dir).build().await?;
    follow(&ployer, u64::MAX, |line| println!("{line}")).await
}

/// Hands over the next `count` events, oldest first, a line each.
async fn follow(ployer: &Ployer, count: u64, mut line: impl FnMut(String)) -> Result<()> {
    // Keep the number of the last event that was seen, and begin after it: none is missed, none comes twice.
    let mut events = ployer.events().follow(EventSeq::default());
    for _ in 0..count {
        let Some(event) = events.next().await.transpose()? else { break };
        line(format!("{} {:?}", event.seq, event.kind));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ployer_core::model::NewApplication;

    use super::*;

    #[tokio::test]
    async fn an_event_that_was_before_the_follower_is_told() {
        let data = tempfile::tempdir().unwrap();
        let ployer = Ployer::builder().data_dir(data.path()).build().await.unwrap();
        ployer.applications().create(NewApplication::new("shop".parse().unwrap())).await.unwrap();
        let last = ployer.events().last().await.unwrap();
        let mut lines = Vec::new();

        follow(&ployer, last.0, |line| lines.push(line)).await.unwrap();

        assert!(lines.iter().any(|line| line.contains("ApplicationCreated")), "{lines:?}");
    }
}
