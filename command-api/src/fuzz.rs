//! Whatever comes as a command is taken or refused: nothing panics, and nothing is our own fault. See
//! `cargo xtask fuzz`.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use bolero::check;
use infra::commands::{CommandDoor as _, FrameCommand};
use serde_json::value::RawValue;
use tokio::runtime::Builder;

use crate::testing::World;

/// Stands for the conversation that there is.
const CONVERSATION: &str = "11111111-1111-1111-1111-111111111111";

#[test]
fn commands() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::with(&["alice", "bob"]));
    let group = runtime.block_on(world.group("alice", &["bob"]));
    let caller = runtime.block_on(world.caller("alice"));
    // Whatever panics ends the test.
    let (runtime, world) = (AssertUnwindSafe(runtime), AssertUnwindSafe(world));
    let (caller, tries) = (AssertUnwindSafe(caller), AtomicU64::new(0));
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(CONVERSATION, &group);
        let Ok(raw) = serde_json::from_str::<Box<RawValue>>(&text) else {
            return;
        };
        let Some(op) = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|frame| Some(frame.get("op")?.as_str()?.to_owned()))
        else {
            return;
        };
        let command = FrameCommand {
            op: &op,
            id: &tries.fetch_add(1, Ordering::Relaxed).to_string(),
            frame: &raw,
            traceparent: None,
        };
        if let Err(problem) = runtime.block_on(world.api.run(&caller, command)) {
            assert!((400..500).contains(&problem.status), "{problem:?}");
        }
    });
}
