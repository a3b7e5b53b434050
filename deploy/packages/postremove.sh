#!/bin/sh
# After a removal (deb: remove; rpm: 0), an upgrade, or a purge (deb alone). Only a purge deletes the log: events that were
# accepted and not delivered are in it.
set -e

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
if [ "$1" = purge ]; then
  # With DynamicUser=yes, /var/lib/standpipe is a link to /var/lib/private/standpipe.
  rm -rf /var/lib/standpipe /var/lib/private/standpipe /etc/standpipe
fi
