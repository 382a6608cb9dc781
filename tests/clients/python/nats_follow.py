"""Follows Verbatim's events with nothing but a NATS client.

Prints a line of JSON for each event after a position: position, stream, version, type, data. Resumes by
position, so that what comes again after a failure is passed over.
"""

import argparse
import asyncio
import json
import sys
from urllib.parse import unquote

import nats
from nats.errors import NoServersError
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError


async def log(error: Exception) -> None:
    print(error, file=sys.stderr)


async def follow(url: str, prefix: str, after: int, count: int) -> None:
    connection = await nats.connect(url, error_cb=log)  # tries for two minutes
    stream = connection.jetstream()
    subscription = await stream.subscribe(
        f"{prefix}.events.>",
        stream=f"{prefix}-events",
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    done = 0
    async for message in subscription.messages:
        headers = message.headers
        position = int(headers["ce-position"])
        if position <= after:
            continue
        after = position
        is_json = headers["ce-datacontenttype"] == "application/json" and "ce-dataomitted" not in headers
        print(
            json.dumps(
                {
                    "position": position,
                    "stream": unquote(headers["ce-subject"]),
                    "version": int(headers["ce-streamversion"]),
                    "type": unquote(headers["ce-type"]),
                    "data": json.loads(message.data) if is_json else None,
                }
            ),
            flush=True,
        )
        done += 1
        if done == count:
            break
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="such as nats://127.0.0.1:4222")
    parser.add_argument("--prefix", default="verbatim", help="first token of the subjects")
    parser.add_argument("--after", type=int, default=0, help="position of the last event you have")
    parser.add_argument("--count", type=int, default=0, help="end after so many (0: never)")
    arguments = parser.parse_args()
    try:
        asyncio.run(follow(arguments.url, arguments.prefix, arguments.after, arguments.count))
    except NoServersError:
        sys.exit(f"no NATS server answers at {arguments.url}")
    except NotFoundError:
        sys.exit(f"NATS has no stream {arguments.prefix}-events: is the prefix right, and a relay running?")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
