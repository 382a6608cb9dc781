//! The rules of second factors, by example.

use super::*;
use crate::personal::Personal;
use crate::testing::{ALICE, Given, moment};
use crate::user::event::UserEvent;
use crate::user::testing::registered;
use crate::user::{Command, Refused as UserRefused, User};
use uuid::Uuid;

const APP: CommandId = CommandId(Uuid::from_u128(1));
const CODES: CommandId = CommandId(Uuid::from_u128(2));
const KEY: PasskeyId = PasskeyId(Uuid::from_u128(3));
const OTHER_KEY: PasskeyId = PasskeyId(Uuid::from_u128(4));

fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
    Given::history([registered(ALICE)].into_iter().chain(history))
}

fn begun(at_s: i64) -> UserEvent {
    UserEvent::TotpBegun(TotpBegun {
        enrolment: APP,
        expires_at: moment(at_s) + ENROLMENT_LIFETIME,
    })
}

fn enrolled(step: u64) -> UserEvent {
    let enrolment = APP;
    UserEvent::TotpEnrolled(TotpEnrolled { enrolment, step })
}

fn codes_made() -> UserEvent {
    UserEvent::RecoveryCodesMade(RecoveryCodesMade { set: CODES })
}

/// An app, whose first code was of step 10, and its recovery codes.
fn with_app() -> Vec<UserEvent> {
    vec![begun(0), enrolled(10), codes_made()]
}

fn name(text: &str) -> DisplayName {
    DisplayName::parse(text).expect("a good name")
}

fn new_passkey(passkey: PasskeyId, challenged_s: i64) -> NewPasskey {
    NewPasskey {
        passkey,
        name: name("Key ring"),
        credential_id: format!("{}", passkey.0),
        credential: "{}".to_owned(),
        sign_count: 5,
        challenged_at: moment(challenged_s),
    }
}

fn added(passkey: PasskeyId, challenged_s: i64, at_s: i64) -> UserEvent {
    let new = new_passkey(passkey, challenged_s);
    UserEvent::PasskeyAdded(PasskeyAdded {
        passkey,
        name: Personal::new(ALICE, new.name),
        credential_id: Personal::new(ALICE, new.credential_id),
        credential: Personal::new(ALICE, new.credential),
        sign_count: new.sign_count,
        challenged_at: new.challenged_at,
        at: moment(at_s),
    })
}

fn removed(passkey: PasskeyId, at_s: i64) -> UserEvent {
    let at = moment(at_s);
    UserEvent::PasskeyRemoved(PasskeyRemoved { passkey, at })
}

/// A passkey that was used five times, the last time for a challenge of second 0.
fn with_passkey() -> Vec<UserEvent> {
    vec![added(KEY, 0, 1), codes_made()]
}

fn ticket(login: u128) -> Ticket {
    Ticket {
        login: CommandId(Uuid::from_u128(login)),
        expires_at: moment(300),
    }
}

fn shown(offer: Offer, login: u128, at_s: i64) -> Shown {
    Shown {
        offer,
        ticket: Some(ticket(login)),
        at: moment(at_s),
    }
}

fn show(offer: Offer, login: u128, at_s: i64) -> Command {
    Command::Factor(FactorCommand::Show(shown(offer, login, at_s)))
}

fn totp(step: u64) -> Offer {
    let enrolment = APP;
    Offer::Totp { enrolment, step }
}

fn recovery(number: u8) -> Offer {
    Offer::RecoveryCode { set: CODES, number }
}

fn passkey(sign_count: u32, challenged_s: i64) -> Offer {
    Offer::Passkey {
        passkey: KEY,
        sign_count,
        challenged_at: moment(challenged_s),
    }
}

fn totp_used(step: u64, login: u128, at_s: i64) -> UserEvent {
    UserEvent::TotpUsed(TotpUsed {
        step,
        at: moment(at_s),
        ticket: Some(ticket(login)),
    })
}

fn recovery_used(number: u8, login: u128, at_s: i64) -> UserEvent {
    UserEvent::RecoveryCodeUsed(RecoveryCodeUsed {
        set: CODES,
        number,
        at: moment(at_s),
        ticket: Some(ticket(login)),
    })
}

fn passkey_used(sign_count: u32, challenged_s: i64, login: u128, at_s: i64) -> PasskeyUsed {
    PasskeyUsed {
        passkey: KEY,
        sign_count,
        challenged_at: moment(challenged_s),
        at: moment(at_s),
        ticket: Some(ticket(login)),
    }
}

fn wrong(factor: Factor, login: u128, at_s: i64) -> UserEvent {
    UserEvent::SecondFactorRefused(SecondFactorRefused {
        factor,
        at: moment(at_s),
        ticket: Some(ticket(login)),
    })
}

fn change(change: FactorChange, at_s: i64) -> Command {
    Command::Factor(FactorCommand::Change {
        user: ALICE,
        shown: None,
        change,
        at: moment(at_s),
    })
}

fn enrol(step: Option<u64>, at_s: i64) -> Command {
    let enrol = FactorChange::EnrolTotp {
        enrolment: APP,
        step,
        set: CODES,
    };
    change(enrol, at_s)
}

fn add(new: NewPasskey, at_s: i64) -> Command {
    let add = FactorChange::AddPasskey {
        passkey: Box::new(new),
        set: CODES,
    };
    change(add, at_s)
}

fn refused(refused: Refused) -> UserRefused {
    UserRefused::Factor(refused)
}

#[test]
fn an_app_counts_once_it_has_shown_a_code_and_the_first_factor_brings_recovery_codes() {
    let begin = FactorChange::BeginTotp { enrolment: APP };
    let state = given([]).when(change(begin.clone(), 0)).then([begun(0)]);
    let factors = &state.account.expect("an account").factors;
    assert!(!factors.are_on());
    assert_eq!(factors.begun(moment(899)), Some(APP));

    let state = given([begun(0)])
        .when(enrol(Some(10), 60))
        .then([enrolled(10), codes_made()]);
    let factors = state.account.expect("an account").factors;
    assert!(factors.are_on());
    assert_eq!(factors.ways(), [Factor::Totp, Factor::RecoveryCode].into());
    given([begun(0)])
        .when(enrol(None, 60))
        .then_refused(refused(Refused::WrongTotp));
    given([begun(0)])
        .when(enrol(Some(10), 900))
        .then_refused(refused(Refused::NothingBegun));
    given([])
        .when(enrol(Some(10), 60))
        .then_refused(refused(Refused::NothingBegun));
    given(with_app())
        .when(change(begin, 60))
        .then_refused(refused(Refused::TotpEnrolled));
    let second = with_passkey().into_iter().chain([begun(0)]);
    given(second).when(enrol(Some(10), 60)).then([enrolled(10)]);
}

#[test]
fn a_code_of_a_step_is_taken_once_and_none_of_an_earlier_step_after_it() {
    given(with_app())
        .when(show(totp(10), 1, 5))
        .then([wrong(Factor::Totp, 1, 5)]);
    given(with_app())
        .when(show(totp(12), 1, 5))
        .then([totp_used(12, 1, 5)]);
    for old in [11, 12] {
        given(with_app().into_iter().chain([totp_used(12, 1, 5)]))
            .when(show(totp(old), 2, 6))
            .then([wrong(Factor::Totp, 2, 6)]);
    }
    let of_another_app = Offer::Totp {
        enrolment: CODES,
        step: 12,
    };
    given(with_app())
        .when(show(of_another_app, 1, 5))
        .then([wrong(Factor::Totp, 1, 5)]);
}

#[test]
fn a_recovery_code_is_good_once_and_none_of_an_earlier_set_after_another() {
    given(with_app())
        .when(show(recovery(3), 1, 5))
        .then([recovery_used(3, 1, 5)]);
    let mut used = with_app();
    used.push(recovery_used(3, 1, 5));
    given(used.clone())
        .when(show(recovery(3), 2, 6))
        .then([wrong(Factor::RecoveryCode, 2, 6)]);
    let state = given(used)
        .when(show(recovery(4), 2, 6))
        .then([recovery_used(4, 2, 6)]);
    let left = state.account.and_then(|it| it.factors.recovery);
    assert_eq!(left.map(|codes| codes.left()), Some(8));

    let newer = RecoveryCodesMade { set: APP };
    let anew = given(with_app()).when(change(FactorChange::MakeRecoveryCodes { set: APP }, 5));
    anew.then([UserEvent::RecoveryCodesMade(newer.clone())]);
    let renewed = [UserEvent::RecoveryCodesMade(newer)];
    given(with_app().into_iter().chain(renewed))
        .when(show(recovery(4), 1, 6))
        .then([wrong(Factor::RecoveryCode, 1, 6)]);
    given(with_app())
        .when(show(recovery(RECOVERY_CODES), 1, 6))
        .then([wrong(Factor::RecoveryCode, 1, 6)]);
    given([])
        .when(change(FactorChange::MakeRecoveryCodes { set: APP }, 5))
        .then_refused(refused(Refused::NoSecondFactor));
}

#[test]
fn a_login_takes_five_wrong_ones_and_no_right_one_after_them() {
    let tried = |count: i64| {
        let tries = (0..count).map(|at_s| wrong(Factor::Totp, 1, at_s));
        with_app().into_iter().chain(tries).collect::<Vec<_>>()
    };
    let five = i64::from(TRIES_MAX);
    given(tried(five - 1))
        .when(show(totp(12), 1, 9))
        .then([totp_used(12, 1, 9)]);
    for offer in [totp(12), recovery(0), Offer::Wrong(Factor::Passkey)] {
        given(tried(five))
            .when(show(offer, 1, 9))
            .then_refused(refused(Refused::TooManyTries));
    }
    given(tried(five))
        .when(show(totp(12), 2, 9))
        .then([totp_used(12, 2, 9)]);
}

#[test]
fn a_login_is_completed_once_and_in_its_time() {
    let completed = with_app().into_iter().chain([totp_used(12, 1, 5)]);
    given(completed)
        .when(show(recovery(0), 1, 6))
        .then_refused(refused(Refused::TicketUsed));
    given(with_app())
        .when(show(totp(20), 1, 300))
        .then_refused(refused(Refused::TicketExpired));
}

#[test]
fn only_so_many_logins_are_remembered_and_none_after_its_time() {
    let many = u128::try_from(TICKETS_MAX).expect("a small number") + 5;
    let tries = (1..=many).map(|login| wrong(Factor::Totp, login, 5));
    let state = given(with_app().into_iter().chain(tries)).state;
    let factors = state.account.expect("an account").factors;
    assert_eq!(factors.tickets.len(), TICKETS_MAX);
    assert!(factors.tickets.contains_key(&ticket(many).login));

    let later = SecondFactorRefused {
        factor: Factor::Totp,
        at: moment(301),
        ticket: Some(Ticket {
            expires_at: moment(600),
            ..ticket(99)
        }),
    };
    let mut factors = factors;
    factors.refused(&later);
    let remembered: Vec<_> = factors.tickets.into_keys().collect();
    assert_eq!(remembered, [ticket(99).login]);
}

#[test]
fn a_passkey_answers_each_challenge_once_and_none_from_before() {
    given(with_passkey())
        .when(show(passkey(6, 10), 1, 11))
        .then([UserEvent::PasskeyUsed(passkey_used(6, 10, 1, 11))]);
    let used = UserEvent::PasskeyUsed(passkey_used(6, 10, 1, 11));
    for challenged_s in [9, 10] {
        given(with_passkey().into_iter().chain([used.clone()]))
            .when(show(passkey(7, challenged_s), 2, 12))
            .then([wrong(Factor::Passkey, 2, 12)]);
    }
    let of_registration = show(passkey(7, 0), 2, 12);
    given(with_passkey())
        .when(of_registration)
        .then([wrong(Factor::Passkey, 2, 12)]);
    given([])
        .when(show(passkey(6, 10), 1, 11))
        .then([wrong(Factor::Passkey, 1, 11)]);
}

#[test]
fn a_passkey_whose_count_does_not_grow_is_noticed_and_not_taken_any_more() {
    for count in [0, 4, 5] {
        let suspected = UserEvent::PasskeySuspected(passkey_used(count, 10, 1, 11));
        let state = given(with_passkey())
            .when(show(passkey(count, 10), 1, 11))
            .then([suspected.clone()]);
        let factors = state.account.expect("an account").factors;
        assert_eq!(factors.ways(), [Factor::RecoveryCode].into());
        assert!(factors.are_on(), "logins need a second factor all the same");
        given(with_passkey().into_iter().chain([suspected]))
            .when(show(passkey(99, 20), 1, 21))
            .then([wrong(Factor::Passkey, 1, 21)]);
    }
    let mut given = given([]);
    let mut uncounted = new_passkey(KEY, 0);
    uncounted.sign_count = 0;
    given.accept(&add(uncounted, 1)).expect("it is added");
    given
        .when(show(passkey(0, 10), 1, 11))
        .then([UserEvent::PasskeyUsed(passkey_used(0, 10, 1, 11))]);
}

#[test]
fn passkeys_are_added_once_for_a_challenge_that_nothing_came_after() {
    given([])
        .when(add(new_passkey(KEY, 0), 1))
        .then(with_passkey());
    given(with_passkey())
        .when(add(new_passkey(OTHER_KEY, 2), 3))
        .then([added(OTHER_KEY, 2, 3)]);
    given(with_passkey())
        .when(add(new_passkey(KEY, 2), 3))
        .then_refused(refused(Refused::PasskeyKnown));
    given(with_passkey())
        .when(add(new_passkey(OTHER_KEY, 0), 3))
        .then_refused(refused(Refused::ChallengeUsed));
    let gone = with_passkey().into_iter().chain([removed(KEY, 9)]);
    given(gone)
        .when(add(new_passkey(KEY, 0), 10))
        .then_refused(refused(Refused::ChallengeUsed));
    let many = (0..i64::try_from(PASSKEYS_MAX).expect("a small number")).map(|number| {
        let id = PasskeyId(Uuid::from_u128(100 + u128::from(number.unsigned_abs())));
        added(id, number, number)
    });
    given(many)
        .when(add(new_passkey(KEY, 99), 100))
        .then_refused(refused(Refused::TooManyPasskeys));
}

#[test]
fn passkeys_are_renamed_and_removed() {
    let rename = |text: &str| {
        let name = name(text);
        change(FactorChange::RenamePasskey { passkey: KEY, name }, 5)
    };
    let renamed = PasskeyRenamed {
        passkey: KEY,
        name: Personal::new(ALICE, name("Phone")),
    };
    given(with_passkey())
        .when(rename("Phone"))
        .then([UserEvent::PasskeyRenamed(renamed)]);
    given(with_passkey()).when(rename("Key ring")).then([]);
    given([])
        .when(rename("Phone"))
        .then_refused(refused(Refused::PasskeyNotFound));
    let remove = FactorChange::RemovePasskey { passkey: KEY };
    let state = given(with_passkey())
        .when(change(remove.clone(), 5))
        .then([removed(KEY, 5)]);
    let factors = state.account.expect("an account").factors;
    assert!(!factors.are_on());
    assert_eq!(factors.recovery, None, "they stand in for nothing");
    given([])
        .when(change(remove, 5))
        .then_refused(refused(Refused::PasskeyNotFound));
}

#[test]
fn a_change_that_is_shown_by_a_second_factor_happens_with_it_or_not_at_all() {
    let remove = |offer| {
        Command::Factor(FactorCommand::Change {
            user: ALICE,
            shown: Some(Shown {
                offer,
                ticket: None,
                at: moment(5),
            }),
            change: FactorChange::RemoveTotp,
            at: moment(5),
        })
    };
    let at = moment(5);
    let used = TotpUsed {
        step: 12,
        at,
        ticket: None,
    };
    let gone = UserEvent::TotpRemoved(TotpRemoved {});
    let state = given(with_app())
        .when(remove(totp(12)))
        .then([UserEvent::TotpUsed(used), gone]);
    assert!(!state.account.expect("an account").factors.are_on());
    let refused = SecondFactorRefused {
        factor: Factor::Totp,
        at,
        ticket: None,
    };
    let state = given(with_app())
        .when(remove(totp(10)))
        .then([UserEvent::SecondFactorRefused(refused)]);
    assert!(state.account.expect("an account").factors.are_on());
    given([]).when(remove(totp(12))).then([]);
}

#[test]
fn who_lost_all_of_them_has_them_removed_on_the_record() {
    let (by, at) = (Actor::Operator, moment(9));
    let remove_all = || Command::Factor(FactorCommand::RemoveAll { by, at });
    let all = with_app().into_iter().chain(with_passkey());
    let removed = SecondFactorsRemoved { by, at };
    let state = given(all)
        .when(remove_all())
        .then([UserEvent::SecondFactorsRemoved(removed)]);
    let factors = state.account.expect("an account").factors;
    assert!(!factors.are_on());
    assert_eq!(factors.ways(), BTreeSet::new());
    given([]).when(remove_all()).then([]);
}
