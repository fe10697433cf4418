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

# Sets `store` to HOST:PORT of a server with a bucket "bucket".
start_store() {
  local at=${TMPDIR:-/tmp}/bufferedwriter-moto port
  command -v python3 >/dev/null || skip "no python3 here"
  python_with "$at" moto.server 'moto[s3,server]==5.2.5' || skip "moto can't be had"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
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
