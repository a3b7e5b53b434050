package s3_test

import (
	"math"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/s3"
)

func TestPredict_CountsPutRequests(t *testing.T) {
	for name, c := range map[string]struct {
		o                         s3.Options
		traffic                   shipper.Traffic
		objects, requests, billed float64 // a day
	}{
		"full objects of parts": {s3.Options{RollSize: 50 << 20, PartSize: 5 << 20}, shipper.Traffic{PerSecond: 1024, Size: 1023},
			86400.0 / 50, 12 * 86400.0 / 50, 86400 << 20}, // 1 MiB/s; 10 parts, the beginning and the end
		"due objects": {s3.Options{RollInterval: 99 * time.Second}, shipper.Traffic{PerSecond: 1, Size: 99}, 864, 864, 86400 * 100},
		"compressed":  {s3.Options{RollInterval: 99 * time.Second, Compression: shipper.Gzip}, shipper.Traffic{PerSecond: 1, Size: 99, Compression: 4}, 864, 864, 86400 * 25},
		"rare events": {s3.Options{RollInterval: time.Second}, shipper.Traffic{PerSecond: 1.0 / 3599, Size: 99}, 24, 24, 86400.0 / 3599 * 100},
	} {
		got := c.o.Predict(c.traffic)
		for figure, pair := range map[string][2]float64{
			"objects": {got.Records * 86400, c.objects}, "requests": {got.Requests * 86400, c.requests}, "bytes": {got.Billed * 86400, c.billed},
			"payload": {got.Payload, c.traffic.PerSecond * float64(c.traffic.Size)},
		} {
			if math.Abs(pair[0]-pair[1]) > pair[1]/1000 {
				t.Errorf("%s: got %.3f %s a day, want %.3f", name, pair[0], figure, pair[1])
			}
		}
	}
}
