package provision_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/schemas"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/transport/http/protocol/awsquery"

	"github.com/standpipe/standpipe/agent/provision"
	"github.com/standpipe/standpipe/test/draw"

	agent "github.com/standpipe/standpipe/agent/config"
)

// whole has one resource of every kind.
const whole = `
aws { region = "eu-west-1" }
stream "clicks" {
  destination "kinesis" "live" {
    stream = "clicks"
    provision { archive = true }
  }
}`

func parse(t *testing.T, text string) *agent.Config {
	t.Helper()
	c, err := agent.Parse([]byte(text), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, text string, streams ...string) (*provision.Plan, error) {
	t.Helper()
	return provision.Read(t.Context(), parse(t, text), provision.Options{Streams: streams, Poll: time.Millisecond})
}

// apply reads a plan and applies it.
func apply(t *testing.T, text string, streams ...string) (*provision.Plan, error) {
	t.Helper()
	plan, err := read(t, text, streams...)
	if err != nil {
		return nil, err
	}
	return plan, plan.Apply(t.Context(), func(provision.Item, bool) {})
}

// expectKept requires all resources to be there, as they are wanted.
func expectKept(t *testing.T, text string, resources int, streams ...string) {
	t.Helper()
	plan, err := read(t, text, streams...)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range plan.Items {
		if item.Action != provision.Keep || len(item.Differences) > 0 {
			t.Errorf("%s %s: got %s, %v", item.Kind, item.Name, item.Action, item.Differences)
		}
	}
	if len(plan.Items) != resources || plan.Pending() != 0 {
		t.Errorf("got %d resources, %d pending, want %d and none", len(plan.Items), plan.Pending(), resources)
	}
}

// A second run changes nothing, and the policy of the caller has the right of every call.
func TestApply_TwiceMakesNothingMore(t *testing.T) {
	a := startAccount(t)
	const text = whole + `
stream "meter-*" {
  destination "kinesis" "live" {
    stream = "${stream}"
    provision {
      mode        = "provisioned"
      shards      = 2
      alarm_topic = "arn:aws:sns:eu-west-1:123456789012:on-call"
    }
  }
  destination "firehose" "lake" {
    delivery_stream = "${stream}-lake"
    provision { bucket = "meters" }
  }
}`
	meters := []string{"meter-1"}
	if _, err := apply(t, text, meters...); err != nil {
		t.Fatal(err)
	}
	policy, err := provision.Policy(parse(t, text), "")
	if err != nil {
		t.Fatal(err)
	}
	var rights []string
	for _, s := range policy.Statement {
		rights = append(rights, s.Action...)
	}
	used := a.recorded()
	const meterItems, clickItems = 1 + 1 + 1 + 2 + 4 + 1, 1 + 1 + 1 + 1 + 2 + 2
	a.forget(0)
	expectKept(t, text, meterItems+clickItems, meters...)
	if _, err := apply(t, text, meters...); err != nil || len(a.changes()) > 0 {
		t.Errorf("got the changes %v, %v, want none", a.changes(), err)
	}
	for _, call := range append(used, a.recorded()...) {
		call = strings.Replace(call, "monitoring:", "cloudwatch:", 1)
		if !slices.Contains(rights, call) && call != "sts:GetCallerIdentity" { // which needs no right
			t.Errorf("%s is not in the policy", call)
		}
	}
}

// Every change fails once, although AWS has carried it out, and so do some of the other calls. The next run goes on, and the end is the
// same as without a failure.
func TestApply_GoesOnAfterAFailureOfEveryChange(t *testing.T) {
	a := startAccount(t)
	const resources = 1 + 1 + 1 + 1 + 2 + 2
	a.reset(0)
	if _, err := apply(t, whole); err != nil {
		t.Fatal(err)
	}
	calls := a.recorded()
	first := slices.Index(calls, a.changes()[0]) // all calls before it are reads
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	failing := []int{1 + r.IntN(first)}
	for i := first; i < len(calls); i++ { // all calls that change something, and a third of the others
		if slices.Contains(a.changes(), calls[i]) || r.IntN(3) == 0 {
			failing = append(failing, i+1)
		}
	}
	for _, k := range failing {
		a.reset(k)
		_, err := apply(t, whole)
		failed := a.failed
		a.forget(0)
		_, operation, _ := strings.Cut(failed, ":")
		if k > first && (err == nil || !strings.Contains(err.Error(), operation)) { // a quota that cannot be read is a note
			t.Errorf("call %d, %s: got %v", k, failed, err)
		}
		if plan, err := apply(t, whole); err != nil {
			t.Errorf("the run after a failure of call %d, %s: %v", k, failed, err)
		} else if len(plan.Items) != resources {
			t.Errorf("got %d resources after a failure of call %d, want %d", len(plan.Items), k, resources)
		}
		expectKept(t, whole, resources)
	}
}

// A stream that exists in another form is shown, and nothing of it changes.
func TestApply_LeavesExistingResourcesAsTheyAre(t *testing.T) {
	a := startAccount(t)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-west-1"))
	if err != nil {
		t.Fatal(err)
	}
	client := kinesis.NewFromConfig(cfg)
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("clicks"), ShardCount: aws.Int32(3)}); err != nil {
		t.Fatal(err)
	}
	a.forget(0)
	plan, err := apply(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(plan.Items[0])
	const want = `{"action":"keep","kind":"Kinesis stream","name":"clicks","region":"eu-west-1","settings":"on demand, encrypted",` +
		`"differences":[{"setting":"capacity","have":"3 shards","want":"on demand"},{"setting":"encryption","have":"none","want":"alias/aws/kinesis"}]}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	for _, call := range a.changes() {
		if strings.HasPrefix(call, "kinesis:") {
			t.Errorf("%s changed the stream", call)
		}
	}
	out, err := client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("clicks")})
	if err != nil || *out.StreamDescriptionSummary.OpenShardCount != 3 {
		t.Errorf("got %v, %v, want 3 shards", out, err)
	}
}

// Resources of the same names are created in another form between the plan and its application. All of them stay as they are,
// and the plan shows how they differ.
func TestApply_KeepsResourcesCreatedSinceThePlan(t *testing.T) {
	a := startAccount(t)
	text := strings.Replace(whole, "eu-west-1", "us-east-1", 1) // where CreateBucket does not reject an own bucket that exists
	plan, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
	if err != nil {
		t.Fatal(err)
	}
	name := func(kind string) *string {
		i := slices.IndexFunc(plan.Items, func(i provision.Item) bool { return i.Kind == kind })
		return &plan.Items[i].Name
	}
	ctx := t.Context()
	var faults []error
	_, err = kinesis.NewFromConfig(cfg).CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name("Kinesis stream"), ShardCount: aws.Int32(3)})
	faults = append(faults, err)
	buckets := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	_, err = buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name("S3 bucket")})
	faults = append(faults, err)
	trust := `{"Version":"2012-10-17","Statement":[]}`
	_, err = iam.NewFromConfig(cfg).CreateRole(ctx, &iam.CreateRoleInput{RoleName: name("IAM role"), AssumeRolePolicyDocument: &trust})
	faults = append(faults, err)
	_, err = firehose.NewFromConfig(cfg).CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName:                 name("Firehose stream"),
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{BucketARN: aws.String("arn:aws:s3:::other"), RoleARN: aws.String("arn:aws:iam::123456789012:role/other")},
	})
	faults = append(faults, err)
	watch := cloudwatch.NewFromConfig(cfg, func(o *cloudwatch.Options) { o.Protocol = awsquery.New(schemas.GraniteServiceVersion20100801) })
	_, err = watch.PutMetricAlarm(ctx, &cloudwatch.PutMetricAlarmInput{
		AlarmName: name("CloudWatch alarm"), Namespace: aws.String("Theirs"), MetricName: aws.String("theirs"), Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1),
		Threshold: aws.Float64(7), ComparisonOperator: "GreaterThanThreshold", Statistic: "Sum",
	})
	if err := errors.Join(append(faults, err)...); err != nil {
		t.Fatal(err)
	}

	a.forget(0)
	kept := make(map[string]int)
	err = plan.Apply(ctx, func(item provision.Item, done bool) {
		if item.Action == provision.Keep {
			kept[item.Name]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	differing := map[string]int{"Kinesis stream": 2, "S3 bucket": 2, "IAM role": 2, "Firehose stream": 4, "CloudWatch alarm": 4}
	seen := make(map[string]bool)
	for _, item := range plan.Items {
		if seen[item.Kind] { // the other alarms
			if item.Action != provision.Created {
				t.Errorf("%s %s: got %s, want %s", item.Kind, item.Name, item.Action, provision.Created)
			}
			continue
		}
		seen[item.Kind] = true
		if item.Action != provision.Keep || len(item.Differences) < differing[item.Kind] || kept[item.Name] != 1 {
			t.Errorf("%s %s: got %s with %v, reported as kept %d times, want one that is kept with at least %d differences", item.Kind, item.Name, item.Action, item.Differences, kept[item.Name], differing[item.Kind])
		}
	}
	changes := a.changes()
	changes = slices.DeleteFunc(changes, func(call string) bool { return call == "monitoring:PutMetricAlarm" })
	if len(changes) > 0 {
		t.Errorf("got the changes %v, want those of the other alarms only", changes)
	}
	out, err := watch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{*name("CloudWatch alarm")}})
	if err != nil || len(out.MetricAlarms) != 1 || *out.MetricAlarms[0].MetricName != "theirs" {
		t.Errorf("got %+v, %v, want the alarm of somebody else", out, err)
	}
}

// A region's quota is an error before anything is made.
func TestRead_ExceededQuotaIsAnError(t *testing.T) {
	a := startAccount(t)
	var names []string
	for i := range 13 {
		names = append(names, fmt.Sprintf("meter-%d", i))
	}
	const text = `
aws { region = "eu-west-1" }
stream "meter-*" {
  destination "firehose" "lake" { delivery_stream = "${stream}" }
}
stream "all" {
  destination "kinesis" "live" {
    stream = "all"
    provision {
      mode   = "provisioned"
      shards = 6001
    }
  }
}`
	_, err := apply(t, text, names...)
	const want = "quota of Kinesis shards in eu-west-1: the limit is 6000, 0 are there and 6001 more are needed"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	const wantFirehose = "quota of Firehose streams in eu-west-1: the limit is 12, 0 are there and 13 more are needed"
	if err == nil || !strings.Contains(err.Error(), wantFirehose) {
		t.Errorf("got %v, want %q", err, wantFirehose)
	}
	if got := a.changes(); len(got) > 0 {
		t.Errorf("got the changes %v, want none", got)
	}
}
