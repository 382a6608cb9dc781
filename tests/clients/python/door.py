"""What KurrentDB's official Python client does with Verbatim's door.

Takes the connection strings of a service and of an auditor, on a server whose log has
conversations. Ends well if everything is as expected.
"""

import json
import os
import sys
import threading
import uuid

from kurrentdbclient import (
    CaughtUp,
    Checkpoint,
    KurrentDBClient,
    NewEvent,
    RecordedEvent,
    StreamState,
)
from kurrentdbclient.exceptions import (
    AccessDeniedError,
    NotFoundError,
    WrongCurrentVersionError,
)

PATIENCE_S = 60


def event(event_type, **data):
    return NewEvent(type=event_type, data=json.dumps(data).encode(), metadata=b'{"by":"python"}')


def raises(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was expected")


def take(subscription, count):
    """The next `count` events of a subscription, with what comes between them."""
    taken, others = [], []
    while len(taken) < count:
        item = next(subscription)
        (taken if type(item) is RecordedEvent else others).append(item)
    return taken, others


def reads_what_verbatim_wrote(client):
    sent = client.read_all(filter_include=["message-sent"])
    messages = list(sent)
    assert messages, "the journey has sent messages"
    for message in messages:
        assert message.stream_name.startswith("conversation-"), message
        assert message.content_type == "application/json"
        assert "body" in json.loads(message.data)
        metadata = json.loads(message.metadata)
        assert metadata["schema"] == 1 and metadata["actor"].startswith("user:"), metadata
        assert message.recorded_at is not None
    stream = client.get_stream(messages[0].stream_name)
    assert [event.stream_position for event in stream] == list(range(len(stream)))
    assert stream[0].type == "conversation-started"
    newest = client.get_stream(messages[0].stream_name, backwards=True, limit=2)
    assert [event.id for event in newest] == [event.id for event in reversed(stream[-2:])]
    by_stream = client.read_all(filter_include=["audit"], filter_by_stream_name=True)
    assert all(event.stream_name == "audit" for event in by_stream)
    by_prefix = client.read_all(
        filter_include=["user-"], filter_by_stream_name=True, filter_by_prefix=True
    )
    assert {event.stream_name.split("-")[0] for event in by_prefix} == {"user"}


def appends_with_expected_versions(client):
    stream = f"python-{uuid.uuid4()}"
    raises(NotFoundError, lambda: client.get_stream(stream))
    first = [event("noted", n=0), event("noted", n=1)]
    position = client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=first)
    again = client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=first)
    assert again == position, "a retry gets the first answer"
    wrong = raises(
        WrongCurrentVersionError,
        lambda: client.append_to_stream(stream, current_version=5, events=event("noted")),
    )
    assert wrong.actual_version == 1, wrong
    raises(
        WrongCurrentVersionError,
        lambda: client.append_to_stream(
            stream, current_version=StreamState.NO_STREAM, events=[event("noted"), event("noted")]
        ),
    )
    client.append_to_stream(stream, current_version=1, events=event("noted", n=2))
    client.append_to_stream(stream, current_version=StreamState.ANY, events=event("noted", n=3))
    client.append_to_stream(stream, current_version=StreamState.EXISTS, events=event("noted", n=4))
    stored = client.get_stream(stream)
    assert [json.loads(e.data)["n"] for e in stored] == [0, 1, 2, 3, 4]
    assert [e.id for e in stored[:2]] == [e.id for e in first]
    assert all(e.metadata == b'{"by":"python"}' for e in stored)
    assert client.get_commit_position() >= stored[-1].commit_position
    return stream


def follows_and_resumes(client, stream):
    with client.subscribe_to_stream(stream, include_caught_up=True) as subscription:
        before, _ = take(subscription, 5)
        assert type(next(subscription)) is CaughtUp
        client.append_to_stream(
            stream, current_version=StreamState.ANY, events=event("noted", n=5)
        )
        live, _ = take(subscription, 1)
        assert live[0].stream_position == 5
    with client.subscribe_to_stream(stream, stream_position=before[2].stream_position) as resumed:
        rest, _ = take(resumed, 3)
        assert [e.stream_position for e in rest] == [3, 4, 5]
    with client.subscribe_to_all(
        commit_position=before[3].commit_position,
        filter_include=["noted"],
        include_checkpoints=True,
        window_size=1,
        checkpoint_interval_multiplier=1,
    ) as resumed:
        rest, others = take(resumed, 2)
        assert [e.stream_position for e in rest] == [4, 5]
        assert any(type(item) is Checkpoint for item in others), others


def auditors_only_read(auditor, stream):
    assert auditor.get_stream(stream)
    raises(
        AccessDeniedError,
        lambda: auditor.append_to_stream(
            stream, current_version=StreamState.ANY, events=event("noted")
        ),
    )


def main(service_url, auditor_url):
    client = KurrentDBClient(service_url)
    reads_what_verbatim_wrote(client)
    stream = appends_with_expected_versions(client)
    follows_and_resumes(client, stream)
    raises(AccessDeniedError, lambda: client.delete_stream(stream, current_version=StreamState.ANY))
    auditors_only_read(KurrentDBClient(auditor_url), stream)
    client.close()
    print("python: done")


if __name__ == "__main__":
    # A call that hangs ends the program instead of the journey's patience.
    watchdog = threading.Timer(PATIENCE_S, lambda: os._exit(3))
    watchdog.daemon = True
    watchdog.start()
    main(*sys.argv[1:])
