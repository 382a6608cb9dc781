// What KurrentDB's official Node client does with Verbatim's door.
//
// Takes the connection strings of a service and of an auditor, on a server whose log has
// conversations. Ends well if everything is as expected.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages are where the test installed them, not beside this file.
const installed = createRequire(join(process.env.VERBATIM_TEST_NODE_CLIENTS, "package.json"));
const {
  AccessDeniedError,
  ANY,
  BACKWARDS,
  END,
  KurrentDBClient,
  NO_STREAM,
  START,
  STREAM_EXISTS,
  StreamNotFoundError,
  WrongExpectedVersionError,
  eventTypeFilter,
  excludeSystemEvents,
  jsonEvent,
  streamNameFilter,
} = installed("@kurrent/kurrentdb-client");

const PATIENCE_MS = 60_000;

const event = (n) => jsonEvent({ type: "jotted", data: { n }, metadata: { by: "node" } });

async function all(reading) {
  const events = [];
  for await (const { event } of reading) events.push(event);
  return events;
}

/** The next `count` events of a subscription; then it is ended. */
async function take(subscription, count) {
  const events = [];
  for await (const { event } of subscription) {
    events.push(event);
    if (events.length === count) break;
  }
  await subscription.unsubscribe();
  return events;
}

async function readsWhatVerbatimWrote(client) {
  const messages = (await all(client.readAll())).filter(({ type }) => type === "message-sent");
  assert.ok(messages.length > 0, "the journey has sent messages");
  for (const message of messages) {
    assert.ok(message.isJson && message.data.body, "messages have bodies");
    assert.equal(message.metadata.schema, 1);
    assert.match(message.metadata.actor, /^user:/);
    assert.ok(message.created instanceof Date);
  }
  const stream = await all(client.readStream(messages[0].streamId));
  assert.deepEqual(stream.map(({ revision }) => revision), stream.map((_, n) => BigInt(n)));
  const newest = await all(
    client.readStream(messages[0].streamId, { direction: BACKWARDS, fromRevision: END, maxCount: 2 }),
  );
  assert.deepEqual(newest.map(({ id }) => id), stream.slice(-2).reverse().map(({ id }) => id));
  const filter = streamNameFilter({ prefixes: ["user-"] });
  const users = await all(client.readAll({ filter }));
  assert.ok(users.length > 0 && users.every(({ streamId }) => streamId.startsWith("user-")));
}

async function appendsWithExpectedRevisions(client) {
  const stream = `node-${randomUUID()}`;
  await assert.rejects(all(client.readStream(stream)), StreamNotFoundError);
  const first = [event(0), event(1)];
  const written = await client.appendToStream(stream, first, { streamState: NO_STREAM });
  assert.equal(written.nextExpectedRevision, 1n);
  const again = await client.appendToStream(stream, first, { streamState: NO_STREAM });
  assert.deepEqual(again.position, written.position, "a retry gets the first answer");
  for (const streamState of [5n, NO_STREAM]) {
    const refused = client.appendToStream(stream, [event(9), event(9)], { streamState });
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof WrongExpectedVersionError, error);
      assert.equal(error.actualState, 1n);
      return true;
    });
  }
  for (const [n, streamState] of [[2, 1n], [3, ANY], [4, STREAM_EXISTS]]) {
    await client.appendToStream(stream, event(n), { streamState });
  }
  const stored = await all(client.readStream(stream));
  assert.deepEqual(stored.map(({ data }) => data.n), [0, 1, 2, 3, 4]);
  assert.deepEqual(stored.slice(0, 2).map(({ id }) => id), first.map(({ id }) => id));
  assert.deepEqual(stored[0].metadata, { by: "node" });
  return stream;
}

async function followsAndResumes(client, stream) {
  const live = client.subscribeToStream(stream, { fromRevision: START });
  live.on("caughtUp", () => client.appendToStream(stream, event(5)));
  const seen = await take(live, 6);
  assert.deepEqual(seen.map(({ revision }) => revision), [0n, 1n, 2n, 3n, 4n, 5n]);
  const resumed = await take(client.subscribeToStream(stream, { fromRevision: 2n }), 3);
  assert.deepEqual(resumed.map(({ revision }) => revision), [3n, 4n, 5n]);
  const checkpoints = [];
  const filter = eventTypeFilter({
    prefixes: ["jotted"],
    maxSearchWindow: 1,
    checkpointInterval: 1,
    checkpointReached: (_, position) => checkpoints.push(position),
  });
  const fromPosition = seen[3].position;
  const ofAll = await take(client.subscribeToAll({ filter, fromPosition }), 2);
  assert.deepEqual(ofAll.map(({ revision }) => revision), [4n, 5n]);
  assert.ok(checkpoints.length > 0, "there are checkpoints");
  const user = excludeSystemEvents();
  const [one] = await take(client.subscribeToAll({ filter: user, fromPosition: START }), 1);
  assert.ok(!one.type.startsWith("$"));
}

async function auditorsOnlyRead(auditor, stream) {
  assert.equal((await all(auditor.readStream(stream))).length, 6);
  await assert.rejects(auditor.appendToStream(stream, event(9)), AccessDeniedError);
}

async function main([serviceUrl, auditorUrl]) {
  const client = KurrentDBClient.connectionString(serviceUrl);
  await readsWhatVerbatimWrote(client);
  const stream = await appendsWithExpectedRevisions(client);
  await followsAndResumes(client, stream);
  await assert.rejects(client.deleteStream(stream), AccessDeniedError);
  const auditor = KurrentDBClient.connectionString(auditorUrl);
  await auditorsOnlyRead(auditor, stream);
  await Promise.all([client.dispose(), auditor.dispose()]);
  console.log("node: done");
}

setTimeout(() => {
  console.error("a call hangs");
  process.exit(3);
}, PATIENCE_MS).unref();
await main(process.argv.slice(2));
process.exit(0);
