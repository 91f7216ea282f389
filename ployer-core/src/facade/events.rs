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
