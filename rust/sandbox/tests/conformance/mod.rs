//! The observable behaviour of Kinesis, tested against the API's documentation. Each case runs against any service.
//! `cases!`, and `fanout_cases!` for enhanced fan-out, make the cases tests of the including target, whose function
//! `service()` provides the service.

mod consumers;
#[path = "../subscriptions/events.rs"]
mod events;
mod fanout;
mod iterators;
mod records;
mod reshard;
mod service;
mod shards;
mod streams;

pub use service::Service;

/// Declares cases by module: as functions in the module `$run`, and as tests by the macro `$cases`.
macro_rules! suite {
    ($run:ident $cases:ident $($module:ident { $($case:ident),* $(,)? })*) => {
        pub mod $run {
            use super::Service;
            $(pub mod $module {
                $(pub async fn $case(service: &super::Service) {
                    super::super::$module::$case(service).await;
                })*
            })*
        }

        /// Makes a test of each case.
        macro_rules! $cases {
            () => {
                $(mod $module {
                    $(
                        #[tokio::test]
                        async fn $case() {
                            let service = std::sync::Arc::new(super::service().await);
                            let of_case = std::sync::Arc::clone(&service);
                            let run = async move { super::suite::$run::$module::$case(&of_case).await };
                            // Runs as a task, so that a failed case is cleaned up too.
                            let result = tokio::spawn(run).await;
                            service.clean().await;
                            if let Err(failed) = result {
                                std::panic::resume_unwind(failed.into_panic());
                            }
                            service.assert_refusals();
                        }
                    )*
                })*
            };
        }
        pub(crate) use $cases;
    };
}

suite! { run cases
    streams {
        a_stream_is_created_described_and_deleted,
        a_stream_is_not_created_twice,
        an_on_demand_stream_has_four_shards,
        a_stream_is_found_by_its_arn,
        lists_of_streams_come_in_pages,
        what_names_no_stream_is_not_found,
        bad_names_and_counts_are_refused,
        retention_goes_up_and_down,
    }
    records {
        what_is_put_is_got,
        partition_keys_route_by_md5,
        explicit_hash_keys_route,
        sequence_numbers_rise,
        a_limit_makes_pages,
        millis_behind_latest_falls_to_zero,
        answers_hold_ten_mebibytes_at_most,
        too_much_in_a_request_is_refused,
        what_is_at_the_limits_is_accepted,
        bad_limits_and_iterators_are_refused,
    }
    iterators {
        each_type_starts_where_it_says,
        timestamps_choose_the_first_later_record,
        bad_positions_are_refused,
        iterators_end_with_their_stream,
    }
    shards {
        shards_cover_the_key_space,
        lists_of_shards_come_in_pages,
        page_tokens_stand_alone,
        filters_choose_shards,
    }
    reshard {
        a_split_shard_ends_and_names_its_children,
        merged_shards_end_in_their_child,
        a_closed_shard_can_be_read_again,
        children_have_greater_sequence_numbers,
        records_go_to_children_after_a_split,
        uniform_scaling_keeps_the_lineage,
        what_cannot_be_resharded_is_refused,
    }
}

suite! { run_fanout fanout_cases
    consumers {
        a_consumer_is_registered_described_and_deregistered,
        a_consumer_is_named_in_two_ways,
        lists_of_consumers_come_in_pages,
        a_stream_with_consumers_is_kept,
        bad_consumers_are_refused,
    }
    fanout {
        what_is_put_is_pushed,
        each_position_starts_where_it_says,
        a_subscription_goes_on_where_another_ended,
        an_idle_subscription_goes_on_where_it_was,
        each_consumer_gets_everything,
        a_second_subscription_is_refused_for_five_seconds,
        a_closed_shard_names_its_children_and_ends,
        bad_subscriptions_are_refused,
    }
}
