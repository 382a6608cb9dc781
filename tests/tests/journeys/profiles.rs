//! The journeys that are the same wherever the server runs, on each profile.

use tests::Plan;

use crate::site::Site;
use crate::{
    attachments, documents, messages, notifications, operations, outsiders, people, presence,
    search, second_factor, sessions, spaces, tour,
};

/// Makes of each journey a test on embedded engines, and of all of them one on a cluster.
macro_rules! journeys {
    ($($module:ident::$journey:ident,)*) => {
        mod embedded {
            use super::*;

            $(
                #[tokio::test]
                async fn $journey() {
                    $module::$journey(&Site::embedded().await).await;
                }
            )*
        }

        async fn all(site: &Site) {
            $(
                eprintln!("{}", stringify!($journey));
                $module::$journey(site).await;
            )*
        }
    };
}

journeys! {
    documents::every_example_is_taken_by_the_server,
    documents::every_frame_of_the_protocol_is_taken,
    tour::two_people_talk_and_an_auditor_replays_it,
    tour::the_same_command_twice_gives_the_first_answer,
    outsiders::anybody_reads_the_public_keys,
    outsiders::a_stranger_gets_404_everywhere,
    outsiders::who_was_removed_keeps_what_they_had_and_gets_nothing_more,
    outsiders::bad_bodies_are_pointed_at,
    outsiders::bad_frames_are_answered_and_the_connection_lives,
    outsiders::without_a_good_token_there_is_no_way_in,
    messages::a_message_is_pinned_edited_and_taken_back,
    messages::a_thread_is_followed_and_seen_apart,
    messages::who_is_called_is_told_and_what_is_forwarded_says_from_where,
    messages::a_group_says_who_writes_how_often_and_who_came_and_went,
    presence::a_person_is_shown_as_their_devices_say_and_as_they_chose,
    presence::who_comes_into_a_conversation_is_shown_there,
    presence::what_one_is_up_to_ends_by_itself_and_does_not_come_back,
    presence::what_is_seen_in_private_is_ones_own,
    presence::who_has_an_edit_is_told_and_when_somebody_was_here,
    people::people_say_who_they_are_and_are_found,
    people::who_is_blocked_leaves_the_other_alone,
    people::who_is_suspended_is_out_everywhere_until_reinstated,
    people::who_deactivates_comes_back_by_logging_in,
    people::services_do_what_their_scopes_say_and_nothing_else,
    people::a_bot_is_a_member_like_others,
    people::somebody_always_owns_the_server,
    people::who_runs_the_server_runs_the_groups_they_are_in,
    sessions::a_login_goes_on_until_somebody_uses_an_old_token,
    sessions::sessions_are_listed_with_their_devices_and_ended_one_by_one,
    sessions::logging_out_everywhere_else_leaves_one_session,
    sessions::a_browser_has_its_tokens_in_cookies,
    sessions::a_stream_goes_on_with_a_newer_token,
    second_factor::the_codes_of_an_app_complete_a_login_and_each_is_good_once,
    second_factor::a_passkey_of_a_browser_is_a_second_factor_and_a_login_by_itself,
    search::messages_are_found_in_every_language_by_those_who_see_them,
    attachments::a_file_is_sent_got_and_erased,
    attachments::somebody_has_a_picture,
    notifications::what_concerns_somebody_is_listed_until_it_is_read,
    spaces::a_hidden_channel_is_opened_by_a_role_and_closed_by_a_kick,
    spaces::who_is_banned_is_kept_out_and_a_space_changes_hands,
    spaces::whoever_asks_why_is_told,
    spaces::who_runs_a_space_arranges_its_channels,
    spaces::what_members_may_is_set_for_each,
    spaces::a_role_is_called_and_those_who_have_it_are_told,
    spaces::an_invite_is_used_up_revoked_and_gone_with_its_maker,
    operations::a_read_model_is_rebuilt_on_demand_while_it_is_read,
}

#[tokio::test]
async fn everything_on_a_cluster() {
    all(&Site::cluster().await).await;
}

#[tokio::test]
async fn everything_on_a_cluster_on_the_door() {
    all(&Site::cluster_of(on_the_door()).await).await;
}

/// A cluster whose event store is reached over KurrentDB's protocol.
pub(crate) fn on_the_door() -> Plan {
    Plan {
        event_store_door: true,
        ..Plan::default()
    }
}
