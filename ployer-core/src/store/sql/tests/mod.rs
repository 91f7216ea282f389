//! The SQLite store under the suite, and what the suite cannot see.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::testing::store::StoreHarness;

mod files;
mod interrupted;
mod same_as_memory;

struct Sqlite {
    folder: TempDir,
    store: Arc<SqlStore>,
}

async fn open(folder: &TempDir) -> Arc<SqlStore> {
    Arc::new(SqlStore::open(&folder.path().join("ployer.db")).await.unwrap())
}

#[async_trait]
impl StoreHarness for Sqlite {
    async fn fresh() -> Self {
        let folder = TempDir::new().unwrap();
        Self { store: open(&folder).await, folder }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn reopen(self) -> Self {
        let Self { folder, store } = self;
        drop(store);
        Self { store: open(&folder).await, folder }
    }

    async fn second_handle(&self) -> Arc<dyn Store> {
        open(&self.folder).await
    }
}

crate::testing::store_suite!(Sqlite);
