package config

import "github.com/standpipe/standpipe/agent/config/internal/schema"

// PricedGB is the number of bytes in the GB of a price.
const PricedGB = 1 << 30

// Prices are the operator's prices. They have no defaults, since they differ by region and change. Zero: not set.
type Prices struct {
	Currency string
	// FirehoseGB is for PricedGB billed bytes, each record in steps of 5 KiB.
	FirehoseGB float64
	// KinesisGB is for PricedGB billed bytes of an on-demand stream, each record in steps of 1 KiB.
	KinesisGB float64
	// KinesisMillionUnits is for a million put payload units of a provisioned stream: 25 KiB or a part of that each. At most
	// one of the two Kinesis prices may be set.
	KinesisMillionUnits float64
	// S3ThousandRequests is for a thousand PUT requests: one for each object that fits into one, and for each part, and the
	// beginning and the end, of an upload in parts.
	S3ThousandRequests float64
	// S3GB is for PricedGB bytes of objects, stored for a month.
	S3GB float64
	// SQSMillionRequests is for a million requests, each in steps of 64 KiB.
	SQSMillionRequests float64
	// KafkaGB is for PricedGB bytes of records, at a service that charges for them.
	KafkaGB float64
}

// sqsStep is the number of bytes of a request that Amazon SQS bills as one: Amazon SQS pricing, November 2026.
const sqsStep = 64 << 10

// Usage is the traffic of a destination, as its service counts it.
type Usage struct {
	BilledBytes, Requests float64
	Units                 float64 // put payload units of kinesis, or steps of 64 KiB of sqs, if its sink counts them
}

// sqsRequests returns the requests that SQS bills. Without units it is the least number that the requests can have been.
func (u Usage) sqsRequests() float64 {
	if u.Units > 0 {
		return u.Units
	}
	return max(u.Requests, u.BilledBytes/sqsStep)
}

// HasPrice reports whether the service of a type of destination can have a price.
func HasPrice(destination string) bool {
	t, known := destinationTypeOf(destination)
	return known && t.price != nil
}

// Of returns the cost of the usage of a destination of the type, without the hourly price of streams and shards. It reports
// false if no price is set.
func (p Prices) Of(destination string, u Usage) (amount float64, ok bool) {
	t, known := destinationTypeOf(destination)
	if !known || t.price == nil {
		return 0, false
	}
	return t.price(p, u)
}

const exampleCurrency = `a currency, like "USD"`

var pricesSection = schema.Section[Prices]{
	Settings: []schema.Setting[Prices]{
		schema.Text("currency", exampleCurrency, func(p *Prices) *string { return &p.Currency }, schema.NotEmpty).
			Means("The currency, for display."),
		schema.Price("firehose_gb", func(p *Prices) *float64 { return &p.FirehoseGB }).
			Means("Firehose with Direct PUT: for a GB, each record in steps of 5 KB."),
		schema.Price("kinesis_gb", func(p *Prices) *float64 { return &p.KinesisGB }).
			Means("Kinesis on-demand streams: for a GB in, each record in steps of 1 KB."),
		schema.Price("kinesis_million_units", func(p *Prices) *float64 { return &p.KinesisMillionUnits }).
			Means("Kinesis provisioned streams: for a million put payload units of 25 KB."),
		schema.Price("s3_thousand_requests", func(p *Prices) *float64 { return &p.S3ThousandRequests }).
			Means("S3: for a thousand PUT requests."),
		schema.Price("s3_gb", func(p *Prices) *float64 { return &p.S3GB }).
			Means("S3: for a GB, stored for a month."),
		schema.Price("sqs_million_requests", func(p *Prices) *float64 { return &p.SQSMillionRequests }).
			Means("SQS: for a million requests, each in steps of 64 KiB."),
		schema.Price("kafka_gb", func(p *Prices) *float64 { return &p.KafkaGB }).
			Means("Kafka: for a GB in, at a service that charges for that."),
	},
	Check: func(b *schema.Block, p *Prices) {
		if p.KinesisGB > 0 && p.KinesisMillionUnits > 0 {
			b.Fault(b.At("kinesis_million_units"), "kinesis_million_units: kinesis_gb is set too; allowed is one of the two: "+
				"a stream is paid for on demand, by GB, or provisioned, by units")
		}
	},
}
