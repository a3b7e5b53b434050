package cloud

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// alarmPrefix is that of all names of alarms, so one request returns a hundred of them.
const alarmPrefix = "standpipe-"

// alarmList is the alarms of a place, read once.
type alarmList struct {
	mu     sync.Mutex
	byName map[string]types.MetricAlarm // guarded by mu; nil: not read
}

type alarm struct {
	at     *clients
	wanted wanted.Alarm
}

func (a *alarm) Kind() string        { return "CloudWatch alarm" }
func (a *alarm) Name() string        { return a.wanted.Name }
func (a *alarm) Place() wanted.Place { return a.wanted.Place }
func (a *alarm) Settings() string    { return a.wanted.Metric + " " + a.condition() }

func (a *alarm) condition() string {
	return conditionOf(a.comparison(), a.wanted.Threshold, a.wanted.Quota != "")
}

func conditionOf(c types.ComparisonOperator, threshold float64, share bool) string {
	text := "over "
	if c == types.ComparisonOperatorLessThanThreshold {
		text = "under "
	}
	text += strconv.FormatFloat(threshold, 'f', -1, 64)
	if share {
		text += " % of the quota"
	}
	return text
}

func (a *alarm) comparison() types.ComparisonOperator {
	if a.wanted.Below {
		return types.ComparisonOperatorLessThanThreshold
	}
	return types.ComparisonOperatorGreaterThanThreshold
}

func (a *alarm) Read(ctx context.Context) (State, error) {
	have, found, err := a.at.alarm(ctx, a.wanted.Name)
	if err != nil || !found {
		return State{}, err
	}
	state := State{Found: true}
	metric, share := aws.ToString(have.MetricName), false
	for _, q := range have.Metrics {
		if q.MetricStat != nil && aws.ToString(q.Id) == "used" {
			metric, share = aws.ToString(q.MetricStat.Metric.MetricName), true
		}
	}
	state.differs("metric", metric, a.wanted.Metric)
	state.differs("condition", conditionOf(have.ComparisonOperator, aws.ToFloat64(have.Threshold), share), a.condition())
	topic := "none"
	if len(have.AlarmActions) > 0 {
		topic = list(have.AlarmActions...)
	}
	if a.wanted.Topic != "" {
		state.differs("alarm_topic", topic, a.wanted.Topic)
	}
	return state, nil
}

// alarm returns an alarm of the place.
func (c *clients) alarm(ctx context.Context, name string) (types.MetricAlarm, bool, error) {
	c.alarms.mu.Lock()
	defer c.alarms.mu.Unlock()
	if c.alarms.byName == nil {
		all := make(map[string]types.MetricAlarm)
		pages := cloudwatch.NewDescribeAlarmsPaginator(c.watch, &cloudwatch.DescribeAlarmsInput{
			AlarmNamePrefix: aws.String(alarmPrefix), AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm}, MaxRecords: aws.Int32(100),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return types.MetricAlarm{}, false, err
			}
			for _, have := range page.MetricAlarms {
				all[aws.ToString(have.AlarmName)] = have
			}
		}
		c.alarms.byName = all
	}
	have, found := c.alarms.byName[name]
	return have, found, nil
}

func (a *alarm) Create(ctx context.Context, _ State) error {
	w := a.wanted
	in := &cloudwatch.PutMetricAlarmInput{
		AlarmName: &w.Name, AlarmDescription: &w.Text, ComparisonOperator: a.comparison(), Threshold: &w.Threshold,
		EvaluationPeriods: aws.Int32(wanted.Periods), TreatMissingData: aws.String("notBreaching"),
	}
	if w.Topic != "" {
		in.AlarmActions, in.OKActions = []string{w.Topic}, []string{w.Topic}
	}
	period := aws.Int32(int32(wanted.Period.Seconds()))
	of := []types.Dimension{{Name: &w.Dimension, Value: &w.Stream}}
	if w.Quota == "" {
		in.Namespace, in.MetricName, in.Dimensions, in.Statistic, in.Period = &w.Namespace, &w.Metric, of, types.Statistic(w.Statistic), period
	} else {
		metric := func(id, name, statistic string) types.MetricDataQuery {
			return types.MetricDataQuery{Id: &id, ReturnData: aws.Bool(false), MetricStat: &types.MetricStat{
				Metric: &types.Metric{Namespace: &w.Namespace, MetricName: &name, Dimensions: of}, Period: period, Stat: &statistic,
			}}
		}
		in.Metrics = []types.MetricDataQuery{
			{Id: aws.String("percent"), Expression: aws.String(wanted.PercentOfQuota), Label: aws.String(fmt.Sprintf("%% of %s", w.Quota)), ReturnData: aws.Bool(true)},
			metric("used", w.Metric, w.Statistic),
			metric("quota", w.Quota, "Minimum"),
		}
	}
	_, err := a.at.watch.PutMetricAlarm(ctx, in)
	return err
}
