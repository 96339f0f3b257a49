"""What Python's minibatch 0.6.0 does in a second: `append url count`, `batched url count`, or `consume url count`, of what is there."""
import queue
import sys
import time
from concurrent.futures import Future

import minibatch


class Here:
    """Calls the function at once, in this process: the default is a pool of processes, which is slower."""

    def submit(self, call):
        future = Future()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True):
        pass


what, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
reading = {"time": 1_700_000_000, "x": 0.125, "y": 0.25}
batchsize = 1000 if what == "batched" else 1
stream = minibatch.stream("theirs", url=url, batchsize=batchsize)
# Indexes and connections are there when it begins.
minibatch.Buffer.objects(stream="nothing").count()
minibatch.stop, minibatch.seen = queue.Queue(), 0


def function(window):
    import minibatch
    minibatch.seen += len(window.data)


since = time.perf_counter()
if what == "consume":
    emitter = minibatch.streaming("theirs", size=10, url=url, executor=Here()).make(function)
    while minibatch.seen < count:
        emitter._run_once()
        # It sleeps for ten milliseconds between windows.
        emitter.sleep()
else:
    for _ in range(count):
        stream.append(dict(reading))
    if batchsize > 1:
        stream.flush()
print(time.perf_counter() - since, flush=True)
import os
os._exit(0)
