#!/usr/bin/env bash
# The changelog's part of a version, for the tag that is given (v1.2.3); fails where the tag isn't the source's version or the
# changelog has no such part.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1#v}
own=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' edge_effnet/version.py)
[ "$version" = "$own" ] || { echo "the tag says $version, edge_effnet/version.py $own" >&2; exit 1; }
awk -v heading="## [$version]" 'index($0, "## ") == 1 { inside = index($0, heading) == 1; next } inside' CHANGELOG.md |
  grep . || { echo "CHANGELOG.md has no part for $version" >&2; exit 1; }
