#!/bin/sh
# Install what the tests need, system packages included, then run them: tests/run.sh [pytest args]
set -eu

cd "$(dirname "$0")/.."
. .ci/setup-lib.sh

need_python
need_package nghttpd nghttp2-server
need_package nginx nginx
need_package h2o h2o
need_package apache2 apache2
need_package caddy caddy
need_package node nodejs
need_package curl curl
need_package chromium chromium
need_package tinyproxy tinyproxy-bin
need_package nghttpx nghttp2-proxy
need_package microsocks microsocks
need_package danted dante-server
need_package tshark tshark
install_packages
make_venv .venv-test '.[test,compat]'
exec .venv-test/bin/python -m pytest "$@"
