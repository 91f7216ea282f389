//! The store's suite: each promise of [`Store`] and [`LogStore`](crate::store::LogStore) as tests of their own.
//!
//! An implementation brings a [`StoreHarness`] and calls [`store_suite!`](crate::store_suite) in a test module; its
//! crate needs tokio with `macros` and `rt-multi-thread`.
//!
//! ```
//! use std::sync::Arc;
//! use ployer_core::store::{Store, memory::MemoryStore};
//! use ployer_core::testing::store::StoreHarness;
//!
//! struct Memory(Arc<MemoryStore>);
//!
//! #[async_trait::async_trait]
//! impl StoreHarness for Memory {
//!     async fn fresh() -> Self {
//!         Self(Arc::new(MemoryStore::new()))
//!     }
//!     fn store(&self) -> Arc<dyn Store> {
//!         self.0.clone()
//!     }
//!     async fn reopen(self) -> Self {
//!         self
//!     }
//!     async fn second_handle(&self) -> Arc<dyn Store> {
//!         self.0.clone()
//!     }
//! }
//!
//! ployer_core::testing::store_suite!(Memory);
//! # fn main() {}
//! ```

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind};
use crate::model::{Actor, Application, Change, EventSeq, Record, Server};
use crate::store::{Commit, Store};

pub mod durable;
pub mod faithful;
pub mod fenced;
pub mod log;
pub mod one_under_way;
pub mod ordered;
pub mod owned;
pub mod patient;
pub mod reads;
mod sample;
pub mod unique;
pub mod versioned;
pub mod whole;

/// How the suite comes by stores.
#[async_trait]
pub trait StoreHarness: Send + Sized + 'static {
    /// A harness around an empty store that no other test sees.
    async fn fresh() -> Self;

    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// The same data opened again, after the store was dropped without a word of farewell.
    async fn reopen(self) -> Self;

    /// Another handle on the same data, as far apart as the implementation allows: as of another process.
    async fn second_handle(&self) -> Arc<dyn Store>;
}

/// Makes each case of the suite a test, in a module named after its promise.
#[macro_export]
macro_rules! store_suite {
    ($harness:ty) => {
        $crate::store_suite! { $harness;
            whole:
                a_refused_change_leaves_nothing_of_its_commit,
                each_change_sees_the_changes_before_it,
                an_empty_commit_answers_the_newest_event;
            versioned:
                a_write_gives_the_record_the_next_version,
                an_update_on_a_past_version_loses_and_names_the_record,
                a_delete_on_a_past_version_loses_and_names_the_record,
                an_update_of_what_is_not_there_is_not_found,
                a_delete_of_what_is_not_there_is_not_found,
                an_insert_of_what_is_there_already_exists,
                an_insert_that_has_a_version_is_invalid,
                of_two_updates_at_once_one_loses;
            fenced:
                a_commit_of_the_leases_epoch_is_stored,
                a_commit_of_a_past_epoch_loses_and_names_the_holder,
                a_commit_of_an_engine_without_a_lease_loses,
                a_commit_without_an_epoch_is_not_fenced;
            ordered:
                events_are_numbered_from_one_without_gaps,
                a_refused_commit_leaves_no_gap,
                events_of_eight_writers_at_once_have_no_gap,
                a_commit_answers_the_number_of_its_last_event,
                events_come_back_with_all_their_fields,
                a_follower_that_pages_misses_and_doubles_nothing,
                trimmed_events_are_gone_and_the_oldest_is_named,
                numbers_go_on_after_everything_was_trimmed,
                trimming_beyond_the_newest_event_trims_what_there_is;
            unique:
                a_taken_name_of_an_application_exists_already,
                an_application_cannot_be_renamed_to_a_taken_name,
                a_taken_name_of_a_server_exists_already,
                a_taken_domain_exists_already,
                a_taken_address_of_a_user_exists_already,
                a_second_health_check_exists_already,
                there_is_one_lease_and_one_installation,
                a_name_is_free_again_after_a_deletion,
                what_a_record_refers_to_must_be_there;
            one_under_way:
                a_second_deployment_under_way_loses,
                deployments_of_two_applications_are_under_way_at_once,
                the_next_deployment_begins_in_the_commit_that_ends_the_last,
                a_second_primary_domain_loses,
                another_domain_becomes_the_primary_one_in_one_commit;
            owned:
                a_deleted_application_takes_everything_along_but_its_volumes,
                a_deleted_application_takes_nothing_of_others,
                a_deleted_application_leaves_its_events;
            durable:
                everything_is_there_after_opening_again,
                an_epoch_fences_also_after_opening_again,
                event_numbers_go_on_after_opening_again;
            patient:
                eight_tasks_that_read_then_write_never_see_a_busy_store,
                no_update_of_one_record_by_eight_tasks_is_lost,
                two_handles_see_what_the_other_has_committed;
            faithful:
                an_installation_keeps_all_its_fields,
                a_lease_keeps_all_its_fields,
                a_server_keeps_all_its_fields,
                a_user_keeps_all_its_fields,
                an_application_keeps_all_its_fields,
                a_machine_keeps_all_its_fields,
                a_deployment_keeps_all_its_fields,
                a_deployment_keeps_every_status,
                every_word_of_an_enum_is_kept,
                a_release_keeps_all_its_fields,
                a_domain_keeps_all_its_fields,
                a_variable_keeps_all_its_fields,
                a_health_check_keeps_all_its_fields,
                a_volume_keeps_all_its_fields,
                a_member_keeps_all_its_fields,
                a_secret_keeps_all_its_fields,
                a_version_of_a_secret_never_changes;
            reads:
                what_is_not_there_is_none_or_empty,
                applications_servers_and_users_come_oldest_first,
                deployments_come_newest_first_within_the_limit,
                unfinished_deployments_come_oldest_first,
                releases_and_domains_of_one_application_come_oldest_first,
                variables_and_volumes_come_in_the_order_of_their_names,
                members_are_found_by_application_and_by_user,
                a_deleted_record_is_no_longer_found;
            log:
                lines_come_back_in_order_whatever_chunks_they_came_in,
                a_repeated_append_changes_nothing,
                a_page_begins_after_a_line_and_has_a_limit,
                the_tail_is_the_last_lines_in_order,
                lines_left_out_are_counted_and_do_not_come_back,
                a_removed_output_is_empty_and_begins_anew,
                outputs_of_deployments_do_not_mix,
                output_is_there_after_opening_again;
        }
    };
    ($harness:ty; $($promise:ident: $($case:ident),+;)+) => {$(
        mod $promise {
            #[allow(unused_imports, reason = "the harness may be named by a path of its own")]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let harness = <$harness as $crate::testing::store::StoreHarness>::fresh().await;
                    $crate::testing::store::$promise::$case(harness).await;
                }
            )+
        }
    )+};
}

/// A commit of the system at a fixed time.
fn commit() -> Commit {
    Commit::new(Actor::System, sample::at(0))
}

/// Stores a new record.
async fn insert(store: &dyn Store, record: impl Into<Record>) -> EventSeq {
    store.commit(commit().insert(record)).await.unwrap()
}

/// The refusal of a commit of one change.
async fn refusal(store: &dyn Store, change: Change) -> Error {
    let mut commit = commit();
    commit.changes.push(change);
    store.commit(commit).await.unwrap_err()
}

/// Asserts the kind of an error and that its message names `name`.
#[track_caller]
fn assert_refused(error: &Error, kind: ErrorKind, name: impl ToString) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(&name.to_string()), "`{error}` does not name {}", name.to_string());
}

/// A stored server.
async fn stored_server(store: &dyn Store) -> Server {
    let server = sample::server("local");
    insert(store, server.clone()).await;
    store.server(server.id).await.unwrap().unwrap()
}

/// A stored application on a server of its own.
async fn stored_application(store: &dyn Store) -> Application {
    let server = stored_server(store).await;
    stored_named(store, &server, "shop").await
}

/// A stored application of that name.
async fn stored_named(store: &dyn Store, server: &Server, name: &str) -> Application {
    let application = sample::application(server.id, name);
    insert(store, application.clone()).await;
    store.application(application.id).await.unwrap().unwrap()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_of_every_promise_is_in_the_suite() {
        let suite = include_str!("mod.rs");
        let promises = [
            include_str!("durable.rs"),
            include_str!("faithful.rs"),
            include_str!("fenced.rs"),
            include_str!("log.rs"),
            include_str!("one_under_way.rs"),
            include_str!("ordered.rs"),
            include_str!("owned.rs"),
            include_str!("patient.rs"),
            include_str!("reads.rs"),
            include_str!("unique.rs"),
            include_str!("versioned.rs"),
            include_str!("whole.rs"),
        ];

        let cases = promises
            .iter()
            .flat_map(|promise| promise.lines())
            .filter_map(|line| line.strip_prefix("pub async fn ").and_then(|rest| rest.split('(').next()));

        let missing: Vec<_> = cases.filter(|case| !suite.contains(&format!("                {case}"))).collect();
        assert!(missing.is_empty(), "not in the suite: {missing:?}");
    }
}
