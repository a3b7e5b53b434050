resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = var.alarms

  region              = each.value.region
  alarm_name          = each.value.name
  alarm_description   = each.value.description
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = PERIODS
  treat_missing_data  = "notBreaching"
  alarm_actions       = compact([each.value.topic])
  ok_actions          = compact([each.value.topic])

  # an alarm on a metric, or on its share of a quota that is a metric too
  namespace   = each.value.quota == null ? each.value.namespace : null
  metric_name = each.value.quota == null ? each.value.metric : null
  statistic   = each.value.quota == null ? each.value.statistic : null
  period      = each.value.quota == null ? PERIOD : null
  dimensions  = each.value.quota == null ? { (each.value.dimension) = each.value.stream } : null

  dynamic "metric_query" {
    for_each = each.value.quota == null ? [] : [true]
    content {
      id          = "percent"
      expression  = "PERCENT_OF_QUOTA"
      label       = "% of ${each.value.quota}"
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = each.value.quota == null ? {} : { used = each.value.metric, quota = each.value.quota }
    content {
      id = metric_query.key
      metric {
        namespace   = each.value.namespace
        metric_name = metric_query.value
        dimensions  = { (each.value.dimension) = each.value.stream }
        period      = PERIOD
        stat        = metric_query.key == "used" ? each.value.statistic : "Minimum"
      }
    }
  }
}
