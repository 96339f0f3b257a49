"""The self-join of the benchmark by Python's watermill 3.6.7, unmodified: each location joined to the one that is ten later.

    self_join.py SERVERS FROM TO GROUP

It reads partition 0 of FROM to its EndOfStream, and prints what it took.
"""
import logging
import sys

# A part of kafka-python 2.0.2 cannot be imported by Python 3.12 and later. The package stays as it is: what it looks for is there already.
if sys.version_info >= (3, 12):
    import six

    sys.modules['kafka.vendor.six.moves'] = six.moves

import math
import resource
import time
from dataclasses import dataclass
from typing import List, Mapping

from watermill.expressions import get_field
from watermill.message_brokers.kafka_message_broker import KafkaMessageBroker
from watermill.mill import WaterMill
from watermill.stream_join import JoinWith, join_streams

# It warns of every record that it skips, which takes time.
logging.getLogger('watermill').setLevel(logging.ERROR)

LATER = 10


@dataclass(frozen=True)
class Location:
    time: int
    x: float
    y: float


@dataclass(frozen=True)
class NextLocation:
    time: int
    x: float
    y: float


@dataclass(frozen=True)
class Speed:
    time_from: int
    time_to: int
    speed: float


results = 0


def speed(here: Location, next: Mapping[Location, List[NextLocation]]) -> Speed:
    global results
    results += 1
    there = next[here][0]
    return Speed(here.time, there.time, math.hypot(there.x - here.x, there.y - here.y))


servers, topic, to, group = sys.argv[1:]
begin = time.monotonic()
WaterMill(
    broker=KafkaMessageBroker({Location: topic, NextLocation: topic, Speed: to}, servers, consumer_group_name=group),
    process_func=speed,
    join_tree=join_streams(
        Location,
        JoinWith(with_type=NextLocation, left_expression=get_field('time') + LATER, right_expression=get_field('time')),
    ),
).run()
wall = time.monotonic() - begin
print(wall, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, results)
