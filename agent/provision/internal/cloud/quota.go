package cloud

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"

	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// The quota of a region for Firehose streams in Service Quotas.
const (
	firehoseService = "firehose"
	firehoseStreams = "L-14BB0BE7"
)

// Need is how many resources of each kind are to be created in a place.
type Need struct {
	OnDemand, Shards, Deliveries, Roles int64
}

// Quota is a limit of the account, and its use.
type Quota struct {
	Name              string
	Limit, Used, Need int64
}

// Exceeded reports whether the limit is too low.
func (q Quota) Exceeded() bool { return q.Need > 0 && q.Used+q.Need > q.Limit }

func (q Quota) Error() string {
	return fmt.Sprintf("quota of %s: the limit is %d, %d are there and %d more are needed; request a higher quota in the console of Service Quotas", q.Name, q.Limit, q.Used, q.Need)
}

// Quotas returns the quotas that the need concerns. The errors are of quotas that could not be read.
func (c *Cloud) Quotas(ctx context.Context, p wanted.Place, n Need) (quotas []Quota, unread []error) {
	at, err := c.at(ctx, p)
	if err != nil {
		return nil, []error{err}
	}
	in := " in " + p.Region
	if n.OnDemand+n.Shards > 0 {
		out, err := at.kinesis.DescribeLimits(ctx, nil)
		if err != nil {
			unread = append(unread, faultOf("the quotas of Kinesis"+in, "", err))
		} else {
			quotas = append(quotas,
				Quota{"Kinesis streams on demand" + in, int64(aws.ToInt32(out.OnDemandStreamCountLimit)), int64(aws.ToInt32(out.OnDemandStreamCount)), n.OnDemand},
				Quota{"Kinesis shards" + in, int64(aws.ToInt32(out.ShardLimit)), int64(aws.ToInt32(out.OpenShardCount)), n.Shards})
		}
	}
	if n.Deliveries > 0 {
		q, err := at.deliveries(ctx)
		q.Name, q.Need = "Firehose streams"+in, n.Deliveries
		if err != nil {
			unread = append(unread, faultOf("the quota of Firehose"+in, "", err))
		} else {
			quotas = append(quotas, q)
		}
	}
	if n.Roles > 0 {
		out, err := at.iam.GetAccountSummary(ctx, nil)
		if err != nil {
			unread = append(unread, faultOf("the quota of IAM", "", err))
		} else {
			quotas = append(quotas, Quota{"IAM roles", int64(out.SummaryMap["RolesQuota"]), int64(out.SummaryMap["Roles"]), n.Roles})
		}
	}
	return quotas, unread
}

// deliveries returns the quota of Firehose streams and their number.
func (c *clients) deliveries(ctx context.Context) (q Quota, err error) {
	out, err := c.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String(firehoseService), QuotaCode: aws.String(firehoseStreams)})
	switch {
	case err == nil:
		q.Limit = int64(aws.ToFloat64(out.Quota.Value))
	case is(err, "NoSuchResourceException"): // the account has the default
		out, err := c.quotas.GetAWSDefaultServiceQuota(ctx, &servicequotas.GetAWSDefaultServiceQuotaInput{ServiceCode: aws.String(firehoseService), QuotaCode: aws.String(firehoseStreams)})
		if err != nil {
			return q, err
		}
		q.Limit = int64(aws.ToFloat64(out.Quota.Value))
	default:
		return q, err
	}
	in := &firehose.ListDeliveryStreamsInput{Limit: aws.Int32(100)}
	for {
		page, err := c.firehose.ListDeliveryStreams(ctx, in)
		if err != nil {
			return q, err
		}
		q.Used += int64(len(page.DeliveryStreamNames))
		if !aws.ToBool(page.HasMoreDeliveryStreams) || len(page.DeliveryStreamNames) == 0 {
			return q, nil
		}
		in.ExclusiveStartDeliveryStreamName = &page.DeliveryStreamNames[len(page.DeliveryStreamNames)-1]
	}
}
