# Sourced by the scripts that do something to a real disk: small file systems on loop devices, and their
# end, whatever happens. Sets `work` (a fresh directory), `stress` (where the stress programs are) and
# `program` (the command line's). Needs root and loop devices: without them, `disk_or_skip` says
# "skipped: why", and the script ends with exit code 0 without having claimed anything.

name=$(basename "$0")
mounts=() loops=() children=()

fail() {
  echo "$name: FAILED: $*" >&2
  exit 1
}

skip() {
  echo "$name: skipped: $*"
  exit 0
}

# What a script changed beyond that; it may put a function of its own here.
restore() { :; }

# Thaws, kills what was started here, unmounts, detaches, removes; in that order.
clean_up() {
  local status=$? at
  trap - EXIT INT TERM
  set +e
  restore
  for at in "${mounts[@]}"; do fsfreeze -u "$at" 2>/dev/null; done
  for at in "${children[@]}"; do kill -9 "$at" 2>/dev/null; done
  wait 2>/dev/null
  for ((at = ${#mounts[@]} - 1; at >= 0; at--)); do
    umount "${mounts[at]}" 2>/dev/null || umount -l "${mounts[at]}" 2>/dev/null
  done
  for at in "${loops[@]}"; do losetup -d "$at" 2>/dev/null; done
  [ -z "${work:-}" ] || { chattr -R -f -i "$work"; rm -rf "$work"; } 2>/dev/null
  exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# install COMMAND PACKAGE: whether the command is there, after an attempt to install it.
install() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get install -y -q "$2" || { apt-get update -q && apt-get install -y -q "$2"; }; } \
      >/dev/null 2>&1 </dev/null || true
  fi
  command -v "$1" >/dev/null
}

build() {
  work=$(mktemp -d)
  cargo build -q --release -p bufferedwriter-cli -p bufferedwriter-stress || fail "does not build"
  stress=${CARGO_TARGET_DIR:-target}/release
  program=$stress/bufferedwriter
}

# mount_disk DIR IMAGE [OPTIONS]: attaches the image and mounts it. Sets `loop`.
mount_disk() {
  local try
  for try in 1 2 3 4 5; do
    # Somebody else may have been quicker to take the free one.
    loop=$(losetup -f --show "$2" 2>/dev/null) && break
    [ "$try" -lt 5 ] || return 1
    sleep 0.2
  done
  loops+=("$loop")
  mount ${3:+-o "$3"} "$loop" "$1" 2>/dev/null || return 1
  mounts+=("$1")
}

# install_mkfs KIND: `why` says what is missing.
install_mkfs() {
  local package=e2fsprogs
  [ "$1" != xfs ] || package=xfsprogs
  install "mkfs.$1" $package || { why="no mkfs.$1 here"; return 1; }
}

# new_disk KIND DIR MIB: an ext4 or xfs of this size on a loop device, mounted at DIR. Sets `loop`.
# Fails if that can't be had; `why` says what was missing. An xfs is 320 MiB large, mkfs makes none that
# is smaller.
new_disk() {
  local kind=$1 dir=$2 mib=$3 image=$2.image
  [ "$(id -u)" -eq 0 ] || { why="needs root"; return 1; }
  command -v losetup >/dev/null || { why="no losetup here"; return 1; }
  mkdir -p "$dir"
  install_mkfs "$kind" || return 1
  [ "$kind" != xfs ] || [ "$mib" -ge 320 ] || mib=320
  truncate -s "${mib}M" "$image"
  case $kind in
    ext4) mkfs.ext4 -q -m 0 -O has_journal "$image" ;;
    xfs) mkfs.xfs -q -f "$image" ;;
  esac >/dev/null 2>&1 || { why="mkfs.$kind failed"; return 1; }
  mount_disk "$dir" "$image" || { why="no loop device, or no $kind in this kernel"; return 1; }
}

# new_faulty_disk KIND DIR MIB: as new_disk, on a device that does as it is told (see the program `disk`).
# Sets `loop`, and why it can't be had.
new_faulty_disk() {
  local kind=$1 dir=$2 mib=$3
  [ -c /dev/fuse ] || { why="no FUSE here"; return 1; }
  install_mkfs "$kind" || return 1
  mkdir -p "$dir" "$dir.fuse"
  rm -f "$dir.commands" "$dir.answers"
  mkfifo "$dir.commands"
  # The space is allocated as it is written to.
  [ "$kind" != xfs ] || [ "$mib" -ge 320 ] || mib=320
  "$stress/disk" "$dir.fuse" "$mib" <"$dir.commands" >"$dir.answers" 2>&1 &
  children+=("$!")
  exec {commands}>"$dir.commands"
  until_true grep -q . "$dir.answers"
  grep -q '^ready' "$dir.answers" || { why="no FUSE here: $(cat "$dir.answers")"; return 1; }
  mounts+=("$dir.fuse")
  answers=$dir.answers asked=1
  "mkfs.$kind" -q "$dir.fuse/disk" >/dev/null 2>&1 || { why="mkfs.$kind failed"; return 1; }
  mount_faulty_disk "$dir" || { why="no loop device, or no $kind in this kernel"; return 1; }
}

# mount_faulty_disk DIR: attaches its device anew, since that forgets what was cached of it.
mount_faulty_disk() {
  local try
  for try in 1 2 3 4 5; do
    loop=$(losetup -f --show "$1.fuse/disk" 2>/dev/null) && break
    [ "$try" -lt 5 ] || return 1
    sleep 0.2
  done
  loops+=("$loop")
  # So that a write fails as a whole or not at all.
  echo 512 >"/sys/block/$(basename "$loop")/queue/max_sectors_kb"
  mount "$loop" "$1" 2>/dev/null || return 1
  mounts+=("$1")
}

# unmount_faulty_disk DIR: its file system may have errors to report by then, its device none.
unmount_faulty_disk() {
  umount "$1"
  losetup -d "$loop"
  unset 'loops[-1]' 'mounts[-1]'
}

has_answered() { [ "$(wc -l <"$answers")" -ge "$asked" ]; }

# tell_disk COMMAND...: and waits until it is so. Sets `answer`.
tell_disk() {
  echo "$*" >&"$commands"
  asked=$((asked + 1))
  until_true has_answered
  answer=$(tail -1 "$answers")
}

# drop_faulty_disk DIR: all of it.
drop_faulty_disk() {
  unmount_faulty_disk "$1"
  umount "$1.fuse"
  exec {commands}>&-
  wait "${children[-1]}" 2>/dev/null || true
  unset 'mounts[-1]' 'children[-1]'
}

# drop_disk DIR: unmounts, detaches and removes a disk.
drop_disk() {
  local device
  device=$(findmnt -n -o SOURCE "$1")
  umount "$1"
  losetup -d "$device"
  rm -f "$1.image"
}

# until_true COMMAND...: waits for it, with a bound. `log` is shown if that is in vain.
until_true() {
  local end=$((SECONDS + 60))
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "waited in vain for: $*; $(tail -n 5 "${log:-/dev/null}" | cut -c1-300)"
    sleep 0.01
  done
}
