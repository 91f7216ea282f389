//! Events: replayed from the store, then followed, without gap or double.
//!
//! The store numbers them; a wake-up in this process only says when to look. Each page is filtered by the rights of
//! the moment, so whoever loses a right sees no further event of that application.

use std::collections::{BTreeMap, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use super::Ployer;
use super::wait::something_new;
use crate::access::Action;
use crate::error::{ErrorKind, Result};
use crate::model::{ApplicationId, Event, EventSeq};

/// Events read at once.
const PAGE: u32 = 500;

/// Events: what happened, in order. See [`Ployer::events`].
#[derive(Clone, Copy, Debug)]
pub struct Events<'a>(pub(super) &'a Ployer);

impl Events<'_> {
    /// The events after `after` that the actor may see, oldest first, out of the next `limit`.
    ///
    /// # Errors
    ///
    /// `Gone` if events after `after` are no longer kept; the message names the oldest that is.
    pub async fn list(&self, after: EventSeq, limit: u32) -> Result<Vec<Event>> {
        let events = self.0.store().events(after, limit).await?;
        self.0.visible_events(events).await
    }

    /// The number of the newest event: whoever follows from here misses what was before.
    ///
    /// # Errors
    ///
    /// Only where the store cannot be read.
    pub async fn last(&self) -> Result<EventSeq> {
        self.0.store().last_event().await
    }

    /// The events after `after` that the actor may see, and then each as it happens. The stream ends with an error:
    /// `Gone` if events after `after` are no longer kept.
    pub fn follow(&self, after: EventSeq) -> BoxStream<'static, Result<Event>> {
        let news = self.0.shared.parts.news.subscribe();
        let follow = Follow { ployer: self.0.clone(), news, after, read: VecDeque::new() };
        stream::unfold(Some(follow), |follow| async move {
            let mut follow = follow?;
            match follow.next().await {
                Ok(event) => Some((Ok(event), Some(follow))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

struct Follow {
    ployer: Ployer,
    news: watch::Receiver<EventSeq>,
    /// The last event read, whether or not the actor may see it.
    after: EventSeq,
    read: VecDeque<Event>,
}

impl Follow {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(event);
            }
            // Marked as seen before the store is read, so that a commit meanwhile wakes at once.
            self.news.borrow_and_update();
            let page = self.ployer.store().events(self.after, PAGE).await?;
            match page.last() {
                Some(last) => self.after = last.seq,
                None => something_new(&mut self.news).await,
            }
            self.read.extend(self.ployer.visible_events(page).await?);
        }
    }
}

impl Ployer {
    async fn visible_events(&self, events: Vec<Event>) -> Result<Vec<Event>> {
        if events.is_empty() || self.allowed(Action::Administer).await? {
            return Ok(events);
        }
        let mut may_see: BTreeMap<ApplicationId, bool> = BTreeMap::new();
        let mut visible = Vec::new();
        for event in events {
            let Some(application) = event.application_id else { continue };
            let sees = match may_see.get(&application) {
                Some(sees) => *sees,
                None => self.sees(application).await?,
            };
            may_see.insert(application, sees);
            if sees {
                visible.push(event);
            }
        }
        Ok(visible)
    }

    async fn sees(&self, application: ApplicationId) -> Result<bool> {
        match self.application(application, Action::See).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::facade::stand::Stand;
    use crate::model::{EventKind, NewApplication, Role};
    use crate::store::Events as _;

    async fn take(stream: &mut BoxStream<'static, Result<Event>>, count: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < count {
            let next = timeout(Duration::from_secs(10), stream.next()).await.expect("an event in time");
            seqs.push(next.expect("the stream goes on").unwrap().seq.0);
        }
        seqs
    }

    #[tokio::test]
    async fn replay_and_live_meet_without_gap_or_double() {
        let stand = Stand::new().await;
        for name in ["a", "b", "c"] {
            stand.application(name).await;
        }
        let last = stand.ployer.events().last().await.unwrap().0;
        let mut stream = stand.ployer.events().follow(EventSeq(1));
        let writer = stand.ployer.clone();

        let writing = tokio::spawn(async move {
            for number in 0..600 {
                let new = NewApplication::new(format!("live-{number}").parse().unwrap());
                writer.applications().create(new).await.unwrap();
            }
        });
        let expected: Vec<u64> = (2..=last + 600).collect();

        assert_eq!(take(&mut stream, expected.len()).await, expected);
        writing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn commits_of_another_process_are_found_within_half_a_second() {
        let stand = Stand::new().await;
        let last = stand.ployer.events().last().await.unwrap();
        let mut stream = stand.ployer.events().follow(last);
        let store = stand.store.clone();
        let writing = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let event = crate::model::NewEvent::global(EventKind::ServerChanged);
            let commit = crate::store::Commit::new(crate::model::Actor::System, jiff::Timestamp::UNIX_EPOCH);
            crate::store::Store::commit(&*store, commit.event(event)).await.unwrap();
        });

        let found = take(&mut stream, 1).await;

        writing.await.unwrap();
        assert_eq!(found, [last.0 + 1]);
    }

    #[tokio::test]
    async fn events_that_are_no_longer_kept_end_the_stream_with_gone() {
        let stand = Stand::new().await;
        for name in ["a", "b", "c"] {
            stand.application(name).await;
        }
        stand.store.trim_events(EventSeq(2)).await.unwrap();
        let mut stream = stand.ployer.events().follow(EventSeq(0));

        let error = stream.next().await.unwrap().unwrap_err();

        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Gone, true));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_user_is_told_only_of_applications_they_may_see() {
        let stand = Stand::new().await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;
        let before = stand.ployer.events().last().await.unwrap();
        stand.application("theirs").await;
        let mine = user.applications().create(NewApplication::new("mine".parse().unwrap())).await.unwrap();

        let seen = user.events().list(before, 100).await.unwrap();

        assert_eq!(seen.iter().map(|event| event.application_id).collect::<Vec<_>>(), [Some(mine.id)]);
    }
}
