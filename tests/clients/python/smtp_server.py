"""A mail server for the tests: takes every mail and writes it to a folder, one file each, once the whole
of it is there. With --hold FILE it keeps senders waiting before the mail itself for as long as FILE exists,
and says so by making FILE.waiting."""

import argparse
import asyncio
import itertools
import os
from pathlib import Path

from aiosmtpd.controller import Controller


class Sink:
    def __init__(self, folder, hold):
        self.folder = folder
        self.hold = hold
        self.numbers = itertools.count()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.hold and self.hold.exists():
            self.hold.with_suffix(".waiting").touch()
            while self.hold.exists():
                await asyncio.sleep(0.01)
        if address.startswith("unwanted"):
            return "550 nobody here is called that"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        name = f"{os.getpid()}-{next(self.numbers)}"
        draft = self.folder / f"{name}.new"
        draft.write_bytes(envelope.content)
        draft.rename(self.folder / f"{name}.eml")
        return "250 it is taken"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("port", type=int)
    arguments.add_argument("--hold", type=Path)
    given = arguments.parse_args()
    sink = Sink(given.folder, given.hold)
    controller = Controller(sink, hostname="127.0.0.1", port=given.port)
    controller.start()
    print("ready", flush=True)
    # Until it is killed.
    asyncio.new_event_loop().run_forever()


main()
