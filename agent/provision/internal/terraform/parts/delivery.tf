data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18: access logs need a bucket of their own
  #checkov:skip=CKV_AWS_21: objects are written once and never changed
  #checkov:skip=CKV_AWS_144: whether to copy objects to another region is a decision about cost
  #checkov:skip=CKV_AWS_145: the keys of S3 cost nothing
  #checkov:skip=CKV2_AWS_62: nothing is to be notified
  for_each = var.buckets

  region = each.value.region
  bucket = replace(each.value.name, "ACCOUNT", local.account)
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = var.buckets

  region                  = each.value.region
  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = var.buckets

  region = each.value.region
  bucket = aws_s3_bucket.this[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = var.buckets

  region = each.value.region
  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"

    filter {
      prefix = ""
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = ABORT_AFTER_DAYS
    }
  }
}

resource "aws_iam_role" "delivery" {
  for_each = var.firehose_streams

  name        = each.value.role
  description = "For the Firehose stream ${each.value.name}"

  assume_role_policy = jsonencode({
    Version = "POLICY_VERSION"
    Statement = TRUST_STATEMENTS
  })
}

resource "aws_iam_role_policy" "delivery" {
  for_each = var.firehose_streams

  name = "delivery"
  role = aws_iam_role.delivery[each.key].id

  policy = jsonencode({
    Version = "POLICY_VERSION"
    Statement = concat(
      WRITE_STATEMENTS,
      # a Firehose stream without a source takes records from producers
      [for source in compact([each.value.source]) : READ_STATEMENT],
    )
  })
}

resource "aws_kinesis_firehose_delivery_stream" "this" {
  #checkov:skip=CKV_AWS_241: the key of AWS costs nothing and needs no right
  #checkov:skip=CKV_AWS_240: with a source, the encryption is that of the Kinesis stream
  for_each = var.firehose_streams

  region      = each.value.region
  name        = each.value.name
  destination = "extended_s3"

  dynamic "kinesis_source_configuration" {
    for_each = compact([each.value.source])
    content {
      kinesis_stream_arn = aws_kinesis_stream.this[kinesis_source_configuration.value].arn
      role_arn           = aws_iam_role.delivery[each.key].arn
    }
  }

  dynamic "server_side_encryption" {
    for_each = each.value.source == null ? [true] : []
    content {
      enabled  = true
      key_type = "AWS_OWNED_CMK"
    }
  }

  extended_s3_configuration {
    bucket_arn          = aws_s3_bucket.this[each.value.bucket].arn
    role_arn            = aws_iam_role.delivery[each.key].arn
    prefix              = "${each.value.name}/"
    error_output_prefix = "errors/${each.value.name}/!{firehose:error-output-type}/"
    buffering_size      = BUFFER_MIB
    buffering_interval  = BUFFER_SECONDS

    dynamic "processing_configuration" {
      for_each = each.value.newline ? [true] : []
      content {
        enabled = true
        processors {
          type = "AppendDelimiterToRecord"
        }
      }
    }
  }

  # the role is of no use without its policy
  depends_on = [aws_iam_role_policy.delivery]
}
