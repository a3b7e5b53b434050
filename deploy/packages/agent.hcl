# The configuration of the service standpipe. /usr/share/doc/standpipe/agent.hcl.example has every setting.
# Check it with `standpipe validate /etc/standpipe/agent.hcl`, apply it with `systemctl reload standpipe`.

data_dir = "/var/lib/standpipe"

listener "grpc" {
  address = "127.0.0.1:7710"
}

listener "socket" {
  address = "unix:///run/standpipe/events.sock"
}

# Replace the file destination by yours. Files are written to /var/lib/standpipe/out.

stream "*" {
  destination "file" "local" {
    path = "/var/lib/standpipe/out/${stream}"
  }
}
