package cloud

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

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
	listed bool // the first Read has taken the alarm from the list; later ones do not
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

// streamOf returns the stream that an alarm is on.
func streamOf(of []types.Dimension) string {
	if len(of) != 1 {
		return "another"
	}
	return aws.ToString(of[0].Value)
}

func periodsOf(n int32, period time.Duration) string { return fmt.Sprintf("%d of %v", n, period) }

func (a *alarm) comparison() types.ComparisonOperator {
	if a.wanted.Below {
		return types.ComparisonOperatorLessThanThreshold
	}
	return types.ComparisonOperatorGreaterThanThreshold
}

func (a *alarm) Read(ctx context.Context) (State, error) {
	look := a.at.alarm
	if !a.listed {
		look = a.at.listedAlarm
	}
	have, found, err := look(ctx, a.wanted.Name)
	if err != nil {
		return State{}, err
	}
	a.listed = true
	if !found {
		return State{}, nil
	}
	state := State{Found: true}
	metric, of, period, share := have.MetricName, have.Dimensions, have.Period, false
	for _, q := range have.Metrics {
		if q.MetricStat != nil && aws.ToString(q.Id) == "used" {
			metric, of, period, share = q.MetricStat.Metric.MetricName, q.MetricStat.Metric.Dimensions, q.MetricStat.Period, true
		}
	}
	state.differs("metric", aws.ToString(metric), a.wanted.Metric)
	state.differs("stream", streamOf(of), a.wanted.Stream)
	state.differs("periods", periodsOf(aws.ToInt32(have.EvaluationPeriods), time.Duration(aws.ToInt32(period))*time.Second), periodsOf(wanted.Periods, wanted.Period))
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

// alarm returns an alarm of the place as it is now.
func (c *clients) alarm(ctx context.Context, name string) (types.MetricAlarm, bool, error) {
	out, err := c.watch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{name}, AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm}})
	if err != nil || len(out.MetricAlarms) == 0 {
		return types.MetricAlarm{}, false, err
	}
	return out.MetricAlarms[0], true, nil
}

// listedAlarm returns an alarm of the list of the place.
func (c *clients) listedAlarm(ctx context.Context, name string) (types.MetricAlarm, bool, error) {
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
