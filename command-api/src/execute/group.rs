//! Deciding a group of queued commands in order, each on the state that the ones before it leave
//! behind, without touching the state until the events are on disk.

use std::collections::HashMap;

use domain::{CommandId, Decider, Version};
use infra::event_store::{Appended, NewEvent};
use infra::failure::Failure;

use super::load::Loaded;
use super::window::Remembered;
use super::{Done, Envelope, ExecuteError, Outcome, Queued};

/// What a group comes to.
pub(super) struct Plan<D: Decider> {
    verdicts: Vec<Verdict<D>>,
    /// To be appended after the version the state is at; may be empty.
    pub(super) events: Vec<NewEvent>,
    ahead: Ahead<D>,
}

/// What one command comes to.
enum Verdict<D: Decider> {
    /// An answer that was given before and holds whatever becomes of the append.
    Firm(Outcome<D>),
    /// An answer that holds if the state it rests on is the newest, which the append proves.
    IfCurrent(Outcome<D>),
    /// Events, from the first version to the last.
    Appends { first: Version, last: Version },
    /// Nothing to do, at this place in the stream; holds under the same condition.
    NothingAt(Version),
    /// Whatever the command of the same id at this index of the group comes to.
    Repeats(usize),
}

/// The state after the events that are decided but not yet appended. Copied only when a second
/// command needs it.
struct Ahead<D: Decider> {
    state: Option<D::State>,
    made: Vec<(Version, D::Event)>,
    applied: usize,
}

impl<D: Decider> Ahead<D> {
    fn state<'a>(&'a mut self, base: &'a D::State) -> &'a D::State {
        if self.made.is_empty() {
            return base;
        }
        let mut state = self.state.take().unwrap_or_else(|| base.clone());
        for (version, event) in &self.made[self.applied..] {
            state = D::evolve(state, *version, event);
        }
        self.applied = self.made.len();
        self.state.insert(state)
    }
}

impl<D: Decider> Plan<D> {
    /// Decides `group` on `loaded`.
    pub(super) fn decide(loaded: &Loaded<D>, group: &[Queued<D>]) -> Result<Self, Failure> {
        let mut plan = Self {
            verdicts: Vec::with_capacity(group.len()),
            events: Vec::new(),
            ahead: Ahead {
                state: None,
                made: Vec::new(),
                applied: 0,
            },
        };
        let mut indexes: HashMap<CommandId, usize> = HashMap::new();
        for (index, queued) in group.iter().enumerate() {
            let envelope = &queued.envelope;
            let verdict = if let Some(known) = loaded.window.get(envelope.id()) {
                Verdict::Firm(answer_again(known, envelope))
            } else if let Some(first) = indexes.get(&envelope.id()) {
                if group[*first].envelope.hash() == envelope.hash() {
                    Verdict::Repeats(*first)
                } else {
                    Verdict::IfCurrent(Err(ExecuteError::KeyReused))
                }
            } else {
                indexes.insert(envelope.id(), index);
                plan.decide_one(loaded, queued)?
            };
            plan.verdicts.push(verdict);
        }
        Ok(plan)
    }

    fn decide_one(
        &mut self,
        loaded: &Loaded<D>,
        queued: &Queued<D>,
    ) -> Result<Verdict<D>, Failure> {
        let decided = D::decide(self.ahead.state(&loaded.state), &queued.command);
        let version = loaded.version.plus(self.ahead.made.len());
        let made = match decided {
            Err(refusal) => return Ok(Verdict::IfCurrent(Err(ExecuteError::Refused(refusal)))),
            Ok(made) if made.is_empty() => return Ok(Verdict::NothingAt(version)),
            Ok(made) => made,
        };
        let count = made.len();
        for (index, event) in made.into_iter().enumerate() {
            let metadata = queued.envelope.metadata();
            self.events
                .push(NewEvent::encode(&event.clone().into(), metadata, index)?);
            self.ahead.made.push((version.plus(index + 1), event));
        }
        Ok(Verdict::Appends {
            first: version.next(),
            last: version.plus(count),
        })
    }

    /// Whether an answer rests on the state, so that the state has to be the newest. Where there are
    /// events, their append proves it.
    pub(super) fn rests_on_state(&self) -> bool {
        self.verdicts
            .iter()
            .any(|verdict| !matches!(verdict, Verdict::Firm(_)))
    }

    /// Takes the appended events, where there are any, into `loaded` and answers all.
    pub(super) fn commit(
        self,
        loaded: &mut Loaded<D>,
        group: Vec<Queued<D>>,
        appended: Option<&Appended>,
    ) {
        let before = loaded.position;
        // What is not of the append is at the version that the state was at before.
        let position_of = |version: Version| {
            appended
                .and_then(|appended| appended.position_of(version))
                .unwrap_or(before)
        };
        let mut outcomes: Vec<Outcome<D>> = Vec::with_capacity(self.verdicts.len());
        for (verdict, queued) in self.verdicts.into_iter().zip(&group) {
            let (seq, place, changed) = match verdict {
                Verdict::Firm(outcome) | Verdict::IfCurrent(outcome) => {
                    outcomes.push(outcome);
                    continue;
                }
                Verdict::Repeats(index) => {
                    outcomes.push(outcomes[index].clone());
                    continue;
                }
                Verdict::Appends { first, last } => (first, last, true),
                Verdict::NothingAt(version) => (version, version, false),
            };
            let done = Done {
                seq,
                position: position_of(place),
                changed,
            };
            let hash = queued.envelope.hash().to_owned();
            let remembered = Remembered { hash, done };
            loaded.window.remember(queued.envelope.id(), remembered);
            outcomes.push(Ok(done));
        }
        loaded.position = appended.map_or(before, Appended::position);
        self.ahead.commit(loaded);
        for (queued, outcome) in group.into_iter().zip(outcomes) {
            queued.answer(outcome);
        }
    }

    /// Answers all after an append that did not happen: what needed it gets `error`.
    pub(super) fn fail(self, group: Vec<Queued<D>>, error: &ExecuteError<D::Refusal>) {
        for (queued, verdict) in group.into_iter().zip(self.verdicts) {
            queued.answer(match verdict {
                Verdict::Firm(outcome) => outcome,
                Verdict::IfCurrent(_)
                | Verdict::Appends { .. }
                | Verdict::NothingAt(_)
                | Verdict::Repeats(_) => Err(error.clone()),
            });
        }
    }
}

impl<D: Decider> Ahead<D> {
    fn commit(self, loaded: &mut Loaded<D>) {
        let mut unapplied = &self.made[..];
        if let Some(state) = self.state {
            loaded.state = state;
            unapplied = &self.made[self.applied..];
        }
        for (version, event) in unapplied {
            loaded.evolve(*version, event);
        }
        if let Some((version, _)) = self.made.last() {
            loaded.version = *version;
        }
    }
}

impl<D: Decider> Queued<D> {
    pub(super) fn answer(self, outcome: Outcome<D>) {
        match &outcome {
            Ok(Done {
                seq,
                position,
                changed,
            }) => {
                tracing::debug!(parent: &self.span, %seq, %position, changed, "carried out");
            }
            Err(error) => tracing::debug!(parent: &self.span, %error, "not carried out"),
        }
        // First, so that whoever gets the answer finds the stream free to be dropped.
        drop(self.unanswered);
        // Whoever no longer waits learns it by a retry.
        let _ = self.answer.send(outcome);
    }
}

fn answer_again<R>(known: &Remembered, envelope: &Envelope) -> Result<Done, ExecuteError<R>> {
    if known.hash == envelope.hash() {
        Ok(known.done)
    } else {
        Err(ExecuteError::KeyReused)
    }
}
