#!/bin/sh
# The self-join of the benchmark by Kafka Streams: see StreamJoin.java for the arguments. `run.sh compile` only compiles it.
# LIBS is the directory of the libraries of Kafka Streams, CLASSES where the compiled program is, or is put.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${LIBS:?the directory of the libraries of Kafka Streams}" "${CLASSES:?where compiled classes are put}"
bin=${JAVA_HOME:+$JAVA_HOME/bin/}
if [ "${1-}" = compile ]; then
    mkdir -p "$CLASSES"
    exec "${bin}javac" -nowarn --release 17 -cp "$LIBS/*" -d "$CLASSES" "$here"/*.java
fi
exec "${bin}java" -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$LIBS/*:$CLASSES" StreamJoin "$@"
