#!/bin/sh
# What a Spark worker announces as its GPUs: start it with
#   -Dspark.worker.resource.gpu.amount=N -Dspark.worker.resource.gpu.discoveryScript=/path/to/gpus.sh
# in SPARK_WORKER_OPTS (spark.apache.org, "Spark Standalone Mode", resource allocation).
set -eu
indices=$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/.*/"&"/' | paste -sd, -)
printf '{"name": "gpu", "addresses": [%s]}\n' "$indices"
