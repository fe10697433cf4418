# Sourced by scripts that need programs of Debian packages. Nothing is installed: packages are unpacked into a folder
# of their own, `$packages`, which the script sets and removes.

# unpack COMMAND PACKAGE: whether the command is there, after an attempt to unpack the package and what it needs.
unpack() {
  command -v "$1" >/dev/null && return
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  local debs=$packages/debs/$2 deb
  mkdir -p "$debs/partial" "$packages/root"
  download "$debs" "$2" || { [ "$(id -u)" -eq 0 ] && apt-get update -q >/dev/null 2>&1 && download "$debs" "$2"; } || return 1
  for deb in "$debs"/*.deb; do dpkg -x "$deb" "$packages/root" || return 1; done
  local root=$packages/root libraries
  libraries=$(find "$root" -name '*.so*' -printf '%h:' | tr ':' '\n' | sort -u | tr '\n' ':')
  export PATH=$root/usr/bin:$root/usr/sbin:$root/bin:$root/sbin:$PATH LD_LIBRARY_PATH=$libraries
  hash -r
  command -v "$1" >/dev/null
}

# download DIR PACKAGE: with all that it needs and the system lacks.
download() {
  apt-get install -q -y --download-only --no-install-recommends -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
    -o Dir::Cache::archives="$1" "$2" >/dev/null 2>&1 </dev/null
  ls "$1"/*.deb >/dev/null 2>&1
}
