//! The stores against the model: random sequences of what can be asked of a log, with the store
//! closed and opened in between, must get the same answers from both.

use chrono::DateTime;
use domain::{Position, StreamName, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, MemoryEventStore, NewEvent,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Subject, all, events, stream};

/// One thing that is asked of both.
#[derive(Clone, Debug)]
enum Step {
    Append {
        stream: u8,
        expected: Guess,
        count: u8,
    },
    /// The same append as an earlier one, whatever became of that.
    Retry {
        earlier: prop::sample::Index,
    },
    /// An earlier append with its first event left out, or a new one added: another append, in part
    /// of the same events.
    Overlap {
        earlier: prop::sample::Index,
        longer: bool,
    },
    ReadStream {
        stream: u8,
        from: u64,
        direction: Direction,
        limit: usize,
    },
    ReadAll {
        after: u64,
        limit: usize,
    },
    Reopen,
}

/// An expectation, in terms of where the stream ends.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    NoStream,
    /// Right if 0, otherwise off by as much.
    Exact(i8),
}

fn step() -> impl Strategy<Value = Step> {
    let guess = prop_oneof![
        3 => Just(Guess::Any),
        1 => Just(Guess::NoStream),
        4 => Just(Guess::Exact(0)),
        2 => (-3..=3_i8).prop_map(Guess::Exact),
    ];
    let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    let from = prop_oneof![0..20_u64, Just(u64::MAX)];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0..4_u8, guess, 1..5_u8)
            .prop_map(|(stream, expected, count)| Step::Append { stream, expected, count }),
        4 => index().prop_map(|earlier| Step::Retry { earlier }),
        2 => (index(), any::<bool>())
            .prop_map(|(earlier, longer)| Step::Overlap { earlier, longer }),
        3 => (0..5_u8, from, direction, 0..8_usize).prop_map(|(stream, from, direction, limit)| {
            Step::ReadStream { stream, from, direction, limit }
        }),
        2 => (0..60_u64, 0..20_usize).prop_map(|(after, limit)| Step::ReadAll { after, limit }),
        1 => Just(Step::Reopen),
    ]
}

macro_rules! model {
    ($adapter:ident, $subject:expr) => {
        mod $adapter {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig {
                    cases: 64,
                    rng_seed: RngSeed::Fixed(0x10c),
                    failure_persistence: None,
                    ..ProptestConfig::default()
                })]

                #[test]
                fn the_store_answers_as_the_model_does(
                    steps in prop::collection::vec(step(), 1..60)
                ) {
                    answers_as_the_model_does($subject, steps);
                }
            }
        }
    };
}

// Who includes this file says which stores are compared.
on_each_durable_adapter!(model);

fn start_of_time() -> Clock {
    Clock::fixed(DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap())
}

fn answers_as_the_model_does(subject: impl Future<Output = Subject>, steps: Vec<Step>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pair = Pair {
            model: MemoryEventStore::new(start_of_time()),
            subject: subject.await,
            appends: Vec::new(),
            numbers: 0,
        };
        for step in steps {
            pair.take(step).await;
        }
        pair.compare().await;
    });
}

type Append = (StreamName, Expected, Vec<NewEvent>);

struct Pair {
    model: MemoryEventStore,
    subject: Subject,
    appends: Vec<Append>,
    numbers: u64,
}

impl Pair {
    async fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                stream,
                expected,
                count,
            } => {
                let name = name(stream);
                let expected = self.guess(&name, expected).await;
                let batch = self.fresh(u64::from(count));
                self.append((name, expected, batch)).await;
            }
            Step::Retry { earlier } => {
                if !self.appends.is_empty() {
                    let append = earlier.get(&self.appends).clone();
                    self.append(append).await;
                }
            }
            Step::Overlap { earlier, longer } => {
                if !self.appends.is_empty() {
                    let (name, expected, mut batch) = earlier.get(&self.appends).clone();
                    if longer {
                        batch.extend(self.fresh(1));
                    } else {
                        batch.drain(..1.min(batch.len()));
                    }
                    self.append((name, expected, batch)).await;
                }
            }
            Step::ReadStream {
                stream,
                from,
                direction,
                limit,
            } => {
                let (name, from) = (name(stream), Version(from));
                let wanted = self.model.read_stream(&name, from, direction, limit).await;
                let got = self
                    .subject
                    .store()
                    .read_stream(&name, from, direction, limit)
                    .await;
                assert_eq!(got.unwrap(), wanted.unwrap());
            }
            Step::ReadAll { after, limit } => {
                let wanted = self.model.read_all(Position(after), limit).await.unwrap();
                let got = self
                    .subject
                    .store()
                    .read_all(Position(after), limit)
                    .await
                    .unwrap();
                assert_eq!(got, wanted);
            }
            Step::Reopen => {
                self.subject.reopen().await;
            }
        }
    }

    async fn append(&mut self, append: Append) {
        self.appends.push(append.clone());
        let (name, expected, batch) = append;
        let wanted = self.model.append(&name, expected, batch.clone()).await;
        let got = self.subject.store().append(&name, expected, batch).await;
        assert_eq!(comparable(got), comparable(wanted), "{name} {expected:?}");
        assert_eq!(
            *self.subject.store().head().borrow(),
            *self.model.head().borrow()
        );
    }

    async fn compare(&self) {
        assert_eq!(all(&*self.subject.store()).await, all(&self.model).await);
    }

    async fn guess(&self, name: &StreamName, guess: Guess) -> Expected {
        let end = infra::event_store::version_of(&self.model, name).await;
        match guess {
            Guess::Any => Expected::Any,
            Guess::NoStream => Expected::NoStream,
            Guess::Exact(off) => Expected::Exact(Version(
                end.unwrap().0.saturating_add_signed(i64::from(off)),
            )),
        }
    }

    fn fresh(&mut self, count: u64) -> Vec<NewEvent> {
        self.numbers += count;
        events(self.numbers - count..self.numbers)
    }
}

fn name(number: u8) -> StreamName {
    stream(&format!("conversation-{number}"))
}

/// What can be compared of an answer: where the events are, or why they are not.
fn comparable(answer: Result<Appended, AppendError>) -> Result<Appended, String> {
    answer.map_err(|error| error.to_string())
}
