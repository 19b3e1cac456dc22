#!/bin/sh
# Makes new secrets for compose.yaml, once, in a file that its owner alone can read: docker/secrets.sh [FILE]
# FILE is docker/.env unless you say otherwise. It is written here, and not to the output: what a shell redirects to a
# file is everyone's to read before this script begins.
set -eu
umask 077
file=${1:-$(dirname "$0")/.env}
if [ -e "$file" ] || [ -L "$file" ]; then
    echo "$file is there already. New secrets would not open what the old ones closed; remove it to begin anew." >&2
    exit 1
fi
new=$(mktemp "$file.XXXXXX")
for name in POSTGRES_PASSWORD MLFLOW_PASSWORD MLFLOW_SECRET_KEY RAY_AUTH_TOKEN; do
    printf '%s=%s\n' "$name" "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
done > "$new"
mv "$new" "$file"
