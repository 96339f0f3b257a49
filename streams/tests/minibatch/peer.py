"""Python's minibatch, as its users use it: `produce url stream from to`, `consume url stream size count [keep]`, or `look url stream`."""
import datetime
import json
import queue
import sys
import time
from concurrent.futures import Future

import minibatch
from bson import Decimal128, ObjectId


class Here:
    """Calls the function at once, in this process; the default is a pool of processes."""

    def submit(self, call):
        future = Future()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True):
        pass


def tell(value):
    print(json.dumps(value), flush=True)


def produce(url, name, first, last):
    stream = minibatch.stream(name, url=url)
    for value in range(int(first), int(last)):
        stream.append({"value": value})
    tell("produced")


def types(url, name):
    minibatch.stream(name, url=url).append({
        "date": datetime.datetime(2024, 2, 29, 12, 30, 1, 500000),
        "id": ObjectId("65e07a29a1b2c3d4e5f60718"),
        "price": Decimal128("12.50"),
        "bytes": b"\x00\x01\xff",
        "whole": 7,
        "long": 2**40,
        "part": 7.0,
        "nothing": None,
        "nested": {"list": [1, "two", {"three": 3.5}]},
    })
    tell("produced")


def consume(url, name, size, count, how="delete"):
    # minibatch calls a copy of the function, with copies of all it refers to but modules.
    minibatch.stop, minibatch.seen, minibatch.to_fail = queue.Queue(), [], how == "fail"

    def function(window):
        import minibatch
        if minibatch.to_fail:
            minibatch.to_fail = False
            raise ValueError("as a test")
        for message in window.data:
            print(message["value"], flush=True)
            minibatch.seen.append(message["value"])
        if int(count) and len(minibatch.seen) >= int(count):
            minibatch.stop.put(True)

    emitter = minibatch.streaming(name, size=int(size), url=url, keep=how == "keep", queue=minibatch.stop, executor=Here()).make(function)
    idle = time.time()
    known = 0
    # Until it has what it wants, or nothing has come for a while.
    while not emitter.should_stop() and time.time() - idle < 3:
        emitter._run_once()
        if len(minibatch.seen) > known:
            known, idle = len(minibatch.seen), time.time()
        emitter.sleep()


def look(url, name):
    stream = minibatch.stream(name, url=url)
    tell({
        "status": stream.status,
        "interval": stream.interval,
        "created": str(stream.created),
        "buffer": [[message.data, message.processed] for message in stream.buffer()],
        "windows": [[window.data, window.processed] for window in stream.window()],
    })


{"produce": produce, "types": types, "consume": consume, "look": look}[sys.argv[1]](*sys.argv[2:])
# minibatch's threads would go on for ever.
sys.stdout.flush()
import os
os._exit(0)
