#!/bin/sh
# Prints new secrets for compose.yaml, as an environment file: docker/secrets.sh > docker/.env
set -eu
umask 077
for name in POSTGRES_PASSWORD MLFLOW_PASSWORD MLFLOW_SECRET_KEY RAY_AUTH_TOKEN; do
    printf '%s=%s\n' "$name" "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
done
