#!/bin/sh
# After an installation (deb: configure; rpm: 1) and after an upgrade (deb: configure OLD-VERSION; rpm: 2).
set -e

if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers standpipe.conf
elif ! getent passwd standpipe >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/standpipe --no-create-home --shell /usr/sbin/nologin standpipe
fi

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  # A running agent drains and starts again with its log. A new one is not started: its configuration comes first.
  systemctl try-restart standpipe.service
fi
