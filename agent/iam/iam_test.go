package iam_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/iam"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPolicy_NamesTheResourcesOfTheFile(t *testing.T) {
	c := parse(t, `
aws { region = "eu-west-1" }
stream "clicks" {
  destination "kinesis" "live" { stream = "clicks" }
  destination "kinesis" "arn" { stream = "arn:aws:kinesis:us-east-1:111122223333:stream/all" }
  destination "kinesis" "strict" {
    stream = "${stream}-strict"
    order  = "strict"
  }
  destination "firehose" "archive" {
    delivery_stream = "clicks-archive"
    role_arn        = "arn:aws:iam::444455556666:role/archive"
  }
  destination "s3" "lake" {
    bucket         = "events"
    prefix         = "raw/${stream}/dt=%Y-%m-%d/"
    tags           = { team = "web" }
    sse_kms_key_id = "alias/events"
  }
  destination "sqs" "jobs" { queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs.fifo" }
  destination "file" "local" { path = "/srv/out" }
}
stream "meter-*" {
  destination "kinesis" "each" { stream = "${stream}" }
  destination "kafka" "bus" {
    brokers  = ["b-1.example:9098"]
    topic    = "meters"
    delivery = "exactly_once"
    tls {}
    sasl { mechanism = "AWS_MSK_IAM" }
  }
}`)
	got := ""
	for _, s := range iam.Policy(c, iam.Options{}).Statement {
		got += s.Sid + ": " + strings.Join(s.Action, " ") + " on " + strings.Join(s.Resource, " ")
		for _, of := range s.Condition {
			for key, value := range of {
				got += " if " + key + "=" + value
			}
		}
		got += "\n"
	}
	const want = `Kinesis: kinesis:DescribeStreamSummary kinesis:ListShards kinesis:PutRecords on arn:aws:kinesis:eu-west-1:*:stream/clicks arn:aws:kinesis:eu-west-1:*:stream/meter-* arn:aws:kinesis:us-east-1:111122223333:stream/all
Kinesis2: kinesis:DescribeStreamSummary kinesis:ListShards kinesis:PutRecord on arn:aws:kinesis:eu-west-1:*:stream/clicks-strict
Firehose: firehose:PutRecordBatch on arn:aws:firehose:eu-west-1:*:deliverystream/clicks-archive
AssumeRoles: sts:AssumeRole on arn:aws:iam::444455556666:role/archive
S3Objects: s3:AbortMultipartUpload s3:GetObject s3:PutObject s3:PutObjectTagging on arn:aws:s3:::events/raw/clicks/dt=*-*-*/*
S3Buckets: s3:ListBucket s3:ListBucketMultipartUploads on arn:aws:s3:::events
KMS: kms:Decrypt kms:GenerateDataKey on arn:aws:kms:eu-west-1:*:key/* if kms:RequestAlias=alias/events
SQS: sqs:GetQueueAttributes sqs:SendMessage on arn:aws:sqs:eu-central-1:123456789012:jobs.fifo
MSKClusters: kafka-cluster:Connect kafka-cluster:WriteDataIdempotently on arn:aws:kafka:eu-west-1:*:cluster/*
MSKTopics: kafka-cluster:DescribeTopic kafka-cluster:DescribeTopicDynamicConfiguration kafka-cluster:ReadData kafka-cluster:WriteData on arn:aws:kafka:eu-west-1:*:topic/*/meters
MSKTransactions: kafka-cluster:AlterTransactionalId kafka-cluster:DescribeTransactionalId on arn:aws:kafka:eu-west-1:*:transactional-id/*/standpipe/*
MSKGroups: kafka-cluster:AlterGroup kafka-cluster:DescribeGroup on arn:aws:kafka:eu-west-1:*:group/*/standpipe/*
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	role := iam.Policy(c, iam.Options{Account: "777788889999", Role: "arn:aws:iam::444455556666:role/archive"})
	text, err := json.Marshal(role)
	const wantRole = `{"Version":"2012-10-17","Statement":[{"Sid":"Firehose","Effect":"Allow","Action":["firehose:PutRecordBatch"],"Resource":["arn:aws:firehose:eu-west-1:777788889999:deliverystream/clicks-archive"]}]}`
	if err != nil || string(text) != wantRole {
		t.Errorf("got %s, %v\nwant %s", text, err, wantRole)
	}
}

func TestPolicy_OfOtherPartitions(t *testing.T) {
	c := parse(t, "stream \"a\" {\n  destination \"kinesis\" \"k\" {\n    stream = \"a\"\n    region = \"cn-north-1\"\n  }\n  destination \"s3\" \"s\" {\n    bucket = \"events\"\n    region = \"us-gov-west-1\"\n  }\n}")
	p := iam.Policy(c, iam.Options{})
	if p.Statement[0].Resource[0] != "arn:aws-cn:kinesis:cn-north-1:*:stream/a" || p.Statement[2].Resource[0] != "arn:aws-us-gov:s3:::events" {
		t.Errorf("got %+v", p)
	}
}

// Every right of Amazon MSK comes with those that its documentation requires beside it (developer guide, "Semantics of IAM
// authorization policy actions and resources"), and only exactly_once has rights to read.
func TestPolicy_OfMSKIsComplete(t *testing.T) {
	required := map[string][]string{
		"WriteDataIdempotently": {"Connect", "WriteData"}, "DescribeTopic": {"Connect"},
		"DescribeTopicDynamicConfiguration": {"Connect"}, "WriteData": {"Connect", "DescribeTopic"},
		"ReadData": {"Connect", "DescribeTopic", "AlterGroup"}, "AlterGroup": {"Connect", "DescribeGroup"}, "DescribeGroup": {"Connect"},
		"AlterTransactionalId": {"Connect", "DescribeTransactionalId", "WriteData"}, "DescribeTransactionalId": {"Connect"}, "Connect": nil,
	}
	for delivery, read := range map[string]bool{"at_least_once": false, "exactly_once": true} {
		c := parse(t, `stream "meters" {
  destination "kafka" "bus" {
    brokers  = ["b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com:9098"]
    topic    = "meters"
    delivery = "`+delivery+`"
    tls {}
    sasl { mechanism = "AWS_MSK_IAM" }
  }
}`)
		has := make(map[string]bool)
		for _, s := range iam.Policy(c, iam.Options{}).Statement {
			for _, action := range s.Action {
				has[strings.TrimPrefix(action, "kafka-cluster:")] = true
			}
		}
		for action := range has {
			needs, known := required[action]
			if !known {
				t.Errorf("%s: unknown right %s", delivery, action)
			}
			for _, need := range needs {
				if !has[need] {
					t.Errorf("%s: %s requires %s", delivery, action, need)
				}
			}
		}
		if has["ReadData"] != read || has["AlterGroup"] != read || !has["WriteDataIdempotently"] {
			t.Errorf("%s: got %v", delivery, has)
		}
	}
}
