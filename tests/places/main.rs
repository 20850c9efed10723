//! The real program where it is not at home: on disks that are full, gone or odd, with little memory and little time, on
//! clocks that jump, in a root without anything. Each trial has a network and mounts of its own.
#![expect(
    clippy::disallowed_methods,
    reason = "the trials wait for a real program"
)]

mod clocks;
mod disks;
#[path = "../hostile/kit.rs"]
#[expect(dead_code, reason = "it is another test's too")]
mod kit;
mod limits;
#[path = "../namespace/mod.rs"]
mod namespace;
#[path = "../program/mod.rs"]
mod program;
mod state;

use namespace::{Needs, Play, must};

/// Names each of these functions by itself.
macro_rules! plays {
    ($($module:ident::$name:ident,)*) => { &[$((stringify!($name), $module::$name as fn(), Needs::Network),)*] };
}

const ALL: &[Play] = plays![
    clocks::l4_a_clock_that_jumps_ahead_a_day_ends_nothing,
    clocks::l4_no_date_is_too_odd,
    clocks::l4_a_machine_that_has_run_for_a_century_is_no_trouble,
    clocks::l5_stopped_for_ten_minutes_it_goes_on,
    disks::h2_a_full_state_directory_stops_nothing_and_harms_nothing,
    disks::h3_one_error_is_waited_for_and_a_second_ends_it_under_strace,
    disks::h4_what_can_not_be_written_ends_with_4_at_once,
    disks::h4_a_quota_is_waited_for_as_a_full_disk_is,
    disks::h7_a_disk_that_has_gone_is_not_replaced_by_what_lay_below,
    disks::h9_a_file_system_that_reserves_nothing_is_as_good,
    disks::h12_two_thousand_files_need_few_descriptors,
    disks::h13_a_slow_disk_costs_no_memory_under_strace,
    disks::s1_a_download_that_waits_for_room_ends_within_three_seconds_with_6,
    limits::l1_sixteen_mebibytes_are_enough_for_fifty_peers,
    limits::l3_a_twentieth_of_a_processor_is_enough_in_a_control_group,
    limits::l8_a_root_without_anything_is_enough,
    limits::l8_a_working_directory_may_be_odd_or_gone,
    limits::s1_a_name_that_is_never_resolved_delays_no_end,
    state::k2_a_kill_at_any_step_of_writing_the_state_leaves_the_old_or_the_new_under_strace,
];

fn main() {
    namespace::run(ALL, || must("ip link set lo up"));
}
