//! Whether somebody has an account does not show in how long an answer takes, nor in how much the server
//! does for it: hashes cost what they cost in production.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Inbox, Person, ServerProcess};

use crate::PROGRAM;
use crate::mail::verifies_address;

const NEW_PASSWORD: &str = "seven purple teapots";

/// How often each question is asked.
const ROUNDS: usize = 32;

/// What the middle of the differences may be on a quiet machine, in milliseconds: less than what it takes
/// to write that a code was asked for. On a noisy one it may be as much as they are apart.
const DIFFERENCE_MAX_MS: f64 = 2.0;

/// How long the server rests after a question, so that what it does afterwards is not felt by the next.
const REST: Duration = Duration::from_millis(20);

/// A question about somebody, who has an account or not.
struct Question {
    name: &'static str,
    path: &'static str,
    /// What makes a login of their name.
    domain: &'static str,
    body: fn(&str) -> Value,
}

/// How long the answers took, and what the server's processor did for them.
#[derive(Default)]
struct Took {
    known: Vec<Duration>,
    unknown: Vec<Duration>,
    cpu_known: Duration,
    cpu_unknown: Duration,
}

const DOMAIN: &str = "@example.org";

fn login(login: &str) -> Value {
    json!({ "login": login, "password": "a password that is wrong" })
}

/// After codes were asked for the server has something to compare with, and writes that it was wrong.
const QUESTIONS: [Question; 7] = [
    Question {
        name: "login by e-mail",
        path: "/v1/sessions",
        domain: DOMAIN,
        body: login,
    },
    Question {
        name: "login by handle",
        path: "/v1/sessions",
        domain: "",
        body: login,
    },
    Question {
        name: "asking for a code",
        path: "/v1/codes",
        domain: DOMAIN,
        body: |email| json!({ "purpose": "log_in", "email": email }),
    },
    Question {
        name: "asking for a reset",
        path: "/v1/codes",
        domain: DOMAIN,
        body: |email| json!({ "purpose": "reset_password", "email": email }),
    },
    Question {
        name: "login by code",
        path: "/v1/sessions/code",
        domain: DOMAIN,
        body: |email| json!({ "email": email, "challenge": "a guess", "code": "12345678" }),
    },
    Question {
        name: "reset",
        path: "/v1/passwords/reset",
        domain: DOMAIN,
        body: |email| {
            json!({ "email": email, "challenge": "a guess", "code": "12345678",
                "password": NEW_PASSWORD })
        },
    },
    // At the end, as it gives those an account who have none.
    Question {
        name: "registering",
        path: "/v1/users",
        domain: DOMAIN,
        body: |email| {
            let handle = format!("new-{}", email.trim_end_matches(DOMAIN));
            json!({ "handle": handle, "email": email, "display_name": "Somebody new",
                "password": NEW_PASSWORD })
        },
    },
];

impl Question {
    /// Asked about the person of this number, or about nobody.
    fn about(&self, whom: &str, number: usize) -> Value {
        (self.body)(&format!("{whom}{number}{}", self.domain))
    }
}

/// What the processor has done for `server` so far, of Linux's /proc: in hundredths of a second.
fn cpu(server: &ServerProcess) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process_id()));
    let stat = stat.expect("a process");
    let (_, fields) = stat.rsplit_once(") ").expect("its name is in brackets");
    // Those in user space and in the kernel, the 14th and the 15th of all.
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks = ticks.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// What is another in each answer, and says nothing of whom was asked about.
const FRESH: [&str; 5] = ["trace_id", "id", "seq", "position", "challenge"];

/// Asks once; gives what was answered, without what is fresh in it, and how long it took.
async fn ask(asker: &Person, path: &str, body: Value) -> (Value, Duration) {
    let begun = Instant::now();
    let answer = asker.post(path, body).await;
    let took = begun.elapsed();
    let mut said = json!({ "status": answer.status.as_u16(), "body": answer.body });
    if let Some(body) = said["body"].as_object_mut() {
        body.retain(|name, _| !FRESH.contains(&name.as_str()));
    }
    (said, took)
}

impl Took {
    /// Asks both questions in turns, the one first in one round and the other in the next.
    async fn measure(server: &ServerProcess, asker: &Person, question: &Question) -> Self {
        let mut took = Self::default();
        let mut answers = BTreeMap::new();
        for round in 0..ROUNDS {
            for turn in 0..2 {
                let is_known = (round + turn) % 2 == 0;
                let whom = if is_known { "person" } else { "nobody" };
                let body = question.about(whom, round);
                let before = cpu(server);
                let (said, time) = ask(asker, question.path, body).await;
                tokio::time::sleep(REST).await;
                let spent = cpu(server).saturating_sub(before);
                *answers.entry(said.to_string()).or_insert(0) += 1;
                if is_known {
                    took.known.push(time);
                    took.cpu_known += spent;
                } else {
                    took.unknown.push(time);
                    took.cpu_unknown += spent;
                }
            }
        }
        assert_eq!(answers.len(), 1, "{}: {answers:?}", question.name);
        took
    }

    /// How much longer each round's known one took than its unknown one, in milliseconds: the middle, and
    /// how far the middle half of them is apart. An answer that comes a step later on a busy machine is as
    /// often the one as the other.
    fn differences(&self) -> (f64, f64) {
        let pairs = self.known.iter().zip(&self.unknown);
        let differences = pairs.map(|(known, unknown)| ms(*known) - ms(*unknown));
        let mut sorted: Vec<f64> = differences.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let quarter = ROUNDS / 4;
        let middle = f64::midpoint(sorted[ROUNDS / 2 - 1], sorted[ROUNDS / 2]);
        (middle, sorted[ROUNDS - 1 - quarter] - sorted[quarter])
    }

    fn show(&self, name: &str) {
        for (whose, times) in [("known", &self.known), ("unknown", &self.unknown)] {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |tenth: usize| ms(times[(times.len() - 1) * tenth / 10]);
            eprintln!(
                "{name}, {whose}: p10 {:.1} ms, p50 {:.1} ms, p90 {:.1} ms",
                at(1),
                at(5),
                at(9)
            );
        }
        let (middle, apart) = self.differences();
        eprintln!(
            "{name}: known - unknown {middle:.2} ms in the middle, {apart:.2} ms apart; processor {:?} and {:?}",
            self.cpu_known, self.cpu_unknown
        );
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[tokio::test]
async fn who_has_an_account_does_not_show_in_what_an_answer_takes() {
    let server = ServerProcess::start(PROGRAM).await;
    let mut asker = Person::register(&server.url(), "asker").await;
    asker.token.clear();
    let inbox = Inbox::at(&server.data_dir().join("mail"));
    for number in 0..ROUNDS {
        let person = Person::register(&server.url(), &format!("person{number}")).await;
        verifies_address(&person, &inbox).await;
    }
    for question in &QUESTIONS {
        let (name, took) = (
            question.name,
            Took::measure(&server, &asker, question).await,
        );
        took.show(name);
        let (middle, apart) = took.differences();
        assert!(
            middle.abs() <= apart.max(DIFFERENCE_MAX_MS),
            "{name}: {middle} ms"
        );
        if question.path == "/v1/sessions" {
            // Answers come at even times, so that a hash that is not computed shows only here.
            let (known, unknown) = (ms(took.cpu_known), ms(took.cpu_unknown));
            assert!(known < 2.0 * unknown && unknown < 2.0 * known, "{name}");
        }
    }
}
