package sink_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/shipper/sink"
)

func TestMeasure(t *testing.T) {
	url := "http://127.0.0.1:14567"
	creds := credentials.NewStaticCredentialsProvider("a", "b", "")
	c := kinesis.New(kinesis.Options{Region: "eu-west-1", BaseEndpoint: aws.String(url), Credentials: creds, Retryer: aws.NopRetryer{}})
	for _, s := range []string{"x", "k"} {
		c.CreateStream(context.Background(), &kinesis.CreateStreamInput{StreamName: aws.String(s), ShardCount: aws.Int32(4)})
	}
	time.Sleep(time.Second)
	data := make([]byte, 200<<10)
	var bad atomic.Int64
	run := func(name string, put func(key string) error) {
		bad.Store(0)
		start := time.Now()
		var wg sync.WaitGroup
		const G, N = 8, 400
		for g := range G {
			wg.Go(func() {
				for i := range N {
					if err := put(fmt.Sprint(g, i)); err != nil {
						if bad.Add(1) < 4 {
							t.Log(err)
						}
					}
				}
			})
		}
		wg.Wait()
		t.Log(name, bad.Load(), "of", G*N, time.Since(start))
	}
	k, _ := sink.NewKinesis(context.Background(), sink.KinesisOptions{Stream: "x", AWS: sink.AWSOptions{Region: "eu-west-1", Endpoint: url, Credentials: creds}})
	for range 2 {
		run("plain sdk", func(key string) error {
			_, err := c.PutRecords(context.Background(), &kinesis.PutRecordsInput{StreamName: aws.String("x"), Records: []types.PutRecordsRequestEntry{{Data: data, PartitionKey: aws.String(key)}}})
			return err
		})
		run("ours", func(key string) error {
			r := k.Send(context.Background(), []shipper.Record{{Key: key, Data: data}})
			if r.Err != nil {
				return r.Err
			}
			return nil
		})
	}
	k2, _ := sink.NewKinesis(context.Background(), sink.KinesisOptions{Stream: "k", AWS: sink.AWSOptions{Region: "eu-west-1", Endpoint: url, Credentials: creds}})
	for i := range 200 {
		var ps [][]byte
		for j := range 1 + i%7 {
			ps = append(ps, fmt.Appendf(nil, "p-%d-%d", i, j))
		}
		if i%50 == 3 {
			ps = [][]byte{bytes.Clone([]byte(kpl.Magic + "lone"))}
		}
		key := fmt.Sprintf("key-é-%d", i)
		r := k2.Send(context.Background(), []shipper.Record{{Key: key, Data: kpl.Append(nil, key, ps)}})
		if r.Err != nil || r.Results[0] != nil {
			t.Fatal(r)
		}
	}
}
