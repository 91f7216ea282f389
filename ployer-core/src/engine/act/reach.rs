//! Reach: what the actors of one server share to act there and to see what is there.

use std::sync::Arc;

use super::context::Context;
use super::observe::Observer;
use super::routes::RouteWriter;
use super::slots::Slots;
use crate::error::{Error, Resource, Result};
use crate::model::ServerId;
use crate::runtime::{Builder, ContainerRuntime};

/// What the actors of one server share.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) runtime: Arc<dyn ContainerRuntime>,
    pub(super) builder: Arc<dyn Builder>,
    pub(super) routes: Arc<RouteWriter>,
    pub(super) observer: Arc<Observer>,
    pub(super) slots: Slots,
}

impl Reach {
    /// Connects to a server and takes charge of what runs there.
    pub(super) async fn connect(context: &Arc<Context>, server: ServerId) -> Result<Self> {
        let parts = &context.parts;
        let row = parts.store.server(server).await?.ok_or_else(|| Error::not_found(Resource::Server, server))?;
        let handle = parts.servers.connect(&row).await?;
        handle.runtime.attach().await?;
        let observer = Arc::new(Observer::new(Arc::clone(parts), context.ground.epoch, Arc::clone(&handle.runtime)));
        let own = Arc::clone(&observer);
        context.spawn(move || Arc::clone(&own).run());
        Ok(Self {
            routes: context.routes(&handle.proxy),
            runtime: handle.runtime,
            builder: handle.builder,
            observer,
            slots: Slots::new(&parts.settings.engine),
        })
    }
}
