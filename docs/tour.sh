#!/bin/sh
# Install requests_h2 with its demo extra into .venv, then run the tour.
set -eu

cd "$(dirname "$0")/.."
. .ci/setup-lib.sh

need_python
install_packages
make_venv .venv '.[demo]'
exec .venv/bin/python -m requests_h2.demo "$@"
