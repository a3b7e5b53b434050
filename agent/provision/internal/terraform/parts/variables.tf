variable "region" {
  description = "The region of the provider. Each resource has its own region."
  type        = string
  default     = REGION
}

variable "kinesis_streams" {
  description = "The Kinesis streams. Without shards, a stream is on demand."
  type = map(object({
    name   = string
    region = string
    shards = optional(number)
  }))
  default = KINESIS_STREAMS
}

variable "buckets" {
  description = "The buckets of the Firehose streams. ACCOUNT in a name is replaced by the number of the account."
  type = map(object({
    name   = string
    region = string
  }))
  default = BUCKETS
}

variable "firehose_streams" {
  description = "The Firehose streams. source is a key of kinesis_streams; without one, producers put records. newline adds one after each event."
  type = map(object({
    name    = string
    region  = string
    role    = string
    bucket  = string
    source  = optional(string)
    newline = optional(bool, false)
  }))
  default = FIREHOSE_STREAMS
}

variable "alarms" {
  description = "The alarms, on a metric of a stream. With quota, the threshold is percent of that metric in bytes a second. topic is the ARN of an SNS topic."
  type = map(object({
    name        = string
    region      = string
    description = string
    namespace   = string
    dimension   = string
    stream      = string
    metric      = string
    statistic   = string
    quota       = optional(string)
    below       = optional(bool, false)
    threshold   = number
    topic       = optional(string)
  }))
  default = ALARMS
}
