#!/bin/sh
# Before a removal (deb: remove; rpm: 0), and before an upgrade, which changes nothing here.
set -e

case $1 in
  remove | 0)
    if [ -d /run/systemd/system ]; then
      systemctl disable --now standpipe.service
    fi
    ;;
esac
