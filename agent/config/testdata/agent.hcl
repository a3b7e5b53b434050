# A gateway that ships to Kinesis, to Firehose and to its own disk. Every release takes this file.

node_name = "gateway-17"
data_dir  = "/var/lib/standpipe"
log_level = "info"
# log_format       = "text"
# shutdown_timeout = "25s"

listener "grpc" {
  address = "127.0.0.1:7710"
}
listener "grpc" {
  address = "unix:///run/standpipe/grpc.sock"
  mode    = "0660"
}
listener "socket" {
  address = "unix:///run/standpipe/events.sock"
  mode    = "0660"
}

admin {
  address = "127.0.0.1:7712"
}

wal {
  max_size      = "8GiB"
  segment_size  = "64MiB"
  commit_linger = "0s"
  on_full       = "reject"
}

aws {
  region = "eu-west-1"
  # endpoint = "http://127.0.0.1:4567"
  # profile  = ""
  # role_arn = ""
}

stream "clicks" {
  format         = "json"
  max_event_size = "1000KiB"
  # ack = "durable"

  destination "kinesis" "live" {
    stream    = "clicks"
    aggregate = "kpl"
  }
  destination "firehose" "archive" {
    delivery_stream = "clicks-archive"

    batch {
      max_delay   = "1s"
      record_size = "500KiB"
    }
    retry {
      initial = "100ms"
      max     = "30s"
      timeout = "30s"
    }
  }
}

stream "meter-*" {
  destination "file" "local" {
    path = "/var/lib/standpipe/out/${stream}"
  }
}
