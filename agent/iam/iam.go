package iam

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/agent/config"
)

// Version is that of the language of policies.
const Version = "2012-10-17"

// Document is an IAM policy.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement allows actions on resources.
type Statement struct {
	Sid       string
	Effect    string
	Principal map[string]string `json:",omitempty"` // of a trust policy
	Action    []string
	Resource  []string                     `json:",omitempty"` // none in a trust policy
	Condition map[string]map[string]string `json:",omitempty"`
}

// Options select the part of a policy.
type Options struct {
	Account string // of the resources without one; "": any
	Role    string // only the destinations that assume this role; "": all
}

// Policy returns the policy of the configuration's destinations.
func Policy(conf *config.Config, o Options) Document {
	doc := Document{Version: Version}
	for _, s := range conf.Streams {
		for _, d := range s.Destinations {
			if o.Role != "" && d.AWS.RoleARN != o.Role {
				continue
			}
			for _, statement := range statements(d.For(s.Name), o.Account) {
				doc.add(statement)
			}
			if o.Role == "" && d.AWS.RoleARN != "" && usesAWS(d) {
				doc.add(Statement{Sid: "AssumeRoles", Action: []string{"sts:AssumeRole"}, Resource: []string{d.AWS.RoleARN}})
			}
		}
	}
	for i := range doc.Statement {
		doc.Statement[i].Effect = "Allow"
		slices.Sort(doc.Statement[i].Resource)
	}
	return doc
}

// Roles returns the roles that destinations assume.
func Roles(conf *config.Config) (roles []string) {
	for _, s := range conf.Streams {
		for _, d := range s.Destinations {
			if r := d.AWS.RoleARN; r != "" && usesAWS(d) && !slices.Contains(roles, r) {
				roles = append(roles, r)
			}
		}
	}
	return roles
}

func usesAWS(d config.Destination) bool { return len(statements(d, "")) > 0 }

// add merges a statement into one with the same actions.
func (doc *Document) add(s Statement) {
	for i := range doc.Statement {
		have := &doc.Statement[i]
		if have.Sid != s.Sid || !slices.Equal(have.Action, s.Action) || s.Condition != nil || have.Condition != nil {
			continue
		}
		for _, r := range s.Resource {
			if !slices.Contains(have.Resource, r) {
				have.Resource = append(have.Resource, r)
			}
		}
		return
	}
	for i := 2; slices.ContainsFunc(doc.Statement, func(have Statement) bool { return have.Sid == s.Sid }); i++ {
		s.Sid = strings.TrimRight(s.Sid, "0123456789") + string(rune('0'+min(i, 9)))
		if i >= 9 {
			s.Sid += strings.Repeat("x", i-8) // a Sid is unique, and has letters and digits only
		}
	}
	doc.Statement = append(doc.Statement, s)
}

// statements returns the statements of a destination.
func statements(d config.Destination, account string) []Statement {
	a := arns{region: cmp.Or(d.AWS.Region, "*"), account: cmp.Or(account, "*")}
	switch d.Type {
	case "kinesis":
		put := "kinesis:PutRecords"
		if d.Order == "strict" {
			put = "kinesis:PutRecord"
		}
		return []Statement{{Sid: "Kinesis", Action: []string{"kinesis:DescribeStreamSummary", "kinesis:ListShards", put}, Resource: []string{a.kinesis(d.Stream)}}}
	case "firehose":
		return []Statement{{Sid: "Firehose", Action: []string{"firehose:PutRecordBatch"}, Resource: []string{a.of("firehose", "deliverystream/"+d.DeliveryStream)}}}
	case "sqs":
		return []Statement{{Sid: "SQS", Action: []string{"sqs:GetQueueAttributes", "sqs:SendMessage"}, Resource: []string{a.queue(d.SQS.QueueURL)}}}
	case "s3":
		return a.bucket(d)
	case "kafka":
		if d.Kafka.SASL.Mechanism == "AWS_MSK_IAM" {
			return a.kafka(d)
		}
	}
	return nil
}

// arns makes ARNs of names.
type arns struct{ region, account string }

func (a arns) partition() string { return Partition(a.region) }

// Partition returns the partition of the ARNs of a region.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// of returns the ARN of a resource. ${stream} of a pattern has become the pattern, which means the same in IAM.
func (a arns) of(service, resource string) string {
	return "arn:" + a.partition() + ":" + service + ":" + a.region + ":" + a.account + ":" + resource
}

func (a arns) kinesis(stream string) string {
	if strings.HasPrefix(stream, "arn:") {
		return stream
	}
	return a.of("kinesis", "stream/"+stream)
}

var queueURL = regexp.MustCompile(`^https?://(?:sqs(?:-fips)?\.([a-z0-9-]+)\.)?[^/]*/([^/]+)/([^/]+)$`)

func (a arns) queue(url string) string {
	parts := queueURL.FindStringSubmatch(url)
	if parts == nil {
		return a.of("sqs", "*")
	}
	a.region = cmp.Or(parts[1], a.region)
	if len(parts[2]) == 12 && strings.Trim(parts[2], "0123456789") == "" {
		a.account = parts[2]
	}
	return a.of("sqs", parts[3])
}

// conversion matches a conversion of strftime in a prefix.
var conversion = regexp.MustCompile(`%[A-Za-z]`)

func (a arns) bucket(d config.Destination) []Statement {
	bucket := "arn:" + a.partition() + ":s3:::" + d.S3.Bucket
	prefix := strings.ReplaceAll(conversion.ReplaceAllString(d.S3.Prefix, "*"), "%%", "%")
	for strings.Contains(prefix, "**") {
		prefix = strings.ReplaceAll(prefix, "**", "*")
	}
	objects := []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"}
	if d.S3.Tags != "" {
		objects = append(objects, "s3:PutObjectTagging")
	}
	list := []Statement{
		{Sid: "S3Objects", Action: objects, Resource: []string{bucket + "/" + strings.TrimSuffix(prefix, "*") + "*"}},
		// without ListBucket a missing object is AccessDenied, not NotFound
		{Sid: "S3Buckets", Action: []string{"s3:ListBucket", "s3:ListBucketMultipartUploads"}, Resource: []string{bucket}},
	}
	if key := d.S3.KMSKeyID; key != "" {
		list = append(list, a.key(key))
	}
	return list
}

// key returns the statement for a key's ID, alias or ARN. An alias is a condition: as a resource it would mean the right to
// change the alias.
func (a arns) key(id string) Statement {
	s := Statement{Sid: "KMS", Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}}
	_, alias, isAlias := strings.Cut(id, "alias/")
	switch {
	case isAlias:
		s.Resource = []string{a.of("kms", "key/*")}
		s.Condition = map[string]map[string]string{"StringEquals": {"kms:RequestAlias": "alias/" + alias}}
	case strings.HasPrefix(id, "arn:"):
		s.Resource = []string{id}
	default:
		s.Resource = []string{a.of("kms", "key/"+id)}
	}
	return s
}

// kafka returns the statements for Amazon MSK. The file does not name the cluster's ARN.
func (a arns) kafka(d config.Destination) []Statement {
	exact := d.Kafka.Delivery == "exactly_once"
	topics := []string{"kafka-cluster:DescribeTopic", "kafka-cluster:DescribeTopicDynamicConfiguration"}
	if exact {
		topics = append(topics, "kafka-cluster:ReadData") // brokers require it for an offset in a transaction
	}
	list := []Statement{
		{Sid: "MSKClusters", Action: []string{"kafka-cluster:Connect", "kafka-cluster:WriteDataIdempotently"}, Resource: []string{a.of("kafka", "cluster/*")}},
		{Sid: "MSKTopics", Action: append(topics, "kafka-cluster:WriteData"), Resource: []string{a.of("kafka", "topic/*/"+d.Kafka.Topic)}},
	}
	if exact {
		list = append(list,
			Statement{Sid: "MSKTransactions", Action: []string{"kafka-cluster:AlterTransactionalId", "kafka-cluster:DescribeTransactionalId"},
				Resource: []string{a.of("kafka", "transactional-id/*/standpipe/*")}},
			Statement{Sid: "MSKGroups", Action: []string{"kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"},
				Resource: []string{a.of("kafka", "group/*/standpipe/*")}})
	}
	return list
}
