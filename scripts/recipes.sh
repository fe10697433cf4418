# Sourced by the scripts that run the recipes of docs/guide/servers.md, as they stand there but for their paths.

# recipe HEADING NUMBER [EDIT [-e EDIT]...]: that block of code below the heading, edited by sed.
recipe() {
  local heading=$1 number=$2
  shift 2
  awk -v heading="## $heading" -v number="$number" '
    /^## / { inside = $0 == heading }
    inside && /^```/ { fence++; next }
    inside && fence == 2 * number - 1' docs/guide/servers.md | sed -e '' ${1:+-e} "$@" | grep . ||
    fail "no recipe $number of $heading in the guide"
}
