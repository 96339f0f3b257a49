"""Mills of Python's watermill 3.6.7, as its users write them, over the same topics as the mills of the test beside this file.

    mills.py load SERVERS FILE TOPIC             a JSON file into a topic, with its EndOfStream
    mills.py changes SERVERS FROM TO GROUP       each speed joined to the one that begins when it ends
"""
import sys

# A part of kafka-python 2.0.2 cannot be imported by Python 3.12 and later. The package stays as it is: what it looks for is there already.
if sys.version_info >= (3, 12):
    import six

    sys.modules['kafka.vendor.six.moves'] = six.moves

from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional

from watermill.expressions import get_field
from watermill.message_brokers.json_file_message_broker import JsonFileMessageBroker
from watermill.message_brokers.kafka_message_broker import KafkaMessageBroker
from watermill.mill import WaterMill
from watermill.stream_join import JoinWith, join_streams


# Joined records are found by their value there, so they have to be frozen.
@dataclass(frozen=True)
class Location:
    robot: str
    time: int
    x: float
    charge: Optional[int] = None


@dataclass(frozen=True)
class Loaded:
    robot: str
    time: int
    x: float
    charge: Optional[int] = None


@dataclass(frozen=True)
class Speed:
    robot: str
    time_from: int
    time_to: int
    speed: float
    charge: Optional[int] = None


@dataclass(frozen=True)
class NextSpeed:
    robot: str
    time_from: int
    time_to: int
    speed: float
    charge: Optional[int] = None


@dataclass(frozen=True)
class Change:
    robot: str
    time: int
    change: float
    charge: Optional[int] = None


def loaded(location: Location) -> Loaded:
    return Loaded(location.robot, location.time, location.x, location.charge)


def changed(speed: Speed, following: Mapping[Speed, List[NextSpeed]]) -> Change:
    after = following[speed][0]
    return Change(speed.robot, speed.time_to, after.speed - speed.speed, after.charge)


def load(servers, file, topic):
    WaterMill(
        broker=JsonFileMessageBroker({Location: Path(file)}),
        output_broker=KafkaMessageBroker({Loaded: topic}, servers),
        process_func=loaded,
        stream_cls=Location,
    ).run()


def changes(servers, topic, to, group):
    WaterMill(
        broker=KafkaMessageBroker(
            {Speed: topic, NextSpeed: topic, Change: to}, servers, consumer_group_name=group
        ),
        process_func=changed,
        join_tree=join_streams(
            Speed,
            JoinWith(
                with_type=NextSpeed,
                left_expression=get_field('time_to'),
                right_expression=get_field('time_from'),
            ),
        ),
    ).run()


if __name__ == '__main__':
    {'load': load, 'changes': changes}[sys.argv[1]](*sys.argv[2:])
