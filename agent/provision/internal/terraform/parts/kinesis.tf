resource "aws_kinesis_stream" "this" {
  #checkov:skip=CKV_AWS_185: the key of AWS costs nothing and needs no right; set kms_key_id for one of yours
  for_each = var.kinesis_streams

  region          = each.value.region
  name            = each.value.name
  shard_count     = each.value.shards
  encryption_type = "KMS"
  kms_key_id      = "alias/aws/kinesis"

  stream_mode_details {
    stream_mode = each.value.shards == null ? "ON_DEMAND" : "PROVISIONED"
  }
}
