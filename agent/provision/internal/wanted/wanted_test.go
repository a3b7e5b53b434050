package wanted_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

func from(t *testing.T, text string, streams ...string) (wanted.Set, error) {
	t.Helper()
	c, err := config.Parse([]byte("aws { region = \"eu-west-1\" }\n"+text), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return wanted.From(c, wanted.Options{Streams: streams, At: func(p wanted.Place) (wanted.Place, error) {
		p.Account = "111122223333"
		return p, nil
	}})
}

// Destinations may share a stream and a bucket; each is there once.
func TestFrom_SharedResourcesAreThereOnce(t *testing.T) {
	set, err := from(t, `
stream "a" {
  destination "kinesis" "one" { stream = "all" }
  destination "firehose" "lake" { delivery_stream = "a" }
}
stream "b" {
  destination "kinesis" "two" { stream = "all" }
  destination "firehose" "lake" { delivery_stream = "b" }
}
stream "c-*" {
  destination "kinesis" "three" { stream = "all" }
  destination "kinesis" "each" { stream = "${stream}" }
}
stream "d-*" {
  destination "kinesis" "each" { stream = "${stream}" }
}`, "c-1", "c-2")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range set.Streams {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "all c-1 c-2" {
		t.Errorf("got the streams %s", got)
	}
	if len(set.Deliveries) != 2 || len(set.Buckets) != 1 || set.Buckets[0].Name != "standpipe-111122223333-eu-west-1" {
		t.Errorf("got %+v, %+v", set.Deliveries, set.Buckets)
	}
	if len(set.Unnamed) != 1 || set.Unnamed[0] != "d-*" {
		t.Errorf("got the patterns %q without names", set.Unnamed)
	}
}

func TestFrom_ContradictionsAreErrors(t *testing.T) {
	long := strings.Repeat("x", 65)
	for text, want := range map[string]string{
		`stream "a" {
  destination "kinesis" "one" { stream = "all" }
  destination "kinesis" "two" {
    stream = "all"
    provision {
      mode   = "provisioned"
      shards = 2
    }
  }
}`: `Kinesis stream "all" is wanted with other shards or another mode by destination`,
		`stream "a" {
  destination "firehose" "one" { delivery_stream = "all" }
  destination "firehose" "two" {
    delivery_stream = "all"
    provision { bucket = "other" }
  }
}`: `Firehose stream "all" is wanted in another way by destination`,
		`stream "a" {
  destination "kinesis" "one" { stream = "arn:aws:kinesis:us-east-1:444455556666:stream/all" }
}`: "in account 444455556666, and the credentials are of account 111122223333",
		`stream "a" {
  destination "firehose" "one" { delivery_stream = "` + long + `" }
}`: "has 65 characters; allowed are 64",
	} {
		if _, err := from(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := from(t, `stream "a-*" {
  destination "kinesis" "one" { stream = "${stream}" }
}`, "b"); err == nil || !strings.Contains(err.Error(), `stream "b": no block of the file matches`) {
		t.Errorf("got %v", err)
	}
}

// Names that AWS limits to 64 characters are cut, and stay different.
func TestDelivery_LongNamesStayDifferent(t *testing.T) {
	long := strings.Repeat("x", 100)
	set, err := from(t, `
stream "a" {
  destination "kinesis" "one" {
    stream = "`+long+`1"
    provision { archive = true }
  }
  destination "kinesis" "two" {
    stream = "`+long+`2"
    provision { archive = true }
  }
}`)
	if err != nil || len(set.Deliveries) != 2 {
		t.Fatalf("got %+v, %v", set.Deliveries, err)
	}
	one, two := set.Deliveries[0], set.Deliveries[1]
	if len(one.Name) != 64 || one.Name == two.Name || len(one.Role()) != 64 || one.Role() == two.Role() {
		t.Errorf("got %s, %s, %s and %s", one.Name, two.Name, one.Role(), two.Role())
	}
}
