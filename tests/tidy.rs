//! Tidy: this repository under the rules that a machine can check.

use tests::tidy::tree::Tree;
use tests::tidy::{assert_none, documents, floors, manifests, purity, shape, words};

/// Makes each rule a test of its own.
macro_rules! rules {
    ($($room:ident: $($rule:ident),+;)+) => {$($(
        #[test]
        fn $rule() {
            assert_none(&$room::$rule(&Tree::read()));
        }
    )+)+};
}

rules! {
    shape:
        every_file_opens_with_its_reason,
        no_file_is_too_long,
        no_name_says_nothing,
        every_test_is_called_by_a_sentence;
    floors:
        imports_run_downward_only,
        decide_sees_values_only,
        implementations_are_named_by_the_builder_alone;
    purity:
        pure_rooms_touch_nothing,
        decisions_iterate_in_order;
    words:
        things_are_called_by_one_word,
        nothing_is_put_off;
    manifests:
        every_crate_inherits_the_lints,
        every_script_stops_at_a_failure;
    documents:
        the_top_of_the_tree_is_whole,
        paths_in_documents_exist;
}

#[test]
fn the_default_library_stays_lean() {
    assert_none(&manifests::the_library_stays_lean());
}
