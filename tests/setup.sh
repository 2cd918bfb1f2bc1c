#!/bin/bash
# What the tests need of the machine: engines, decoders, a browser, Docker with a way to make a base image, SSH.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/packages.sh espeak-ng flite ffmpeg sox chromium docker.io debootstrap openssh-client openssh-server \
    iptables strace procps docker-registry
command -v npm >/dev/null || tests/packages.sh npm
