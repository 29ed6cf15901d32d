# Local services, which end with the script that starts them.
# shellcheck shell=bash

SERVICE_PIDS=()

# start_service LOG COMMAND... - runs COMMAND in the background until the script ends; sets SERVICE_PID.
start_service() {
  local log="$1"
  shift
  mkdir -p "$(dirname "$log")"
  # Done here, before the child starts: the output of an earlier service must not be mistaken for this one's.
  : >"$log"
  "$@" >>"$log" 2>&1 </dev/null &
  SERVICE_PID=$!
  SERVICE_PIDS+=("$SERVICE_PID")
  trap stop_services EXIT
}

# await_service SECONDS CONDITION... - waits until CONDITION succeeds; false after SECONDS, or if the service that was
# started last has ended.
await_service() {
  local seconds="$1"
  shift
  wait_until "$seconds" service_settled "$@" && "$@"
}

service_settled() { "$@" || ! kill -0 "$SERVICE_PID" 2>/dev/null; }

# stop_services - ends all services of start_service, and waits for their end.
stop_services() {
  local pid
  for pid in "${SERVICE_PIDS[@]}"; do
    kill "$pid" 2>/dev/null || true
  done
  for pid in "${SERVICE_PIDS[@]}"; do
    wait "$pid" 2>/dev/null || true
  done
  SERVICE_PIDS=()
}

# start_kinesis_local - sets KINESIS_LOCAL_ENDPOINT to a fresh kinesis-local on a free port.
start_kinesis_local() {
  local port log="$BUILD/logs/kinesis-local.log" package="$TOOLS/kinesis-local/node_modules/kinesis-local"
  ensure_kinesis_local
  port="$(free_port)"
  start_service "$log" env KINESIS_MOCK_PLAIN_PORT="$port" KINESIS_MOCK_TLS_PORT="$(free_port)" \
    KINESIS_MOCK_CERT_PATH="$package/server.json" node --require "$ROOT/scripts/lib/loopback.js" "$package/main.js"
  await_service 300 port_open "$port" || die "kinesis-local did not start; see $log"
  export KINESIS_LOCAL_ENDPOINT="http://127.0.0.1:$port"
}

# start_ministack - sets MINISTACK_ENDPOINT to a fresh ministack on a free port.
start_ministack() {
  local port log="$BUILD/logs/ministack.log"
  ensure_ministack
  port="$(free_port)"
  start_service "$log" env GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 "$VENVS/ministack/bin/ministack"
  await_service 300 port_open "$port" || die "ministack did not start; see $log"
  export MINISTACK_ENDPOINT="http://127.0.0.1:$port"
}

# start_moto - sets MOTO_ENDPOINT to a fresh moto on a free port.
start_moto() {
  local port log="$BUILD/logs/moto.log"
  ensure_moto
  port="$(free_port)"
  start_service "$log" "$VENVS/moto/bin/python" "$ROOT/scripts/lib/moto_server.py" -H 127.0.0.1 -p "$port"
  await_service 300 port_open "$port" || die "moto did not start; see $log"
  export MOTO_ENDPOINT="http://127.0.0.1:$port"
}

# start_dynamodb_local - sets DYNAMODB_LOCAL_ENDPOINT to a fresh, empty DynamoDBLocal on a free port.
start_dynamodb_local() {
  local port log="$BUILD/logs/dynamodb-local.log"
  ensure_dynamodb_local
  port="$(free_port)"
  start_service "$log" java -cp "$TOOLS/dynamodb-local/lib/*" "$ROOT/scripts/lib/DynamoDbLocal.java" \
    -inMemory -disableTelemetry -port "$port"
  await_service 300 port_open "$port" || die "DynamoDBLocal did not start; see $log"
  export DYNAMODB_LOCAL_ENDPOINT="http://127.0.0.1:$port"
}

# start_hdfs - sets HDFS_ENDPOINT to a fresh HDFS of one data node on a free port.
start_hdfs() {
  local log="$BUILD/logs/hdfs.log"
  ensure_hdfs
  start_service "$log" java -Xmx512m -cp "$TOOLS/hdfs/lib/*" "$ROOT/scripts/lib/MiniHdfs.java" "$BUILD/hdfs"
  await_service 300 grep -q '^listening on ' "$log" || die "HDFS did not start; see $log"
  HDFS_ENDPOINT="$(sed -n 's/^listening on //p' "$log" | head -n 1)"
  export HDFS_ENDPOINT
}
