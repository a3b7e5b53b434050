output "kinesis_streams" {
  description = "The ARNs of the Kinesis streams."
  value       = { for key, stream in aws_kinesis_stream.this : key => stream.arn }
}

output "firehose_streams" {
  description = "The ARNs of the Firehose streams."
  value       = { for key, stream in aws_kinesis_firehose_delivery_stream.this : key => stream.arn }
}

output "buckets" {
  description = "The names of the buckets."
  value       = { for key, bucket in aws_s3_bucket.this : key => bucket.bucket }
}

output "agent_policy" {
  description = "The IAM policy that the agent needs, as standpipe iam prints it."
  value       = <<-JSON
    AGENT_POLICY
  JSON
}
