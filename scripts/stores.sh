# Sourced by the scripts that need a store of S3's kind: moto's server from PyPI, in a virtual environment that stays
# for the next run. Needs `work` and what `disk.sh` has.

# Credentials for a server that asks for none, and which no message may have.
export AWS_ACCESS_KEY_ID=OPENSESAMEID AWS_SECRET_ACCESS_KEY=OPENSESAMEKEY AWS_REGION=us-east-1

# python_with DIR TEST PACKAGE...: whether DIR is a virtual environment in which TEST can be imported.
python_with() {
  local dir=$1 test=$2
  shift 2
  "$dir/bin/python" -c "import $test" 2>/dev/null && return
  python3 -m venv "$dir" && "$dir/bin/pip" install -q "$@" >/dev/null 2>&1 && "$dir/bin/python" -c "import $test" 2>/dev/null
}

# build_ship ARGUMENT...: into crates/ship/target, whatever the target directory of others is.
build_ship() {
  (cd crates/ship && env -u CARGO_TARGET_DIR cargo build -q "$@") || fail "crates/ship does not build"
}

# work_in_memory BYTES: makes `work`, in memory where there is four times as much room.
work_in_memory() {
  local room
  room=$(df --output=avail -B1 /dev/shm 2>/dev/null | tail -n 1) || room=0
  if [ "${room:-0}" -gt $((4 * $1)) ]; then work=$(mktemp -d -p /dev/shm); else work=$(mktemp -d); fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# answers HOST:PORT: waits until something listens there.
answers() {
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null && return
    sleep 0.1
  done
  fail "$1 does not answer: $(tail -n 3 "$work"/*.log)"
}

# The same with s3s-fs, a server in Rust that checks signatures. Fails if it can't be had: it is compiled once.
start_s3s() {
  local at=${TMPDIR:-/tmp}/bufferedwriter-s3s port
  [ -x "$at/bin/s3s-fs" ] || cargo install -q --locked --root "$at" --features binary --version 0.14.1 s3s-fs >"$work/s3s.log" 2>&1 || return 1
  port=$(free_port)
  mkdir -p "$work/s3s/bucket"
  "$at/bin/s3s-fs" --host 127.0.0.1 --port "$port" --access-key "$AWS_ACCESS_KEY_ID" --secret-key "$AWS_SECRET_ACCESS_KEY" \
    "$work/s3s" >"$work/s3s.log" 2>&1 &
  children+=($!)
  store=127.0.0.1:$port
  answers "$store"
}

# Sets `azure` to HOST:PORT of Azurite, with a container "bucket". Fails if it can't be had.
start_azurite() {
  local at=${TMPDIR:-/tmp}/bufferedwriter-azurite port
  command -v npm >/dev/null || return 1
  [ -x "$at/node_modules/.bin/azurite-blob" ] || npm install --prefix "$at" --no-audit --no-fund azurite@3.35.0 >"$work/azurite.log" 2>&1 || return 1
  port=$(free_port)
  "$at/node_modules/.bin/azurite-blob" --silent --skipApiVersionCheck --inMemoryPersistence --blobHost 127.0.0.1 --blobPort "$port" >"$work/azurite.log" 2>&1 &
  children+=($!)
  azure=127.0.0.1:$port
  answers "$azure"
  python3 - "$azure" <<'PYTHON'
# The account and the key that each Azurite has.
import base64, email.utils, hashlib, hmac, sys, urllib.request
account, key = "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
date = email.utils.formatdate(usegmt=True)
signed = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n/{account}/{account}/bucket\nrestype:container"
mac = base64.b64encode(hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()).decode()
headers = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Authorization": f"SharedKey {account}:{mac}"}
urllib.request.urlopen(urllib.request.Request(f"http://{sys.argv[1]}/{account}/bucket?restype=container", method="PUT", headers=headers), timeout=10)
PYTHON
}

# Sets `store` to HOST:PORT of a server with a bucket "bucket".
start_store() {
  local at=${TMPDIR:-/tmp}/bufferedwriter-moto port
  command -v python3 >/dev/null || skip "no python3 here"
  python_with "$at" moto.server 'moto[s3,server]==5.2.5' || skip "moto can't be had"
  port=$(free_port)
  "$at/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/moto.log" 2>&1 &
  children+=($!)
  store=127.0.0.1:$port
  for _ in $(seq 300); do
    python3 - "$store" 2>/dev/null <<'PYTHON' && return
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(f"http://{sys.argv[1]}/bucket", method="PUT"), timeout=5)
PYTHON
    sleep 0.1
  done
  fail "moto does not answer"
}
